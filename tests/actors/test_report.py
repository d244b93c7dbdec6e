import io
import json
from dataclasses import replace

from rich.console import Console

from actors.contract_txs import TxRow
from actors.report import (
    BalanceReport,
    CertificateReport,
    DemoReport,
    DisputeReport,
    ProverReport,
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
    due_sats=5_172_800,
    claimed_sats=6_697_800,
    payout_sats=0,
    premium_sats=4_000_000,
    dispute=DisputeReport(
        prover="holder",
        claimed_sats=6_697_800,
        root="cd" * 20,
        challenged=True,
        step=3_431_273,
        instruction="addi a0, s11, 0",
        fault="RECORD",
        leaf="holder:VERDICT_RECORD_0",
        txid="ef" * 32,
        rounds=12,
        blocks=28,
        vbytes=63_210,
        reason="It writes 24, the record says 0.",
        winner="challenger",
        loser="holder",
        kind="step",
    ),
    outcome="The writer takes it all.",
    txs=[TxRow("holder:PICK_1", TXID, 1_298, 2_596, 103)],
    balances={"holder": BalanceReport(5_000_000, 4_000_000, -1_000_000)},
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
        "0.05172800 BTC",
        "'step'",
        "3,431,273: addi a0, s11, 0",
        "RECORD: It writes 24, the record says 0.",
        "VERDICT_RECORD_0",
        "ef" * 32,
        "63,210 vB",
        "28 blocks",
        TXID,
        "1,298",
        "2,596",
        "103",
        "-1,000,000",
        "a premium of 4,000,000",
        "start Ray",
        "The writer takes it all.",
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
            balances={},
        )
    )
    assert "bravo is dead" in shown
    assert "Claim and proof" not in shown
    assert "Dispute" not in shown
    assert "Bitcoin (" not in shown
    assert "Wallets" not in shown


def test_the_json_is_plain_values():
    record = json.loads(json.dumps(REPORT.to_json()))
    assert record["certificate"]["grade"] == "FULL"
    row = {"name": "holder:PICK_1", "txid": TXID, "vsize": 1_298, "fee": 2_596, "height": 103}
    assert record["txs"] == [row]
    assert record["balances"]["holder"]["difference"] == -1_000_000


def test_units_for_people():
    assert dollars(8_444_182_000_000) == "84,441.82"
    assert bitcoin(1) == "0.00000001 BTC"
