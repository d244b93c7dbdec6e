"""docs/contract.md says what the graph weighs."""

from pathlib import Path

import pytest

from protocol.settlement.move import ANCHOR_SATS
from protocol.settlement.settle import ROUNDED_SHARE
from protocol.settlement.terms import Role
from tests.builders.contracts import claim_of_bits, contract_of, contract_terms

PAGE = (Path(__file__).parents[3] / "docs" / "contract.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("quorum", [2, 3])
def test_the_table_of_sizes(quorum: int, width: int, prover: Role) -> None:
    moves = contract_of(contract_terms(claim_of_bits(16, quorum), width=width)).moves
    names = (*(f"{prover.value}:{name}" for name in ("INPUT_1", "KICKOFF", "SETTLE")), "REFUND")
    claim = sum(moves[name].fee_sats + ANCHOR_SATS for name in names[:2])
    row = [quorum, width, *(moves[name].widest_vsize for name in names), claim]
    assert f"| {' | '.join(map(str, row))} |\n" in PAGE


def test_the_share_that_small_bits_may_hold() -> None:
    assert f"more than 1/{ROUNDED_SHARE} of the collateral are refused" in PAGE
