"""Times of the venues: RFC 3339 text in UTC with up to nine decimals, to integer nanoseconds."""

import re
from calendar import timegm
from datetime import datetime
from functools import lru_cache

from actors.feeds.strict_json import Frame, get_text, shown
from protocol.errors import EncodingError

NS_PER_MS = 10**6
NS_PER_S = 10**9

_STAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:)([0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|\+00:00)"
)


@lru_cache(maxsize=64)
def _minute_s(prefix: str) -> int:
    try:
        return timegm(datetime.fromisoformat(prefix + "00").timetuple())
    except ValueError:
        raise EncodingError(f"no such time: {prefix}") from None


def unix_ns(text: str) -> int:
    """Unix nanoseconds of an RFC 3339 time; a leap second counts as the next one."""
    match = _STAMP.fullmatch(text)
    if not match or match[2] > "60":
        raise EncodingError(f"not a UTC time: {shown(text)}")
    seconds = _minute_s(match[1]) + int(match[2])
    if seconds < 0:
        raise EncodingError(f"time before 1970: {shown(text)}")
    return seconds * NS_PER_S + int((match[3] or "").ljust(9, "0"))


def get_unix_ns(frame: Frame, key: str) -> int:
    """The RFC 3339 time in the field ``key``."""
    return unix_ns(get_text(frame, key))
