import io
import json
from dataclasses import replace

from rich.console import Console

from actors.report import (
    CertificateReport,
    DemoReport,
    DisputeReport,
    ProverReport,
    TxReport,
    bitcoin,
    dollars,
    show,
)

TXID = "ab" * 32
REPORT = DemoReport(
    ok=True,
    instrument="BTC-27DEC26-80000-C",
    clock="simulated-clock",
    certificate=CertificateReport(8_444_200_000_000, "FULL", ["alpha", "charlie"], 24.2),
    steps=3_367_967,
    root="cd" * 20,
    prove_seconds=0.29,
    provers=[ProverReport("prover-1", 28, 1_835_008, 0.025)],
    claimed_sats=6_697_800,
    payout_sats=5_172_800,
    dispute=DisputeReport("step", 3_431_273, "addi a0, s11, 0", "EXECUTE", 12, "why", "challenger"),
    outcome="The challenger won.",
    txs=[TxReport("FUND", TXID, 298, 103)],
    prices=[
        {
            "oracle": "alpha",
            "venues_e8": {"kraken": 8_444_165_000_000},
            "price_e8": 8_444_182_000_000,
            "missing": None,
        },
        {"oracle": "bravo", "venues_e8": {}, "price_e8": None, "missing": "the process died"},
    ],
    killed=["bravo"],
    stages={"start Ray": 3.96},
    seconds=14.0,
)


def text(report: DemoReport) -> str:
    page = io.StringIO()
    show(report, Console(width=110, file=page))
    return page.getvalue()


def test_a_person_reads_everything_that_happened():
    shown = text(REPORT)
    for fact in (
        "84,442.00 USD",
        "84,441.65",
        "84,441.82",
        "the process died",
        "alpha, charlie",
        "24.2 ms",
        "3,367,967",
        "0.06697800 BTC",
        "28 chunks",
        "the lie was 'step'",
        "3,431,273: addi a0, s11, 0",
        TXID,
        "298",
        "103",
        "start Ray",
        "The challenger won. The holder received 0.05172800 BTC.",
        "simulated-clock",
    ):
        assert fact in shown


def test_what_did_not_happen_is_not_shown():
    shown = text(
        replace(
            REPORT,
            certificate=None,
            no_certificate="bravo is dead",
            root=None,
            dispute=None,
            txs=[],
        )
    )
    assert "bravo is dead" in shown
    assert "Claim and proof" not in shown
    assert "Dispute" not in shown


def test_the_json_is_plain_values():
    record = json.loads(json.dumps(REPORT.to_json()))
    assert record["certificate"]["grade"] == "FULL"
    assert record["txs"][0] == {"name": "FUND", "txid": TXID, "vsize": 298, "height": 103}


def test_units_for_people():
    assert dollars(8_444_182_000_000) == "84,441.82"
    assert bitcoin(1) == "0.00000001 BTC"
