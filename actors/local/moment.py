"""What the clock of a folder of ``oracle-vm up`` is to show, as a person names the moment."""

from datetime import UTC, datetime
from typing import Final

from actors.clock import Clock, SystemClock
from protocol.errors import ConfigError
from protocol.options.instrument import EXPIRY_HOUR_UTC

DAY_MS: Final = 86_400_000
EXPIRY_MS: Final = EXPIRY_HOUR_UTC * 3_600_000
MINUTE_MS: Final = 60_000
YEAR_MIN: Final = 525_600


def offset_ms(at: str | None, before_expiry_min: float | None, clock: Clock) -> int | None:
    """What to add to real time so that it is ``at`` now, or so many minutes before an expiry: the
    first one that lies so far ahead of ``clock``. None if neither is given; ConfigError for both,
    or for a text that is no moment."""
    if at is not None and before_expiry_min is not None:
        raise ConfigError("--clock or --before-expiry: say what time it is, once")
    if at is not None:
        wanted_ms = _parsed_ms(at)
    elif before_expiry_min is not None:
        if not 0 <= before_expiry_min < YEAR_MIN:
            raise ConfigError(f"--before-expiry {before_expiry_min:g}: 0 to {YEAR_MIN} minutes")
        ahead_ms = round(before_expiry_min * MINUTE_MS)
        days = -(-(clock.now_ms() + ahead_ms - EXPIRY_MS) // DAY_MS)
        wanted_ms = days * DAY_MS + EXPIRY_MS - ahead_ms
    else:
        return None
    return wanted_ms - SystemClock().now_ms()


def _parsed_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--clock {text!r}: write a time, as 2026-12-27T06:55:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
