"""The two kinds of members: an oracle, which also takes over proposing, and the aggregator."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.errors import GuardError, PriceError, QuorumError
from protocol.oracle.heartbeat import SignedHeartbeat, Status
from protocol.oracle.inbox import oldest_round
from protocol.oracle.messages import AGGREGATOR, Effect, GivenUp, Refused, Send
from protocol.oracle.peer import History, Peer
from protocol.oracle.proposal import Reason, Refusal, Vote
from protocol.oracle.schedule import Schedule

LOOK_MS: Final = 1_000
"""A clock that was set is noticed within this time."""
PROPOSALS: Final = 4
"""A sender's proposals for one round that are looked at."""
UNDER_WAY: Final = 2
"""An oracle opens no further round while so many that it has observed are under way: one is being
certified and one observed. With short intervals a network would fall behind otherwise."""

Heartbeat = Callable[[Status, int], SignedHeartbeat | None]
"""Signs why this oracle does not observe, or says nothing; the second argument is now, unix ms."""


def _no_history(_: int) -> tuple[bytes, ...]:
    return ()


@dataclass(slots=True)
class _Round:
    """A round without a certificate, first heard of at ``opened_ms``."""

    opened_ms: int
    waiting: dict[int, Any] = field(default_factory=dict)
    """A proposal of each sender whose turn has not come."""
    heard: Counter[int] = field(default_factory=Counter)


