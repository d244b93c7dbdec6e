"""Contracts audited from blocks alone: what was claimed, who lied, who is due what."""

from random import Random

import pytest

from protocol.bitcoin.tx import outpoint, transaction, txin, txout
from protocol.dispute.assertion import BlockRefutation, NodeRefutation
from protocol.dispute.claim import Fault, Party
from protocol.dispute.play import Challenge, Wait
from protocol.dispute.verdicts import RecordVerdict
from protocol.errors import DisputeError
from protocol.settlement.dispute.audit import Audit, audit
from protocol.settlement.onetime import payout_label
from protocol.settlement.payout import payout_of
from protocol.settlement.presign import assemble
from protocol.settlement.settle import sweep_name
from protocol.settlement.spending import sweep_tx
from protocol.settlement.terms import Role
from tests.builders.challengers import LyingChallenger
from tests.builders.contracts import AUX, KEYS
from tests.builders.dispute_chain import (
    UNITS,
    Setting,
    Table,
    honest_challenger,
    run_of,
    setting,
)
from tests.builders.disputes import Plan, play_out
from tests.builders.ledger import read, seated
from tests.builders.lies import FORGERIES, TAMPERINGS, forge, lie_somewhere

SMALL, DEEP = 3, 5
H, W = Role.HOLDER, Role.WRITER


def audited(table: Table) -> Audit:
    return audit(read(table), lambda data: run_of(table.course.premises, data))


def lied(kind: str, about: Setting, seed: int = 0) -> Plan:
    """A prover that lies in this way."""
    rng = Random(f"{kind} {seed}")
    if kind in FORGERIES:
        found = lie_somewhere(rng, about.run(), kind)
        assert found is not None
        return found[0]
    plan = Plan(about.run())
    if kind != "random_root":
        forge(plan, rng, "unexecuted", rng.randrange(about.run().steps))
    TAMPERINGS[kind](rng, plan)
    return plan


def sweep(table: Table, role: Role, units: int = UNITS) -> None:
    """``role`` takes what is its of the newest SETTLE."""
    prover = table.setting.prover
    settle = table.graph.move(table.last)
    outputs = payout_of(table.graph, settle, units).sweeps[role]
    payout = table.heard[payout_label(table.course.terms, prover)]
    shown = None if role is prover else payout
    table.stage.broadcast(
        sweep_tx(table.graph, settle, role, outputs, KEYS[role], AUX, payout=shown)
    )


@pytest.mark.parametrize(
    "kind",
    [
        *("unrevealed", "wrong_pc", "wrong_opcode", "wrong_initial", "future", "elsewhere"),
        *("stale_initial", "honest_nodes", "honest_block", "random_root"),
    ],
)
def test_a_convicted_liar(kind: str) -> None:
    about = setting(SMALL)
    table = seated(about)
    table.play_out(lied(kind, about).move, honest_challenger)
    found = audited(table)
    assert table.fault is not None and table.fault.value in found.decided.name
    assert found.is_right and found.challenger_is_right
    assert found.claim is not None and not found.claim.is_true
    assert {lie.party for lie in found.lies} == {H}
    assert any(lie.what == "root" for lie in found.lies)
    assert found.shares[W].due_sats == found.shares[W].took_sats > 0
    assert found.shares[H].due_sats == found.shares[H].took_sats == 0
    assert found.shares[W].arrived_sats == table.received(Party.CHALLENGER)


@pytest.mark.parametrize("prover", list(Role), ids=lambda role: role.value)
def test_a_true_claim_that_nobody_challenged(prover: Role) -> None:
    about = setting(SMALL, prover=prover)
    table = seated(about)
    table.play_out(Plan(about.run()).move, lambda play: None)
    swept = audited(table)
    assert swept.is_right and not swept.challenged and swept.lies == ()
    assert all(share.open_sats > 0 for share in swept.shares.values())
    sweep(table, prover.other)
    table.stage.mine(table.course.terms.chain.sweep_delay)
    sweep(table, prover)
    found = audited(table)
    assert found.is_right and found.claim is not None and found.claim.units == UNITS
    assert found.reason == "The claim was true, and it was paid."
    for share in found.shares.values():
        assert share.open_sats == 0 and share.took_sats == share.due_sats
    units = table.course.terms.claim.unit_sats * UNITS
    settle, chain = table.graph.settle(prover), table.course.terms.chain
    spare = table.graph.contract.reserve_sats - settle.fee_sats - 240
    way = sum(move.fee_sats + 240 for move in table.graph.forward(prover))
    holder = chain.bond_sats + units + spare // 2
    holder += chain.claim_fee_sats - way if prover is H else -chain.claim_fee_sats
    assert found.shares[H].due_sats == holder


