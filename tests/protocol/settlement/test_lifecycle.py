"""Which stage a row of transactions shows."""

import pytest
from bitcoin.core import CTransaction

from protocol.settlement.lifecycle import Placed, Position, Stage, prover_of, stage_of
from protocol.settlement.terms import Role

DEPTH = 3


def row(*placed: tuple[str, int]) -> Position:
    """Transactions by name and confirmations, FUND first."""
    height = 100
    return Position(
        tuple(
            Placed(name, CTransaction(), height - count + 1 if count else None, count)
            for name, count in placed
        )
    )


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ([], None),
        ([("FUND", 0)], None),
        ([("FUND", 2)], None),
        ([("FUND", 3)], Stage.FUNDED),
        ([("FUND", 9), ("CLOSE", 2)], Stage.FUNDED),
        ([("FUND", 9), ("CLOSE", 3)], Stage.SETTLED),
        ([("FUND", 9), ("REFUND", 3)], Stage.REFUNDED),
        ([("FUND", 9), ("holder:INPUT_1", 2)], Stage.FUNDED),
        ([("FUND", 9), ("holder:INPUT_1", 3)], Stage.CLAIMED),
        ([("FUND", 9), ("holder:INPUT_1", 5), ("holder:TIMEOUT", 3)], Stage.SETTLED),
        ([("FUND", 9), ("writer:INPUT_1", 5), ("writer:KICKOFF", 2)], Stage.CLAIMED),
        ([("FUND", 9), ("writer:INPUT_1", 5), ("writer:KICKOFF", 4)], Stage.CLAIMED),
        ([("FUND", 9), ("writer:KICKOFF", 5), ("writer:SETTLE", 3)], Stage.SETTLED),
    ],
)
def test_a_transaction_counts_once_it_is_deep(path, stage):
    assert stage_of(row(*path), DEPTH, false_claim=False) is stage


def test_a_false_claim_is_disputed_once_kickoff_counts():
    path = [("FUND", 9), ("holder:INPUT_1", 5), ("holder:KICKOFF", 3)]
    assert stage_of(row(*path), DEPTH, false_claim=True) is Stage.DISPUTED
    assert stage_of(row(*path[:2]), DEPTH, false_claim=True) is Stage.CLAIMED
    settled = [*path, ("holder:SETTLE", 3)]
    assert stage_of(row(*settled), DEPTH, false_claim=True) is Stage.SETTLED


@pytest.mark.parametrize(
    ("second", "prover"),
    [("holder:INPUT_1", Role.HOLDER), ("writer:KICKOFF", Role.WRITER), ("CLOSE", None)],
)
def test_who_claims(second, prover):
    assert prover_of(row(("FUND", 3), (second, 1))) is prover
    assert prover_of(row(("FUND", 3))) is None
