"""Which stage a row of transactions shows."""

import pytest
from bitcoin.core import CTransaction

from protocol.settlement.lifecycle import Placed, Position, Stage, is_settle, prover_of, stage_of
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
    assert stage_of(row(*path), DEPTH) is stage


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("KICKOFF", Stage.CLAIMED),
        ("CHALLENGE", Stage.DISPUTED),
        ("REVEAL_12", Stage.DISPUTED),
        ("PICK_1", Stage.DISPUTED),
        ("EXECUTE", Stage.DISPUTED),
        ("ASSERT_1_path", Stage.DISPUTED),
        ("ASSERT_1", Stage.DISPUTED),
        ("TAKE_1", Stage.SETTLED),
        ("SETTLE", Stage.SETTLED),
        ("SETTLE_round_3", Stage.SETTLED),
        ("VERDICT_INPUT_0x40000004_slot_1", Stage.SETTLED),
        ("TIMEOUT", Stage.SETTLED),
    ],
)
def test_a_dispute_lasts_from_the_challenge_to_what_settles_it(name, stage):
    path = [("FUND", 9), ("holder:INPUT_1", 5), (f"holder:{name}", 3)]
    assert stage_of(row(*path), DEPTH) is stage
    assert is_settle(f"holder:{name}") is name.startswith("SETTLE")


@pytest.mark.parametrize(
    ("second", "prover"),
    [("holder:INPUT_1", Role.HOLDER), ("writer:KICKOFF", Role.WRITER), ("CLOSE", None)],
)
def test_who_claims(second, prover):
    assert prover_of(row(("FUND", 3), (second, 1))) is prover
    assert prover_of(row(("FUND", 3))) is None
