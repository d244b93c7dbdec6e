"""Building scripts byte by byte, with minimal pushes, and the leaves a contract is made of."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from protocol.bitcoin.opcodes import Op
from protocol.errors import ScriptError

MAX_PUSH_BYTES = 520
"""Largest stack item of consensus (BIP342 keeps the limit)."""

PAY_TO_ANCHOR = bytes([Op.TRUE, 2, 0x4E, 0x73])
"""The output that anyone may spend, without a witness, to pay for its transaction (P2A)."""

LOCKTIME_THRESHOLD = 500_000_000
"""Lock times below are block heights, others Unix seconds (BIP65)."""


def number_bytes(n: int) -> bytes:
    """The minimal script number: little-endian, sign in the top bit, empty for zero."""
    if n == 0:
        return b""
    magnitude = abs(n)
    encoded = bytearray(magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "little"))
    if encoded[-1] & 0x80:
        encoded.append(0)
    if n < 0:
        encoded[-1] |= 0x80
    return bytes(encoded)


def parse_number(item: bytes) -> int:
    """The number that Script's arithmetic reads in a stack item of at most four bytes.

    Consensus takes any encoding, -0 and leading zeros too: only policy asks for the minimal one.
    ScriptError for a longer item.
    """
    if len(item) > 4:
        raise ScriptError(f"a script number has at most 4 bytes, not {len(item)}")
    magnitude = int.from_bytes(item, "little")
    sign = 1 << (8 * len(item) - 1) if item else 0
    return -(magnitude - sign) if magnitude & sign else magnitude


def push_data(data: bytes) -> bytes:
    """The shortest script that pushes ``data``, at most 520 bytes (MINIMALDATA)."""
    if len(data) > MAX_PUSH_BYTES:
        raise ScriptError(f"a push holds at most {MAX_PUSH_BYTES} bytes, not {len(data)}")
    if data == b"":
        return bytes([Op.FALSE])
    if len(data) == 1 and 1 <= data[0] <= 16:
        return bytes([Op.TRUE + data[0] - 1])
    if data == b"\x81":
        return bytes([Op.NEGATE_1])
    if len(data) < Op.PUSHDATA1:
        return bytes([len(data)]) + data
    if len(data) <= 0xFF:
        return bytes([Op.PUSHDATA1, len(data)]) + data
    return bytes([Op.PUSHDATA2]) + len(data).to_bytes(2, "little") + data


@lru_cache(maxsize=4096)
def push_number(n: int) -> bytes:
    """The shortest script that pushes the number ``n``."""
    return push_data(number_bytes(n))


def script(*parts: Op | int | bytes) -> bytes:
    """A script from opcodes (:class:`Op`), numbers (``int``) and data to push (``bytes``)."""
    return b"".join([_WRITE[type(part)](part) for part in parts])


_WRITE: Final[Mapping[type, Callable[[Any], bytes]]] = {
    Op: {op: bytes([op]) for op in Op}.__getitem__,
    int: push_number,
    bytes: push_data,
}
"""Leaves are made of a million parts: what each kind becomes is looked up."""


def operations(code: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Each opcode of ``code`` with the data it pushes (None if it pushes none by bytes).

    Raises ScriptError at a push that runs past the end.
    """
    at = 0
    while at < len(code):
        opcode = code[at]
        at += 1
        if opcode > Op.PUSHDATA4:
            yield opcode, None
            continue
        size = opcode
        if opcode >= Op.PUSHDATA1:
            width = 1 << (opcode - Op.PUSHDATA1)
            if at + width > len(code):
                raise ScriptError(f"the length of the push at byte {at - 1} is cut off")
            size = int.from_bytes(code[at : at + width], "little")
            at += width
        if at + size > len(code):
            raise ScriptError(f"a push of {size} bytes runs past the end of the script")
        yield opcode, code[at : at + size]
        at += size


def disassemble(code: bytes) -> str:
    """One line of text: opcode names, pushed data in hex."""
    names = {int(op): op.name for op in Op}
    words = []
    for opcode, data in operations(code):
        if data:
            words.append(data.hex())
        else:
            words.append(names.get(opcode, f"0x{opcode:02x}"))
    return " ".join(words)


def check_x_only(key: bytes, name: str = "key") -> bytes:
    """``key`` itself if it has the 32 bytes of an x-only key; ScriptError otherwise."""
    if len(key) != 32:
        raise ScriptError(f"{name} must be a 32-byte x-only public key, not {len(key)} bytes")
    return key


def two_of_two(first: bytes, second: bytes) -> bytes:
    """Leaf that both keys must sign. Witness: second's signature, then first's (on top)."""
    return script(
        check_x_only(first), Op.CHECKSIGVERIFY, check_x_only(second), Op.CHECKSIG
    )  # fmt: skip


def after_height(height: int, leaf: bytes) -> bytes:
    """``leaf``, spendable only in a block above ``height`` (CLTV, BIP65)."""
    if not 0 < height < LOCKTIME_THRESHOLD:
        raise ScriptError(f"a lock height lies between 1 and {LOCKTIME_THRESHOLD - 1}: {height}")
    return script(height, Op.CHECKLOCKTIMEVERIFY, Op.DROP) + leaf


def after_blocks(blocks: int, leaf: bytes) -> bytes:
    """``leaf``, spendable only ``blocks`` blocks after the output's own block (CSV, BIP112)."""
    if not 0 < blocks <= 0xFFFF:
        raise ScriptError(f"a relative lock is 1 to 65535 blocks, not {blocks}")
    return script(blocks, Op.CHECKSEQUENCEVERIFY, Op.DROP) + leaf


def single_key(key: bytes) -> bytes:
    """Leaf that one key signs."""
    return script(check_x_only(key), Op.CHECKSIG)


def threshold(required: int, keys: tuple[bytes, ...]) -> bytes:
    """Leaf that ``required`` of ``keys`` sign with OP_CHECKSIGADD (BIP342).

    Witness, bottom to top: one item per key in reverse order, empty where it does not sign.
    """
    if not 1 <= required <= len(keys):
        raise ScriptError(f"{required} of {len(keys)} keys is no threshold")
    out = script(check_x_only(keys[0]), Op.CHECKSIG)
    for key in keys[1:]:
        out += script(check_x_only(key), Op.CHECKSIGADD)
    return out + script(required, Op.NUMEQUAL)


def null_data(data: bytes) -> bytes:
    """OP_RETURN output script carrying ``data``."""
    return script(Op.RETURN, data)
