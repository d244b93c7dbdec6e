"""Bitcoin's untagged hashes: SHA-256, double SHA-256, RIPEMD-160 and HASH160.

OpenSSL 3 may be built without RIPEMD-160; ``ripemd160`` then follows the paper in Python:
"RIPEMD-160: A Strengthened Version of RIPEMD", Dobbertin, Bosselaers, Preneel (1996).
"""

import hashlib
import struct
from collections.abc import Callable


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def hash256(data: bytes) -> bytes:
    """SHA-256 twice, 32 bytes: txids, block hashes, Base58Check checksums."""
    return sha256(sha256(data))


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256, 20 bytes: OP_HASH160, key and script hashes."""
    return ripemd160(sha256(data))


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160, 20 bytes; OpenSSL's where it has one."""
    if _RIPEMD160 is None:
        return ripemd160_python(data)
    state = _RIPEMD160.copy()  # faster than a new one
    state.update(data)
    return state.digest()


def _ripemd160() -> "hashlib._Hash | None":
    try:
        return hashlib.new("ripemd160", usedforsecurity=False)
    except ValueError:  # OpenSSL without its legacy provider
        return None


_RIPEMD160 = _ripemd160()


def ripemd160_python(data: bytes) -> bytes:
    """RIPEMD-160, 20 bytes, in Python alone (about 100 µs a block of 64 bytes)."""
    padding = b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    message = data + padding
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
    for start in range(0, len(message), 64):
        state = _compress(state, struct.unpack_from("<16I", message, start))
    return struct.pack("<5I", *state)


_State = tuple[int, int, int, int, int]

_MASK = 0xFFFFFFFF
_RHO = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_ROTATIONS = (  # by round and message word, the same in both lines
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)
_LEFT_CONSTANTS = (0x00000000, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_CONSTANTS = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0x00000000)
_MIX: tuple[Callable[[int, int, int], int], ...] = (
    lambda x, y, z: x ^ y ^ z,
    lambda x, y, z: (x & y) | (~x & z),
    lambda x, y, z: (x | ~y) ^ z,
    lambda x, y, z: (x & z) | (y & ~z),
    lambda x, y, z: x ^ (y | ~z),
)


def _word_order(first: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The message word of each step: every round applies rho to the last one."""
    orders = [first]
    for _ in range(4):
        orders.append(tuple(_RHO[word] for word in orders[-1]))
    return tuple(orders)


_LEFT_WORDS = _word_order(tuple(range(16)))
_RIGHT_WORDS = _word_order(tuple((9 * i + 5) % 16 for i in range(16)))


def _compress(state: _State, words: tuple[int, ...]) -> _State:
    left = right = state
    for r in range(5):
        left = _round(left, words, r, _LEFT_WORDS[r], _MIX[r], _LEFT_CONSTANTS[r])
        right = _round(right, words, r, _RIGHT_WORDS[r], _MIX[4 - r], _RIGHT_CONSTANTS[r])
    h, x, y = state, left, right
    return (
        (h[1] + x[2] + y[3]) & _MASK,
        (h[2] + x[3] + y[4]) & _MASK,
        (h[3] + x[4] + y[0]) & _MASK,
        (h[4] + x[0] + y[1]) & _MASK,
        (h[0] + x[1] + y[2]) & _MASK,
    )


def _round(
    line: _State,
    words: tuple[int, ...],
    r: int,
    order: tuple[int, ...],
    mix: Callable[[int, int, int], int],
    constant: int,
) -> _State:
    a, b, c, d, e = line
    for word in order:
        t = (a + mix(b, c, d) + words[word] + constant) & _MASK
        t = _rotate(t, _ROTATIONS[r][word]) + e
        a, b, c, d, e = e, t & _MASK, b, _rotate(c, 10), d
    return a, b, c, d, e


def _rotate(x: int, n: int) -> int:
    return ((x << n) | (x >> (32 - n))) & _MASK
