"""Disputes played to the end in real blocks: K's rules name the leaf, Bitcoin Core's consensus
judges it. Each game is played without Script too, and must end alike."""

from collections.abc import Callable, Iterator
from random import Random

import pytest
from bitcoin.core import CTransaction

from protocol.bitcoin.taproot import NUMS_KEY, key_path_script
from protocol.bitcoin.tx import transaction, txout, with_witness, witness_stack
from protocol.dispute.assertion import Assertion
from protocol.dispute.claim import Fault, Party
from protocol.dispute.play import Challenge, Execute, Take, Wait
from protocol.settlement.dispute.reading import assertion_of, move_of
from protocol.settlement.dispute.spends import Spend
from protocol.settlement.reading import Reader
from protocol.settlement.spending import alone_tx
from protocol.settlement.terms import Role
from tests.builders.challengers import LyingChallenger, false_charges, false_refutations
from tests.builders.contracts import AUX, BACKENDS, BAD_SIGNATURE, KEYS, Stage, opened_stage
from tests.builders.dispute_chain import UNITS, Setting, Table, confirm, honest_challenger, setting
from tests.builders.disputes import Plan, Play, play_out
from tests.builders.lies import FORGERIES, TAMPERINGS, forge, lie_somewhere

SMALL = 3
"""4^3 steps: every leaf but an assertion's."""
DEEP = 5
"""4^5 steps: below a child of round 1 an OPEN is too deep."""


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def stage(request, tmp_path_factory) -> Iterator[Stage]:
    with opened_stage(request.param, tmp_path_factory.mktemp("dispute") / "chain") as made:
        yield made


def small(prover: Role = Role.HOLDER) -> Setting:
    return setting(SMALL, prover=prover)


def deep() -> Setting:
    return setting(DEEP, prover=Role.WRITER, size=30, turns=31)


def require_pot(table: Table) -> None:
    """C has all that FUND held, less the fees and anchors of the way."""
    value = table.graph.contract.value_sats
    assert table.received(Party.CHALLENGER) == value - table.burnt()
    assert table.received(Party.PROVER) == 0


def require_claim(table: Table) -> None:
    """The bits are locked as claimed, and the rest, C's bond too, is P's."""
    terms, settle = table.course.terms, table.txs[table.last]
    locked = [terms.claim.unit_sats << bit for bit in range(terms.claim.payout_bits)]
    locked.append(terms.chain.claim_fee_sats)
    assert [int(out.nValue) for out in settle.vout[: len(locked)]] == locked
    assert [out.scriptPubKey for out in settle.vout[: len(locked)]] == [
        lock.script_pubkey for lock in table.course.ending.split.locks
    ]
    value = table.graph.contract.value_sats
    assert table.received(Party.PROVER) == value - table.burnt() - sum(locked)
    assert table.received(Party.CHALLENGER) == 0


def lied(kind: str, about: Setting, seed: int = 0) -> Plan:
    """A prover that lies in this way, the same for the same arguments."""
    rng = Random(f"{kind} {seed}")
    if kind in FORGERIES:
        found = lie_somewhere(rng, about.run(), kind)
        assert found is not None, "this program gives no occasion"
        return found[0]
    plan = Plan(about.run())
    if kind != "random_root":
        forge(plan, rng, "unexecuted", rng.randrange(about.run().steps))
    TAMPERINGS[kind](rng, plan)
    return plan


def played(stage: Stage, about: Setting, plan: Callable[[], Plan], challenger) -> Table:
    """The game on the chain, which ends as it does without one."""
    pure = play_out(about.premises, plan().move, challenger).outcome
    table = Table.fund(stage, about)
    table.play_out(plan().move, challenger)
    assert table.play.outcome == pure
    return table


KINDS = [kind for kind in (*FORGERIES, *TAMPERINGS) if kind != "stale_write"]


@pytest.mark.parametrize("number, kind", list(enumerate(KINDS)), ids=KINDS)
def test_a_lying_prover_loses(stage: Stage, number: int, kind: str) -> None:
    about = small(list(Role)[number % 2])
    table = played(stage, about, lambda: lied(kind, about), honest_challenger)
    assert table.play.outcome.winner is Party.CHALLENGER
    assert table.fault is table.play.outcome.fault
    require_pot(table)


@pytest.mark.parametrize("kind", ["wrong_pc", "stale_initial", "honest_block", "random_root"])
def test_a_lying_prover_loses_with_wide_hashes(stage: Stage, kind: str) -> None:
    about = setting(2, 32, Role.WRITER, size=3)
    table = played(stage, about, lambda: lied(kind, about), honest_challenger)
    assert table.play.outcome.winner is Party.CHALLENGER
    require_pot(table)


def test_a_false_claim_loses(stage: Stage) -> None:
    """The honest trace of a claim of one unit too much ends in TRAP, and the prover shows it."""
    about = small()
    run = about.run(UNITS + 1)
    assert not run.halts
    table = played(stage, about, lambda: Plan(run), honest_challenger)
    assert table.fault is Fault.NOT_HALT
    require_pot(table)


