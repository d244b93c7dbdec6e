"""Many instruments priced at one certified price: the same formulas as ``pricing.value``, in rows.

A price is in dollars for one bitcoin of the option and belongs to the moment that the oracles
certified, so that anybody who has the certificate gets the same one. European knock-outs are priced
by the corrected barrier of ``pricing.discrete`` alone: the quadrature, which ``pricing.value`` adds
in the last hours, takes a tenth of a second and changes 0.5 dollars where the price stands within
0.1 % of the barrier, 0.01 elsewhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final, NoReturn, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from protocol.errors import PriceError, TermsError
from protocol.options.instrument import Instrument, KnockOut, OptionKind
from protocol.options.pricing import batch, kernels
from protocol.options.pricing.discrete import SHIFT
from protocol.options.pricing.greeks import Greeks
from protocol.options.pricing.listed import YEAR_MS, option_of, years_left
from protocol.options.pricing.option import Market, require
from protocol.options.pricing.quadrature import Floats
from protocol.options.pricing.value import value
from protocol.units import E8, PriceE8, Round, Sats, UnixMs

UNDERLYING: Final = "BTC"
"""A contract pays satoshis, q (S - K) / S: that is S - K dollars where S is bitcoin's price."""

BPS: Final = 10_000


class Smile(Protocol):
    """Where volatilities come from: ``Flat`` or ``protocol.options.surface.Surface``."""

    def vol(self, strike: float, expiry_ms: int) -> float:
        """Per root year, of options at this strike in dollars; PriceError where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Flat:
    """One volatility for all."""

    level: float

    def vol(self, strike: float, expiry_ms: int) -> float:
        """That one."""
        return self.level


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a price depends on: the certified price, its round and time, where the volatility comes
    from, how often the oracles look at a barrier, rate and dividend yield (both continuously
    compounded)."""

    round: Round
    index_e8: PriceE8
    at_ms: UnixMs
    smile: Smile
    round_ms: int = 1000
    rate: float = 0.0
    dividend: float = 0.0

    @property
    def spot(self) -> float:
        """The certified price in dollars."""
        return self.index_e8 / E8

    def market(self, vol: float) -> Market:
        """As ``pricing.value`` takes it."""
        return Market(self.spot, self.rate, self.dividend, vol)


@dataclass(frozen=True, slots=True)
class Quote:
    """Dollars for one bitcoin of the option, and its sensitivities, per year and per 1.00."""

    instrument: Instrument
    vol: float
    greeks: Greeks[float]


@dataclass(frozen=True, slots=True)
class Columns:
    """Instruments as arrays, made once and priced often."""

    instruments: tuple[Instrument, ...]
    sign: Floats
    strike: Floats
    asset: Floats
    cash: Floats
    up: Floats
    level: Floats
    expiry_ms: Floats
    plain: NDArray[np.intp]
    knock_out: NDArray[np.intp]
    american: NDArray[np.intp]
    american_knock_out: NDArray[np.intp]

    @classmethod
    def of(cls, instruments: Sequence[Instrument]) -> Self:
        """In this order."""
        sign = np.array([1.0 if i.kind is OptionKind.CALL else -1.0 for i in instruments])
        strike = np.array([i.strike_e8 / E8 for i in instruments])
        binary = np.array([i.is_binary for i in instruments], bool)
        has_barrier = np.array([i.barrier is not None for i in instruments], bool)
        american = np.array([i.is_american for i in instruments], bool)
        return cls(
            instruments=tuple(instruments),
            sign=sign,
            strike=strike,
            asset=np.where(binary, 1.0, sign),
            cash=np.where(binary, 0.0, -sign * strike),
            up=np.array([_up(i) for i in instruments]),
            level=np.array([i.barrier.level_e8 / E8 if i.barrier else 1.0 for i in instruments]),
            expiry_ms=np.array([float(i.expiry_ms) for i in instruments]),
            plain=np.flatnonzero(~has_barrier & ~american),
            knock_out=np.flatnonzero(has_barrier & ~american),
            american=np.flatnonzero(~has_barrier & american),
            american_knock_out=np.flatnonzero(has_barrier & american),
        )

    def quotes(self, conditions: Conditions) -> list[Quote]:
        """One an instrument, in order. PriceError names an instrument that has expired or cannot be
        priced."""
        for row in np.flatnonzero(self.expiry_ms < conditions.at_ms).tolist():
            years_left(self.instruments[row], conditions.at_ms)
        vols = self._vols(conditions)
        table = self._table(conditions, vols)
        if not np.isfinite(table).all():
            self._refuse(conditions, int(np.flatnonzero(~np.isfinite(table).all(axis=0))[0]), vols)
        rows = zip(self.instruments, vols.tolist(), table.T.tolist(), strict=True)
        return [Quote(instrument, vol, Greeks(*row)) for instrument, vol, row in rows]

    def _vols(self, conditions: Conditions) -> Floats:
        if isinstance(conditions.smile, Flat):
            return np.full(len(self.instruments), conditions.smile.level)
        pairs = list(zip(self.strike.tolist(), self.expiry_ms.tolist(), strict=True))
        known = {pair: conditions.smile.vol(pair[0], int(pair[1])) for pair in set(pairs)}
        return np.array([known[pair] for pair in pairs])

    def _table(self, conditions: Conditions, vols: Floats) -> Floats:
        """A row a Greek, a column an instrument; not a number where there is no price."""
        left_ms = self.expiry_ms - conditions.at_ms
        looks = np.ceil(left_ms / conditions.round_ms)
        table = np.empty((len(Greeks.__slots__), len(self.instruments)))

        def put(rows: NDArray[np.intp], price: Callable[..., Greeks[Floats]], *terms: Floats,
                **more: Floats) -> None:  # fmt: skip
            if len(rows):
                at = (conditions.spot, left_ms[rows] / YEAR_MS, conditions.rate,
                      conditions.dividend, vols[rows])  # fmt: skip
                table[:, rows] = astuple(price(*(column[rows] for column in terms), *at, **more))

        barriers = {"dates": np.maximum(looks[self.knock_out], 1.0)}
        put(self.plain, batch.european, self.sign, self.asset, self.cash, self.strike)
        put(
            self.knock_out, batch.knock_out, self.sign, self.strike, self.up, self.level, **barriers
        )
        put(self.american, batch.american, self.sign, self.strike)
        for row in self.american_knock_out.tolist():
            table[:, row] = astuple(_priced(self.instruments[row], conditions, float(vols[row])))
        return table

    def _refuse(self, conditions: Conditions, row: int, vols: Floats) -> NoReturn:
        """PriceError that says why the row has no price."""
        _priced(self.instruments[row], conditions, float(vols[row]))
        raise PriceError(f"{self.instruments[row]}: it cannot be priced at these conditions")


