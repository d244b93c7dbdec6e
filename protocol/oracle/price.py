"""One oracle's price: best bid and ask of several venues -> one number, by medians, in integers.

Why mids: a mid needs no trade, costs size to move on both sides and has no stale prints. Why plain
medians: volume is self-reported, so a weight would be the attacker's to choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from protocol.errors import PriceError
from protocol.oracle import merkle
from protocol.oracle.observation import Flag, Venue
from protocol.oracle.quorum import half_range, median
from protocol.units import E8, U64_MAX

WS_AGE_MS: Final = 2_000
REST_AGE_MS: Final = 5_000
LAST_AGE_MS: Final = 5_000
SPREAD_BPS: Final = 50
LAST_BPS: Final = 100
USDT_BPS: Final = 200
BPS: Final = 10_000

VENUES: Final[Mapping[str, Venue]] = {
    "binance": Venue.BINANCE,
    "coinbase": Venue.COINBASE,
    "kraken": Venue.KRAKEN,
}
USDT_QUOTED: Final = frozenset({"binance"})
"""Venues whose dollar pair is quoted in USDT."""
USDT_RATE_VENUES: Final = ("coinbase", "kraken")


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueQuote:
    """The freshest best bid and ask and last trade of one pair on one venue.

    Prices in 10^-8 of the quote currency, a missing side is 0. ``received_ms`` and
    ``last_received_ms`` are local unix ms at which the book and the trade arrived; ``venue_ts_ms``
    is the venue's own time of the book, if it gives one.
    """

    venue: str
    bid_e8: int
    ask_e8: int
    last_e8: int | None
    received_ms: int
    last_received_ms: int | None
    venue_ts_ms: int | None
    transport: Literal["ws", "rest"]
    tradeable: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A valid price of one venue, 10^-8; ``half_spread_e8`` is rounded up."""

    venue: str
    price_e8: int
    half_spread_e8: int
    time_ms: int
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OraclePrice:
    """The fields that an observation takes over, and the venues behind them."""

    price_e8: int
    conf_e8: int
    venues: int
    flags: int
    venue_time: int
    samples: tuple[Sample, ...]
    rates: tuple[Sample, ...]
    """The USDT/USD samples, if a venue quoted in USDT was used."""


def oracle_price(
    quotes: Sequence[VenueQuote],
    usdt_quotes: Sequence[VenueQuote],
    *,
    now_ms: int,
    min_venues: int,
) -> OraclePrice:
    """The plain median of the valid venues in US dollars.

    ``quotes`` are of the feed's pair, one a venue; ``usdt_quotes`` of USDT/USD. PriceError,
    with the reason of every venue, if fewer than ``min_venues`` are valid.
    """
    _require_distinct(quotes)
    samples: dict[str, Sample] = {}
    faults: list[str] = []
    rates: tuple[Sample, ...] = ()
    for quote in quotes:
        try:
            sample = venue_sample(quote, now_ms)
            if quote.venue in USDT_QUOTED:
                rate, rates = usdt_rate(usdt_quotes, now_ms)
                sample = _in_dollars(sample, rate, rates)
            samples[quote.venue] = sample
        except PriceError as error:
            faults.append(str(error))
    if len(samples) < max(min_venues, 1):
        raise PriceError(
            f"{len(samples)} of {min_venues} needed venues have a valid price: "
            + ("; ".join(faults) or "no quotes yet")
        )
    return _combine(tuple(sorted(samples.values(), key=lambda s: VENUES[s.venue])), rates)


