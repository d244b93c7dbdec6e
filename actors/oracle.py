"""An oracle: live feeds, a signer that holds its keys, and the pure member that decides.

The same program is a plain process (``oracle-vm oracle run``) and the inside of a Ray actor.
Durable: every message is in the sign guard before it is signed, every certificate in the history
before it is told; a restart on the same folder goes on from there.
"""

import asyncio
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors.clock import Clock
from actors.control import Method, from_hex
from actors.feeds.board import Snapshot
from actors.feeds.connection import Feeds, Host
from actors.logs import event
from actors.node import ROUNDS_KEPT, Stored
from actors.operator import Operator, load_operator
from actors.program import TIMES, Program, Running
from actors.signer_client import OracleKey, Signer
from protocol.errors import ConfigError, GuardError, PriceError
from protocol.oracle.batch_round import BatchAggregatorNode, BatchOracleNode
from protocol.oracle.epochs import sign_rotation
from protocol.oracle.exercise import ExerciseNotice, NoticeBook
from protocol.oracle.expiry_signer import ExpirySigner
from protocol.oracle.feed import Feed
from protocol.oracle.heartbeat import Heartbeat, SignedHeartbeat, Status
from protocol.oracle.member import OracleMember
from protocol.oracle.messages import (
    AGGREGATOR,
    Effect,
    ExpiryAnswer,
    ExpiryRefused,
    ExpiryRequest,
    SeenAnswer,
    SeenRequest,
    Send,
)
from protocol.oracle.price import OraclePrice, evidence_root
from protocol.oracle.recollection import Recollection
from protocol.oracle.rotation import Rotation
from protocol.oracle.round import AggregatorNode, OracleNode

