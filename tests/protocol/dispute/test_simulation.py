"""The property of the game: whoever lies loses; and every row of the table is needed for that.

Random programs really run on the reference machine. Provers tell one or two lies of every kind,
challengers challenge true claims and try every verdict, and either falls silent anywhere.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from protocol.dispute import execute
from protocol.dispute.assertion import Assertion
from protocol.dispute.claim import Fault, Party
from protocol.dispute.play import Wait
from protocol.dispute.rules import charges
from protocol.dispute.verdicts import (
    FutureVerdict,
    InitVerdict,
    NearVerdict,
    NodeVerdict,
    OpenVerdict,
)
from riscv_vm.isa import INPUT_BASE, REGISTER_BASE
from tests.builders.challengers import LyingChallenger, every_charge, false_refutations
from tests.builders.disputes import (
    Plan,
    claim_input,
    claimed_run,
    honest_challenger,
    play_out,
    run_of,
    settling_program,
)
from tests.builders.lies import FORGERIES, TAMPERINGS, fall_silent, forge, lie_somewhere

# log4_steps -> (most statements of a random program, most turns of its loop)
SIZES = {1: (0, 1), 2: (2, 1), 3: (16, 3), 4: (30, 7), 5: (30, 28), 6: (60, 60)}


def random_run(rng, k, width, wrong=0.2):
    """An honest run of a random program on a claim that is false with probability ``wrong``."""
    size, turns = SIZES[k]
    turns = rng.randint(turns // 2 if k > 4 else 1, turns)
    image = settling_program(rng, rng.randint(0, size), turns)
    price = rng.getrandbits(32)
    payout = price if rng.random() >= wrong else rng.getrandbits(32)
    return run_of(image, k, width, claim_input(payout, price, tuple(rng.choices(range(16), k=5))))


def run_of_other_input(rng, run):
    """A true claim about the same program: what a liar would rather have published."""
    price = rng.getrandbits(32)
    rest = tuple(rng.choices(range(16), k=5))
    premises = run.premises
    data = claim_input(price, price, rest)
    return run_of(premises.image, premises.log4_steps, premises.width, data)


def random_plan(rng, run):
    """A lying prover: a forged record, a false claim or the trace of another input; often a second
    lie. None if it comes to no lie."""
    kind = rng.choice((*FORGERIES, "claim", "input"))
    if kind == "claim":
        plan, told = Plan(run), [kind]
    elif kind == "input":
        plan, told = Plan(run, instead=run_of_other_input(rng, run)), [kind]
    else:
        found = lie_somewhere(rng, run, kind)
        if found is None:
            return None
        plan, told = found[0], [kind]
    if rng.random() < 0.3:
        kind = rng.choice([*TAMPERINGS])
        TAMPERINGS[kind](rng, plan)
        told.append(kind)
    elif rng.random() < 0.3:
        kind, index = rng.choice([*FORGERIES]), rng.randrange(run.premises.steps)
        if forge(plan, rng, kind, index):
            told.append(kind)
    elif rng.random() < 0.05:
        fall_silent(rng, plan)
        told.append("silence")
    return None if plan.true else (plan, told)


@dataclass
class Tally:
    """What a campaign came to."""

    games: int = 0
    kinds: Counter = field(default_factory=Counter)
    faults: Counter = field(default_factory=Counter)
    assertions: int = 0
    survivors: list = field(default_factory=list)


def lying_provers(seed, games, levels, challenger=honest_challenger, stop=False):
    """``games`` lying provers against ``challenger``; the survivors are the liars that won."""
    rng, tally = Random(seed), Tally()
    while tally.games < games and not (stop and tally.survivors):
        run = random_run(rng, rng.choice(levels), rng.choice((20, 32)))
        for _ in range(20):
            planned = random_plan(rng, run)
            if planned is None:
                continue
            plan, told = planned
            end = play_out(run.premises, stubborn(rng, plan), challenger)
            tally.games += 1
            tally.kinds.update(told)
            tally.faults[str(end.outcome.fault)] += 1
            tally.assertions += end.assertion is not None
            if end.outcome.winner is not Party.CHALLENGER:
                tally.survivors.append((told, end))
    return tally


def stubborn(rng, plan):
    """The plan's moves; of an assertion it tries every refutation it can think of."""

    def move(play):
        if play.wait is not Wait.REFUTE:
            return plan.move(play)
        for refutation in false_refutations(rng, play, (plan.run, plan.story)):
            if refutation.holds(play.premises, play.assertion):
                return refutation
        return plan.move(play)

    return move


def without(row):
    """A challenger that knows every charge of every leaf, except for one row of the table."""

    def move(play):
        if play.wait is not Wait.VERDICT:
            return honest_challenger(play)
        found = every_charge(play.premises, play.said, claimed_run(play))
        return next((charge for charge in found if row not in rows_of(charge, play.said)), None)

    return move


def rows_of(charge, said):
    """The rows and leaves of the table that a charge needs."""
    rows = {str(charge.fault)}
    match charge:
        case NodeVerdict():
            rows.add(f"NODE {charge.turn}")
        case FutureVerdict():
            rows.add("FUTURE init" if said.executed.slots[charge.slot].init else "FUTURE last")
        case InitVerdict():
            address = said.executed.slots[charge.slot].address
            kind = "register" if address >= REGISTER_BASE else "data"
            rows.add(f"INIT {'input' if INPUT_BASE <= address < INPUT_BASE + 99 else kind}")
        case NearVerdict():
            rows |= {f"OPEN {charge.accusation.predicate}", f"OPEN near {charge.child}"}
        case OpenVerdict() | Assertion():
            place = f"OPEN {charge.place.turn} {charge.place.child}"
            rows |= {f"OPEN {charge.accusation.predicate}", place}
    return rows


