"""What a demo run found out, as JSON for programs and as tables for a person."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from actors.contract_txs import TxRow
from protocol.units import E8


@dataclass(slots=True)
class CertificateReport:
    """The certificate that settled: ``latency_ms`` from the first venue frame used to published."""

    price_e8: int
    grade: str
    signers: list[str]
    latency_ms: float


@dataclass(slots=True)
class ProverReport:
    """What one prover of the pool did."""

    name: str
    chunks: int
    steps: int
    seconds: float


@dataclass(slots=True)
class ProofReport:
    """The claiming side's run of the machine, hashed by its provers."""

    steps: int
    root: str
    seconds: float
    provers: list[ProverReport]


@dataclass(slots=True)
class DisputeReport:
    """How a claim fared on chain. Claim and root are None where not all was published, ``step``
    where the game ended above a single one. ``leaf`` and ``txid`` are what decided, ``blocks`` were
    mined from KICKOFF to that."""

    prover: str
    claimed_sats: int | None
    root: str | None
    challenged: bool
    step: int | None
    instruction: str | None
    fault: str
    leaf: str
    txid: str
    rounds: int
    blocks: int
    vbytes: int
    """Of all transactions from KICKOFF to that."""
    reason: str
    winner: str
    loser: str
    kind: str = ""
    """The lie that was told on purpose."""


@dataclass(slots=True)
class BalanceReport:
    """What a party's wallet held before FUND and at the end, in sats."""

    before: int
    after: int
    difference: int


@dataclass(slots=True)
class DemoReport:
    """The whole run. What did not happen is None or empty."""

    ok: bool = False
    instrument: str = ""
    clock: str = ""
    certificate: CertificateReport | None = None
    no_certificate: str | None = None
    steps: int | None = None
    root: str | None = None
    prove_seconds: float | None = None
    provers: list[ProverReport] = field(default_factory=list)
    due_sats: int | None = None
    """What the certificate gives the holder;"""
    claimed_sats: int | None = None
    """what was claimed for it, or agreed;"""
    payout_sats: int | None = None
    """and what of the collateral it was paid."""
    dispute: DisputeReport | None = None
    premium_sats: int = 0
    """That the holder has paid in FUND, whatever came of it."""
    outcome: str = ""
    end: str = ""
    """The transaction that ended it: CLOSE, REFUND, ``holder:RECORD_2`` .."""
    blocks: int = 0
    """From FUND to that."""
    txs: list[TxRow] = field(default_factory=list)
    balances: dict[str, BalanceReport] = field(default_factory=dict)
    prices: list[dict[str, Any]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The report as plain values; amounts in sats, prices in 10^-8 USD, times in seconds."""
        return asdict(self)


def dollars(price_e8: int) -> str:
    """A price for a person, to the cent."""
    return f"{price_e8 / E8:,.2f}"


def bitcoin(sats: int) -> str:
    """An amount for a person."""
    return f"{sats / E8:.8f} BTC"


def show(report: DemoReport, console: Console) -> None:
    """Print the tables."""
    for table in _tables(report):
        console.print(table)
    console.print(report.outcome)
    console.print(f"{report.seconds:.1f} s in all; {report.clock}, simulated prices, real blocks")


def _tables(report: DemoReport) -> Iterator[Table]:
    yield _prices(report)
    table = _table("Certificate", "what", "value")
    if report.certificate:
        certificate = report.certificate
        table.add_row("price", f"{dollars(certificate.price_e8)} USD")
        table.add_row("grade", certificate.grade)
        table.add_row("signers", ", ".join(certificate.signers))
        table.add_row("latency", f"{certificate.latency_ms:.1f} ms, first frame to published")
    else:
        table.add_row("none", report.no_certificate or "")
    if report.killed:
        table.add_row("killed (SIGKILL)", ", ".join(report.killed))
    yield table
    if report.root is not None:
        yield _proof(report)
    if report.dispute:
        yield _dispute(report.dispute)
    yield from _money(report)
    table = _table("Time", "stage", "seconds")
    for stage, seconds in report.stages.items():
        table.add_row(stage, f"{seconds:.2f}")
    yield table


def _prices(report: DemoReport) -> Table:
    venues = sorted({venue for row in report.prices for venue in row["venues_e8"]})
    table = _table(f"Prices for {report.instrument}, USD", "oracle", *venues, "signed")
    for row in report.prices:
        seen = row["venues_e8"]
        cells = [dollars(seen[venue]) if venue in seen else "-" for venue in venues]
        signed = row["price_e8"]
        table.add_row(row["oracle"], *cells, dollars(signed) if signed else row["missing"])
    return table


def _proof(report: DemoReport) -> Table:
    table = _table("Claim and proof", "what", "value")
    table.add_row("due by the certificate", bitcoin(report.due_sats or 0))
    table.add_row("claimed", bitcoin(report.claimed_sats or 0))
    table.add_row("steps of the machine", f"{report.steps:,}")
    table.add_row("root", report.root or "")
    table.add_row("proved in", f"{report.prove_seconds:.3f} s")
    for prover in report.provers:
        work = f"{prover.chunks} chunks, {prover.steps:,} steps in {prover.seconds:.3f} s"
        table.add_row(prover.name, work)
    return table


def _dispute(dispute: DisputeReport) -> Table:
    table = _table(f"Dispute about the {dispute.prover}'s claim", "what", "value")
    table.add_row("the lie", f"'{dispute.kind}'")
    table.add_row("the fault", f"{dispute.fault}: {dispute.reason}")
    if dispute.step is not None:
        table.add_row("the step", f"{dispute.step:,}: {dispute.instruction}")
    table.add_row("found after", f"{dispute.rounds} answers of the challenger")
    table.add_row("decided by", f"the leaf {_plain(dispute.leaf)}")
    table.add_row("in transaction", dispute.txid)
    table.add_row("the clock", f"{dispute.blocks} blocks from KICKOFF, {dispute.vbytes:,} vB")
    table.add_row("winner", f"the {dispute.winner}, against the {dispute.loser}")
    return table


def _money(report: DemoReport) -> Iterator[Table]:
    if report.txs:
        title = "Bitcoin (regtest, Bitcoin Core's consensus)"
        table = _table(title, "tx", "txid", "vB", "fee", "height")
        for tx in report.txs:
            table.add_row(_plain(tx.name), tx.txid, f"{tx.vsize:,}", f"{tx.fee:,}", str(tx.height))
        yield table
    if report.balances:
        title = f"Wallets, sats (a premium of {report.premium_sats:,} is in them)"
        table = _table(title, "party", "before", "after", "difference")
        for name, held in report.balances.items():
            table.add_row(name, f"{held.before:,}", f"{held.after:,}", f"{held.difference:+,}")
        yield table


def _plain(name: str) -> str:
    """A name without its direction: one side claims in all of them."""
    return name.split(":")[-1]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        right = column in ("vB", "fee", "height", "before", "after", "difference", "seconds")
        table.add_column(column, overflow="fold", justify="right" if right else "left")
    return table
