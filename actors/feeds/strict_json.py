"""JSON as a venue must send it, and typed access to its fields.

Stricter than the ``json`` module: no NaN or Infinity, no duplicate key, no integer beyond 64 bits'
worth of digits, no deep nesting, no invalid UTF-8, no frame above 1 MiB. A number with a fraction
or an exponent keeps its text (``Literal``), so that no price ever passes through a float.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from protocol.errors import EncodingError

MAX_BYTES: Final = 2**20
MAX_DEPTH: Final = 32
MAX_INT_DIGITS: Final = 20
SHOWN_CHARS: Final = 60
WHITE_SPACE: Final = " \t\r\n"

Frame = Mapping[str, object]

_STRUCTURE = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


class Literal(str):
    """The text of a JSON number that is not an integer."""

    __slots__ = ()


def shown(value: object) -> str:
    """``value`` for a message: ASCII, short."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


def _integer(text: str) -> int:
    if len(text) > MAX_INT_DIGITS + 1:
        raise EncodingError(f"an integer of {len(text)} digits")
    return int(text)


def _constant(text: str) -> object:
    raise EncodingError(f"{text} is not JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    frame = dict(pairs)
    if len(frame) != len(pairs):
        raise EncodingError("duplicate JSON key")
    return frame


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=Literal,
    parse_int=_integer,
    parse_constant=_constant,
)


def _text(raw: str | bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise EncodingError("frame over 1 MiB")
    try:
        if isinstance(raw, bytes):
            return raw.decode()
        if not raw.isascii() and len(raw.encode()) > MAX_BYTES:
            raise EncodingError("frame over 1 MiB")
    except UnicodeError:
        raise EncodingError("invalid UTF-8") from None
    return raw


def _check_depth(text: str) -> None:
    # Most frames hold too few brackets to be deep: two counts at the speed of C settle those.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    quoted = False
    for match in _STRUCTURE.finditer(text):
        token = match.group()
        if token == '"':
            quoted = not quoted
        elif not quoted and token in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise EncodingError(f"nested deeper than {MAX_DEPTH}")
        elif not quoted and token in "]}":
            depth -= 1


def decode(raw: str | bytes) -> object:
    """The JSON value of a frame; ``EncodingError`` for anything that is not strict JSON."""
    text = _text(raw).strip(WHITE_SPACE)
    if not text:
        raise EncodingError("empty frame")
    _check_depth(text)
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise EncodingError(f"not JSON: {error.msg} at {error.pos}") from None
    if end != len(text):
        raise EncodingError(f"not JSON: more data at {end}")
    return value


def as_frame(value: object) -> Frame:
    """``value`` if it is a JSON object."""
    if not isinstance(value, dict):
        raise EncodingError(f"not a JSON object: {shown(value)}")
    return value


def as_list(value: object) -> list[object]:
    """``value`` if it is a JSON array."""
    if not isinstance(value, list):
        raise EncodingError(f"not a JSON array: {shown(value)}")
    return value


def get(frame: Frame, key: str) -> object:
    """The field ``key``, which must be present."""
    try:
        return frame[key]
    except KeyError:
        raise EncodingError(f"field {key} is missing") from None


def get_text(frame: Frame, key: str) -> str:
    """The field ``key``, a JSON string."""
    value = get(frame, key)
    if type(value) is not str:
        raise EncodingError(f"field {key} is not a string: {shown(value)}")
    return value


def get_int(frame: Frame, key: str) -> int:
    """The field ``key``, a JSON integer of at least 0."""
    value = get(frame, key)
    if type(value) is not int or value < 0:
        raise EncodingError(f"field {key} is not a natural number: {shown(value)}")
    return value


def get_list(frame: Frame, key: str) -> list[object]:
    """The field ``key``, a JSON array."""
    return as_list(get(frame, key))


def get_frame(frame: Frame, key: str) -> Frame:
    """The field ``key``, a JSON object."""
    return as_frame(get(frame, key))
