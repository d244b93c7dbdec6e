"""Times of the venues: RFC 3339 text in UTC with up to nine decimals, to integer nanoseconds."""

import re
from calendar import timegm
from datetime import datetime
from functools import lru_cache

from actors.feeds.strict_json import Frame, get_text, shown
from protocol.errors import EncodingError

NS_PER_MS = 10**6
NS_PER_S = 10**9

_SECOND = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:)([0-9]{2})")
_FRACTION_DIGITS = 9


@lru_cache(maxsize=64)
def _unix_s(text: str) -> int:
    match = _SECOND.fullmatch(text)
    if not match or match[2] > "60":
        raise EncodingError(f"not a UTC time: {shown(text)}")
    try:
        minute_s = timegm(datetime.fromisoformat(match[1] + "00").timetuple())
    except ValueError:
        raise EncodingError(f"no such time: {text}") from None
    if minute_s < 0:
        raise EncodingError(f"time before 1970: {text}")
    return minute_s + int(match[2])


def unix_ns(text: str) -> int:
    """Unix nanoseconds of an RFC 3339 time; a leap second counts as the next one."""
    body = text.removesuffix("Z") if text.endswith("Z") else text.removesuffix("+00:00")
    second, point, fraction = body.partition(".")
    if body == text or (point and not _is_fraction(fraction)):
        raise EncodingError(f"not a UTC time: {shown(text)}")
    return _unix_s(second) * NS_PER_S + int(fraction.ljust(_FRACTION_DIGITS, "0"))


def _is_fraction(text: str) -> bool:
    return text.isdigit() and text.isascii() and len(text) <= _FRACTION_DIGITS


def get_unix_ns(frame: Frame, key: str) -> int:
    """The RFC 3339 time in the field ``key``."""
    return unix_ns(get_text(frame, key))