def asserted_lie(about: Setting) -> Plan:
    """A lie that only an assertion shows."""
    for seed in range(200):
        plan = lied(Random(seed).choice(["stale_initial", "elsewhere"]), about, seed)
        seen: list[object] = []

        def watched(play: Play, seen: list[object] = seen) -> object:
            seen.append(honest_challenger(play))
            return seen[-1]

        play_out(about.premises, plan.move, watched)
        if isinstance(seen[-1], Take):
            return plan
    raise AssertionError("no lie was deep enough")


def test_an_assertion_that_stands_is_taken(stage: Stage) -> None:
    about = deep()
    table = played(stage, about, lambda: asserted_lie(about), honest_challenger)
    assert table.fault is None
    assert table.play.outcome.fault is Fault.OPEN
    assert "TAKE_1" in table.last
    require_pot(table)


def test_a_true_assertion_cannot_be_refuted(stage: Stage) -> None:
    """Other blocks and nodes, those that C signed itself, and ways of other lengths."""
    about, rng, refused = deep(), Random(3), 0
    plan = asserted_lie(about)
    table = Table.fund(stage, about)

    def prover(play: Play) -> object:
        nonlocal refused
        if play.wait is Wait.REFUTE:
            for refutation in false_refutations(rng, play, [about.run(), plan.story]):
                refused += table.refuse(refutation, Party.PROVER)
        return plan.move(play)

    table.play_out(prover, honest_challenger)
    assert "TAKE_1" in table.last
    assert refused >= 6


def test_a_verdict_pays_nobody_else(stage: Stage) -> None:
    """Its one-time data is public in the mempool; the challenger's signature is what a miner
    lacks."""
    about = small()
    table = Table.fund(stage, about)

    def watched(play: Play) -> object:
        move = honest_challenger(play)
        if play.wait is Wait.VERDICT:
            ((_, tx),) = table.transactions(move, Party.CHALLENGER)
            outs = [txout(int(tx.vout[0].nValue), key_path_script(NUMS_KEY))]
            stack = witness_stack(tx, 0)
            stolen = with_witness(transaction(tx.vin, outs), [stack])
            stage.refused(stolen, BAD_SIGNATURE)
        return move

    table.play_out(lied("wrong_opcode", about).move, watched)
    assert table.fault is Fault.ROM


def test_an_assertion_that_is_not_taken_is_settled(stage: Stage) -> None:
    about = deep()

    def forgetful(play: Play) -> object:
        return None if play.wait is Wait.TAKE else honest_challenger(play)

    table = played(stage, about, lambda: asserted_lie(about), forgetful)
    assert table.play.outcome.settle == "SETTLE_assert"
    assert table.received(Party.PROVER) > 0


def test_a_false_assertion_is_refuted_and_cannot_be_taken(stage: Stage) -> None:
    about, refuted = deep(), set()
    for seed in range(40):
        rng = Random(seed)
        liar = LyingChallenger(rng, about.run(), rng.randrange(about.premises.steps))
        assertions = [liar_assertion(liar, about)]
        if assertions[0] is None or type_of_refute(about, assertions[0]) in refuted:
            continue
        table = Table.fund(stage, about)

        def scripted(play: Play, assertion=assertions[0], target=liar.target) -> object:
            if play.wait is Wait.VERDICT:
                return assertion
            return LyingChallenger(Random(0), about.run(), target).move(play)

        table.play_out(Plan(about.run()).move, scripted)
        assert table.fault is Fault.REFUTED
        assert table.play.outcome.winner is Party.PROVER
        refuted.add(type_of_refute(about, assertions[0]))
        require_claim(table)
        if len(refuted) == 2:
            return
    raise AssertionError(f"only {refuted} was played")


def liar_assertion(liar: LyingChallenger, about: Setting) -> Assertion | None:
    """The false assertion that this liar plays, if it plays one."""
    found: list[Assertion] = []

    def watched(play: Play) -> object:
        move = liar.move(play)
        found.extend([move] if isinstance(move, Assertion) else [])
        return move

    play_out(about.premises, Plan(about.run()).move, watched)
    return found[0] if found else None


def type_of_refute(about: Setting, assertion: Assertion) -> bool:
    """Whether the lowest signed node is true, so that the block is refuted."""
    run = about.run()
    return assertion.nodes[0] in {run.node(4, n) for n in range(16)}


def test_an_honest_prover_wins_and_false_verdicts_are_refused(stage: Stage) -> None:
    about, refused = small(), 0
    for target in (17, 63):
        table, rng = Table.fund(stage, about), Random(target)
        liar = LyingChallenger(rng, about.run(), target)

        def lying(play: Play, liar=liar, table=table, rng=rng) -> object:
            nonlocal refused
            if play.wait is Wait.VERDICT:
                for charge in false_charges(rng, play.premises, play.said, about.run(), 12):
                    refused += table.refuse(charge, Party.CHALLENGER)
            return liar.move(play)

        table.play_out(Plan(about.run()).move, lying)
        assert table.play.outcome.settle == "SETTLE_execute"
        require_claim(table)
    assert refused > 60


