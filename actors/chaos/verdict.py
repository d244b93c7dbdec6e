"""What is asked once, at the end of a run. Pure."""

from collections.abc import Mapping, Sequence

from actors.chaos.cluster import PROOFS, SUPERVISOR
from actors.chaos.invariants import Injection, Invariant, Ledger
from actors.chaos.kinds import ON_CLUSTER, Fault
from actors.chaos.plan import Plan


class Verdict:
    """On the faults of a run, which are over."""

    def __init__(self, plan: Plan, injections: Sequence[Injection], ledger: Ledger) -> None:
        self._plan = plan
        self._injections = injections
        self._ledger = ledger

    @property
    def settle_s(self) -> float:
        """What a node may take to take part again."""
        return Fault.settle_s * self._plan.bounds.busy

    def due_s(self, name: str, healed_s: float) -> float:
        """When a node is to take part again, if everything was healed at ``healed_s``."""
        own = [
            (i.ended_s or healed_s) + i.event.fault.settle_s * self._plan.bounds.busy
            for i in self._injections
            if i.event.victim == name
        ]
        return max([healed_s + self.settle_s, *own])

    def check_recovered(self, names: Sequence[str], at_s: float) -> None:
        """Each of the nodes after each of its faults, but if the next one came before."""
        for one in self._injections:
            event = one.event
            if event.victim not in names or not event.fault.weakens:
                continue
            most_s = event.fault.settle_s * self._plan.bounds.busy
            end_s, back_s = one.ended_s or 0.0, one.recovered_s or at_s
            others = (i for i in self._injections if i is not one)
            if any(i.event.victim == event.victim and i.is_on(end_s, back_s) for i in others):
                continue
            what = f"{event.victim} is not back after {event.kind}: {back_s - end_s:.1f} s"
            self._ledger.require(Invariant.RECOVER, back_s - end_s <= most_s, back_s, what)

    def check_ends(self, ends: Mapping[str, Sequence[tuple[float, int]]]) -> None:
        """Of programs, when and with which exit code: one that ended without a fault that ends
        programs has failed, however it was helped."""
        for name, times in ends.items():
            own = [i for i in self._injections if i.event.ends and name in _hit_by(i)]
            for at_s, code in times:
                guilty = any(
                    i.weakens(at_s, self._plan.bounds.busy) or i.is_on(at_s, at_s) for i in own
                )
                what = f"{name} ended at {at_s:.1f} s without a fault, exit code {code}"
                self._ledger.require(Invariant.RESTARTS, guilty, at_s, what)

    def check_convicted(
        self,
        convicted: Mapping[str, set[str]],
        honest: Sequence[str],
        nodes: Sequence[str],
        at_s: float,
    ) -> None:
        """Nobody has evidence against an honest oracle; all of them have it against a liar."""
        for name in nodes:
            victims = sorted(convicted[name] & {*honest})
            what = f"{name} has evidence against {', '.join(victims)}"
            self._ledger.require(Invariant.HONEST_FREE, not victims, at_s, what)
        for liar in sorted(self._plan.liars("twice")):
            for name in honest:
                what = f"{name} has no evidence against {liar}"
                knows = liar in convicted[name]
                self._ledger.require(Invariant.LIAR_CONVICTED, knows, at_s, what)

    def check_roots(self, roots: Sequence[bytes], expected: bytes, at_s: float) -> None:
        """What provers said and somebody relied on."""
        for number, root in enumerate(roots):
            what = f"proof {number} has the root {root.hex()}, it is {expected.hex()}"
            self._ledger.require(Invariant.SAME_ROOT, root == expected, at_s, what)


def _hit_by(injection: Injection) -> tuple[str, ...]:
    """The programs that a fault may end: what was started on a Ray cluster falls with it."""
    if isinstance(injection.event.fault, ON_CLUSTER):
        return (SUPERVISOR, PROOFS)
    return (injection.event.victim,)
