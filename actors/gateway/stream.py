"""Channels: what each one shows now, and what has changed since a client was told.

    index.ASSET             the certified price, its oracles and signatures
    ticker.INSTRUMENT       a quote of one bitcoin of it
    chain.ASSET.DDMMMYY     quotes of everything that is listed for an expiry
    contracts               all contracts with their margin
    dispute.ID              the dispute of a contract
    nodes                   the oracle network as it is heard here
    pool, pool.details      the pool as people read it, and everything of its newest state

A client gets a snapshot, then changes: merge patches (RFC 7396) with a number that grows by one, so
that a gap is seen. A client that reads too slowly misses no number: what waits for it is thrown
away, and it gets a new snapshot when it reads on. Publishing never waits for anybody.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from actors.gateway import views
from actors.market import Change, Market
from actors.pool_desk import PoolDesk
from protocol.errors import EncodingError, PriceError, ProtocolError
from protocol.options.instrument import Instrument, parse_instrument
from protocol.options.sheet import UNDERLYING, is_slow, quote

WAITING: Final = 8
"""Messages that wait for one client on one channel; more are replaced by a snapshot."""
CHANNELS: Final = (
    "index.ASSET, ticker.INSTRUMENT, chain.ASSET.EXPIRY, contracts, dispute.ID, nodes, pool,"
    " pool.details"
)

_CHAIN: Final = re.compile(rf"chain\.{UNDERLYING}\.([0-9]{{2}}[A-Z]{{3}}[0-9]{{2}})", re.ASCII)

Json = dict[str, Any]


class Client:
    """What waits for one connection: answers to it, and messages by channel. ``stirred`` is set
    when something does, ``emptied`` when nothing does."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.waiting: dict[str, list[bytes]] = {}
        self.stirred = asyncio.Event()
        self.emptied = asyncio.Event()

    def answer(self, message: bytes) -> None:
        """Queue an answer, before all notifications."""
        self.answers.append(message)
        self._stir()

    def put(self, channel: str, message: bytes, snapshot: Callable[[], bytes]) -> None:
        """Queue a message; ``snapshot`` replaces what waits if that is too much."""
        queue = self.waiting.setdefault(channel, [])
        if len(queue) < WAITING:
            queue.append(message)
        else:
            queue[:] = [snapshot()]
        self._stir()

    def take(self) -> list[bytes]:
        """All that waits, answers first; then nothing does."""
        found = self.answers + [m for queue in self.waiting.values() for m in queue]
        self.answers = []
        self.waiting.clear()
        self.stirred.clear()
        self.emptied.set()
        return found

    def _stir(self) -> None:
        self.emptied.clear()
        self.stirred.set()


class Channel:
    """A name, its state, and who listens. ``render`` gives the state; PriceError while there is
    none."""

    def __init__(self, name: str, changes: frozenset[Change], render: Callable[[], Json]) -> None:
        self.name = name
        self.changes = changes
        self.clients: set[Client] = set()
        self._render = render
        self._state: Json = {}
        self._seq = 0

    def join(self, client: Client) -> None:
        """Another listener, with a snapshot."""
        if not self.clients:
            self._refresh()
        self.clients.add(client)
        client.waiting[self.name] = []
        client.put(self.name, self._snapshot(), self._snapshot)

    def publish(self) -> None:
        """Tell everybody what has changed, if anything has."""
        before = self._state
        self._refresh()
        patch = merge_patch(before, self._state)
        if not patch:
            return
        self._seq += 1
        data = {"type": "change", "seq": self._seq, "prev_seq": self._seq - 1, "patch": patch}
        message = self._notification(data)
        for client in self.clients:
            client.put(self.name, message, self._snapshot)

    def _refresh(self) -> None:
        try:
            self._state = self._render()
        except PriceError as error:  # too old, or gone with its expiry
            self._state = {"fault": str(error)}

    def _snapshot(self) -> bytes:
        return self._notification({"type": "snapshot", "seq": self._seq, "data": self._state})

    def _notification(self, data: Json) -> bytes:
        params = {"channel": self.name, "data": data}
        envelope = {"jsonrpc": "2.0", "method": "subscription", "params": params}
        return msgspec.json.encode(envelope)


