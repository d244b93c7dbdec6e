"""SIGKILL of every actor of the demo, in the midst of a dispute: Ray starts it again on its disk,
the dispute ends the same, and nobody has signed two things under one key."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from actors import placement
from actors.config import CHAIN_NODE, open_chain
from actors.party_folder import PartyFolder
from protocol.settlement.dispute.story import story_of
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.terms import Role
from tests.fault import mortal_demo

CHILD = Path(mortal_demo.__file__)
PLAYED = [
    "FUND",
    *("holder:INPUT_1", "holder:KICKOFF", "holder:CHALLENGE"),
    *(f"holder:{what}_{turn}" for turn in range(1, 13) for what in ("REVEAL", "PICK")),
    "holder:EXECUTE",
]
ACTORS = ("holder", "writer", "coordinator", "prover-0")


def run(folder: Path, lie: str, *deaths: str) -> dict:
    command = [sys.executable, str(CHILD), str(folder), lie, *deaths]
    child = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def check(folder: Path, deaths: list[str]) -> None:
    found = run(folder, "step", *deaths)
    report, killed = found["report"], found["killed"]
    assert report["ok"], report
    assert [tx["name"] for tx in report["txs"][:-1]] == PLAYED
    assert report["end"] == report["txs"][-1]["name"] == report["dispute"]["leaf"]
    assert report["end"].startswith("holder:VERDICT_RECORD")
    assert report["dispute"]["winner"] == "challenger"
    assert sum(map(len, killed.values())) == len(deaths)
    for pids in killed.values():
        assert len(set(pids)) == len(pids)
    lost = sum(held["difference"] for held in report["balances"].values())
    anchors = sum(tx["fee"] for tx in report["txs"]) + lost
    assert -20_000 < anchors <= 0, "fees, and outputs that nobody took"
    require_signed_once(folder)


def require_signed_once(folder: Path) -> None:
    """Every one-time message on the chain is the one that its signer's guard knows."""
    folders = {role: PartyFolder.open(folder / role.value) for role in Role}
    with (
        closing(folders[Role.HOLDER]) as holder,
        closing(folders[Role.WRITER]) as writer,
        open_chain(folder / "chain" / CHAIN_NODE) as chain,
    ):
        graph = Knowledge(Role.HOLDER, holder.keys, holder.records).graph
        assert graph is not None
        shown = set()
        for act in story_of(graph, chain).acts:
            for label, message in (act.messages or {}).items():
                guard = {"holder": holder, "writer": writer}[label.role].guard
                assert guard.get(label) == message.digits
                shown.add(label)
        assert len(shown) == len(holder.guard) + len(writer.guard)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(560)
def test_each_actor_dies_in_the_dispute(tmp_path):
    deaths = ["prover-0@0", "holder@1", "coordinator@4", "writer@9", "holder@14", "writer@27"]
    check(tmp_path, deaths)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("victim", ACTORS)
def test_an_actor_dies_at_every_second_block(tmp_path, victim):
    """A prover until it is not started again: then the others do its work."""
    lives = placement.PROVER.restarts + 1 if victim == "prover-0" else len(PLAYED)
    blocks = range(0, len(PLAYED), 2)[:lives]
    check(tmp_path, [f"{victim}@{block}" for block in blocks])
