"""An oracle: live feeds, keys, a sign guard, and the pure member that decides.

The same program is a plain process (``oracle-vm oracle run``) and the inside of a Ray actor.
Durable: every message is in the sign guard before it is signed, every certificate in the history
before it is told; a restart on the same folder goes on from there.
"""

import asyncio
import os
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors.clock import Clock
from actors.control import Method
from actors.feeds.board import Snapshot
from actors.feeds.connection import Feeds, Host
from actors.journal import SignGuard
from actors.node import ROUNDS_KEPT, Stored
from actors.operator import Operator, load_operator
from actors.program import TIMES, Program, Running
from protocol.errors import PriceError
from protocol.oracle.batch_round import BatchAggregatorNode, BatchOracleNode
from protocol.oracle.exercise import ExerciseNotice, NoticeBook
from protocol.oracle.expiry_signer import ExpirySigner
from protocol.oracle.feed import Feed
from protocol.oracle.heartbeat import Heartbeat, SignedHeartbeat, Status
from protocol.oracle.member import OracleMember
from protocol.oracle.messages import (
    AGGREGATOR,
    Effect,
    ExpiryRefused,
    ExpiryRequest,
    SeenAnswer,
    SeenRequest,
    Send,
)
from protocol.oracle.price import OraclePrice, evidence_root
from protocol.oracle.recollection import Recollection
from protocol.oracle.round import AggregatorNode, OracleNode

ASK_S: Final = 0.05
"""Between two questions to a peer that has not answered."""
UNANSWERED: Final = "peers have not said yet what they have seen of this oracle"
LOOK_NS: Final = 20_000_000
"""Without a new frame, prices are computed again after this long: they go stale."""


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

    def __init__(self, operator: Operator, clock: Clock) -> None:
        super().__init__(operator, clock)
        self._key = self.keys["oracle"]
        self.guard = SignGuard.open(operator.folder / "guard.journal", self._key.public)
        network = operator.network
        self.feeds = self._subscriptions()
        self.sights: OrderedDict[int, Sight] = OrderedDict()
        self._sight_times: deque[list[int]] = deque(maxlen=TIMES)
        self._frames = 0
        self._looked: tuple[int, int, dict[bytes, int]] = (-1, 0, {})
        self.oracle, stand_in = self._nodes()
        for proof in self.convicted:
            self.oracle.receive_evidence(proof)
        self.recollection = Recollection(
            network.config, operator.address, self.oracle.observation, self.guard.require_seq
        )
        notices = NoticeBook(network.config, self.guard)
        self.signer = ExpirySigner(
            network.config, operator.address, self._sign, self.guard, notices
        )
        self.member = OracleMember(
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
        async with self.feeds:
            await super().serve()

    def _subscriptions(self) -> Feeds:
        operator = self.operator
        return Feeds(
            [product(feed) for feed in operator.network.feeds],
            operator.venues,
            venues=None if operator.exchange is None else (operator.exchange,),
            host=Host(self.clock.now_ms),
            changed=self._moved,
        )

    # What the member asks for, on its thread

    def _nodes(self) -> tuple[Any, Any]:
        """The pure nodes: of one feed, or of a batch of several."""
        network, index = self.operator.network, self.operator.address
        config, wait_ms = network.config, network.schedule.collect_ms
        last: Any = self.history.last()
        feed_ids = [feed.feed_id for feed in network.feeds]
        if len(feed_ids) == 1:
            return (
                OracleNode(config, feed_ids[0], index, self._sign, self.guard, last),
                AggregatorNode(config, feed_ids[0], last, wait_ms),
            )
        earlier = self.batches()
        return (
            BatchOracleNode(config, feed_ids, index, self._sign, self.guard, last, earlier),
            BatchAggregatorNode(config, feed_ids, last, wait_ms, earlier),
        )

    def _observe(self, round_id: int, now_ms: int) -> Any:
        """The signed observation of this round; PriceError if the venues show too little, or before
        peers have said what they remember of this oracle."""
        if not self.recollection.is_enough:
            raise PriceError(UNANSWERED)
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

    def _sign(self, message: bytes) -> bytes:
        return self._key.sign(message, secrets.token_bytes(32))

    def _beat(self, status: Status, now_ms: int) -> SignedHeartbeat | None:
        if not self.recollection.is_enough:
            return None  # data may be there: it was not looked at
        config = self.operator.network.config
        beat = Heartbeat(
            config_digest=config.digest, round=config.round_at(now_ms), status=status, time=now_ms
        )
        return SignedHeartbeat(self.operator.address, beat, self._sign(beat.message))

    async def _run(self) -> None:
        asking = asyncio.create_task(self._ask_peers())
        try:
            await super()._run()
        finally:
            asking.cancel()

    async def _ask_peers(self) -> None:
        """Ask every other oracle what it has seen of this one, until it has answered."""
        while missing := self.recollection.missing:
            self.transport.send(tuple(missing & self.transport.connected), SeenRequest())
            await asyncio.sleep(ASK_S)

    def _also(self, sender: int, message: Any, now_ms: int) -> Sequence[Effect] | None:
        if isinstance(message, SeenAnswer):
            self.recollection.receive(sender, message)
            return []
        if isinstance(message, SeenRequest):
            newest = self.oracle.inbox.newest(sender)
            return [Send((sender,), SeenAnswer(newest.encode() if newest else b""))]
        if not self.recollection.is_enough:
            # Without the observations of others nothing is proposed here either.
            if isinstance(message, self.oracle.proposal | self.oracle.observation):
                return []
            if isinstance(message, ExpiryRequest):
                refused = ExpiryRefused(self.operator.address, message.slot, UNANSWERED)
                return [Send((sender,), refused)]
        if isinstance(message, ExpiryRequest):
            reports = self.history.reports(message.slot)
            return [Send((sender,), self.signer.answer(message, reports))]
        if isinstance(message, ExerciseNotice):
            return self._notice(message, now_ms, relayed=sender != AGGREGATOR)
        return None

    def _notice(self, notice: ExerciseNotice, now_ms: int, relayed: bool) -> Sequence[Effect]:
        """Keeps a notice and passes it on to the other oracles, once."""
        if not self.signer.notices.receive(notice, now_ms, relayed=relayed):
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

    def _close(self) -> None:
        super()._close()
        self.guard.close()

    def ready(self) -> tuple[int, int]:
        """How many venues have confirmed the subscription, and how many peers are connected."""
        venues = sum(health.subscribed for health in self.feeds.health.values())
        return venues, len(self.transport.connected)

    def _methods(self) -> dict[str, Method]:
        return super()._methods() | {"sights": self._recent_sights}

    async def _recent_sights(self) -> list[list[int]]:
        """Round, and the times of its sight: last frame, signature (real monotonic ns)."""
        return list(self._sight_times)

    async def status(self) -> dict[str, Any]:
        return await super().status() | {
            "venues": {venue: health.subscribed for venue, health in self.feeds.health.items()}
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