@pytest.mark.parametrize("units", [0, 0xFF])
@pytest.mark.parametrize("challenged", [False, True])
@pytest.mark.parametrize("prover", list(Role), ids=lambda role: role.value)
def test_all_or_nothing_is_shared_as_the_claim_says(
    prover: Role, challenged: bool, units: int
) -> None:
    """Both claims are false, and paid: the amounts are right, and who let it happen is wronged."""
    about = setting(SMALL, prover=prover)
    table = seated(about)

    def sleepy(play):
        return Challenge() if challenged and play.wait is Wait.WINDOW else None

    table.play_out(Plan(about.run(units)).move, sleepy)
    found = audited(table)
    assert found.wronged is prover.other and found.claim is not None
    assert found.claim.units == units and all(share.right for share in found.shares.values())
    holder, other = found.shares[H], found.shares[prover.other]
    assert holder.open_sats // 1_000 in ((0, 3) if units == 0 else (255, 258))
    fee = table.course.terms.chain.claim_fee_sats
    gains = units != (0 if prover is H else 0xFF)
    assert (other.open_sats % 1_000 == fee % 1_000) is not gains
    value = table.graph.contract.value_sats
    assert sum(share.due_sats for share in found.shares.values()) == value - table.burnt()


def test_a_side_that_sweeps_too_late_is_short() -> None:
    """After ``sweep_delay`` the prover may take every output, whosever it is."""
    about = setting(SMALL)
    table = seated(about)
    table.play_out(Plan(about.run()).move, lambda play: None)
    table.stage.mine(table.course.terms.chain.sweep_delay)
    everything = range(len(table.course.ending.split.locks))
    settle = table.graph.move(table.last)
    taken = sweep_tx(table.graph, settle, H, everything, KEYS[H], AUX)
    table.stage.broadcast(taken)
    assert read(table).acts[-1].name == sweep_name(H, H)
    found = audited(table)
    assert found.wronged is W and "where" in found.reason


def test_a_true_claim_that_was_challenged_wrongly() -> None:
    about = setting(SMALL)
    table = seated(about)
    challenger = LyingChallenger(Random(1), about.run(), 9)
    table.play_out(Plan(about.run()).move, challenger.move)
    assert table.last == "holder:SETTLE_execute"
    found = audited(table)
    assert found.is_right and found.challenged and found.challenger_is_right is False
    assert {lie.party for lie in found.lies} == {W}
    first = found.lies[0]
    assert (first.act, first.what, first.said) == ("holder:CHALLENGE", "claim", "false")


@pytest.mark.parametrize("wait", [Wait.NODES, Wait.EXECUTE])
def test_who_is_silent_about_a_true_claim_is_wronged_by_itself(wait: Wait) -> None:
    about = setting(SMALL)
    table, plan = seated(about), Plan(about.run())
    challenger = LyingChallenger(Random(1), about.run(), 9)
    table.play_out(lambda play: None if play.wait is wait else plan.move(play), challenger.move)
    found = audited(table)
    assert found.wronged is H and "did not move in time" in found.reason
    assert found.shares[W].right and found.shares[H].right


def test_a_claim_that_was_never_published_is_none() -> None:
    about = setting(SMALL)
    table, plan = seated(about), Plan(about.run())
    moves = []

    def stops(play):
        moves.append(play)
        return plan.move(play) if len(moves) == 1 else None

    table.play_out(stops, honest_challenger)
    found = audited(table)
    assert found.is_right and found.claim is None and "stopped" in found.reason


