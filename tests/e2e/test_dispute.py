"""`oracle-vm dispute ...` as a person calls it, and what the other commands read of its chain."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "actors.cli"]

pytestmark = pytest.mark.timeout(300)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=250)


def answer(*arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_false_step_is_convicted_and_a_stranger_audits_it(tmp_path) -> None:
    """The lie of `demo --lie step`, and the audit from blocks and the contract file alone."""
    folder = tmp_path / "game"
    game = answer("dispute", "play", "--lie", "step", "--dir", str(folder))
    assert game["ok"]
    assert (game["winner"], game["fault"]) == ("challenger", "RECORD")
    assert game["received_sats"]["holder"] == 0
    assert game["received_sats"]["writer"] > game["fund_sats"] * 99 // 100
    contract = str(folder / "dispute.contract")
    audit = answer("audit", contract)
    assert game["contract"] in json.dumps(audit)
    assert game["moves"][-1]["txid"] in json.dumps(audit)
    verdict = run("dispute", "explain", game["moves"][-1]["txid"], "--chain", str(folder))
    assert verdict.returncode == 0, verdict.stderr
    assert "RECORD" in verdict.stdout


def test_a_challenger_that_asserts_a_lie_is_refuted() -> None:
    done = run("dispute", "play", "--lie", "assert-pointed-way", "--prover", "writer")
    assert done.returncode == 0, done.stderr
    assert "REFUTE_" in done.stdout
    assert "what the challenger asserted is false. The writer wins." in done.stdout
    assert "... dispute" in done.stderr


def test_an_unknown_lie_is_one_line() -> None:
    done = run("dispute", "play", "--lie", "white")
    assert done.returncode == 1
    assert done.stderr == "error: --lie white: no such lie; `oracle-vm dispute list` names all\n"


@pytest.mark.skipif(not os.environ.get("BITCOIND"), reason="BITCOIND is not set")
def test_bitcoind_judges_a_game_alike() -> None:
    """Its policy may refuse a leaf that its consensus accepts: then a miner is given it."""
    game = answer("dispute", "play", "--lie", "no-refute", "--backend", "bitcoind")
    assert (game["ok"], game["backend"]) == (True, "bitcoind")
    assert game["leaf"].startswith("TAKE_")