@pytest.mark.parametrize("units", [0, UNITS, 0xFF])
def test_after_a_challenge_the_bits_are_as_the_claim_says(stage: Stage, units: int) -> None:
    """Both sweep SETTLE_execute's outputs; the claim fee is C's where P claimed nothing."""
    about = setting(SMALL, prover=Role.WRITER)
    table = Table.fund(stage, about)

    def silent_at_last(play: Play) -> object:
        if play.wait is Wait.VERDICT:
            return None
        return Challenge() if play.wait is Wait.WINDOW else honest_challenger(play)

    table.play_out(Plan(about.run(units)).move, silent_at_last)
    assert table.play.outcome.settle == "SETTLE_execute"
    payout = {label: m for label, m in table.heard.items() if label.field == "payout"}
    split, chain = table.course.ending.split, table.course.terms.chain
    holders = [bit for bit in range(8) if units >> bit & 1] + [8] * (units == 0xFF)
    writers = [output for output in range(9) if output not in holders]
    locked = split.locked_sats
    assert sum(locked[n] for n in holders if n < 8) == 1_000 * units

    def swept(role: Role, outputs: list[int]) -> CTransaction:
        way = f"writer:SWEEP_{role.name}"
        spends = [Spend(table.last, way, output=output) for output in outputs]
        return alone_tx(table.graph, role, spends, KEYS[role], AUX, payout)

    for output in writers:
        assert not stage.chain.check(swept(Role.HOLDER, [output])).consensus
    if holders:
        assert confirm(stage, swept(Role.HOLDER, holders)) == 0
    if writers:
        waited = confirm(stage, swept(Role.WRITER, writers))
        assert waited == chain.sweep_delay - 1 - bool(holders)


def test_a_true_claim_is_settled(stage: Stage) -> None:
    about = small()
    table = played(stage, about, lambda: Plan(about.run()), honest_challenger)
    assert table.play.outcome.settle == "SETTLE_open"
    assert table.received(Party.CHALLENGER) > 0


STALLS = [
    (Party.PROVER, Wait.INPUT, 0),
    *((Party.PROVER, Wait.NODES, turn) for turn in range(SMALL - 1)),
    (Party.PROVER, Wait.RECORDS, SMALL - 1),
    (Party.PROVER, Wait.EXECUTE, SMALL),
    (Party.CHALLENGER, Wait.WINDOW, 0),
    *((Party.CHALLENGER, Wait.DIGIT, turn) for turn in range(SMALL)),
    (Party.CHALLENGER, Wait.VERDICT, SMALL),
]


@pytest.mark.parametrize("number, stall", list(enumerate(STALLS)))
def test_who_falls_silent_loses(stage: Stage, number: int, stall) -> None:
    """The other side waits for the window, not a block less, and then ends it."""
    party, wait, digits = stall
    about = small(list(Role)[number % 2])
    plan = Plan(about.run())
    if (party, wait) == (Party.PROVER, Wait.INPUT):
        # Nothing is on the chain before INPUT_1: it stops behind it.
        moves: Iterator[object] = iter([plan.move(Play(about.premises))])

        def prover(play: Play) -> object:
            return next(moves, None)
    else:

        def prover(play: Play) -> object:
            silent = party is Party.PROVER and (play.wait, len(play.said.digits)) == (wait, digits)
            return None if silent else plan.move(play)

    def challenger(play: Play) -> object:
        if party is Party.CHALLENGER and (play.wait, len(play.said.digits)) == (wait, digits):
            return None
        return Challenge() if play.wait is Wait.WINDOW else honest_challenger(play)

    table = Table.fund(stage, about)
    table.play_out(prover, challenger)
    winner = Party.CHALLENGER if party is Party.PROVER else Party.PROVER
    assert table.play.outcome.winner is winner
    if winner is Party.CHALLENGER:
        assert table.fault is Fault.TIMEOUT
        require_pot(table)
    elif wait is not Wait.WINDOW:
        require_claim(table)


def test_a_stranger_reads_the_game_from_the_blocks(stage: Stage) -> None:
    about = deep()
    first = stage.chain.height
    table = played(stage, about, lambda: asserted_lie(about), honest_challenger)
    reader, play, heard, ways = Reader(table.graph), Play(about.premises), {}, []
    for height in range(first + 1, stage.chain.height + 1):
        for tx in stage.chain.block(height)[1:]:
            seen = reader.read(tx)
            if seen is None:
                continue
            ways.append(seen.way.name)
            move = move_of(table.course, seen) or assertion_of(table.course, seen, heard)
            heard |= seen.messages
            if isinstance(move, Take):
                play = play.expire()
            if move is not None:
                play = play.apply(move)
    assert ways == list(table.txs)
    assert play == table.play
    assert any(isinstance(move_of(table.course, s), Execute) for s in seen_of(reader, table))


def seen_of(reader: Reader, table: Table):
    return [reader.read(tx) for tx in table.txs.values()]
