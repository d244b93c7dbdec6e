"""What must hold during a run and at its end: names, promises, and how often each was checked.

Pure: ``actors.chaos.watch`` brings what the nodes have on their disks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from actors.chaos.kinds import Fault, HeadLoss
from actors.chaos.plan import Event, Plan
from actors.network import AGGREGATOR_NAME
from actors.simulation.invariants import reports_of
from protocol.errors import ProtocolError
from protocol.oracle.layout import ZERO32
from protocol.oracle.report import Grade

MILLION: Final = 1_000_000
DETAILS: Final = 20
"""Violations of an invariant that are told in words; all are counted."""


class Invariant(StrEnum):
    """The names that are reported, and that ``--break`` takes."""

    SIGNED_ONCE = "signed-once"
    VALID = "certificates-valid"
    IN_RANGE = "price-in-range"
    GOES_ON = "certificates-go-on"
    HONEST_FREE = "honest-not-convicted"
    LIAR_CONVICTED = "liar-convicted"
    AGREE = "histories-agree"
    RECOVER = "oracles-recover"
    RESTARTS = "restarts-in-budget"
    SAME_ROOT = "same-root"
    NO_SECRETS = "no-secrets"
    NOTHING_LEFT = "nothing-left"


PROMISES: Final[Mapping[Invariant, str]] = {
    Invariant.SIGNED_ONCE: "no honest oracle has signed two messages for one slot: not in its"
    " guard, not in two certificates of a round",
    Invariant.VALID: "every certificate on a disk has a quorum of the roster's signatures",
    Invariant.IN_RANGE: "a FULL price lies between honest observations; a DEGRADED one at most"
    " delta/2 from the honest one",
    Invariant.GOES_ON: "while at most f oracles are faulty, and that is for two thirds of the run,"
    " the next certificate comes within (schedule + (f + 1) x take-over + extra) x busy",
    Invariant.HONEST_FREE: "no node has evidence against an honest oracle",
    Invariant.LIAR_CONVICTED: "every honest oracle has evidence against who signed twice",
    Invariant.AGREE: "at the end all honest nodes have the same chain, without a gap",
    Invariant.RECOVER: f"an oracle observes again, and the aggregator certifies, within"
    f" {Fault.settle_s:g} s x busy after a fault ({HeadLoss.settle_s:g} s on a Ray cluster); at the"
    " end all honest ones do",
    Invariant.RESTARTS: "no program needs more restarts than its budget, and none ends without a"
    " fault",
    Invariant.SAME_ROOT: "every proof has the root that one honest machine gives",
    Invariant.NO_SECRETS: "no key is in a log, a metrics page, an argument or an environment",
    Invariant.NOTHING_LEFT: "no process of the run is left",
}


@dataclass(slots=True)
class Injection:
    """A fault as it was, in seconds since the start of the run. ``ended_s`` is None while it lasts,
    ``recovered_s`` until its victim has observed a round after ``healed_round``."""

    event: Event
    began_s: float
    ended_s: float | None = None
    healed_round: int = 0
    recovered_s: float | None = None

    def is_on(self, from_s: float, to_s: float) -> bool:
        """Whether it lasts at some moment between two."""
        return self.began_s <= to_s and (self.ended_s is None or from_s <= self.ended_s)

    def weakens(self, at_s: float, busy: int) -> bool:
        """Whether its victim counts as faulty: until it observes again, or ought to."""
        if not self.event.fault.weakens or at_s < self.began_s:
            return False
        if self.event.is_for_good or self.ended_s is None:
            return True
        ends = [self.ended_s + self.event.fault.settle_s * busy]
        ends += [] if self.recovered_s is None else [self.recovered_s]
        return at_s <= min(ends)


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold, and when (seconds since the start)."""

    invariant: Invariant
    at_s: float
    detail: str


@dataclass(slots=True)
class Ledger:
    """Counts checks and violations."""

    checked: Counter[Invariant] = field(default_factory=Counter)
    violated: Counter[Invariant] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def require(
        self, invariant: Invariant, holds: bool, at_s: float, detail: str | Callable[[], str]
    ) -> None:
        """Count a check; remember what is wrong."""
        self.checked[invariant] += 1
        if holds:
            return
        self.violated[invariant] += 1
        if self.violated[invariant] <= DETAILS:
            text = detail if isinstance(detail, str) else detail()
            self.violations.append(Violation(invariant, round(at_s, 2), text))

    def require_checked(self, plan: Plan, at_s: float) -> None:
        """What was never checked has not been shown."""
        idle = {
            Invariant.LIAR_CONVICTED: not plan.liars("twice"),
            Invariant.SAME_ROOT: not plan.ground.provers,
        }
        for invariant in Invariant:
            if not self.checked[invariant] and not idle.get(invariant, False):
                self.require(invariant, False, at_s, "it was never checked")


