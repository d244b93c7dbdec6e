"""`oracle-vm contract ...` as a person calls it: every way in which a contract can end."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "actors.cli", "contract"]
PATHS = {
    "cooperative": (54_321, ["FUND", "CLOSE"]),
    "claim-holder": (1, ["FUND", "INPUT_1", "KICKOFF", "SETTLE", "SWEEP_WRITER", "SWEEP_HOLDER"]),
    "claim-writer": (
        65_534,
        ["FUND", "INPUT_1", "KICKOFF", "SETTLE", "SWEEP_HOLDER", "SWEEP_WRITER"],
    ),
    "american": (43_690, ["FUND", "INPUT_1", "KICKOFF", "SETTLE", "SWEEP_WRITER", "SWEEP_HOLDER"]),
    "refund": (None, ["FUND", "REFUND"]),
}
"""The payout asked for, and the transactions in the order of the chain."""

needs_bitcoind = pytest.mark.skipif(not os.environ.get("BITCOIND"), reason="BITCOIND is not set")


def started(path: str, backend: str) -> subprocess.Popen[bytes]:
    units, _ = PATHS[path]
    asked = [] if units is None else ["--payout", str(units)]
    command = [*COMMAND, "demo", "--path", path, "--backend", backend, "--json", *asked]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(run: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, err = run.communicate(timeout=100)
    assert run.returncode == 0, err.decode() + out.decode()
    return json.loads(out)


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """All at once: most of their time is the start of processes."""
    children = {path: started(path, "kernel") for path in PATHS}
    yield children
    for child in children.values():
        child.kill()
        child.communicate()


def check(report: dict[str, Any], path: str) -> None:
    """The report adds up by itself, and it is the one of this path."""
    units, names = PATHS[path]
    assert report["ok"], report["outcome"]
    assert [tx["name"].split(":")[-1] for tx in report["txs"]] == names
    claims = {tx["name"].split(":")[0] for tx in report["txs"] if ":" in tx["name"]}
    assert claims == {"claim-writer": {"writer"}, "cooperative": set(), "refund": set()}.get(
        path, {"holder"}
    )
    holder, writer = report["balances"]["holder"], report["balances"]["writer"]
    for balance in (holder, writer):
        assert balance["after"] - balance["before"] == sum(balance["because"].values())
    assert report["units"] == units
    assert holder["because"].get("payout", 0) == (units or 0) * report["unit_sats"]
    assert holder["difference"] + writer["difference"] == -sum(report["fees"].values())
    assert report["fees"]["miners"] == sum(tx["fee"] for tx in report["txs"])
    heights = {tx["name"].split(":")[-1]: tx["height"] for tx in report["txs"]}
    if "KICKOFF" in heights:
        assert heights["SETTLE"] == heights["KICKOFF"] + 12
        other, prover = names[-2:]
        assert (heights[other], heights[prover]) == (heights["SETTLE"] + 1, heights["SETTLE"] + 12)
    assert (heights.get("INPUT_1", 0) < 112) == (path != "claim-holder" and path != "claim-writer")


@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_the_kernel(runs, path: str) -> None:
    check(finished(runs[path]), path)


@needs_bitcoind
@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_bitcoind(path: str) -> None:
    check(finished(started(path, "bitcoind")), path)
