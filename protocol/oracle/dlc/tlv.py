"""Fields of the Lightning-style encoding that DLC messages use, read strictly (BOLT 1).

    BigSize   1 byte below 0xfd, else 0xfd u16 | 0xfe u32 | 0xff u64, the shortest that fits
    TLV       BigSize type | BigSize length | value
    text      BigSize length | UTF-8 in NFC

Integers are big-endian. A message ends where its last field does.
"""

import unicodedata
from typing import Final, Self

from protocol.errors import EncodingError

MAX_BYTES: Final = 65_535
"""In a message: what Lightning's transport carries at once."""

_WIDE: Final = {0xFD: 2, 0xFE: 4, 0xFF: 8}


def bigsize(value: int) -> bytes:
    """The shortest encoding of 0 <= value < 2^64."""
    if value < 0xFD:
        return bytes([value])
    mark = next(mark for mark, size in _WIDE.items() if value < 1 << 8 * size)
    return bytes([mark]) + value.to_bytes(_WIDE[mark])


def tlv(kind: int, value: bytes) -> bytes:
    """Type, length and value."""
    return bigsize(kind) + bigsize(len(value)) + value


def text(value: str) -> bytes:
    """Length and UTF-8."""
    encoded = value.encode()
    return bigsize(len(encoded)) + encoded


def require_text(name: str, value: str) -> None:
    """EncodingError unless this is text that has one encoding: no lone surrogate, and NFC."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EncodingError(f"{name} {value!r} is no Unicode text") from None
    if not unicodedata.is_normalized("NFC", value):
        raise EncodingError(f"{name} {value!r} is not in Unicode's form NFC: write it composed")


class Reader:
    """Takes the fields of ``data`` one after the other. Every method raises EncodingError, with
    the message's ``name`` and the field's, if the field is cut short or not the canonical one."""

    def __init__(self, name: str, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise EncodingError(f"{name}: {len(data)} bytes, at most {MAX_BYTES} are read")
        self._name = name
        self._data = data
        self._at = 0

    def take(self, field: str, size: int) -> bytes:
        """The next ``size`` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise EncodingError(f"{self._name} {field}: cut short")
        found = self._data[self._at : end]
        self._at = end
        return found

    def uint(self, field: str, size: int) -> int:
        """An unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.take(field, size))

    def bigsize(self, field: str) -> int:
        """A BigSize that has no shorter form."""
        mark = self.uint(field, 1)
        if mark < 0xFD:
            return mark
        value = self.uint(field, _WIDE[mark])
        if len(bigsize(value)) != 1 + _WIDE[mark]:
            raise EncodingError(f"{self._name} {field}: {value} is not in its shortest form")
        return value

    def text(self, field: str) -> str:
        """Text in NFC."""
        data = self.take(field, self.bigsize(field))
        try:
            value = data.decode()
        except UnicodeDecodeError:
            raise EncodingError(f"{self._name} {field}: no UTF-8") from None
        require_text(f"{self._name} {field}", value)
        return value

    def tlv(self, field: str) -> tuple[int, bytes]:
        """Type and value of the TLV that follows."""
        kind = self.bigsize(f"{field} type")
        return kind, self.take(field, self.bigsize(f"{field} length"))

    def rest_of(self, field: str) -> bytes:
        """Everything that follows, a TLV with its header."""
        return self.take(field, len(self._data) - self._at)

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise EncodingError(f"{self._name}: {len(self._data) - self._at} bytes too many")

    @classmethod
    def of(cls, name: str, kind: int, data: bytes) -> Self:
        """The fields in the TLV of type ``kind`` that ``data`` is, exactly."""
        outer = cls(name, data)
        found, value = outer.tlv("message")
        if found != kind:
            raise EncodingError(f"{name}: type {found}, expected {kind}")
        outer.end()
        return cls(name, value)
