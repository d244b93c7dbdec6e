"""The latest quote of every venue and symbol, with the raw frame and the real time it came with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from actors.feeds.events import ONLINE, Action, Control, Event, Quote, Trade
from actors.feeds.products import USDT_USD, VENUES, symbol_at
from protocol.oracle.price import OraclePrice, Sample, VenueQuote, oracle_price

Transport = Literal["ws", "rest"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One frame, our unix ms (it may be virtual) and the real monotonic ns of its arrival."""

    frame: bytes
    now_ms: int
    monotonic_ns: int
    transport: Transport = "ws"


@dataclass(frozen=True, slots=True)
class Sighting:
    """The latest quote of one symbol, and the arrivals of its book and of its last trade."""

    quote: VenueQuote
    book: Arrival
    last: Arrival

    def arrival_of(self, sample: Sample) -> Arrival:
        """The frame that ``sample`` was computed from."""
        return self.last if sample.last else self.book


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the board knew of one product at one moment, by venue."""

    pair: Mapping[str, Sighting]
    usdt: Mapping[str, Sighting]

    @property
    def quotes(self) -> tuple[VenueQuote, ...]:
        """The latest quote of the product at each venue."""
        return tuple(sighting.quote for sighting in self.pair.values())

    @property
    def usdt_quotes(self) -> tuple[VenueQuote, ...]:
        """The latest USDT-USD quotes."""
        return tuple(sighting.quote for sighting in self.usdt.values())

    def price(self, now_ms: int, min_venues: int) -> OraclePrice:
        """The price by ``protocol.oracle.price``; PriceError if too few venues are valid."""
        return oracle_price(self.quotes, self.usdt_quotes, now_ms=now_ms, min_venues=min_venues)

    def frames(self, price: OraclePrice) -> tuple[bytes, ...]:
        """The raw frames behind ``price``, as ``evidence_root`` wants them."""
        return tuple(arrival.frame for arrival in self._arrivals(price))

    def first_received_ns(self, price: OraclePrice) -> int:
        """Real monotonic ns at which the first of the frames behind ``price`` arrived."""
        return min(arrival.monotonic_ns for arrival in self._arrivals(price))

    def last_received_ns(self, price: OraclePrice) -> int:
        """Real monotonic ns at which the last of the frames behind ``price`` arrived."""
        return max(arrival.monotonic_ns for arrival in self._arrivals(price))

    def _arrivals(self, price: OraclePrice) -> list[Arrival]:
        pair = [self.pair[sample.venue].arrival_of(sample) for sample in price.samples]
        return pair + [self.usdt[sample.venue].arrival_of(sample) for sample in price.rates]


class QuoteBoard:
    """Newest wins: one place per venue and symbol, so a slow reader never falls behind."""

    def __init__(self) -> None:
        self._sightings: dict[tuple[str, str], Sighting] = {}

    def get(self, venue: str, symbol: str) -> Sighting | None:
        """The latest sighting of the venue's ``symbol`` (on Binance ``BTC-USDT``)."""
        return self._sightings.get((venue, symbol))

    def snapshot(self, product: str) -> Snapshot:
        """All venues' latest quotes of ``product`` and of USDT-USD."""
        return Snapshot(
            {v: s for v in VENUES if (s := self.get(v, symbol_at(v, product)))},
            {v: s for v in VENUES if (s := self.get(v, USDT_USD))},
        )

    def apply(self, venue: str, events: Iterable[Event], arrival: Arrival) -> bool:
        """Take over the quotes, trades and venue statuses of one frame; whether any was in it."""
        moved = False
        for event in events:
            if isinstance(event, Quote):
                self._put_quote(venue, event, arrival)
            elif isinstance(event, Trade):
                self._put_trade(venue, event, arrival)
            elif isinstance(event, Control) and event.action is Action.VENUE_STATUS:
                self._put_status(venue, event)
            else:
                continue
            moved = True
        return moved

    def _put_quote(self, venue: str, event: Quote, arrival: Arrival) -> None:
        held = self.get(venue, event.symbol)
        if event.last_is_new or held is None:
            last_e8, last = event.last_e8, arrival
            last_received_ms = arrival.now_ms if event.last_is_new else None
        else:
            last_e8, last = held.quote.last_e8, held.last
            last_received_ms = held.quote.last_received_ms
        quote = VenueQuote(
            venue=venue,
            bid_e8=event.bid_e8,
            ask_e8=event.ask_e8,
            last_e8=last_e8,
            received_ms=arrival.now_ms,
            last_received_ms=last_received_ms,
            venue_ts_ms=event.venue_ts_ms,
            transport=arrival.transport,
            tradeable=True,
        )
        self._sightings[venue, event.symbol] = Sighting(quote, arrival, last)

    def _put_trade(self, venue: str, event: Trade, arrival: Arrival) -> None:
        held = self.get(venue, event.symbol)
        if held is None:
            quote = VenueQuote(
                venue=venue,
                bid_e8=0,
                ask_e8=0,
                last_e8=event.last_e8,
                received_ms=arrival.now_ms,
                last_received_ms=arrival.now_ms,
                venue_ts_ms=event.venue_ts_ms,
                transport=arrival.transport,
                tradeable=True,
            )
            self._sightings[venue, event.symbol] = Sighting(quote, arrival, arrival)
            return
        quote = replace(
            held.quote, last_e8=event.last_e8, last_received_ms=arrival.now_ms, tradeable=True
        )
        self._sightings[venue, event.symbol] = replace(held, quote=quote, last=arrival)

    def _put_status(self, venue: str, event: Control) -> None:
        """A closed market closes its quotes; a market that opens again needs a new quote."""
        if event.status == ONLINE:
            return
        for symbol in event.symbols:
            held = self.get(venue, symbol)
            if held:
                quote = replace(held.quote, tradeable=False)
                self._sightings[venue, symbol] = replace(held, quote=quote)
