"""What a dispute costs each side, and what is in it."""

import pytest

from protocol.settlement.dispute.costs import Cost
from protocol.settlement.move import ANCHOR_SATS
from protocol.settlement.terms import Role
from tests.builders.dispute_chain import setting


@pytest.mark.parametrize("prover", Role)
def test_costs_are_the_transactions_added_up(prover: Role) -> None:
    about = setting(5, 20, Role.WRITER, 30, 31)
    moves = {n: m for n, m in about.contract.moves.items() if m.prover is prover}
    costs = about.contract.costs(prover)
    own = ("INPUT", "KICKOFF", "REVEAL", "EXECUTE")
    names = [n for n in moves if n.split(":")[1].startswith(own)]
    assert costs.prover == Cost(8, sum(moves[n].widest_vsize for n in names), 8)
    asked = [n for n in moves if n.split(":")[1].startswith(("CHALLENGE", "PICK"))]
    size = sum(moves[n].widest_vsize for n in asked)
    assert costs.challenger.transactions == costs.challenger_worst.transactions == 7
    assert costs.challenger.anchors == 6
    assert size < costs.challenger.vbytes < size + 3_000
    assert size + 45_000 < costs.challenger_worst.vbytes < size + 80_000
    assert 60_000 < costs.refute.vbytes < 100_000
    assert costs.refute.anchors == 0
    assert costs.dearest.vbytes == costs.prover_worst.vbytes + costs.challenger_worst.vbytes


def test_sats_are_fees_and_anchors() -> None:
    cost = Cost(3, 1_000, 2)
    assert cost.sats(7) == 7_000 + 2 * ANCHOR_SATS
    assert cost.plus(Cost(1, 500, 0)).sats(1) == 1_500 + 2 * ANCHOR_SATS


def test_a_short_trace_has_nothing_to_refute() -> None:
    assert setting(3).contract.costs(Role.HOLDER).refute == Cost(0, 0, 0)
