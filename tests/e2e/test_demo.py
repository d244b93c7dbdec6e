"""`oracle-vm demo` as a user runs it: a real process, and what its JSON says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.units import E8

QUANTITY_SATS = 100_000_000
STRIKE_E8 = 80_000 * E8


def demo(*arguments: str) -> dict:
    command = [sys.executable, "-m", "actors.cli", "demo", "--json", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    report = json.loads(run.stdout)
    assert report["ok"]
    assert report["clock"] == "simulated-clock"
    assert report["instrument"] == "BTC-27DEC26-80000-C"
    return report


def honest_payout(report: dict) -> int:
    spot_e8 = report["certificate"]["price_e8"]
    unit_sats = QUANTITY_SATS // (2**16 - 1)
    return QUANTITY_SATS * max(spot_e8 - STRIKE_E8, 0) // spot_e8 // unit_sats * unit_sats


def names(report: dict) -> list[str]:
    heights = [tx["height"] for tx in report["txs"]]
    assert heights == sorted(heights)
    assert all(len(tx["txid"]) == 64 and tx["vsize"] > 100 for tx in report["txs"])
    return [tx["name"] for tx in report["txs"]]


def test_an_honest_claim_settles_in_the_next_block():
    report = demo()
    certificate = report["certificate"]
    assert certificate["grade"] == "FULL"
    assert len(certificate["signers"]) == 2
    assert certificate["latency_ms"] > 0
    assert report["payout_sats"] == report["claimed_sats"] == honest_payout(report) > 0
    assert report["dispute"] is None
    assert names(report) == ["FUND", "CLOSE"]
    assert report["txs"][1]["height"] == report["txs"][0]["height"] + 1
    assert len(report["root"]) == 40
    assert report["steps"] > 3_000_000  # two BIP340 signatures are verified in there
    assert sum(prover["chunks"] for prover in report["provers"]) * 4**8 >= report["steps"]
    assert all(prover["chunks"] > 0 for prover in report["provers"])


@pytest.mark.parametrize(
    ("lie", "fault"), [("payout", "NOT-HALT"), ("step", "EXECUTE"), ("root", "NODE")]
)
def test_a_lie_is_caught_and_the_honest_payout_is_on_chain(lie, fault):
    report = demo("--lie", lie)
    dispute = report["dispute"]
    assert (dispute["kind"], dispute["fault"], dispute["winner"]) == (lie, fault, "challenger")
    assert report["claimed_sats"] > report["payout_sats"] == honest_payout(report)
    assert names(report) == ["FUND", "CLOSE"]
    if lie == "payout":
        assert dispute["step"] == 4**12 - 1
    if lie == "step":
        assert 0 < dispute["step"] < report["steps"]
        assert dispute["instruction"]
    if lie == "root":
        assert dispute["step"] is None


def test_a_prover_that_stalls_loses_by_timeout_and_refund_is_mined():
    report = demo("--lie", "stall")
    assert (report["dispute"]["fault"], report["dispute"]["winner"]) == ("TIMEOUT", "challenger")
    assert names(report) == ["FUND", "REFUND"]
    assert report["txs"][1]["height"] > report["txs"][0]["height"] + 18


def test_one_killed_oracle_does_not_stop_the_settlement():
    report = demo("--kill", "1")
    assert report["killed"] == ["alpha"]
    assert report["certificate"]["grade"] in ("FULL", "DEGRADED")
    assert report["payout_sats"] == honest_payout(report)
    assert names(report) == ["FUND", "CLOSE"]


def test_two_killed_oracles_mean_no_certificate_and_a_refund(tmp_path):
    report = demo("--kill", "2", "--dir", str(tmp_path / "run"))
    assert report["certificate"] is None
    assert "2 signatures needed" in report["no_certificate"]
    assert report["payout_sats"] == 0
    assert names(report) == ["FUND", "REFUND"]
    kept = {path.name for path in Path(tmp_path / "run").iterdir()}
    assert {"network", "coordinator", "keys"} <= kept
