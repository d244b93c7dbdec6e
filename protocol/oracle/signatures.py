"""The signatures of a quorum as certificates carry them: (oracle index, BIP340 signature) entries,
``oracle index u8 | signature 64`` each, indexes strictly ascending."""

from itertools import pairwise
from typing import Final

from protocol.crypto import keys
from protocol.errors import EncodingError, QuorumError, SignatureError
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import require_bytes, require_uint

Signatures = tuple[tuple[int, bytes], ...]

ENTRY: Final = 1 + 64


def require_signatures(name: str, signatures: Signatures) -> None:
    """EncodingError unless there is an entry, each is well formed and the indexes ascend."""
    if not signatures:
        raise EncodingError(f"{name} signatures: there is none")
    for index, signature in signatures:
        require_uint(f"{name} oracle index", index, 8)
        require_bytes(f"{name} signature of oracle {index}", signature, 64)
    indexes = tuple(index for index, _ in signatures)
    if any(a >= b for a, b in pairwise(indexes)):
        raise EncodingError(f"{name} oracle indexes must strictly ascend, got {indexes}")


def encode(signatures: Signatures) -> bytes:
    """The entries one after the other."""
    return b"".join(bytes([index]) + signature for index, signature in signatures)


def split(name: str, data: bytes, size: int) -> tuple[bytes, Signatures]:
    """The message of ``size`` bytes that ``data`` begins with, and the entries behind it.
    EncodingError unless they end where ``data`` does."""
    count, rest = divmod(len(data) - size, ENTRY)
    if count < 1 or rest:
        raise EncodingError(f"{name} length {len(data)} is not {size} + k x {ENTRY} bytes, k >= 1")
    starts = range(size, len(data), ENTRY)
    return data[:size], tuple((data[i], data[i + 1 : i + ENTRY]) for i in starts)


def require_quorum(name: str, signatures: Signatures, config: OracleConfig, quorum: int) -> None:
    """QuorumError unless there are exactly ``quorum`` entries, all of oracles of ``config``."""
    if len(signatures) != quorum:
        raise QuorumError(f"{name} has {len(signatures)} signatures, needed are {quorum}")
    last, n = signatures[-1][0], len(config.oracles)
    if last >= n:
        raise QuorumError(f"{name} oracle index {last} is not one of {n} oracles")


def verify(name: str, signatures: Signatures, config: OracleConfig, message: bytes) -> None:
    """SignatureError unless every entry signs the 32-byte ``message``."""
    for index, signature in signatures:
        if not keys.verify(config.oracles[index], message, signature):
            raise SignatureError(f"{name} signature of oracle {index} does not verify")
