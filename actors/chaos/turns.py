"""When a fault of the plan may begin: the victims of those before it are to be back first. Pure."""

from collections.abc import Sequence

from actors.chaos.invariants import Injection
from actors.chaos.kinds import ON_CLUSTER
from actors.chaos.plan import Event, Plan


def must_wait(event: Event, injections: Sequence[Injection], plan: Plan, at_s: float) -> bool:
    """Whether a fault is to wait, because one that is over by the plan has left its victim, or more
    oracles than the network bears, faulty still. A Ray cluster bears one change at a time."""
    if isinstance(event.fault, ON_CLUSTER) and any(
        isinstance(i.event.fault, ON_CLUSTER) and i.ended_s is None for i in injections
    ):
        return True
    if not event.fault.weakens:
        return False
    faulty = [i.event for i in injections if i.weakens(at_s, plan.bounds.busy)]
    late = {e.victim for e in faulty if e.end_s <= event.at_s and not e.is_for_good}
    if event.victim in late:
        return True
    oracles = {*plan.oracles}
    crowd = ({e.victim for e in faulty} | {event.victim}) & oracles
    return event.victim in oracles and bool(late & oracles) and len(crowd) > plan.faults