@pytest.mark.parametrize("silent", [Wait.WINDOW, Wait.DIGIT, Wait.VERDICT])
def test_a_false_claim_that_was_paid(silent: Wait) -> None:
    about = setting(SMALL)
    table = seated(about)

    def sleepy(play):
        return None if play.wait is silent else honest_challenger(play)

    table.play_out(lied("wrong_pc", about).move, sleepy)
    found = audited(table)
    assert found.wronged is W and found.claim is not None and not found.claim.is_true
    expected = "did not challenge" if silent is Wait.WINDOW else "did not go on"
    assert expected in found.reason


def deep_lie(about: Setting) -> Plan:
    """A lie that only an assertion shows."""
    for seed in range(200):
        plan = lied(Random(seed).choice(["stale_initial", "elsewhere"]), about, seed)
        if play_out(about.premises, plan.move, honest_challenger).assertion is not None:
            return plan
    raise AssertionError("no lie was deep enough")


def test_an_assertion_that_stood() -> None:
    about = setting(DEEP, 20, W, 30, 31)
    table = seated(about)
    table.play_out(deep_lie(about).move, honest_challenger)
    found = audited(table)
    assert found.decided.name == "writer:TAKE_1" and found.is_right
    assert found.shares[H].took_sats == found.shares[H].due_sats > 0
    assert {lie.party for lie in found.lies} == {W}


def test_an_assertion_that_was_refuted() -> None:
    about = setting(DEEP, 20, W, 30, 31)
    for seed in range(40):
        table, plan = seated(about), Plan(about.run())
        target = Random(seed).randrange(about.premises.steps)
        table.play_out(plan.move, LyingChallenger(Random(seed), about.run(), target).move)
        if table.fault is Fault.REFUTED:
            break
    found = audited(table)
    assert isinstance(found.decided.says, BlockRefutation | NodeRefutation)
    assert found.is_right and found.claim is not None and found.claim.is_true
    assert found.shares[W].took_sats + found.shares[W].open_sats == found.shares[W].due_sats
    assert any(lie.party is H and "ASSERT" in lie.act for lie in found.lies)


def test_script_that_takes_what_the_rules_refuse_wrongs_the_prover() -> None:
    """No chain would hold it: the verdict is about an honest prover."""
    about = setting(SMALL)
    table, plan = seated(about), Plan(about.run())
    challenger = LyingChallenger(Random(1), about.run(), 9)
    while table.play.wait is not Wait.VERDICT:
        party = table.play.turn
        move = plan.move(table.play) if party is Party.PROVER else challenger.move(table.play)
        table.act(move, party)
    ((_, tx),) = table.transactions(RecordVerdict(), Party.CHALLENGER)
    table.stage.broadcast(tx)
    found = audited(table)
    assert found.wronged is H and "the rules refuse" in found.reason


def test_close_and_refund_need_no_claim() -> None:
    about = setting(SMALL)
    table = seated(about)
    contract = table.graph.contract
    scripts = [contract.terms.party(role).script for role in Role]
    left = contract.value_sats - 1_000
    pays = [txout(left - 70_000, scripts[0]), txout(70_000, scripts[1])]
    table.stage.broadcast(transaction([txin(table.graph.fund)], pays))
    found = audited(table)
    assert found.decided.name == "CLOSE" and found.is_right
    assert [found.shares[role].took_sats for role in Role] == [left - 70_000, 70_000]
    table = seated(about)
    table.stage.broadcast(assemble(table.graph.move("REFUND"), table.made.signatures))
    found = audited(table)
    assert found.decided.name == "REFUND" and found.is_right and found.claim is None


def test_a_contract_that_is_not_settled_is_not_judged() -> None:
    about = setting(SMALL)
    table = seated(about)
    with pytest.raises(DisputeError, match="FUND is what the chain shows last"):
        audited(table)
    table.stage.broadcast(transaction([txin(outpoint(b"\x21" * 32, 0))], [txout(1_000, b"\x51")]))
    assert [act.name for act in read(table).acts] == ["FUND"]
