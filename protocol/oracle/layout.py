"""Checks shared by the fixed-length encodings: big-endian integers, a four-byte magic, no slack."""

from struct import Struct
from typing import Any, Final

from protocol.errors import EncodingError

EXPO: Final = -8
"""Decimal exponent of every price and confidence; carried inside the messages."""
ZERO32: Final = bytes(32)


def require_uint(name: str, value: int, bits: int) -> None:
    """EncodingError unless ``value`` is an int in ``[0, 2**bits)``."""
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise EncodingError(f"{name} must be an unsigned {bits}-bit integer, got {value!r}")


def require_bytes(name: str, value: bytes, size: int) -> None:
    """EncodingError unless ``value`` is exactly ``size`` bytes."""
    if type(value) is not bytes or len(value) != size:
        got = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise EncodingError(f"{name} must be {size} bytes, got {got}")


def unpack(name: str, layout: Struct, magic: bytes, data: bytes) -> tuple[Any, ...]:
    """The fields of ``data`` after its magic; EncodingError on a wrong length or version."""
    require_bytes(name, data, layout.size)
    found, *fields = layout.unpack(data)
    if found != magic:
        raise EncodingError(
            f"{name} version: magic {found!r} is unknown, this program reads {magic.decode()}"
        )
    return tuple(fields)


def require_expo(name: str, expo: int) -> None:
    if expo != EXPO:
        raise EncodingError(f"{name} expo must be {EXPO}, got {expo}")
