"""A network of oracle members and an aggregator in virtual time, for tests of their behaviour."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from protocol.crypto.keys import SecretKey
from protocol.errors import PriceError
from protocol.oracle.certificate import Certificate
from protocol.oracle.evidence import Evidence
from protocol.oracle.heartbeat import Heartbeat, SignedHeartbeat, Status
from protocol.oracle.member import AggregatorMember, OracleMember
from protocol.oracle.messages import (
    AGGREGATOR,
    HISTORY_LIMIT,
    Convict,
    Effect,
    GivenUp,
    Send,
    Store,
)
from protocol.oracle.observation import SignedObservation
from protocol.oracle.round import AggregatorNode, OracleNode
from protocol.oracle.schedule import Schedule
from tests.builders.oracles import AUX, FEED_ID, KEYS, PRICE, T0, MemoryGuard, make_config, price_of

LINK_MS = 3
SCHEDULE = Schedule(interval_ms=1_000)

Drop = Callable[[int, int, Any], bool]


class Members:
    """``prices`` maps an oracle to what it sees, None for no data; ``dead`` hear and say nothing;
    ``drop(sender, to, message)`` loses messages; ``stored`` maps an address to what it kept."""

    def __init__(self, n: int = 3, schedule: Schedule = SCHEDULE, **changes: Any) -> None:
        self.config = make_config(n, **changes)
        self.schedule = schedule
        self.now_ms = T0
        self.prices: dict[int, int | None] = {i: PRICE + i for i in range(n)}
        self.offset_ms: dict[int, int] = {}
        self.dead: set[int] = set()
        self.drop: Drop = lambda *_: False
        self.said: list[tuple[int, int, Any]] = []
        self.given_up: list[GivenUp] = []
        self.guards = [MemoryGuard() for _ in range(n)]
        self.stored: dict[int, list[Certificate]] = {a: [] for a in (*range(n), AGGREGATOR)}
        self.evidence: dict[int, list[Evidence]] = {a: [] for a in self.stored}
        self.members: dict[int, Any] = {}
        self._queue: list[tuple[int, int, int, int, Any]] = []
        self._wakes: set[tuple[int, int]] = set()
        self._order = count()
        for address in self.stored:
            self.start(address)

    def start(self, address: int) -> None:
        """A process of this address starts from its disk."""
        last = self.stored[address][-1] if self.stored[address] else None
        proposing = AggregatorNode(self.config, FEED_ID, last, self.schedule.collect_ms)
        history = self._history(address)
        if address == AGGREGATOR:
            member: Any = AggregatorMember(proposing, self.schedule, history=history)
        else:
            node = OracleNode(
                self.config, FEED_ID, address, _signer(KEYS[address]), self.guards[address], last
            )
            member = OracleMember(
                node,
                proposing,
                lambda round_id, now: self._observe(address, round_id, now),
                lambda _: self._seen(address),
                self.schedule,
                history=history,
                heartbeat=lambda status, now: self._heartbeat(address, status, now),
            )
        self.members[address] = member
        for proof in self.evidence[address]:
            member.node.receive_evidence(proof)
        self._at(self.now_ms, address, -1, None)

    def node(self, address: int) -> Any:
        return self.members[address].node

    def run(self, ms: int) -> None:
        """Let time pass."""
        end = self.now_ms + ms
        while self._queue and self._queue[0][0] <= end:
            self.now_ms, _, address, sender, message = heapq.heappop(self._queue)
            self._wakes.discard((self.now_ms, address))
            if address not in self.dead:
                self._step(address, sender, message)
        self.now_ms = end

    def stir(self) -> None:
        """A venue frame reaches every oracle."""
        for address in self.members:
            self._at(self.now_ms, address, -1, None)

    def tell(self, sender: int, to: int, message: Any) -> list[Effect]:
        """``message`` arrives now; its effects are carried out and returned."""
        effects: list[Effect] = self.members[to].receive(sender, message, self.clock(to))
        self._carry_out(to, effects)
        return effects

    def clock(self, address: int) -> int:
        return self.now_ms + self.offset_ms.get(address, 0)

    def rounds(self, address: int = 0) -> list[int]:
        """The rounds that an address has stored, counted from that of T0, in that order."""
        return [c.round - self.config.round_at(T0) for c in self.stored[address]]

    def _step(self, address: int, sender: int, message: Any) -> None:
        member, now = self.members[address], self.clock(address)
        effects = member.poll(now) if message is None else member.receive(sender, message, now)
        self._carry_out(address, effects)
        wake = member.wake_ms(now)
        assert wake > now
        self._at(self.now_ms + wake - now, address, -1, None)

    def _carry_out(self, address: int, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Store):
                self.stored[address].append(effect.certificate)
            elif isinstance(effect, Convict):
                self.evidence[address].append(effect.evidence)
            elif isinstance(effect, GivenUp):
                self.given_up.append(effect)
            elif isinstance(effect, Send):
                for to in effect.to:
                    self.said.append((address, to, effect.message))
                    if not self.drop(address, to, effect.message):
                        self._at(self.now_ms + LINK_MS, to, address, effect.message)

    def _at(self, ms: int, address: int, sender: int, message: Any) -> None:
        if message is None:
            if (ms, address) in self._wakes:
                return
            self._wakes.add((ms, address))
        heapq.heappush(self._queue, (ms, next(self._order), address, sender, message))

    def _seen(self, oracle: int) -> dict[bytes, int]:
        price = self.prices[oracle]
        return {} if price is None else {FEED_ID: price}

    def _observe(self, oracle: int, round_id: int, now_ms: int) -> SignedObservation:
        price = self.prices[oracle]
        if price is None:
            raise PriceError("all venues are silent")
        signed: SignedObservation = self.node(oracle).observe(
            round_id, price_of(price), bytes(32), now_ms
        )
        return signed

    def _heartbeat(self, oracle: int, status: Status, now_ms: int) -> SignedHeartbeat:
        beat = Heartbeat(
            config_digest=self.config.digest,
            round=self.config.round_at(now_ms),
            status=status,
            time=now_ms,
        )
        return SignedHeartbeat(oracle, beat, KEYS[oracle].sign(beat.message, AUX))

    def _history(self, address: int) -> Callable[[int], list[bytes]]:
        def after(round_id: int) -> list[bytes]:
            kept = sorted(self.stored[address], key=lambda c: c.round)
            return [c.encode() for c in kept if c.round > round_id][:HISTORY_LIMIT]

        return after


def _signer(key: SecretKey) -> Callable[[bytes], bytes]:
    return lambda message: key.sign(message, AUX)
