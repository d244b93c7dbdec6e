"""The top of a simulated book, and how venues print prices, sizes and times."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from actors.feeds.simulated.path import E8

EPOCH: Final = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Market:
    """Top of book and last trade of one product at one venue, 10^-8; sizes in 10^-8 of the base."""

    bid_e8: int
    ask_e8: int
    last_e8: int
    bid_size_e8: int
    ask_size_e8: int
    buyer_was_taker: bool
    time_ms: int


def stamp(at_ms: int) -> str:
    """RFC 3339 with microseconds; the digits below the millisecond are made up."""
    moment = EPOCH + timedelta(milliseconds=at_ms, microseconds=at_ms * 7919 % 1000)
    return moment.isoformat(timespec="microseconds") + "Z"


def decimal(value_e8: int, places: int = 8) -> str:
    """``value_e8`` with exactly ``places`` decimals."""
    whole, fraction = divmod(value_e8, E8)
    return f"{whole}.{fraction:08d}"[: len(str(whole)) + 1 + places]


def short(value_e8: int) -> str:
    """A decimal without trailing zeros, as Coinbase prints prices."""
    return decimal(value_e8).rstrip("0").rstrip(".")
