"""What an oracle and the aggregator have in common as members of the network.

A member turns messages and time into effects; whoever runs it carries them out in order. It is
generic: a node prices one feed (``round``) or several (``batch``), with methods of the same names.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from protocol.errors import ConfigError, ProtocolError
from protocol.oracle.catch_up import CatchUp
from protocol.oracle.evidence import Evidence
from protocol.oracle.heartbeat import SignedHeartbeat, check_heartbeat
from protocol.oracle.messages import (
    AGGREGATOR,
    HISTORY_LIMIT,
    Convict,
    Effect,
    HistoryAnswer,
    HistoryRequest,
    Refused,
    Send,
    Store,
)
from protocol.oracle.outliers import Outliers
from protocol.oracle.proposal import Reason, Refusal, Vote
from protocol.oracle.proposer import Proposer
from protocol.oracle.schedule import Schedule

MESSAGES: Final = 256
"""A sender's messages in one interval; more are dropped unread."""

History = Callable[[int], Sequence[bytes]]
"""The first ``HISTORY_LIMIT`` stored certificates after a round, oldest first."""


class Peer(ABC):
    """A member at ``address``. ``heartbeats`` holds the newest one of every oracle."""

    def __init__(
        self, node: Any, proposing: Any, address: int, schedule: Schedule, history: History
    ) -> None:
        """``proposing`` is the aggregator node that this member proposes with. ConfigError if the
        schedule counts other rounds than the nodes."""
        if schedule.interval_ms != node.config.interval_ms:
            raise ConfigError(
                f"interval_ms: {schedule.interval_ms} in the schedule, the oracles signed"
                f" {node.config.interval_ms} into their configuration"
            )
        self.node = node
        self.proposing = proposing
        self.address = address
        self.schedule = schedule
        self.others = tuple(
            a for a in (*range(len(node.config.oracles)), AGGREGATOR) if a != address
        )
        self.outliers = Outliers(node.config.delta_ppm)
        self.heartbeats: dict[int, SignedHeartbeat] = {}
        self._proposer = Proposer(proposing, schedule)
        self._history = history
        self._catch_up = CatchUp(self.others, schedule.takeover_ms)
        self._told = set(node.inbox.convicted)
        self._spent: Counter[int] = Counter()
        self._spent_in = -1

    def poll(self, now_ms: int) -> list[Effect]:
        """Time has passed, or a venue has sent a frame."""
        effects = [*self._catch_up.poll(now_ms), *self._advance(now_ms)]
        return self._tell_evidence() + effects

    def receive(self, sender: int, message: Any, now_ms: int) -> list[Effect]:
        """A message that the transport has authenticated as ``sender``'s. What is not understood,
        not valid or too much is counted in ``node.inbox.refused`` and has no effect."""
        if sender not in self.others:
            return self._refuse(Reason.SIGNER, f"{sender} is no member of this network")
        if not self._affords(sender, now_ms):
            return self._refuse(Reason.FLOOD, f"more than {MESSAGES} messages of {sender}")
        effects = self._receive(sender, message, now_ms) + self._advance(now_ms)
        return self._tell_evidence() + effects

    def repair(self, certificate: Any, after_round: int, now_ms: int) -> list[Effect]:
        """The history on disk has a hole: ``certificate`` links to one that is not there, the
        newest before it is of ``after_round``. To be called once after a restart."""
        return [*self._catch_up.begin(certificate, after_round, self.others[-1], now_ms)]

    @abstractmethod
    def wake_ms(self, now_ms: int) -> int:
        """When to call ``poll`` again at the latest, unix ms."""

    @abstractmethod
    def _advance(self, now_ms: int) -> list[Effect]:
        """What is due now, whatever the event was."""

    @abstractmethod
    def _receive_observation(self, signed: Any, now_ms: int) -> None:
        """Keeps a valid observation and opens its round."""

    def _show(self, proposal: Any, now_ms: int) -> list[Effect]:
        return [Send(self.others, proposal)]

    def _receive(self, sender: int, message: Any, now_ms: int) -> list[Effect]:
        if isinstance(message, self.node.observation):
            self._receive_observation(message, now_ms)
        elif isinstance(message, Vote):
            return self._receive_vote(message)
        elif isinstance(message, Refused):
            return self._receive_refused(sender, message, now_ms)
        elif isinstance(message, self.node.certificate):
            return self._learn(sender, message, now_ms)
        elif isinstance(message, Evidence):
            self.node.receive_evidence(message)
        elif isinstance(message, HistoryRequest):
            return [Send((sender,), HistoryAnswer(tuple(self._history(message.after_round))))]
        elif isinstance(message, HistoryAnswer):
            return self._fill_gap(sender, message, now_ms)
        elif isinstance(message, SignedHeartbeat):
            self._receive_heartbeat(message, now_ms)
        return []

    def _refuse(self, reason: Reason, detail: str) -> list[Effect]:
        self.node.inbox.refuse(Refusal(reason, detail))
        return []

    def _affords(self, sender: int, now_ms: int) -> bool:
        interval = self.node.config.round_at(now_ms)
        if interval != self._spent_in:
            self._spent.clear()
            self._spent_in = interval
        self._spent[sender] += 1
        return self._spent[sender] <= MESSAGES

    def _tell_evidence(self) -> list[Effect]:
        """A conviction is told once, by everybody: a partition cannot hide it."""
        effects: list[Effect] = []
        for oracle, proof in self.node.inbox.convicted.items():
            if oracle not in self._told:
                self._told.add(oracle)
                effects += [Convict(oracle, proof), Send(self.others, proof)]
        return effects

    def _learn(self, sender: int, certificate: Any, now_ms: int) -> list[Effect]:
        """A certificate that this member may not have."""
        chain = self.node.chain
        if chain.holds(certificate):
            return []
        round_before = chain.round
        is_linked = chain.knows(certificate.previous_hash)
        self._adopt(certificate)
        if not chain.holds(certificate):
            return []
        self._compare(certificate)
        effects: list[Effect] = [Store(certificate)]
        if not is_linked and certificate == chain.last:
            effects += self._catch_up.begin(certificate, round_before, sender, now_ms)
        return effects

    def _receive_vote(self, vote: Vote) -> list[Effect]:
        certificate = self.proposing.receive_vote(vote)
        if not isinstance(certificate, self.node.certificate):
            return []
        self._adopt(certificate)
        self._compare(certificate)
        return [Store(certificate), Send(self.others, certificate)]

    def _receive_refused(self, sender: int, message: Refused, now_ms: int) -> list[Effect]:
        """Learns from the proof; shows the better proposal that it makes possible, if any."""
        refusal, effects = message.refusal, []
        if isinstance(refusal.proof, self.node.certificate):
            effects = self._learn(sender, refusal.proof, now_ms)
        elif isinstance(refusal.proof, self.node.observation):
            self._receive_observation(refusal.proof, now_ms)
        better = self.proposing.receive_refusal(sender, message.round, refusal, now_ms)
        return effects if better is None else effects + self._show(better, now_ms)

    def _adopt(self, certificate: Any) -> None:
        self.node.receive_certificate(certificate)

    def _compare(self, certificate: Any) -> None:
        held = self.node.inbox.held(certificate.round)
        distance_ppm = self.node.chain.distance_ppm
        self.outliers.receive({i: distance_ppm(certificate, held[i]) for i in held})

    def _fill_gap(self, sender: int, answer: HistoryAnswer, now_ms: int) -> list[Effect]:
        if not self._catch_up.is_asked(sender):
            return self._refuse(Reason.FLOOD, f"{sender} answers what nobody asked")
        found, epochs = [], self.node.chain.epochs
        for encoded in answer.certificates[:HISTORY_LIMIT]:
            try:
                certificate = self.node.certificate.decode(encoded)
                if not self._catch_up.fits(certificate):
                    break
                if not epochs.counts(certificate.report.config_digest, certificate.round):
                    continue  # stored before a rotation was known
                self.node.chain.check(certificate)
            except ProtocolError as error:
                self._refuse(Reason.SIGNATURE, str(error))
                break
            found.append(certificate)
        new = [certificate for certificate in found if not self.node.chain.holds(certificate)]
        return [*map(Store, new), *self._catch_up.receive(sender, found, now_ms)]

    def _receive_heartbeat(self, signed: SignedHeartbeat, now_ms: int) -> None:
        refusal = check_heartbeat(self.node.config, self.node.feeds, signed, now_ms)
        if refusal is not None:
            self.node.inbox.refuse(refusal)
            return
        self.heartbeats[signed.oracle] = signed
