"""A case as options.json writes it, read into what is priced.

    {"type": "put", "spot": 100, "strike": 95, "t": 0.5, "r": 0.1, "q": 0.05, "vol": 0.2}

with, where they apply, ``style`` (european, american), ``payout`` and ``cash``, ``barrier_kind``,
``barrier``, ``rebate`` and ``monitoring_dates``, and ``price`` in place of ``vol`` to ask for the
volatility. Anything else, an ``id`` or a source, is left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from protocol.errors import EncodingError
from protocol.options.instrument import OptionKind
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option, Payoff

E = TypeVar("E", bound=Enum)


class _Kind(Enum):
    CALL = "call"
    PUT = "put"


class _Style(Enum):
    EUROPEAN = "european"
    AMERICAN = "american"


class _Monitoring(Enum):
    CONTINUOUS = "continuous"
    DISCRETE = "discrete"


@dataclass(frozen=True, slots=True)
class Case:
    """``price`` is given where the volatility is asked for, which then is 0 in ``market``."""

    option: Option
    market: Market
    years: float
    price: float | None


def read_case(fields: Any) -> Case:
    """EncodingError names the field that is missing or wrong."""
    if not isinstance(fields, Mapping):
        raise EncodingError("case: write an object with type, spot, strike, t, r, q and vol")
    is_implied = "price" in fields and "vol" not in fields
    payoff = _choice(fields, "payout", Payoff, Payoff.VANILLA)
    style = _choice(fields, "style", _Style, _Style.EUROPEAN)
    option = Option(
        kind=OptionKind.CALL if _choice(fields, "type", _Kind) is _Kind.CALL else OptionKind.PUT,
        strike=_number(fields, "strike"),
        payoff=payoff,
        cash=_number(fields, "cash", 1.0),
        is_american=style is _Style.AMERICAN and payoff is not Payoff.TOUCH,
        barrier=_barrier(fields),
    )
    market = Market(
        spot=_number(fields, "spot"),
        rate=_number(fields, "r", 0.0),
        dividend=_number(fields, "q", 0.0),
        vol=0.0 if is_implied else _number(fields, "vol"),
    )
    price = _number(fields, "price") if is_implied else None
    return Case(option, market, _number(fields, "t"), price)


def _barrier(fields: Mapping[str, Any]) -> Barrier | None:
    if fields.get("barrier") is None and fields.get("barrier_kind") is None:
        return None
    dates = None
    if _choice(fields, "monitoring", _Monitoring, _Monitoring.CONTINUOUS) is _Monitoring.DISCRETE:
        dates = fields.get("monitoring_dates")
        if not isinstance(dates, int) or isinstance(dates, bool):
            raise EncodingError(f"monitoring_dates {dates!r}: write a whole number")
    return Barrier(
        kind=_choice(fields, "barrier_kind", BarrierKind),
        level=_number(fields, "barrier"),
        rebate=_number(fields, "rebate", 0.0),
        dates=dates,
    )


def _number(fields: Mapping[str, Any], name: str, default: float | None = None) -> float:
    found = fields.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise EncodingError(f"{name} {found!r}: write a number")
    try:
        return float(found)
    except OverflowError:
        raise EncodingError(f"{name}: a number with too many digits") from None


def _choice(fields: Mapping[str, Any], name: str, kind: type[E], default: E | None = None) -> E:
    found = fields.get(name, default)
    try:
        return kind(found)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise EncodingError(f"{name} {found!r}: write one of {known}") from None
