"""SIGKILL of the parties and of the node at every transition of a contract: whoever is started
again on the same disk goes on, and the contract ends as if nothing had happened.

The demo's own books say whether it did: every satoshi of both wallets follows from the terms, so
that a payout, a premium or a fee that was paid twice would show.
"""

from pathlib import Path

import pytest

from actors.contract_report import ContractReport
from actors.contract_setting import TERMS, Ending
from tests.builders.parties import EVERYTHING, MortalDemo

pytestmark = pytest.mark.timeout(400)

UNITS = 40_961
FUNDED = 9
"""Records that a party has kept when it has signed FUND."""
MOVE_WINDOW, CHALLENGE_WINDOW, SWEEP_DELAY = 6, 12, 12
CLAIM = ["FUND", "INPUT_1", "KICKOFF", "SETTLE"]
NAMES = {
    Ending.COOPERATIVE: ["FUND", "CLOSE"],
    Ending.CLAIM_HOLDER: [*CLAIM, "SWEEP_WRITER", "SWEEP_HOLDER"],
    Ending.CLAIM_WRITER: [*CLAIM, "SWEEP_HOLDER", "SWEEP_WRITER"],
    Ending.AMERICAN: [*CLAIM, "SWEEP_WRITER", "SWEEP_HOLDER"],
    Ending.REFUND: ["FUND", "REFUND"],
}


def check(report: ContractReport, ending: Ending) -> None:
    """Each transaction once, and none too late."""
    assert report.ok, report
    assert [tx.name.split(":")[-1] for tx in report.txs] == NAMES[ending]
    height = {tx.name.split(":")[-1]: tx.height for tx in report.txs}
    if "KICKOFF" in height:
        assert height["KICKOFF"] - height["INPUT_1"] < MOVE_WINDOW
        assert height["SETTLE"] - height["KICKOFF"] >= CHALLENGE_WINDOW
        others_sweep, provers_sweep = (height[name] for name in NAMES[ending][-2:])
        assert others_sweep - height["SETTLE"] < SWEEP_DELAY <= provers_sweep - height["SETTLE"]
    if ending is Ending.REFUND:
        assert height["REFUND"] > TERMS["refund_height"]


SIGNED = "signatures|SignCoins|witnesses|Broadcast|Prove|guard of (input 0|payout)|proof"


@pytest.mark.parametrize("fatal", [SIGNED, pytest.param(EVERYTHING, marks=pytest.mark.slow)])
def test_parties_that_die_of_what_they_do(tmp_path: Path, fatal: str) -> None:
    """Both of them, of everything that binds them, or of each effect and each record, once."""
    demo = MortalDemo(
        Ending.CLAIM_HOLDER, UNITS, tmp_path / "demo", "holder", "writer", fatal=fatal
    )
    check(demo.run(), Ending.CLAIM_HOLDER)
    require_deaths(
        demo,
        holder=(
            "after Piece witnesses",
            "after Prove ",
            "after the guard of input 0",
            "before Broadcast holder:INPUT_1",
            "after the guard of payout 0",
            "after Broadcast holder:KICKOFF",
            "after Broadcast holder:SWEEP_HOLDER",
        ),
        writer=(
            "after SignCoins FUND",
            "before Broadcast FUND",
            "after Broadcast FUND",
            "before Broadcast holder:SETTLE",
            "before Broadcast holder:SWEEP_WRITER",
        ),
    )


def test_parties_that_die_while_they_close_together(tmp_path: Path) -> None:
    demo = MortalDemo(
        Ending.COOPERATIVE, UNITS, tmp_path / "demo", "holder", "writer", since=FUNDED
    )
    check(demo.run(), Ending.COOPERATIVE)
    require_deaths(
        demo,
        holder=("after CloseOffer ", "before Broadcast CLOSE", "after Broadcast CLOSE"),
        writer=("after CloseAnswer ",),
    )


def require_deaths(demo: MortalDemo, **causes: tuple[str, ...]) -> None:
    """Each party has died of these among others, and had a life for each death."""
    for name, expected in causes.items():
        deaths = demo.deaths(name)
        assert set(expected) <= set(deaths)
        assert demo.lives(name) == len(deaths) + 1


def test_a_node_that_dies_of_every_transaction(tmp_path: Path) -> None:
    """It has taken it, and dies before it answers."""
    ending = Ending.CLAIM_WRITER
    demo = MortalDemo(ending, UNITS, tmp_path / "demo", "chain")
    check(demo.run(), ending)
    assert len(demo.deaths("chain")) == len(NAMES[ending])
    assert demo.lives("chain") == 1 + len(NAMES[ending])


@pytest.mark.parametrize(
    "ending",
    [
        Ending.REFUND,
        pytest.param(Ending.AMERICAN, marks=pytest.mark.slow),
    ],
)
def test_all_of_them_die(tmp_path: Path, ending: Ending) -> None:
    units = None if ending is Ending.REFUND else UNITS
    everybody = ("chain", "holder", "writer")
    demo = MortalDemo(ending, units, tmp_path / "demo", *everybody, since=FUNDED)
    check(demo.run(), ending)
    assert all(demo.lives(name) > 2 for name in everybody)
