"""SIGKILL of prover and challenger all through a dispute: whoever is started again on the same disk
goes on, the same side wins, and no one-time key has signed twice."""

import os
import re
from contextlib import closing
from pathlib import Path

import pytest

from actors.chain_contracts import read_contract
from actors.config import open_folder
from actors.contract_demo import WATCHED
from actors.contract_report import ContractReport
from actors.contract_setting import FUNDS_HEIGHT, Ending
from actors.party_folder import PartyFolder
from protocol.settlement.contract_file import revealed_on_chain
from protocol.settlement.terms import Role
from tests.builders.parties import MortalDemo

UNITS = 40_961
FUNDED = 9
"""Records that a party has kept when it has signed FUND."""
ROUNDS = 12
GAME = [
    *("FUND", "INPUT_1", "KICKOFF", "CHALLENGE"),
    *(f"{move}_{turn}" for turn in range(1, ROUNDS + 1) for move in ("REVEAL", "PICK")),
    "EXECUTE",
]

pytestmark = pytest.mark.timeout(900)
needs_bitcoind = pytest.mark.skipif(not os.environ.get("BITCOIND"), reason="BITCOIND is not set")


def check(demo: MortalDemo, report: ContractReport, *ends: str) -> None:
    """Every transaction once, all accounts closed, and what blocks show is what was guarded."""
    assert report.ok, report
    names = [tx.name.split(":")[-1] for tx in report.txs]
    assert names[: len(GAME)] == GAME
    assert [re.sub(r"_\d$", "", name) for name in names[len(GAME) :]] == list(ends)
    folder = demo.setting.folder
    graph = read_contract(folder / "chain" / WATCHED).graph()
    with open_folder(folder / "chain") as chain:
        for role in Role:
            shown = revealed_on_chain(graph, role, chain)
            with closing(PartyFolder.open(folder / role.value)) as disk:
                assert shown, role
                for label, digits in shown.items():
                    assert disk.guard.get(label) == digits, label


def require_deaths(demo: MortalDemo, name: str, *causes: str) -> None:
    deaths = demo.deaths(name)
    assert set(causes) <= set(deaths), (set(causes) - set(deaths), deaths)
    assert demo.lives(name) == len(deaths) + 1


MOMENTS = (
    r"(before|after) Broadcast holder:(CHALLENGE|REVEAL_1|PICK_1|REVEAL_12|PICK_12|EXECUTE|VERDICT)"
    r"|guard of (node_0 3|digit 3)$"
)
"""Before and behind a broadcast, and between the guard and the journal."""


def test_prover_and_challenger_die_all_through_a_dispute(tmp_path: Path) -> None:
    demo = MortalDemo(
        Ending.LIE_HOLDER, UNITS, tmp_path / "demo", "holder", "writer", fatal=MOMENTS
    )
    check(demo, demo.run(), "VERDICT_RECORD")
    for name, moves in (
        ("holder", ("REVEAL_1", "REVEAL_12", "EXECUTE")),
        ("writer", ("CHALLENGE", "PICK_1", "PICK_12")),
    ):
        for move in moves:
            causes = (f"{when} Broadcast holder:{move}" for when in ("before", "after"))
            require_deaths(demo, name, *causes)
    require_deaths(demo, "holder", "after the guard of node_0 3")
    require_deaths(demo, "writer", "after the guard of digit 3")
    assert [cause.partition(" ")[0] for cause in demo.deaths("writer") if "VERDICT" in cause] == [
        "before",
        "after",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "ends"),
    [
        (Ending.LIE_HOLDER, ["VERDICT_RECORD"]),
        (Ending.LIE_CHALLENGE, ["SETTLE_execute", "SWEEP_WRITER", "SWEEP_HOLDER"]),
    ],
)
def test_parties_that_die_of_everything_in_a_dispute(tmp_path: Path, ending, ends) -> None:
    """Of each record, each broadcast and each one-time message once, from the first block on."""
    demo = MortalDemo(ending, UNITS, tmp_path / "demo", "holder", "writer", since=FUNDED)
    check(demo, demo.run(), *ends)
    assert all(len(demo.deaths(name)) > 50 for name in ("holder", "writer"))


@needs_bitcoind
@pytest.mark.slow
def test_parties_die_in_a_dispute_on_bitcoind(tmp_path: Path) -> None:
    demo = MortalDemo(
        Ending.LIE_HOLDER,
        UNITS,
        tmp_path / "demo",
        *("holder", "writer"),
        fatal=MOMENTS,
        backend="bitcoind",
    )
    check(demo, demo.run(), "VERDICT_RECORD")
    assert all(demo.lives(name) > 6 for name in ("holder", "writer"))


class ReorganisedDemo(MortalDemo):
    """After every seventh block of the game the last two are replaced by others, which hold
    nothing of what those held; both parties run on."""

    reorganised = 0

    def _next_block(self) -> int:
        height = super()._next_block()
        if height > FUNDS_HEIGHT + 15 and height % 7 == 0:
            self._chain.reorg(2)
            self.reorganised += 1
        return self._chain.height


@pytest.mark.slow
@pytest.mark.parametrize("ending", [Ending.LIE_HOLDER, Ending.LIE_CHALLENGE])
def test_blocks_are_replaced_during_the_game(tmp_path: Path, ending: Ending) -> None:
    """Deeper than both parties wait for: they say again what they said, byte for byte."""
    demo = ReorganisedDemo(ending, UNITS, tmp_path / "demo", "holder", "writer", fatal=MOMENTS)
    report = demo.run()
    settled = ["SETTLE_execute", "SWEEP_WRITER", "SWEEP_HOLDER"]
    check(demo, report, *(["VERDICT_RECORD"] if ending is Ending.LIE_HOLDER else settled))
    assert demo.reorganised >= 3