class Certified:
    """The certificates that the nodes have stored, and what honest oracles have signed."""

    def __init__(self, plan: Plan, config: Any, bent: frozenset[str], ledger: Ledger) -> None:
        """``bent`` are the oracles that may hear false prices; nothing is measured by theirs."""
        self._plan = plan
        self._config = config
        self._ledger = ledger
        two_faced = plan.liars("twice")
        self._liars = bent | two_faced
        self.honest = tuple(name for name in plan.oracles if name not in two_faced)
        """Those that sign what the protocol says."""
        self._by_round: defaultdict[int, dict[bytes, Any]] = defaultdict(dict)
        self._by_node: defaultdict[str, dict[bytes, Any]] = defaultdict(dict)
        self._slots: dict[tuple[str, bytes], bytes] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._unasked: list[Any] = []
        """Reports whose prices are still to be compared."""
        self.active_last: defaultdict[str, int] = defaultdict(int)
        """The newest round that an oracle observed, as certificates say, or that the aggregator has
        stored."""
        self.newest = -1
        """The newest round that any node has stored."""

    def signed(self, name: str, slot: bytes, message: bytes, at_s: float) -> None:
        """A record of an honest oracle's sign guard."""
        first = self._slots.setdefault((name, slot), message)
        what = f"{name} has two {slot[:4].decode(errors='replace')} for one slot in its guard"
        self._ledger.require(Invariant.SIGNED_ONCE, first == message, at_s, what)

    def observed(self, name: str, round_id: int, price_e8: int) -> None:
        """The price that an oracle has signed for a round, by its guard."""
        self._seen[name, round_id] = price_e8

    def stored(self, name: str, certificate: Any, at_s: float) -> None:
        """A node has stored a certificate."""
        where = f"round {certificate.round} at {name}"
        try:
            certificate.check(self._config)
            fault = ""
        except ProtocolError as error:
            fault = str(error)
        self._ledger.require(Invariant.VALID, not fault, at_s, f"{where}: {fault}")
        self._by_node[name][certificate.hash] = certificate
        known = self._by_round[certificate.round]
        if certificate.hash not in known:
            for other in known.values():
                self._check_siblings(certificate, other, at_s)
            known[certificate.hash] = certificate
            self._note_observers(certificate)
            self._unasked += reports_of(certificate)
        if name == AGGREGATOR_NAME:
            self.active_last[name] = max(self.active_last[name], certificate.round)
        self.newest = max(self.newest, certificate.round)

    def _note_observers(self, certificate: Any) -> None:
        for index, name in enumerate(self._plan.oracles):
            if certificate.report.observers >> index & 1:
                self.active_last[name] = max(self.active_last[name], certificate.round)

    def _check_siblings(self, one: Any, other: Any, at_s: float) -> None:
        both = [self._plan.oracles[i] for i in sorted({*one.signers} & {*other.signers})]
        twice = [name for name in both if name in self.honest]
        what = f"round {one.round} has two certificates, both signed by {', '.join(twice)}"
        self._ledger.require(Invariant.SIGNED_ONCE, not twice, at_s, what)

    def check_prices(self, at_s: float, *, is_last: bool = False) -> None:
        """Of the reports whose observers' guards have been read; at last, of all."""
        self._unasked = [r for r in self._unasked if not self._check_price(r, at_s, is_last)]

    def _check_price(self, report: Any, at_s: float, is_last: bool) -> bool:
        """Whether it was compared."""
        observers = [n for i, n in enumerate(self._plan.oracles) if report.observers >> i & 1]
        honest = [n for n in observers if n not in self._liars]
        unseen = [n for n in honest if (n, report.round) not in self._seen]
        if unseen:
            what = f"round {report.round}: no guard of {', '.join(unseen)} has the observation"
            if is_last:
                self._ledger.require(Invariant.IN_RANGE, False, at_s, what)
            return is_last
        self._check_range(report, [self._seen[n, report.round] for n in honest], at_s)
        return True

    def _check_range(self, report: Any, prices: Sequence[int], at_s: float) -> None:
        price = report.price_e8
        if report.grade is Grade.FULL:
            holds = bool(prices) and min(prices) <= price <= max(prices)
        elif report.n_obs == 2:
            # Doubled, to stay in integers; the floor of the mean may take one half away.
            delta = self._config.delta_ppm
            holds = bool(prices) and all(
                (2 * abs(price - seen) - 1) * MILLION <= delta * seen for seen in prices
            )
        else:
            return
        what = f"round {report.round} {report.grade.name}: {price}, honest are {prices}"
        self._ledger.require(Invariant.IN_RANGE, holds, at_s, what)

    def forget(self, name: str) -> None:
        """What a node has is told anew."""
        self._by_node[name].clear()

    # At the end

    def behind(self, name: str, round_id: int) -> bool:
        """Whether a node lacks every certificate of a round."""
        return not any(c.round == round_id for c in self._by_node[name].values())

    def check_histories(self, names: Iterable[str], round_id: int, at_s: float) -> None:
        """All have the same chain up to a round that all have, back to the first certificate."""
        chains = {name: self._chain(name, round_id) for name in names}
        first = next(iter(chains.values()))
        for name, (chain, gap) in chains.items():
            what = f"{name}: {'a gap' if gap else 'another chain'} after {len(chain)} certificates"
            same = not gap and chain == first[0] and bool(chain)
            self._ledger.require(Invariant.AGREE, same, at_s, f"{what} before round {round_id}")

    def _chain(self, name: str, round_id: int) -> tuple[tuple[bytes, ...], bool]:
        """Hashes from a round back, and whether they end before the first certificate."""
        held, chain = self._by_node[name], list[bytes]()
        link = next((c.hash for c in held.values() if c.round == round_id), None)
        while link in held:
            chain.append(link)
            link = held[link].previous_hash
        return tuple(chain), link != ZERO32
