"""A recording of the venues, played to pure oracles in virtual time: the same certificates again.

Three oracles with public keys and an aggregator, in one process, without clock, disk or randomness.
What they sign is worth nothing; that it is the same twice shows that a certificate follows from the
frames.
"""

from collections.abc import Callable, Iterator
from typing import Final

from actors.feeds.adapter import Adapter, Memory
from actors.feeds.board import Arrival, QuoteBoard
from actors.feeds.events import Event, Quote
from actors.feeds.http_reply import HttpReply
from actors.feeds.offset import VenueClock
from actors.feeds.products import ADAPTERS, symbols_at
from actors.feeds.recording import Header, Heard
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import GuardError, ProtocolError
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.oracle.price import REST_AGE_MS, OraclePrice, evidence_root
from protocol.oracle.proposal import Refusal, Vote
from protocol.oracle.round import AggregatorNode, OracleNode

REPLAY_KEYS: Final = tuple(
    SecretKey(tagged_hash("btcfi/replay/key", bytes([index]))) for index in range(3)
)
"""Everybody knows them."""
REPLAY_GENESIS: Final = tagged_hash("btcfi/replay/genesis", b"")
"""No network's genesis: what these keys sign is valid nowhere."""
NO_RANDOMNESS: Final = bytes(32)
CONNECTIONS: Final = 2
"""Connections of one venue that may be open at once."""


def replay_config(interval_ms: int, min_venues: int) -> OracleConfig:
    """The configuration that replayed certificates are of; ConfigError names a wrong field."""
    return OracleConfig(
        genesis_hash=REPLAY_GENESIS,
        epoch=0,
        oracles=tuple(key.public for key in REPLAY_KEYS),
        quorum=2,
        faults=1,
        interval_ms=interval_ms,
        delta_ppm=5_000,
        max_move_ppm=100_000,
        max_age_ms=5_000,
        future_ms=1_000,
        min_venues=min_venues,
    )


class Replay:
    """Plays frames; a round of every product begins at each multiple of ``interval_ms``.

    ``warn`` hears why a round gave no certificate.
    """

    def __init__(self, header: Header, interval_ms: int, warn: Callable[[str], None]) -> None:
        self.config = replay_config(interval_ms, min(2, len(header.venues)))
        self._market = _Market(header)
        self._feeds = {
            product: _Network(self.config, Feed(product.replace("-", "/")))
            for product in header.products
        }
        self._warn = warn
        self._round: int | None = None
        self._heard_ms = 0

    def play(self, rows: Iterator[Heard]) -> Iterator[tuple[str, Certificate]]:
        """Each certificate, with its product, in the order of the rounds."""
        for heard in rows:
            yield from self._rounds_until(heard.at_ms)
            self._market.hear(heard)
            self._heard_ms = heard.at_ms

    def _rounds_until(self, at_ms: int) -> Iterator[tuple[str, Certificate]]:
        """The rounds that begin after the frame before and not after ``at_ms``."""
        newest = self.config.round_at(at_ms)
        if self._round is None:
            self._round = newest
        # Beyond the age limit of every quote a round is certain to fail: a gap costs nothing.
        last = min(newest, self.config.round_at(self._heard_ms + REST_AGE_MS))
        for round_id in range(self._round + 1, last + 1):
            for product, network in self._feeds.items():
                try:
                    yield product, self._certify(product, network, round_id)
                except ProtocolError as error:
                    self._warn(f"{product} round {round_id}: {error}")
        self._round = max(self._round, newest)

    def _certify(self, product: str, network: "_Network", round_id: int) -> Certificate:
        now_ms = self.config.starts_ms(round_id)
        snapshot = self._market.board.snapshot(product)
        price = snapshot.price(now_ms, self.config.min_venues)
        return network.run(round_id, price, evidence_root(snapshot.frames(price)), now_ms)


