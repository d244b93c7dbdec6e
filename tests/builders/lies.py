"""The lies of ``protocol.dispute.lies`` told by a ``Plan``, and where they can be told."""

from collections.abc import Mapping

from protocol.dispute.lies import reveals
from protocol.dispute.lies.fields import wrong_fields as fragment_field_lies
from protocol.dispute.lies.fragments import FORGERIES, false_record
from protocol.dispute.play import Wait
from tests.builders.disputes import Plan, Run, scene_of

__all__ = [
    "FORGERIES",
    "TAMPERINGS",
    "fall_silent",
    "false_record",
    "forge",
    "fragment_field_lies",
    "lie_somewhere",
]


def forge(plan: Plan, rng, kind: str, index: int) -> bool:
    """Add a forged record to a plan; False if this kind of lie is not possible at that step."""
    forged = FORGERIES[kind](rng, scene_of(plan.run), index)
    if forged is None:
        return False
    plan.forge(index, *forged)
    return True


def _tampering(tamper):
    def tampered(rng, plan: Plan) -> None:
        """Change what some round of the plan reveals."""
        turn = rng.randint(1, max(1, plan.premises.rounds))
        plan.liar = tamper(rng, plan.liar, turn)

    return tampered


TAMPERINGS: Mapping[str, object] = {
    kind: _tampering(tamper) for kind, tamper in reveals.TAMPERINGS.items()
}


def fall_silent(rng, plan: Plan) -> None:
    """No answer at some move."""
    k = plan.premises.log4_steps
    waits = [(Wait.INPUT, 0), (Wait.RECORDS, k - 1), (Wait.EXECUTE, k)]
    plan.silence(rng.choice([*waits, *((Wait.NODES, turn) for turn in range(k - 1))]))


def lie_somewhere(rng, run: Run, kind: str) -> tuple[Plan, int] | None:
    """A plan with one forged record, at a random step where this kind of lie is possible."""
    plan = Plan(run, coherent=rng.random() < 0.3)
    steps = run.premises.steps
    candidates = [rng.randrange(min(run.steps + 4, steps)) for _ in range(12)]
    candidates += [0, run.steps - 1, min(run.steps, steps - 1), steps - 1, rng.randrange(steps)]
    rng.shuffle(candidates)
    for index in candidates:
        if forge(plan, rng, kind, index):
            return plan, index
    return None