ROWS = (
    *("NODE", "NODE 1", "NODE 2", "BLOCK", "RECORD", "ROM", "ENTRY", "NOT-HALT"),
    *("FUTURE", "FUTURE init", "FUTURE last", "INPUT", "ZERO"),
    *("INIT", "INIT register", "INIT data", "INIT input"),
    *("OPEN", "OPEN pc", "OPEN pointed", "OPEN stale"),
    *(f"OPEN {turn} {child}" for turn in (1, 2, "near") for child in (0, 1, 2)),
)


def test_a_lying_prover_loses():
    tally = lying_provers(seed=1, games=3_000, levels=(1, 2, 3, 4))
    assert not tally.survivors, tally.survivors[:1]
    assert all(
        tally.kinds[kind] >= 20
        for kind in (*FORGERIES, *TAMPERINGS, *("claim", "input", "silence"))
    )
    expected = {str(fault) for fault in Fault} - {"EXECUTE", "REFUTED", "NONE", "WORD"}
    assert {fault for fault, games in tally.faults.items() if games >= 3} == expected


def test_a_lying_prover_loses_where_openings_are_deep():
    tally = lying_provers(seed=2, games=500, levels=(5, 6))
    assert not tally.survivors, tally.survivors[:1]
    assert tally.assertions >= 5


def test_a_lying_challenger_loses():
    settles = lying_challengers(seed=3, games=400, levels=(1, 2, 3, 4, 5, 6))
    assert settles["SETTLE_assert"] >= 20
    assert settles.total() == 400


def lying_challengers(seed, games, levels, refute=True):
    """The SETTLE transactions by which honest provers won; fails if one did not."""
    rng, settles = Random(seed), Counter()
    while settles.total() < games:
        run = random_run(rng, rng.choice(levels), rng.choice((20, 32)), wrong=0)
        if not run.halts:
            continue
        last = run.premises.steps - 1
        for _ in range(4):
            far = rng.randint(0, 3) << 2 * run.premises.rounds
            target = rng.choice((0, last, far, rng.randrange(run.steps), rng.randint(0, last)))
            liar = LyingChallenger(rng, run, target)
            plan = Plan(run, silent=None if refute else (Wait.REFUTE, run.log4_steps))
            end = play_out(run.premises, plan.move, liar.move)
            assert end.outcome.winner is Party.PROVER, end
            settles[end.outcome.settle] += 1
    return settles


def test_the_rules_find_a_charge_wherever_a_leaf_has_one():
    rng, found = Random(4), 0

    def challenger(play):
        nonlocal found
        if play.wait is Wait.VERDICT:
            run = claimed_run(play)
            ours = charges(play.premises, play.said, run)
            all_there_are = every_charge(play.premises, play.said, run)
            assert set(ours) <= set(all_there_are)
            assert {charge.fault for charge in ours} == {charge.fault for charge in all_there_are}
            found += 1
        return honest_challenger(play)

    while found < 150:
        run = random_run(rng, rng.choice((2, 3)), 20)
        planned = random_plan(rng, run)
        if planned:
            play_out(run.premises, planned[0].move, challenger)


@pytest.mark.parametrize("row", ROWS)
def test_without_one_row_some_liar_wins(row):
    tally = lying_provers(5, 4_000, (3,), without(row), stop=True)
    assert tally.survivors


def test_without_assertions_a_liar_wins_where_openings_are_deep():
    def challenger(play):
        move = honest_challenger(play)
        return None if isinstance(move, Assertion) else move

    assert lying_provers(2, 4_000, (5, 6), challenger, stop=True).survivors


def test_without_refutations_a_lying_challenger_wins():
    with pytest.raises(AssertionError, match="CHALLENGER"):
        lying_challengers(3, 400, (5, 6), refute=False)


def test_with_every_row_the_same_challenger_wins():
    assert not lying_provers(5, 300, (3,), without(None)).survivors


@pytest.mark.parametrize(
    "condition",
    ["_answers_the_digits", "_has_a_leaf", "_reads_follow", "_result_follows"],
)
def test_without_one_condition_of_execute_some_liar_wins(monkeypatch, condition):
    kept = tuple(holds for holds in execute.CONDITIONS if holds.__name__ != condition)
    assert len(kept) == len(execute.CONDITIONS) - 1
    monkeypatch.setattr(execute, "CONDITIONS", kept)
    assert lying_provers(6, 4_000, (3,), without(None), stop=True).survivors


def test_unused_slots_need_no_canonical_pointer_against_liars(monkeypatch):
    kept = tuple(h for h in execute.CONDITIONS if h.__name__ != "_unused_canonical")
    monkeypatch.setattr(execute, "CONDITIONS", kept)
    assert not lying_provers(7, 500, (3,)).survivors


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 14))
def test_many_lying_provers_lose(seed):
    tally = lying_provers(seed, 25_000, (1, 2, 3, 4))
    assert not tally.survivors, tally.survivors[:1]


@pytest.mark.slow
def test_many_deep_liars_of_both_sides_lose():
    tally = lying_provers(20, 2_000, (5, 6))
    assert not tally.survivors, tally.survivors[:1]
    assert lying_challengers(21, 4_000, tuple(SIZES)).total() >= 4_000
