"""`oracle-vm demo` as a user runs it: a real process, and what its JSON says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.units import E8

pytestmark = pytest.mark.timeout(330)

RUN_S = 300.0
QUANTITY_SATS = 100_000_000
STRIKE_E8 = 80_000 * E8
BOND_SATS, PREMIUM_SATS = 2_500_000, 4_000_000
COSTS_SATS = 300_000
"""More than either side pays for its transactions."""


def demo(*arguments: str) -> dict:
    command = [sys.executable, "-m", "actors.cli", "demo", "--json", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    report = json.loads(run.stdout)
    assert report["ok"]
    assert report["clock"] == "simulated-clock"
    return report


def units_sats(sats: int) -> int:
    most = 2**16 - 1
    unit_sats = QUANTITY_SATS // most
    return min(sats // unit_sats, most) * unit_sats


def honest_payout(report: dict) -> int:
    spot_e8 = report["certificate"]["price_e8"]
    return units_sats(QUANTITY_SATS * max(spot_e8 - STRIKE_E8, 0) // spot_e8)


def names(report: dict) -> list[str]:
    heights = [tx["height"] for tx in report["txs"]]
    assert heights == sorted(heights)
    assert all(len(tx["txid"]) == 64 and tx["vsize"] > 100 < tx["fee"] for tx in report["txs"])
    return [tx["name"] for tx in report["txs"]]


def gains(report: dict) -> dict[str, int]:
    """What each side's wallet gained; together they lost what the chain took."""
    found = {name: held["difference"] for name, held in report["balances"].items()}
    assert -2 * COSTS_SATS < sum(found.values()) < 0
    return found


def test_an_honest_claim_settles_in_the_next_block():
    report = demo()
    assert report["instrument"] == "BTC-27DEC26-80000-C"
    certificate = report["certificate"]
    assert certificate["grade"] == "FULL"
    assert len(certificate["signers"]) == 2
    assert certificate["latency_ms"] > 0
    due = honest_payout(report)
    assert report["payout_sats"] == report["claimed_sats"] == report["due_sats"] == due > 0
    assert report["dispute"] is None
    assert (names(report), report["end"], report["blocks"]) == (["FUND", "CLOSE"], "CLOSE", 1)
    assert gains(report)["holder"] == pytest.approx(due - PREMIUM_SATS, abs=1_000)
    assert len(report["root"]) == 40
    assert report["steps"] > 3_000_000  # two BIP340 signatures are verified in there
    assert sum(prover["chunks"] for prover in report["provers"]) * 4**8 >= report["steps"]
    assert all(prover["chunks"] > 0 for prover in report["provers"])


@pytest.mark.parametrize(
    ("lie", "fault", "leaf"),
    [
        pytest.param("payout", "NOT-HALT", "VERDICT_NOT-HALT", marks=pytest.mark.slow),
        ("step", "RECORD", "VERDICT_RECORD"),
        pytest.param("root", "NOT-HALT", "VERDICT_NOT-HALT", marks=pytest.mark.slow),
        pytest.param("stall", "TIMEOUT", "TIMEOUT", marks=pytest.mark.slow),
    ],
)
def test_a_lie_is_convicted_on_chain_and_costs_the_bond(lie, fault, leaf):
    report = demo("--lie", lie)
    dispute = report["dispute"]
    assert (dispute["kind"], dispute["fault"], dispute["winner"]) == (lie, fault, "challenger")
    assert (dispute["prover"], dispute["loser"]) == ("holder", "holder")
    due = honest_payout(report)
    assert report["claimed_sats"] > report["due_sats"] == due > report["payout_sats"] == 0
    played = names(report)
    assert played[0] == "FUND"
    assert played[-1] == dispute["leaf"] == report["end"]
    assert dispute["leaf"].startswith(f"holder:{leaf}")
    assert dispute["txid"] == report["txs"][-1]["txid"]
    assert played[1:4] == ["holder:INPUT_1", "holder:KICKOFF", "holder:CHALLENGE"]
    gained = gains(report)
    assert abs(gained["holder"] + BOND_SATS + PREMIUM_SATS) < COSTS_SATS
    assert abs(gained["writer"] - BOND_SATS - PREMIUM_SATS) < COSTS_SATS
    if lie == "stall":
        assert (dispute["step"], dispute["rounds"], dispute["blocks"]) == (None, 0, 1 + 6)
        return
    assert dispute["rounds"] == 12
    assert sum("REVEAL" in name for name in played) == 12
    assert dispute["vbytes"] < 120_000
    assert "check PAYOUT fails" in dispute["reason"]
    if lie == "step":
        assert 0 < dispute["step"] < report["steps"]
        assert dispute["instruction"]
    else:
        assert dispute["step"] == 4**12 - 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("BTC-27DEC26-50000-P", marks=pytest.mark.slow),
        pytest.param("BTC-27DEC26-50000-C-B", marks=pytest.mark.slow),
        pytest.param("BTC-27DEC26-70000-C-UO90000", marks=pytest.mark.slow),
        pytest.param("BTC-27DEC26-70000-P-DO40000", marks=pytest.mark.slow),
        pytest.param("BTC-27DEC26-80000-C-A", marks=pytest.mark.slow),
    ],
)
def test_every_instrument_settles_on_chain(name):
    report = demo("--instrument", name)
    assert (report["instrument"], names(report)) == (name, ["FUND", "CLOSE"])
    spot_e8, strike_e8 = report["certificate"]["price_e8"], int(name.split("-")[2]) * E8
    gain_e8 = spot_e8 - strike_e8 if name.split("-")[3] == "C" else strike_e8 - spot_e8
    sats = QUANTITY_SATS if name.endswith("-B") else QUANTITY_SATS * gain_e8 // spot_e8
    assert report["payout_sats"] == report["due_sats"] == units_sats(sats) > 0
    assert gains(report)["holder"] == pytest.approx(units_sats(sats) - PREMIUM_SATS, abs=1_000)


@pytest.mark.slow
def test_a_writer_that_lies_about_a_binary_loses_all_of_it():
    report = demo("--instrument", "BTC-27DEC26-50000-C-B", "--lie", "step")
    dispute = report["dispute"]
    assert (dispute["prover"], dispute["winner"]) == ("writer", "challenger")
    assert dispute["leaf"].startswith("writer:VERDICT_RECORD")
    assert report["claimed_sats"] < report["due_sats"]
    assert report["payout_sats"] == QUANTITY_SATS
    gained = gains(report)["holder"] - QUANTITY_SATS - BOND_SATS + PREMIUM_SATS
    assert abs(gained) < COSTS_SATS


@pytest.mark.slow
def test_one_killed_oracle_does_not_stop_the_settlement():
    report = demo("--kill", "1")
    assert report["killed"] == ["alpha"]
    assert report["certificate"]["grade"] in ("FULL", "DEGRADED")
    assert report["payout_sats"] == honest_payout(report)
    assert names(report) == ["FUND", "CLOSE"]


@pytest.mark.slow
def test_two_killed_oracles_mean_no_certificate_and_a_refund(tmp_path):
    report = demo("--kill", "2", "--dir", str(tmp_path / "run"))
    assert report["certificate"] is None
    assert "2 signatures needed" in report["no_certificate"]
    assert report["payout_sats"] == 0
    assert (names(report), report["end"]) == (["FUND", "REFUND"], "REFUND")
    assert report["blocks"] > 18
    kept = {path.name for path in Path(tmp_path / "run").iterdir()}
    assert {"network", "chain", "holder", "writer", "holder.toml", "writer.toml"} <= kept