ASK_S: Final = 0.05
"""Between two questions to a peer that has not answered."""
PATIENCE_S: Final = 5.0
"""Before the log says that peers do not answer."""
LOOK_NS: Final = 20_000_000
"""Without a new frame, prices are computed again after this long: they go stale."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """What an oracle signed for a round and its first feed's price at each venue. Real monotonic
    times: when the first and the last frame behind it arrived, and when it was signed."""

    signed: bytes
    venue_prices_e8: dict[str, int]
    first_frame_ns: int
    last_frame_ns: int
    signed_ns: int


class OracleProgram(Program):
    """The oracle of one operator."""

    guard: OracleKey

    def __init__(self, operator: Operator, clock: Clock, keys: Signer | None = None) -> None:
        super().__init__(operator, clock, keys)
        self.feeds = self._subscriptions()
        self.sights: OrderedDict[int, Sight] = OrderedDict()
        self._sight_times: deque[list[int]] = deque(maxlen=TIMES)
        self._frames = 0
        self._looked: tuple[int, int, dict[bytes, int]] = (-1, 0, {})
        self._heard: dict[bytes, Any] = {}
        self._books: dict[bytes, NoticeBook] = {}
        self._begin()

    def _member(self) -> OracleMember:
        operator, network = self.operator, self.operator.network
        self.guard = self.keys.oracle(operator.publics["oracle"])
        self.oracle, stand_in = self._nodes()
        for proof in self.convicted:
            self.oracle.receive_evidence(proof)
        self.signers = self._signers()
        retired = [self.keys.oracle(key) for key in self._books if key != self.guard.public]
        self.recollection = Recollection(
            network.config, operator.address, self.oracle.observation, self.guard, retired
        )
        self.signer = self.signers[network.config.digest]
        return OracleMember(
            self.oracle,
            stand_in,
            self._observe,
            self._prices,
            network.schedule,
            history=self.history.after,
            heartbeat=self._beat,
        )

    async def serve(self) -> None:
        """Run until cancelled."""
        await self.feeds.start()
        try:
            await super().serve()
        finally:
            await self.feeds.stop()

    async def _epoch(self) -> None:
        if self._subscribed != self.operator.network.feeds:
            await self.feeds.stop()
            self.feeds = self._subscriptions()
            await self.feeds.start()
        await super()._epoch()
        # What is known of an oracle outlives the epoch (see Recollection).
        inbox, keys = self.oracle.inbox, self.operator.network.config.oracles
        newest = {key: inbox.newest(index) for index, key in enumerate(keys)}
        self._heard |= {key: signed for key, signed in newest.items() if signed is not None}

    def _subscriptions(self) -> Feeds:
        operator = self.operator
        self._subscribed = operator.network.feeds
        return Feeds(
            [product(feed) for feed in operator.network.feeds],
            operator.venues,
            venues=None if operator.exchange is None else (operator.exchange,),
            host=Host(self.clock.now_ms),
            changed=self._moved,
        )

    def _signers(self) -> dict[bytes, ExpirySigner]:
        """What signs expiries, by configuration: of this epoch and, as contracts outlive rosters,
        of those before in which this operator was an oracle and whose key it still has."""
        operator, found = self.operator, {}
        for network in (*operator.networks.before(operator.network), operator.network):
            index, config = operator.address_in(network), network.config
            if index is None:
                continue
            try:
                key = self.keys.oracle(config.oracles[index])
            except ConfigError as error:
                event(log, "no expiries", logging.WARNING, epoch=config.epoch, reason=str(error))
                continue
            book = self._books.setdefault(config.oracles[index], NoticeBook(config, key))
            found[config.digest] = ExpirySigner(config, index, key.sign, key, book)
        return found

    # What the member asks for, on its thread

    def _nodes(self) -> tuple[Any, Any]:
        """The pure nodes: of one feed, or of a batch of several."""
        network, index = self.operator.network, self.operator.address
        config, wait_ms = network.config, network.schedule.collect_ms
        epochs = self.operator.networks.epochs
        last: Any = self.history.last()
        key = self.guard
        feed_ids = [feed.feed_id for feed in network.feeds]
        if len(feed_ids) == 1:
            return (
                OracleNode(config, feed_ids[0], index, key.sign, key, last, epochs),
                AggregatorNode(config, feed_ids[0], last, wait_ms, epochs),
            )
        earlier = self.batches()
        return (
            BatchOracleNode(config, feed_ids, index, key.sign, key, last, earlier, epochs),
            BatchAggregatorNode(config, feed_ids, last, wait_ms, earlier, epochs),
        )

    def _observe(self, round_id: int, now_ms: int) -> Any:
        """The signed observation of this round; PriceError if the venues show too little, or before
        peers have said what they remember of this oracle."""
        if self.keys.fault is not None:
            raise PriceError(self.keys.fault)
        if not self.recollection.is_enough:
            raise PriceError(self.recollection.fault)
        looks = {feed: self._look(feed, now_ms) for feed in self.operator.network.feeds}
        seen = {feed: look for feed, look in looks.items() if not isinstance(look, PriceError)}
        if not seen:
            raise next(look for look in looks.values() if isinstance(look, PriceError))
        evidence = {
            feed.feed_id: (price, evidence_root(snapshot.frames(price)))
            for feed, (snapshot, price) in seen.items()
        }
        if len(looks) == 1:
            [(price, root)] = evidence.values()
            signed = self.oracle.observe(round_id, price, root, now_ms)
        else:
            signed = self.oracle.observe(round_id, evidence, now_ms)
        self._remember(round_id, signed.encode(), list(seen.values()))
        return signed

    def _look(self, feed: Feed, now_ms: int) -> tuple[Snapshot, OraclePrice] | PriceError:
        snapshot = self.feeds.board.snapshot(product(feed))
        try:
            return snapshot, snapshot.price(now_ms, self.operator.network.config.min_venues)
        except PriceError as error:
            return error

    def _prices(self, now_ms: int) -> Mapping[bytes, int]:
        """What the venues show now; computed once a frame."""
        frames, now_ns = self._frames, time.monotonic_ns()
        seen, at_ns, prices = self._looked
        if seen != frames or now_ns - at_ns > LOOK_NS:
            looks = ((feed, self._look(feed, now_ms)) for feed in self.operator.network.feeds)
            prices = {
                feed.feed_id: look[1].price_e8
                for feed, look in looks
                if not isinstance(look, PriceError)
            }
            self._looked = frames, now_ns, prices
        return prices

    def _remember(
        self, round_id: int, encoded: bytes, looks: Sequence[tuple[Snapshot, OraclePrice]]
    ) -> None:
        price = looks[0][1]
        self.sights[round_id] = Sight(
            encoded,
            {sample.venue: sample.price_e8 for sample in price.samples},
            min(snapshot.first_received_ns(price) for snapshot, price in looks),
            max(snapshot.last_received_ns(price) for snapshot, price in looks),
            time.monotonic_ns(),
        )
        while len(self.sights) > ROUNDS_KEPT:
            self.sights.popitem(last=False)
        sight = self.sights[round_id]
        self._sight_times.append([round_id, sight.last_frame_ns, sight.signed_ns])

    def _beat(self, status: Status, now_ms: int) -> SignedHeartbeat | None:
        if not self.recollection.is_enough:
            return None  # data may be there: it was not looked at
        if self.keys.fault is not None:
            return None
        config = self.operator.network.config
        beat = Heartbeat(
            config_digest=config.digest, round=config.round_at(now_ms), status=status, time=now_ms
        )
        return SignedHeartbeat(self.operator.address, beat, self.guard.beat(beat))

    async def _run(self) -> None:
        asking = asyncio.create_task(self._ask_peers())
        try:
            await super()._run()
        finally:
            asking.cancel()

    async def _ask_peers(self) -> None:
        """Ask every other oracle what it has seen of this one, until it has answered."""
        await self.node.do(lambda: self.recollection.resume(self.clock.now_ms()))
        began_s, told = time.monotonic(), None
        while missing := self.recollection.missing:
            self.transport.send(tuple(missing & self.transport.connected), SeenRequest())
            await asyncio.sleep(ASK_S)
            fault = self.recollection.fault
            if fault != told and time.monotonic() - began_s > PATIENCE_S:
                event(log, "waiting", logging.WARNING, reason=fault or "enough have answered")
                told = fault

    def _also(self, sender: int, message: Any, now_ms: int) -> Sequence[Effect] | None:
        if isinstance(message, SeenAnswer):
            self.recollection.receive(sender, message, now_ms)
            return []
        if isinstance(message, SeenRequest):
            key = self.operator.network.config.oracles[sender]
            newest = self.oracle.inbox.newest(sender) or self._heard.get(key)
            return [Send((sender,), SeenAnswer(newest.encode() if newest else b""))]
        if not self.recollection.is_enough:
            # Without the observations of others nothing is proposed here either.
            if isinstance(message, self.oracle.proposal | self.oracle.observation):
                return []
            if isinstance(message, ExpiryRequest):
                why = str(self.recollection.fault)
                refused = ExpiryRefused(self.operator.address, message.slot, why)
                return [Send((sender,), refused)]
        if isinstance(message, ExpiryRequest):
            return [Send((sender,), self._expiry(message))]
        if isinstance(message, ExerciseNotice):
            return self._notice(message, now_ms, relayed=sender != AGGREGATOR)
        return None

    def _expiry(self, request: ExpiryRequest) -> ExpiryAnswer | ExpiryRefused:
        signer = self.signers.get(request.slot.config_digest)
        if signer is None:
            why = "this oracle has no key of that epoch; ask the others of its roster"
            return ExpiryRefused(self.operator.address, request.slot, why)
        return signer.answer(request, self.history.reports(request.slot))

    def _notice(self, notice: ExerciseNotice, now_ms: int, relayed: bool) -> Sequence[Effect]:
        """Keeps a notice and passes it on to the other oracles, once."""
        books = self._books.values()
        news = [book.receive(notice, now_ms, relayed=relayed) for book in books]
        if not any(news):
            return []
        peers = tuple(address for address in self.member.others if address != AGGREGATOR)
        return [Send(peers, notice)]

    def _moved(self) -> None:
        self._frames += 1
        self.node.stir()

    def _stored(self, stored: Stored) -> None:
        sight = self.sights.get(stored.round)
        if sight is not None:
            self.meters.latency.observe((stored.at_ns - sight.last_frame_ns) / 1e9)

    def _measure(self) -> None:
        super()._measure()
        self.meters.exercises(self.signer.notices)
        self.meters.venues(self.feeds.health, self.clock.now_ms())

    def ready(self) -> tuple[int, int]:
        """How many venues have confirmed the subscription, and how many peers are connected."""
        venues = sum(health.subscribed for health in self.feeds.health.values())
        return venues, len(self.transport.connected)

    def _methods(self) -> dict[str, Method]:
        return super()._methods() | {
            "sights": self._recent_sights,
            "sign_rotation": self._rotation_signature,
        }

    async def _rotation_signature(self, rotation: str) -> str:
        """This operator's signature (hex) of a rotation (hex of ROT1)."""
        decoded = Rotation.decode(from_hex("rotation", rotation))
        signature: bytes = await self.node.do(lambda: self._sign_rotation(decoded))
        return signature.hex()

    def _sign_rotation(self, rotation: Rotation) -> bytes:
        networks = self.operator.networks
        index = self.operator.address_in(networks.newest)
        if index is None:
            epoch = networks.newest.config.epoch
            raise ConfigError(f"rotation: {self.operator.name} is not an oracle of epoch {epoch}")
        if not self.recollection.is_enough:
            raise GuardError(f"rotation: {self.recollection.fault}")
        public = networks.newest.config.oracles[index]
        key, now_ms = self.keys.oracle(public), self.clock.now_ms()
        return sign_rotation(networks.epochs, rotation, public, key.sign, key, now_ms)[1]

    async def _recent_sights(self) -> list[list[int]]:
        """Round, and the times of its sight: last frame, signature (real monotonic ns)."""
        return list(self._sight_times)

    async def status(self) -> dict[str, Any]:
        return await super().status() | {
            "venues": {venue: health.subscribed for venue, health in self.feeds.health.items()},
            "waits": self.recollection.fault,
            "floor": self.guard.floor,
        }


def product(feed: Feed) -> str:
    """The feeds' name of a product: ``BTC-USD`` for the feed ``BTC/USD``."""
    return feed.symbol.replace("/", "-")


class Oracle:
    """The Ray actor around an oracle; it is given a path, never a key."""

    def __init__(self, operator_file: Path, clock: Clock) -> None:
        self._program = OracleProgram(load_operator(operator_file), clock)
        operator = self._program.operator
        self._running = Running(self._program, operator.folder, operator.log)

    async def pid(self) -> int:
        """The operating system's process id."""
        return os.getpid()

    async def ready(self) -> tuple[int, int]:
        """How many venues have confirmed the subscription, and how many peers are connected."""
        return self._program.ready()

    async def sight(self, round_id: int) -> Sight | None:
        """What this oracle signed for a round, if it has."""
        return self._program.sights.get(round_id)

    async def exercised(self, contract: bytes) -> int | None:
        """The round in which it settles the contract of that id; None while nothing is decided."""
        return self._program.signer.notices.exercise_round(contract)
