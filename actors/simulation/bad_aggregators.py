"""Aggregators that lie, withhold or collude. Each is an honest member with twisted speech."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final

from actors.simulation.process import AggregatorProcess
from actors.simulation.scenario import Fault
from protocol.errors import QuorumError
from protocol.oracle.certificate import Certificate
from protocol.oracle.messages import Effect, Send
from protocol.oracle.proposal import Proposal, Vote, propose
from protocol.oracle.report import Grade, Report


class BadAggregator(AggregatorProcess):
    """``twist`` turns each thing it would send to somebody into what it does send; it counts the
    votes for whatever it has proposed, and those of its ``accomplices``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._reports: dict[bytes, Report] = {}
        self._votes: dict[bytes, dict[int, bytes]] = {}

    @property
    def accomplices(self) -> Collection[int]:
        """Oracles whose key it may use."""
        return ()

    def twist(self, index: int, to: int, message: Any) -> Any:
        """The message for the ``index``-th receiver, or None for silence."""
        return message

    def carry_out(self, effect: Effect) -> None:
        if not isinstance(effect, Send):
            super().carry_out(effect)
            return
        for index, to in enumerate(effect.to):
            message = self.twist(index, to, effect.message)
            if isinstance(message, Proposal):
                self._reports[message.report.hash] = message.report
            if message is not None:
                super().carry_out(Send((to,), message))

    def hear(self, sender: int, message: Any) -> list[Effect]:
        effects = super().hear(sender, message)
        if isinstance(message, Vote) and message.report_hash in self._reports:
            effects += self._certify(message)
        return effects

    def _certify(self, vote: Vote) -> list[Effect]:
        world, report = self.world, self._reports[vote.report_hash]
        votes = self._votes.setdefault(vote.report_hash, {})
        for oracle in self.accomplices:
            votes[oracle] = world.sign_report(oracle, report).signature
        chosen = {vote.oracle: vote.signature, **votes}
        votes[vote.oracle] = vote.signature
        if len(votes) < world.config.quorum:
            return []
        signatures = tuple(sorted(list(chosen.items())[: world.config.quorum]))
        return [Send(tuple(range(world.scenario.oracles)), Certificate(report, signatures))]


class Forger(BadAggregator):
    """Every round another field of the report is wrong, by as little as goes unnoticed."""

    def twist(self, index: int, to: int, message: Any) -> Any:
        if not isinstance(message, Proposal):
            return message
        report = message.report
        shift = report.price_e8 * (self.world.config.delta_ppm - 700) // 1_000_000
        forgeries: list[Callable[[], Report]] = [
            lambda: replace(report, price_e8=report.price_e8 + shift),
            lambda: replace(report, price_e8=report.price_e8 - shift),
            lambda: replace(report, conf_e8=0),
            lambda: replace(report, grade=Grade(3 - report.grade)),
            lambda: replace(report, observers=report.observers ^ 1),
            lambda: replace(report, observations_root=bytes(32)),
            lambda: replace(report, prev_report_hash=report.observations_root),
            lambda: replace(report, time=report.time + 5_000),
        ]
        return replace(message, report=forgeries[report.hash[0] % len(forgeries)]())


class Withholding(BadAggregator):
    """Collects the votes and shows the certificate to one oracle, or to nobody."""

    def twist(self, index: int, to: int, message: Any) -> Any:
        if isinstance(message, self.member.node.certificate) and to != message.round % 2:
            return None
        return message


class Burner(BadAggregator):
    """A valid proposal for everybody, but not the same."""

    def twist(self, index: int, to: int, message: Any) -> Any:
        if isinstance(message, Proposal):
            return replace(message, report=_later(message.report, index))
        return message


class Dropper(BadAggregator):
    """Leaves one oracle's observation out and calls the rest DEGRADED."""

    def twist(self, index: int, to: int, message: Any) -> Any:
        if not isinstance(message, Proposal) or len(message.observations) < 2:
            return message
        report, config = message.report, self.world.config
        dropped = report.round % len(message.observations)
        seen = tuple(s for i, s in enumerate(message.observations) if i != dropped)
        try:
            without = propose(
                config, report.feed_id, report.round, seen, report.prev_report_hash, report.time
            )
        except QuorumError:
            return message
        return Proposal(without, seen, message.previous)


class Double(AggregatorProcess):
    """Two aggregators at one address, unaware of each other."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._twin = AggregatorProcess(self.world)

    def start(self) -> None:
        super().start()
        self._twin.start()

    def deliver(self, sender: int, message: Any) -> None:
        super().deliver(sender, message)
        delay = self.world.random.randint(0, 20)
        self.world.after(delay, lambda: self._twin.deliver(sender, message))


class Colluder(Burner):
    """With the keys of the traitors it certifies two reports of one round wherever it can."""

    @property
    def accomplices(self) -> Collection[int]:
        return self.world.scenario.traitors

    def twist(self, index: int, to: int, message: Any) -> Any:
        return super().twist(index % 2, to, message)


def _later(report: Report, ms: int) -> Report:
    return replace(report, time=report.time + ms)


BAD_AGGREGATORS: Final[dict[Fault, Callable[..., AggregatorProcess]]] = {
    Fault.FORGER: Forger,
    Fault.SILENT: Withholding,
    Fault.BURNER: Burner,
    Fault.DROPPER: Dropper,
    Fault.DOUBLE: Double,
    Fault.COLLUDER: Colluder,
}
