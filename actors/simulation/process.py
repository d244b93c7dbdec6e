"""An honest member on its machine: it starts from its disk, carries out effects in order, crashes
at any point and starts again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.simulation.machine import Crash, Disk, ForgetfulGuard, SimulatedClock, SimulatedGuard
from protocol.errors import PriceError
from protocol.oracle.member import AggregatorMember, OracleMember
from protocol.oracle.messages import AGGREGATOR, Convict, Effect, Send, Store
from protocol.oracle.observation import ALL_VENUES
from protocol.oracle.price import OraclePrice

if TYPE_CHECKING:
    from actors.simulation.world import World

FRAME_MS = 250
"""A venue frame arrives this often, and with it a look at the price."""


class Process:
    """One address of the network."""

    def __init__(self, world: World, address: int) -> None:
        self.world = world
        self.address = address
        self.disk = Disk()
        self.clock = SimulatedClock()
        self.has_data = True
        self.member: Any = None
        self._stopped = False
        self._missed: list[tuple[int, Any]] = []
        self._wake_ms = -1

    @property
    def is_up(self) -> bool:
        return self.member is not None

    @property
    def now_ms(self) -> int:
        """The time on this machine's clock, unix ms."""
        return self.clock.read(self.world.now_ms)

    def start(self) -> None:
        """Start from what is on disk."""
        self.member = self.make_member()
        self._wake_ms = -1
        for certificate, after_round in self.disk.holes():
            self._run(lambda: self.member.repair(certificate, after_round, self.now_ms))  # noqa: B023
        self.poll()

    def make_member(self) -> Any:
        """A member as the runtime builds it after a restart."""
        raise NotImplementedError

    def crash(self, down_ms: int) -> None:
        """The process is gone, and comes back after ``down_ms``."""
        self.member = None
        self._missed.clear()
        self.world.after(down_ms, self.start)

    def stop(self, stopped_ms: int) -> None:
        """SIGSTOP, and SIGCONT after ``stopped_ms``: messages wait in the socket meanwhile."""
        self._stopped = True
        self.world.after(stopped_ms, self._resume)

    def _resume(self) -> None:
        self._stopped = False
        missed, self._missed = self._missed, []
        for sender, message in missed:
            self.deliver(sender, message)
        self.poll()

    def deliver(self, sender: int, message: Any) -> None:
        """A message arrives."""
        if self._stopped:
            self._missed.append((sender, message))
        elif self.is_up:
            self._run(lambda: self.hear(sender, message))

    def hear(self, sender: int, message: Any) -> list[Effect]:
        """What the member makes of a message."""
        effects: list[Effect] = self.member.receive(sender, message, self.now_ms)
        return effects

    def poll(self) -> None:
        """Time has passed, or a venue frame arrived."""
        if self.is_up and not self._stopped:
            self._run(lambda: self.member.poll(self.now_ms))

    def _run(self, event: Any) -> None:
        try:
            for effect in event():
                self.carry_out(effect)
        except Crash:
            self.crash(self.world.random.randint(100, 2_000))
            return
        self.world.invariants.check_node(self)
        self._plan_wake()

    def carry_out(self, effect: Effect) -> None:
        """One effect, with a crash point before it."""
        self.disk.point()
        if isinstance(effect, Store):
            self.world.invariants.check_certificate(self, effect.certificate)
            self.disk.store(effect.certificate)
        elif isinstance(effect, Convict):
            self.disk.evidence.append(effect.evidence)
        elif isinstance(effect, Send):
            self.notice(effect.message)
            for to in effect.to:
                self.world.send(self.address, to, effect.message)

    def notice(self, message: Any) -> None:
        """Something that is about to be sent."""

    def _plan_wake(self) -> None:
        wake = self.world.now_ms + self.member.wake_ms(self.now_ms) - self.now_ms
        if self.world.now_ms < self._wake_ms <= wake:
            return
        self._wake_ms = wake
        self.world.after(wake - self.world.now_ms, lambda: self._wake(wake))

    def _wake(self, wake: int) -> None:
        if wake == self._wake_ms:
            self.poll()


class OracleProcess(Process):
    """One oracle: a real member, a real key, simulated venues."""

    def make_member(self) -> OracleMember:
        world = self.world
        node = world.oracle_node(self.address, self.make_guard(), self.disk)
        for proof in self.disk.evidence:
            node.receive_evidence(proof)
        self._node = node
        return OracleMember(
            node,
            world.aggregator_node(self.disk),
            self._observe,
            lambda _: self.prices(),
            world.schedule,
            history=self.disk.history,
        )

    def make_guard(self) -> SimulatedGuard:
        """Watched: the invariants see what is about to be signed."""
        kind = ForgetfulGuard if self.world.is_guard_broken else SimulatedGuard
        return kind(
            self.disk,
            lambda *slot: self.world.invariants.check_signature(self, *slot),
        )

    def notice(self, message: Any) -> None:
        if isinstance(message, self._node.observation):
            self.world.invariants.hear(self.address, message)

    def lie(self, price_e8: int) -> int:
        """What it claims to see where its venues show this: the same."""
        return price_e8

    def prices(self) -> dict[bytes, int]:
        """What it claims to see of every feed."""
        if not self.has_data:
            return {}
        world = self.world
        return {
            feed_id: self.lie(world.market.seen_by(self.address, world.elapsed_ms, feed))
            for feed, feed_id in enumerate(world.feeds)
        }

    def _observe(self, round_id: int, now_ms: int) -> Any:
        prices = self.prices()
        if not prices:
            raise PriceError("all venues are silent")
        looks = {feed: (_price(price, now_ms), bytes(32)) for feed, price in prices.items()}
        if len(looks) > 1:
            return self._node.observe(round_id, looks, now_ms)
        ((price, root),) = looks.values()
        return self._node.observe(round_id, price, root, now_ms)


class AggregatorProcess(Process):
    """The dedicated aggregator."""

    def __init__(self, world: World) -> None:
        super().__init__(world, AGGREGATOR)

    def make_member(self) -> AggregatorMember:
        node = self.world.aggregator_node(self.disk)
        for proof in self.disk.evidence:
            node.receive_evidence(proof)
        return AggregatorMember(node, self.world.schedule, history=self.disk.history)


def _price(price_e8: int, now_ms: int) -> OraclePrice:
    return OraclePrice(
        price_e8=price_e8,
        conf_e8=price_e8 // 20_000,
        venues=int(ALL_VENUES),
        flags=0,
        venue_time=now_ms,
        samples=(),
        rates=(),
    )