class Stream:
    """All channels that somebody listens to."""

    def __init__(self, market: Market, pool: PoolDesk | None = None) -> None:
        self._market = market
        self._pool = pool
        self._channels: dict[str, Channel] = {}
        market.changed.append(self._changed)
        if pool is not None:
            pool.changed.append(lambda: self._changed(Change.POOL))

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self._channels)

    def channel(self, name: str) -> Channel:
        """The channel of this name; EncodingError if there is none."""
        return self._channels.get(name) or self._open(name)

    def join(self, client: Client, channel: Channel) -> None:
        """Show it to the client from now on, beginning with a snapshot."""
        channel = self._channels.setdefault(channel.name, channel)
        channel.join(client)

    def leave(self, client: Client, name: str) -> None:
        """Nothing more of the channel for this client."""
        client.waiting.pop(name, None)
        channel = self._channels.get(name)
        if channel is None:
            return
        channel.clients.discard(client)
        if not channel.clients:
            del self._channels[name]

    def _changed(self, change: Change) -> None:
        for channel in list(self._channels.values()):
            if change in channel.changes:
                channel.publish()

    def _open(self, name: str) -> Channel:
        kind, _, rest = name.partition(".")
        price, both = frozenset({Change.PRICE}), frozenset({Change.PRICE, Change.CONTRACT})
        market = self._market
        if kind == "index" and f"{rest}/USD" in {f.symbol for f in market.config.network.feeds}:
            return Channel(name, price, lambda: self._index(rest))
        if kind == "ticker":
            instrument = _instrument(rest)
            return Channel(name, price, lambda: self._ticker(instrument))
        if found := _CHAIN.fullmatch(name):
            return Channel(name, price, lambda: self._chain(found[1]))
        if name == "contracts":
            return Channel(name, both, self._contracts)
        if kind == "dispute" and rest in map(str, market.book.contracts):
            contracts = frozenset({Change.CONTRACT})
            return Channel(name, contracts, lambda: self._dispute(int(rest)))
        if name == "nodes":
            return Channel(name, price, self._nodes)
        pool = self._pool
        if pool is not None and name == "pool":
            return Channel(name, frozenset({Change.POOL}), lambda: pool.state)
        if pool is not None and name == "pool.details":
            return Channel(name, frozenset({Change.POOL}), lambda: pool.details)
        raise EncodingError(f"channel {name[:80]!r}: there is none; write {CHANNELS}")

    def _index(self, asset: str) -> Json:
        found = self._market.indexes.get(f"{asset}/USD")
        if found is None:
            raise PriceError(f"no certified price of {asset} has been heard yet")
        return views.index(self._market, found)

    def _ticker(self, instrument: Instrument) -> Json:
        market = self._market
        conditions = market.conditions()
        quoted = views.priced(quote(instrument, conditions), conditions.spot)
        return quoted | views.moment(conditions)

    def _chain(self, expiry: str) -> Json:
        market = self._market
        conditions = market.conditions()
        days = {views.expiry_name(rows[0]): day for day, rows in market.listed.items()}
        if expiry not in days:
            raise PriceError(f"expiry {expiry[:20]}: not listed now; listed are {', '.join(days)}")
        quotes = views.chain(market, market.sheet(days[expiry]))
        return views.moment(conditions) | {"quotes": quotes}

    def _contracts(self) -> Json:
        return {
            str(contract.id): views.marked(contract, self._market.margin_if_any(contract))
            for contract in self._market.book.contracts.values()
        }

    def _dispute(self, number: int) -> Json:
        found = self._market.disputes.get(number)
        return {} if found is None else views.dispute(number, found)

    def _nodes(self) -> Json:
        return {node.name: views.node(node) for node in self._market.nodes}


def merge_patch(before: Json, after: Json) -> Json:
    """What turns one into the other (RFC 7396); null and nothing are the same in it."""
    patch: Json = {name: None for name in before.keys() - after.keys() if before[name] is not None}
    for name, value in after.items():
        old = before.get(name)
        if old == value:
            continue
        both = isinstance(old, dict) and isinstance(value, dict)
        patch[name] = merge_patch(old, value) if both else value  # type: ignore[arg-type]
    return patch


def _instrument(name: str) -> Instrument:
    try:
        instrument = parse_instrument(name[:80])
    except ProtocolError as error:
        raise EncodingError(f"channel ticker: {error}") from None
    if instrument.underlying != UNDERLYING:
        raise EncodingError(f"channel ticker.{instrument}: options here are on {UNDERLYING}")
    if is_slow(instrument):
        raise EncodingError(
            f"channel ticker.{instrument}: an American knock-out takes too long to price for every"
            " certified price; ask /v1/quote"
        )
    return instrument