class _Market:
    """The recorded frames on a board, as the connections put them there."""

    def __init__(self, header: Header) -> None:
        self.board = QuoteBoard()
        self._header = header
        self._memories: dict[str, Memory] = {}
        self._adapters: dict[str, dict[int, Adapter]] = {}

    def hear(self, heard: Heard) -> None:
        """One row; one of a venue that the header does not need changes nothing."""
        symbols = (
            symbols_at(heard.venue, self._header.products, self._header.venues)
            if heard.venue in ADAPTERS
            else ()
        )
        if not symbols:
            return
        adapter = self._adapter(heard, symbols)
        adapter.memory.clock = VenueClock(heard.offset_ms)
        arrival = Arrival(heard.frame, heard.at_ms, heard.at_ms * 10**6, heard.transport)
        self.board.apply(heard.venue, self._events(adapter, heard), arrival)

    def _events(self, adapter: Adapter, heard: Heard) -> list[Event]:
        if heard.transport == "ws":
            return adapter.parse(heard.frame, heard.at_ms)
        asked = heard.symbols[0] if heard.symbols else None
        events = adapter.parse_reply(HttpReply(200, heard.frame), heard.at_ms, asked)
        return [e for e in events if not isinstance(e, Quote) or e.symbol in heard.symbols]

    def _adapter(self, heard: Heard, symbols: tuple[str, ...]) -> Adapter:
        memory = self._memories.setdefault(heard.venue, Memory())
        adapters = self._adapters.setdefault(heard.venue, {})
        if heard.connection not in adapters:
            adapters[heard.connection] = ADAPTERS[heard.venue](symbols, memory)
            ended = [number for number in adapters if 0 < number <= heard.connection - CONNECTIONS]
            for number in ended:
                del adapters[number]
        return adapters[heard.connection]


class _Network:
    """Three oracles and an aggregator of one feed, who hear each other at once."""

    def __init__(self, config: OracleConfig, feed: Feed) -> None:
        self._oracles = [_oracle(config, feed, index) for index in range(len(config.oracles))]
        self._aggregator = AggregatorNode(config, feed.feed_id)

    def run(self, round_id: int, price: OraclePrice, root: bytes, now_ms: int) -> Certificate:
        """One round, from observation to certificate; QuorumError if there is none."""
        for signed in [node.observe(round_id, price, root, now_ms) for node in self._oracles]:
            self._aggregator.receive_observation(signed, now_ms)
            for node in self._oracles:
                node.receive_observation(signed, now_ms)
        proposal = self._aggregator.propose(round_id, now_ms)
        if proposal is None:
            raise self._aggregator.failure(round_id)
        certificate: Certificate | None = None
        for index, node in enumerate(self._oracles):
            answer = node.receive_proposal(proposal, now_ms)
            if isinstance(answer, Refusal):
                self._aggregator.receive_refusal(index, round_id, answer, now_ms)
            elif isinstance(answer, Vote) and certificate is None:
                counted = self._aggregator.receive_vote(answer)
                certificate = counted if isinstance(counted, Certificate) else None
        if certificate is None:
            raise self._aggregator.failure(round_id)
        for node in self._oracles:
            node.receive_certificate(certificate)
        return certificate


def _oracle(config: OracleConfig, feed: Feed, index: int) -> OracleNode:
    key = REPLAY_KEYS[index]
    return OracleNode(
        config, feed.feed_id, index, lambda message: key.sign(message, NO_RANDOMNESS), _Guard()
    )


class _Guard:
    """A sign guard that forgets with the process: these keys guard nothing."""

    def __init__(self) -> None:
        self._seq = 0
        self._newest: dict[bytes, tuple[int, bytes]] = {}
        self._once: dict[bytes, bytes] = {}

    def next_seq(self) -> int:
        """One more each time."""
        self._seq += 1
        return self._seq

    def record(
        self, kind: bytes, config_digest: bytes, feed_id: bytes, round_id: int, message: bytes
    ) -> None:
        """Rounds ascend, and the message of a round stays."""
        lane = kind + config_digest + feed_id
        newest, held = self._newest.get(lane, (-1, b""))
        if round_id < newest or (round_id == newest and message != held):
            raise GuardError(f"round {round_id} was signed")
        self._newest[lane] = (round_id, message)

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        """The newest message of a lane."""
        newest = self._newest.get(kind + config_digest + feed_id)
        return None if newest is None else newest[1]

    def record_once(self, kind: bytes, slot: bytes, message: bytes) -> None:
        """The first message of a slot stays."""
        if self._once.setdefault(kind + slot, message) != message:
            raise GuardError("another message was signed for this slot")

    def recall_once(self, kind: bytes, slot: bytes) -> bytes | None:
        """The message of a slot."""
        return self._once.get(kind + slot)