def quote(instrument: Instrument, conditions: Conditions) -> Quote:
    """One instrument; PriceError if it has expired or cannot be priced."""
    vol = conditions.smile.vol(instrument.strike_e8 / E8, instrument.expiry_ms)
    return Quote(instrument, vol, _priced(instrument, conditions, vol))


def is_slow(instrument: Instrument) -> bool:
    """Whether a price takes a fifth of a second: an American knock-out's comes from a grid."""
    return instrument.is_american and instrument.barrier is not None


def premium_sats(
    quoted: Quote,
    quantity_sats: Sats,
    collateral_sats: Sats,
    conditions: Conditions,
    markup_bps: int = 0,
) -> Sats:
    """What ``quantity_sats`` of the option cost, rounded up; TermsError unless both amounts lie
    above 0."""
    lower = put_below(quoted.instrument, quantity_sats, collateral_sats)
    below = 0.0 if lower is None else quote(lower, conditions).greeks.price
    return with_markup(quoted, below, quantity_sats, collateral_sats, conditions, markup_bps)


def put_below(
    instrument: Instrument, quantity_sats: Sats, collateral_sats: Sats
) -> Instrument | None:
    """What caps a put at its collateral: with m = collateral / quantity it pays as the put less
    1 + m puts struck at K / (1 + m). None for other options, for an American one, whose cap is left
    out, and where that put is worth nothing. TermsError as ``premium_sats``."""
    for field, sats in (("quantity_sats", quantity_sats), ("collateral_sats", collateral_sats)):
        if sats <= 0:
            raise TermsError(f"{field} {sats}: it must lie above 0")
    if instrument.kind is OptionKind.CALL or instrument.is_binary or instrument.is_american:
        return None
    strike_e8 = instrument.strike_e8 * quantity_sats // (quantity_sats + collateral_sats)
    barrier = instrument.barrier
    is_out = barrier is not None and barrier.direction is KnockOut.DOWN
    if strike_e8 < 1 or (is_out and barrier is not None and barrier.level_e8 >= strike_e8):
        return None
    return replace(instrument, strike_e8=PriceE8(strike_e8))


def with_markup(
    quoted: Quote,
    below: float,
    quantity_sats: Sats,
    collateral_sats: Sats,
    conditions: Conditions,
    markup_bps: int,
) -> Sats:
    """The premium, where ``put_below`` costs ``below``."""
    dollars = quoted.greeks.price - (1 + collateral_sats / quantity_sats) * below
    share = max(dollars, 0.0) / conditions.spot * (BPS + markup_bps) / BPS
    return Sats(math.ceil(share * quantity_sats))


def _priced(instrument: Instrument, conditions: Conditions, vol: float) -> Greeks[float]:
    market, years = conditions.market(vol), years_left(instrument, conditions.at_ms)
    option = option_of(instrument, conditions.at_ms, conditions.round_ms)
    barrier = option.barrier
    if barrier is None or barrier.dates is None:
        return value(option, market, years)
    require(option, market, years)
    spread = barrier.kind.up * SHIFT * math.sqrt(years / barrier.dates)
    jet = kernels.knock_out(
        option.sign, barrier.kind.up, option.asset, option.sum, option.strike, barrier.level,
        spread, market.spot, years, market.rate, market.dividend, vol,
    )  # fmt: skip
    if not all(map(math.isfinite, jet)):
        raise PriceError(f"{instrument}: the numbers are too far apart to be priced")
    return Greeks(*jet)


def _up(instrument: Instrument) -> float:
    is_down = instrument.barrier is not None and instrument.barrier.direction is KnockOut.DOWN
    return -1.0 if is_down else 1.0
