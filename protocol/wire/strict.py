"""The part of msgpack that is spoken here: integers, text, bytes, null, arrays, and maps with text
keys. No float, no boolean, no extension type, and one encoding for each value.
"""

from typing import Any, Final

import msgpack

from protocol.errors import EncodingError

MAX_DEPTH: Final = 4
"""Maps and arrays inside each other."""
MAX_ITEMS: Final = 1024
"""Entries of one map or array."""


def pack(value: Any) -> bytes:
    """The one encoding of a value."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(data: bytes) -> Any:
    """The value that ``data`` encodes; EncodingError for anything that ``pack`` does not write."""
    try:
        value = msgpack.unpackb(data, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS, max_ext_len=0)
    except (msgpack.exceptions.UnpackException, ValueError) as error:
        raise EncodingError(f"msgpack: {error or type(error).__name__}") from None
    _require_plain(value, MAX_DEPTH)
    if pack(value) != data:
        raise EncodingError("msgpack: a key that appears twice, or not the shortest encoding")
    return value


def _require_plain(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is dict or kind is list:
        if depth == 0:
            raise EncodingError(f"more than {MAX_DEPTH} maps and arrays inside each other")
        if kind is dict and not all(type(key) is str for key in value):
            raise EncodingError("a key of a map must be text")
        for item in value.values() if kind is dict else value:
            _require_plain(item, depth - 1)
    elif value is not None and kind not in (int, str, bytes):
        raise EncodingError(f"the type {kind.__name__} is not spoken here")
