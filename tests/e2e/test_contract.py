"""`oracle-vm contract ...` as a person calls it: every way in which a contract can end."""

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from actors.contract_setting import TERMS

COMMAND = [sys.executable, "-m", "actors.cli", "contract"]
CLAIM = ["FUND", "INPUT_1", "KICKOFF"]
GAME = [
    *(*CLAIM, "CHALLENGE"),
    *(f"{move}_{turn}" for turn in range(1, 13) for move in ("REVEAL", "PICK")),
    "EXECUTE",
]
PATHS = {
    "cooperative": (54_321, ["FUND", "CLOSE"]),
    "claim-holder": (1, [*CLAIM, "SETTLE", "SWEEP_WRITER", "SWEEP_HOLDER"]),
    "claim-writer": (65_534, [*CLAIM, "SETTLE", "SWEEP_HOLDER", "SWEEP_WRITER"]),
    "american": (43_690, [*CLAIM, "SETTLE", "SWEEP_WRITER", "SWEEP_HOLDER"]),
    "refund": (None, ["FUND", "REFUND"]),
    "lie-holder": (30_000, [*GAME, "VERDICT_RECORD"]),
    "lie-writer": (30_000, [*GAME, "VERDICT_ROM"]),
    "lie-challenge": (30_000, [*GAME, "SETTLE_execute", "SWEEP_WRITER", "SWEEP_HOLDER"]),
}
"""The payout asked for, and the transactions in the order of the chain; a leaf without its page."""
PROVERS = {
    "claim-writer": {"writer"},
    "lie-writer": {"writer"},
    "cooperative": set(),
    "refund": set(),
}

pytestmark = pytest.mark.timeout(300)
needs_bitcoind = pytest.mark.skipif(not os.environ.get("BITCOIND"), reason="BITCOIND is not set")


def started(path: str, backend: str) -> subprocess.Popen[bytes]:
    units, _ = PATHS[path]
    asked = [] if units is None else ["--payout", str(units)]
    command = [*COMMAND, "demo", "--path", path, "--backend", backend, "--json", *asked]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(run: subprocess.Popen[bytes]) -> dict[str, Any]:
    try:
        out, err = run.communicate(timeout=250)
    finally:
        run.send_signal(signal.SIGINT)  # if it still runs: it ends its own processes
    assert run.returncode == 0, err.decode() + out.decode()
    return json.loads(out)


def check(report: dict[str, Any], path: str) -> None:
    """The report adds up by itself, and it is the one of this path."""
    units, names = PATHS[path]
    assert report["ok"], report["outcome"]
    shown = [tx["name"].split(":")[-1] for tx in report["txs"]]
    assert [re.sub(r"^(VERDICT_[A-Z-]+)_[0-9a-fx.]+$", r"\1", name) for name in shown] == names
    claims = {tx["name"].split(":")[0] for tx in report["txs"] if ":" in tx["name"]}
    assert claims == PROVERS.get(path, {"holder"})
    holder, writer = report["balances"]["holder"], report["balances"]["writer"]
    for balance in (holder, writer):
        assert balance["after"] - balance["before"] == sum(balance["because"].values())
    assert report["units"] == units
    assert holder["difference"] + writer["difference"] == -sum(report["fees"].values())
    assert report["fees"]["miners"] == sum(tx["fee"] for tx in report["txs"])
    if path.startswith("lie-"):
        check_dispute(report, path)
        return
    assert holder["because"].get("payout", 0) == (units or 0) * report["unit_sats"]
    heights = {tx["name"].split(":")[-1]: tx["height"] for tx in report["txs"]}
    if "KICKOFF" in heights:
        assert heights["SETTLE"] == heights["KICKOFF"] + 12
        other, prover = names[-2:]
        assert (heights[other], heights[prover]) == (heights["SETTLE"] + 1, heights["SETTLE"] + 12)
        assert not report["dispute"]["challenged"]
    assert (heights.get("INPUT_1", 0) < 112) == (path != "claim-holder" and path != "claim-writer")


COLLATERAL, BOND = TERMS["collateral_sats"], TERMS["bond_sats"]


def check_dispute(report: dict[str, Any], path: str) -> None:
    """Who lied has lost its bond, and the collateral with it if it was to gain it by its claim."""
    dispute, balances = report["dispute"], report["balances"]
    liar, winner = ("holder", "writer") if path == "lie-holder" else ("writer", "holder")
    assert (dispute["loser"], dispute["challenged"]) == (liar, True)
    assert dispute["kind"] == {"lie-holder": "step", "lie-writer": "wrong-opcode"}.get(
        path, "challenge"
    )
    assert dispute["leaf"] == next(
        tx["name"] for tx in report["txs"] if tx["txid"] == dispute["txid"]
    )
    assert dispute["step"] > 0 and dispute["instruction"]
    assert balances[liar]["because"]["bond and reserve"] < -BOND
    taken = balances[winner]["because"]["bond and reserve"]
    assert taken == -balances[liar]["because"]["bond and reserve"]
    if path == "lie-challenge":
        assert balances["holder"]["because"]["payout"] == report["payout_sats"]
        return
    assert "payout" not in balances["holder"]["because"]
    held = balances["holder"]["because"].get("collateral", 0)
    assert held == (COLLATERAL if winner == "holder" else 0)


def test_as_a_person_calls_it() -> None:
    """Both at once: most of their time is the start of processes."""
    runs = {path: started(path, "kernel") for path in ("cooperative", "lie-holder")}
    for path, run in runs.items():
        check(finished(run), path)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_the_kernel(path: str) -> None:
    check(finished(started(path, "kernel")), path)


@needs_bitcoind
@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_bitcoind(path: str) -> None:
    check(finished(started(path, "bitcoind")), path)
