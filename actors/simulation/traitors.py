"""Oracles that use their key against the others. Each runs the honest member without a sign guard
and twists what it hears, sees or says."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from actors.simulation.machine import ForgetfulGuard
from actors.simulation.process import OracleProcess
from actors.simulation.scenario import Fault
from protocol.errors import QuorumError
from protocol.oracle.certificate import Certificate
from protocol.oracle.messages import AGGREGATOR, Effect, HistoryAnswer, HistoryRequest, Send
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import Proposal, Vote, propose
from protocol.units import U64_MAX

FLOOD: Final = 150
"""Messages in one burst."""


class Traitor(OracleProcess):
    """What all traitors have in common: a guard that forgets, and no invariant looks at them."""

    def make_guard(self) -> ForgetfulGuard:
        return ForgetfulGuard(self.disk, lambda *_: None)

    def notice(self, message: Any) -> None:
        return

    @property
    def peers(self) -> tuple[int, ...]:
        peers: tuple[int, ...] = self.member.others
        return peers

    def sign(self, signed: SignedObservation, **changes: Any) -> SignedObservation:
        """Its observation with other fields, signed as if it were the first."""
        observation = replace(signed.observation, **changes)
        signature = self.world.signer(self.address)(observation.message)
        return SignedObservation(self.address, observation, signature)


class Liar(Traitor):
    """Always the same few percent off."""

    def lie(self, price_e8: int) -> int:
        return price_e8 * 108 // 100


class Drifter(Traitor):
    """Always just inside delta, upwards."""

    def lie(self, price_e8: int) -> int:
        return price_e8 + price_e8 * (self.world.config.delta_ppm - 350) // 1_000_000


class Extremes(Traitor):
    """0, 1 and the largest price that the encoding holds."""

    def lie(self, price_e8: int) -> int:
        return self.world.random.choice((0, 1, U64_MAX))


class TwoObservations(Traitor):
    """Another price for every listener."""

    def carry_out(self, effect: Effect) -> None:
        if not (isinstance(effect, Send) and isinstance(effect.message, SignedObservation)):
            super().carry_out(effect)
            return
        seen = effect.message
        for to in effect.to:
            shift = self.world.random.choice((0, 0, -2_000_000_000, 2_000_000_000))
            other = self.sign(seen, price_e8=max(1, seen.observation.price_e8 + shift))
            super().carry_out(Send((to,), other))


class TwoReports(Traitor):
    """Signs every proposal that it is shown."""

    def hear(self, sender: int, message: Any) -> list[Effect]:
        effects = super().hear(sender, message)
        if isinstance(message, Proposal):
            effects = [e for e in effects if not (isinstance(e, Send) and e.to == (sender,))]
            effects.append(Send((sender,), self.world.sign_report(self.address, message.report)))
        return effects


class Withholder(Traitor):
    """Shows its observation to one oracle in time and to the others late; never votes."""

    def carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send) and isinstance(effect.message, self.member.node.observation):
            first, *others = self.world.random.sample(self.peers, len(self.peers))
            super().carry_out(Send((first,), effect.message))
            late = Send(tuple(others), effect.message)
            self.world.after(self.world.random.randint(40, 400), lambda: self._send_late(late))
        elif not (isinstance(effect, Send) and isinstance(effect.message, Vote)):
            super().carry_out(effect)

    def _send_late(self, send: Send) -> None:
        if self.is_up:
            super().carry_out(send)


class EarlyProposer(Traitor):
    """Proposes before its turn, and something else to everybody."""

    def hear(self, sender: int, message: Any) -> list[Effect]:
        effects = super().hear(sender, message)
        if isinstance(message, SignedObservation):
            effects += self._burn(message.round)
        return effects

    def _burn(self, round_id: int) -> list[Effect]:
        node, world = self.member.node, self.world
        seen = tuple(node.inbox.held(round_id).values())
        effects: list[Effect] = []
        for index, to in enumerate(self.peers):
            try:
                head = node.chain.head_hash
                time = self.now_ms + index
                report = propose(world.config, world.feeds[0], round_id, seen, head, time)
            except QuorumError:
                return []
            effects.append(Send((to,), Proposal(report, seen, node.last)))
        return effects


class Flooder(Traitor):
    """Bursts of whatever costs the others most: forged signatures, votes for nothing, requests."""

    def poll(self) -> None:
        super().poll()
        if self.is_up and self.world.random.random() < 0.2:
            for _ in range(FLOOD):
                to = self.world.random.choice(self.peers)
                self.world.send(self.address, to, self._junk())

    def _junk(self) -> Any:
        random, world = self.world.random, self.world
        round_id = world.config.round_at(self.now_ms) + random.randint(-20, 20)
        node = self.member.node
        kind = random.randrange(5)
        if kind == 0:
            return Vote(random.randrange(9), round_id, random.randbytes(32), random.randbytes(64))
        if kind == 1:
            return HistoryRequest(random.randint(-1, round_id))
        if kind == 2:
            return HistoryAnswer((random.randbytes(300),))
        held = tuple(node.inbox.held(node.chain.round).values())
        if kind == 3 and node.last is not None:
            forged = ((0, random.randbytes(64)), (1, random.randbytes(64)))
            return Certificate(replace(node.last.report, round=round_id), forged)
        if held:
            return replace(random.choice(held), signature=random.randbytes(64))
        return "no message of this network"


class Replayer(Traitor):
    """Repeats what it has heard, later and to anybody."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._heard: list[Any] = []

    def hear(self, sender: int, message: Any) -> list[Effect]:
        self._heard.append(message)
        again = self.world.random.choice(self._heard)
        to = self.world.random.choice((*self.peers, AGGREGATOR))
        return [*super().hear(sender, message), Send((to,), again)]


TRAITORS: Final[dict[Fault, Callable[..., Traitor]]] = {
    Fault.LIAR: Liar,
    Fault.DRIFTER: Drifter,
    Fault.EXTREMES: Extremes,
    Fault.TWO_OBSERVATIONS: TwoObservations,
    Fault.TWO_REPORTS: TwoReports,
    Fault.WITHHOLDER: Withholder,
    Fault.EARLY: EarlyProposer,
    Fault.FLOODER: Flooder,
    Fault.REPLAYER: Replayer,
}
