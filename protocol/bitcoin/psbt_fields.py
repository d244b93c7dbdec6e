"""The maps of a PSBT: bytes to fields and back, checked as BIP174 and BIP371 ask of version 0.

    map     (key length | key | value length | value)* 00       lengths are compact sizes
    key     type | data

A field that is not known here is kept as it is: another program may need it.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.bitcoin.taproot import MAX_DEPTH, compact_size
from protocol.errors import EncodingError

Fields = Mapping[bytes, bytes]
"""Value by key."""

UNSIGNED_TX: Final = b"\x00"
VERSION: Final = b"\xfb"

PREVIOUS_TX: Final = b"\x00"
"""BIP174 calls it PSBT_IN_NON_WITNESS_UTXO."""
WITNESS_UTXO: Final = b"\x01"
PARTIAL_SIGNATURE: Final = b"\x02"
"""The public key follows in the key."""
FINAL_WITNESS: Final = b"\x08"
TAP_KEY_SIGNATURE: Final = b"\x13"


class Reader:
    """Bytes taken from the front; EncodingError where there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_done(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise EncodingError("psbt: it ends too early; export it again")
        taken, self._at = self._data[self._at : end], end
        return taken

    def size(self) -> int:
        """The next compact size; EncodingError unless it is the shortest of its number."""
        first = self.take(1)
        rest = self.take(2 << (first[0] - 0xFD)) if first[0] >= 0xFD else b""
        number = int.from_bytes(rest or first, "little")
        if compact_size(number) != first + rest:
            raise EncodingError(f"psbt: the length {number} is not written in the shortest way")
        return number

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def sized(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.size())


def read_stack(data: bytes) -> tuple[bytes, ...]:
    """The items of a serialized witness, bottom to top."""
    reader = Reader(data)
    items = tuple(reader.sized() for _ in range(reader.size()))
    if not reader.is_done:
        raise EncodingError("psbt: bytes behind a witness")
    return items


def read_map(reader: Reader, place: str, known: Mapping[int, "Kind"]) -> dict[bytes, bytes]:
    """The next map; ``place`` names it in errors, ``known`` are its types."""
    fields: dict[bytes, bytes] = {}
    while key := reader.sized():
        if key in fields:
            raise EncodingError(f"psbt: {place}: the key {key.hex()} appears twice; save it again")
        value = fields[key] = reader.sized()
        kind = known.get(key[0])
        if kind is not None and not (len(key) - 1 in kind.key_data and kind.value(value)):
            raise EncodingError(f"psbt: {place}: {kind.name} has a wrong size (type {key[0]:02x})")
    return fields


def write_map(fields: Fields) -> bytes:
    """The bytes of a map, sorted by key."""
    parts = [_sized(key) + _sized(value) for key, value in sorted(fields.items())]
    return b"".join(parts) + b"\0"


def _sized(data: bytes) -> bytes:
    return compact_size(len(data)) + data


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of field: how many bytes of data its key has, and which values are well formed."""

    name: str
    key_data: Container[int] = (0,)
    value: Callable[[bytes], bool] = lambda _: True


def _bytes(*sizes: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) in sizes


def _path(value: bytes) -> bool:
    """A fingerprint and steps of 4 bytes each."""
    return len(value) >= 4 and len(value) % 4 == 0


def _tap_path(value: bytes) -> bool:
    """A count of leaf hashes, the hashes, and a path."""
    reader = Reader(value)
    reader.take(32 * reader.size())
    return _path(reader.rest())


_PUBLIC_KEY: Final = (33, 65)
_SCHNORR: Final = _bytes(64, 65)
_CONTROL_BLOCK: Final = range(33, 33 + 32 * MAX_DEPTH + 1, 32)

GLOBAL: Final = {
    0x00: Kind("the unsigned transaction"),
    0x01: Kind("an extended key", (78,), _path),
    0xFB: Kind("the version", value=_bytes(4)),
}
INPUT: Final = {
    0x00: Kind("the previous transaction"),
    0x01: Kind("the spent output"),
    0x02: Kind("a signature", _PUBLIC_KEY, bool),
    0x03: Kind("the hash type", value=_bytes(4)),
    0x04: Kind("the redeem script"),
    0x05: Kind("the witness script"),
    0x06: Kind("a key's path", _PUBLIC_KEY, _path),
    0x07: Kind("the final scriptSig"),
    0x08: Kind("the final witness"),
    0x13: Kind("the Taproot signature", value=_SCHNORR),
    0x14: Kind("a leaf's signature", (64,), _SCHNORR),
    0x15: Kind("a leaf", _CONTROL_BLOCK, bool),
    0x16: Kind("a Taproot key's path", (32,), _tap_path),
    0x17: Kind("the internal key", value=_bytes(32)),
    0x18: Kind("the Merkle root", value=_bytes(32)),
}
OUTPUT: Final = {
    0x00: Kind("the redeem script"),
    0x01: Kind("the witness script"),
    0x02: Kind("a key's path", _PUBLIC_KEY, _path),
    0x05: Kind("the internal key", value=_bytes(32)),
    0x06: Kind("the tree", value=bool),
    0x07: Kind("a Taproot key's path", (32,), _tap_path),
}