class OracleMember(Peer):
    """One oracle. It observes due rounds, judges a proposal once its sender's turn has come, and
    proposes when its own turn comes and nobody has published a certificate."""

    def __init__(
        self,
        node: Any,
        stand_in: Any,
        observe: Callable[[int, int], Any],
        prices: Callable[[int], Mapping[bytes, int]],
        schedule: Schedule,
        *,
        history: History = _no_history,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """``node`` and ``stand_in`` are an oracle and an aggregator node of the same kind.
        ``observe(round, now_ms)`` is ``node.observe`` of what the venues show; PriceError if that
        is nothing. ``prices(now_ms)`` are feed id -> 10^-8 USD as this oracle sees them now; a feed
        without data is missing."""
        super().__init__(node, stand_in, node.index, schedule, history)
        # What the oracle has verified, its stand-in need not verify again.
        stand_in.inbox, stand_in.chain = node.inbox, node.chain
        self._observe_now = observe
        self._prices = prices
        self._heartbeat = heartbeat
        self._rounds: dict[int, _Round] = {}
        self._observed = -1
        self._under_way: dict[int, int] = {}
        """When the newest rounds were observed, until they are certified or have had their turn."""
        self._seen: Mapping[bytes, int] = {}
        self._signed = -1
        self._signed_ms = 0
        self._beaten = -1

    # Time

    def poll(self, now_ms: int) -> list[Effect]:
        self._forget(now_ms)
        self._look(now_ms)
        return super().poll(now_ms)

    def wake_ms(self, now_ms: int) -> int:
        config, chain = self.node.config, self.node.chain
        wakes = [
            now_ms + LOOK_MS,
            self.schedule.next_boundary_ms(now_ms),
            self._signed_ms + self.schedule.takeover_ms,
            *(at_ms + self.schedule.takeover_ms for at_ms in self._under_way.values()),
        ]
        if self._observed > chain.round or self.schedule.is_overdue(now_ms, chain.round):
            wakes.append(config.starts_ms(config.round_at(now_ms) + 1))
        for round_id, state in self._rounds.items():
            wakes += [self._turn_ms(sender, round_id, now_ms) for sender in state.waiting]
        wakes += self._proposer.wakes_ms(self._turns(now_ms), now_ms)
        wakes += self._catch_up.wakes_ms()
        return min(wake for wake in wakes if wake > now_ms)

    def _advance(self, now_ms: int) -> list[Effect]:
        self._forget(now_ms)
        effects: list[Effect] = []
        for round_id in self._unobserved(now_ms):
            effects += self._observe(round_id, now_ms)
        for round_id, state in sorted(self._rounds.items()):
            for sender in sorted(state.waiting):
                if self._turn_ms(sender, round_id, now_ms) <= now_ms:
                    effects += self._judge(sender, state.waiting.pop(sender), now_ms)
        for proposal in self._proposer.propose(self._turns(now_ms), now_ms):
            effects += self._show(proposal, now_ms)
        return effects

    def _forget(self, now_ms: int) -> None:
        oldest = max(oldest_round(self.node.config, now_ms), self.node.chain.round + 1)
        self._rounds = {r: state for r, state in self._rounds.items() if r >= oldest}
        # The clock may have been set back.
        for state in self._rounds.values():
            state.opened_ms = min(state.opened_ms, now_ms)
        self._signed_ms = min(self._signed_ms, now_ms)
        self._under_way = {
            round_id: at_ms
            for round_id, at_ms in self._under_way.items()
            if round_id > self.node.chain.round and 0 <= now_ms - at_ms < self.schedule.takeover_ms
        }

    # Observing

    def _look(self, now_ms: int) -> None:
        """Opens the round that is due by the schedule or by a price."""
        chain, current = self.node.chain, self.node.config.round_at(now_ms)
        first = max(self._observed, chain.round) + 1
        if len(self._under_way) >= UNDER_WAY:
            return
        if first <= current and self.schedule.is_overdue(now_ms, chain.round):
            self._open(current, now_ms)
        elif first <= current + 1 and self._is_deviating(
            self._prices(now_ms), is_early=first > current
        ):
            self._open(max(first, current), now_ms)

    def _is_deviating(self, prices: Mapping[bytes, int], *, is_early: bool) -> bool:
        """Whether a price has left the certified one. An oracle that always sees another price than
        the others opens a round only when what it sees changes; so does one whose round is under
        way. A round that had its turn in vain is followed by another."""
        chain = self.node.chain
        if not self.schedule.deviates(prices, chain.last_prices):
            return False
        if self.node.awaits_confirmation and not is_early:
            return True
        if not self._seen or (self._observed > chain.round and not self._under_way):
            return True
        return self.schedule.deviates(prices, self._seen)

    def _open(self, round_id: int, now_ms: int) -> None:
        self._rounds.setdefault(round_id, _Round(now_ms))

    def _unobserved(self, now_ms: int) -> list[int]:
        """The open rounds that this oracle can still observe, or already can."""
        current = self.node.config.round_at(now_ms)
        first = max(self._observed, current - 2) + 1
        return sorted(r for r in self._rounds if first <= r <= current + 1)

    def _observe(self, round_id: int, now_ms: int) -> list[Effect]:
        try:
            signed = self._observe_now(round_id, now_ms)
        except GuardError as error:
            self._observed = max(self._observed, round_id)
            self.node.inbox.refuse(Refusal(Reason.GUARD, str(error)))
            return self._beat(Status.GUARD, round_id, now_ms)
        except PriceError:
            return self._beat(Status.NO_DATA, round_id, now_ms)
        except QuorumError as error:
            return self._refuse(Reason.OWN, str(error))
        self._observed, self._seen = round_id, signed.prices
        self._under_way[round_id] = now_ms
        self.proposing.receive_observation(signed, now_ms)
        return [Send(self.others, signed)]

    def _beat(self, status: Status, round_id: int, now_ms: int) -> list[Effect]:
        if self._heartbeat is None or round_id <= self._beaten:
            return []
        self._beaten = round_id
        beat = self._heartbeat(status, now_ms)
        return [] if beat is None else [Send(self.others, beat)]

    # Messages

    def _receive(self, sender: int, message: Any, now_ms: int) -> list[Effect]:
        if isinstance(message, self.node.proposal):
            return self._receive_proposal(sender, message, now_ms)
        return super()._receive(sender, message, now_ms)

    def _receive_observation(self, signed: Any, now_ms: int) -> None:
        is_new = signed.round > self.node.chain.round
        if self.node.receive_observation(signed, now_ms) is None and is_new:
            self.proposing.receive_observation(signed, now_ms)
            self._open(signed.round, now_ms)

    def _receive_proposal(self, sender: int, proposal: Any, now_ms: int) -> list[Effect]:
        """Learns from what it carries at once; it is judged when its sender's turn has come."""
        effects: list[Effect] = []
        for certificate in proposal.certificates:
            effects += self._learn(sender, certificate, now_ms)
        for signed in proposal.observations[: len(self.node.config.oracles)]:
            self._receive_observation(signed, now_ms)
        state = self._rounds.get(proposal.round)
        if state is None:  # certified, too old, or nothing valid in it: the node says what
            return effects + self._judge(sender, proposal, now_ms)
        state.heard[sender] += 1
        if state.heard[sender] > PROPOSALS:
            return effects + self._refuse(Reason.FLOOD, f"{sender} proposes again and again")
        state.waiting[sender] = proposal
        return effects

    def _judge(self, sender: int, proposal: Any, now_ms: int) -> list[Effect]:
        answer = self.node.receive_proposal(proposal, now_ms)
        if isinstance(answer, Vote) and answer.round > self._signed:
            self._signed, self._signed_ms = answer.round, now_ms
        if sender == self.address:
            return self._receive_vote(answer) if isinstance(answer, Vote) else []
        if isinstance(answer, Refusal):
            answer = Refused(self.address, proposal.round, answer)
        return [Send((sender,), answer)]

    def _adopt(self, certificate: Any) -> None:
        super()._adopt(certificate)
        if self.node.chain.holds(certificate):
            self.proposing.receive_certificate(certificate)

    # Proposing

    def _turn_ms(self, proposer: int, round_id: int, now_ms: int) -> int:
        burnt = (
            self.node.chain.round < self._signed < round_id
            and now_ms - self._signed_ms >= self.schedule.takeover_ms
        )
        oracles = len(self.node.config.oracles)
        wait = self.schedule.turn_ms(proposer, round_id, oracles, burnt=burnt)
        return self._rounds[round_id].opened_ms + wait

    def _turns(self, now_ms: int) -> dict[int, int]:
        """Taking over is for the newest round in which this oracle's turn has come, or for the
        newest of all if there is none; older ones had their chance."""
        limit = self.node.config.round_at(now_ms) + 1
        turns = {r: self._turn_ms(self.address, r, now_ms) for r in self._rounds if r <= limit}
        come = [r for r, turn in turns.items() if turn <= now_ms]
        newest = max(come or turns, default=None)
        return {} if newest is None else {newest: turns[newest]}

    def _show(self, proposal: Any, now_ms: int) -> list[Effect]:
        return super()._show(proposal, now_ms) + self._judge(self.address, proposal, now_ms)


class AggregatorMember(Peer):
    """The dedicated aggregator: first in rank, trusted with nothing."""

    def __init__(self, node: Any, schedule: Schedule, *, history: History = _no_history) -> None:
        """``node`` is an aggregator node."""
        super().__init__(node, node, AGGREGATOR, schedule, history)
        self._opened: dict[int, int] = {}
        self._given_up = -1
        # Every rank has had its turn.
        self._patience_ms = (len(node.config.oracles) + 1) * schedule.takeover_ms

    def wake_ms(self, now_ms: int) -> int:
        wakes = [now_ms + LOOK_MS, *self._proposer.wakes_ms(self._opened, now_ms)]
        wakes += [opened + self._patience_ms for opened in self._opened.values()]
        wakes += self._catch_up.wakes_ms()
        return min(wake for wake in wakes if wake > now_ms)

    def _advance(self, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        still_open = {}
        for round_id, opened in sorted(self._opened.items()):
            if now_ms - opened >= self._patience_ms and round_id > self.node.chain.round:
                self._given_up = max(self._given_up, round_id)
                effects.append(GivenUp(round_id, self.node.failure(round_id)))
            elif round_id > self.node.chain.round:
                still_open[round_id] = min(opened, now_ms)  # the clock may have been set back
        self._opened = still_open
        for proposal in self._proposer.propose(still_open, now_ms):
            effects += self._show(proposal, now_ms)
        return effects

    def _receive_observation(self, signed: Any, now_ms: int) -> None:
        is_new = signed.round > max(self.node.chain.round, self._given_up)
        if self.node.receive_observation(signed, now_ms) is None and is_new:
            self._opened.setdefault(signed.round, now_ms)