def venue_sample(quote: VenueQuote, now_ms: int) -> Sample:
    """The mid of a fresh, sane book, or else a last trade of the last 5 s; PriceError otherwise."""
    if quote.venue not in VENUES:
        raise PriceError(f"{quote.venue}: unknown venue, expected one of {', '.join(VENUES)}")
    if not quote.tradeable:
        raise PriceError(f"{quote.venue}: not open for trading")
    last_is_fresh = (
        quote.last_e8 is not None
        and quote.last_received_ms is not None
        and 0 <= now_ms - quote.last_received_ms <= LAST_AGE_MS
    )
    fault = _book_fault(quote, now_ms)
    if fault is None:
        return _mid_sample(quote, last_is_fresh)
    if not last_is_fresh or quote.last_e8 is None or quote.last_received_ms is None:
        raise PriceError(f"{quote.venue}: {fault}, and no trade in the last {LAST_AGE_MS} ms")
    if not 0 < quote.last_e8 <= U64_MAX:
        raise PriceError(f"{quote.venue}: {fault}, and the last trade {quote.last_e8} is no price")
    # The spread is unknown: count the widest that a valid book may have.
    half_spread = -(-quote.last_e8 * SPREAD_BPS // (2 * BPS))
    return Sample(quote.venue, quote.last_e8, half_spread, quote.last_received_ms, last=True)


def _book_fault(quote: VenueQuote, now_ms: int) -> str | None:
    limit = WS_AGE_MS if quote.transport == "ws" else REST_AGE_MS
    age = now_ms - quote.received_ms
    if age < 0:
        return f"book received {-age} ms after now: the clock stepped back"
    if age > limit:
        return f"book is {age} ms old, at most {limit} ms over {quote.transport}"
    if not 0 < quote.bid_e8 < quote.ask_e8 <= U64_MAX:
        return f"bid {quote.bid_e8} and ask {quote.ask_e8} are no book"
    if (quote.ask_e8 - quote.bid_e8) * BPS > SPREAD_BPS * ((quote.bid_e8 + quote.ask_e8) // 2):
        return f"spread of {quote.bid_e8} to {quote.ask_e8} is wider than {SPREAD_BPS} bps"
    return None


def _mid_sample(quote: VenueQuote, last_is_fresh: bool) -> Sample:
    mid = (quote.bid_e8 + quote.ask_e8) // 2
    if (
        last_is_fresh
        and quote.last_e8 is not None
        and abs(quote.last_e8 - mid) * BPS > LAST_BPS * mid
    ):
        raise PriceError(
            f"{quote.venue}: last trade {quote.last_e8} is more than {LAST_BPS} bps from mid {mid}"
        )
    time_ms = quote.received_ms if quote.venue_ts_ms is None else quote.venue_ts_ms
    half_spread = (quote.ask_e8 - quote.bid_e8 + 1) // 2
    return Sample(quote.venue, mid, half_spread, time_ms, last=False)


def usdt_rate(usdt_quotes: Sequence[VenueQuote], now_ms: int) -> tuple[int, tuple[Sample, ...]]:
    """Dollars for one USDT, 10^-8, and its samples: the median of the valid Coinbase and Kraken
    mids. PriceError if neither is valid or the rate leaves 1 ± 200 bps."""
    _require_distinct(usdt_quotes)
    samples = []
    faults = []
    for quote in usdt_quotes:
        if quote.venue not in USDT_RATE_VENUES:
            continue
        try:
            samples.append(venue_sample(quote, now_ms))
        except PriceError as error:
            faults.append(str(error))
    if not samples:
        raise PriceError("USDT/USD: no valid rate: " + ("; ".join(faults) or "no quotes yet"))
    rate = median([s.price_e8 for s in samples])
    if abs(rate - E8) * BPS > USDT_BPS * E8:
        raise PriceError(f"USDT/USD: {rate} is more than {USDT_BPS} bps from one dollar")
    return rate, tuple(samples)


def _require_distinct(quotes: Sequence[VenueQuote]) -> None:
    venues = [quote.venue for quote in quotes]
    if len(set(venues)) < len(venues):
        raise PriceError(f"two quotes of one venue in {', '.join(venues)}: pass the freshest")


def evidence_root(frames: Sequence[bytes]) -> bytes:
    """The Merkle root over the raw venue frames that a price was computed from, in the order of
    ``OraclePrice.samples`` and then ``rates``. EncodingError if there are none."""
    return merkle.root([merkle.leaf(frame) for frame in frames])


def _in_dollars(sample: Sample, rate_e8: int, rates: Sequence[Sample]) -> Sample:
    price = sample.price_e8 * rate_e8 // E8
    if not 0 < price <= U64_MAX:
        raise PriceError(f"{sample.venue}: {price} is no price in dollars")
    return Sample(
        sample.venue,
        price,
        -(-sample.half_spread_e8 * rate_e8 // E8),
        min(sample.time_ms, *(r.time_ms for r in rates)),
        sample.last or any(r.last for r in rates),
    )


def _combine(samples: tuple[Sample, ...], rates: tuple[Sample, ...]) -> OraclePrice:
    prices = [s.price_e8 for s in samples]
    venues = 0
    for sample in samples:
        venues |= VENUES[sample.venue]
    return OraclePrice(
        price_e8=median(prices),
        conf_e8=max(median([s.half_spread_e8 for s in samples]), half_range(prices)),
        venues=int(venues),
        flags=int(Flag.LAST) if any(s.last for s in samples) else 0,
        venue_time=min(s.time_ms for s in samples),
        samples=samples,
        rates=rates if any(s.venue in USDT_QUOTED for s in samples) else (),
    )
