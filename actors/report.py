"""What a demo run found out, as JSON for programs and as tables for a person."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from protocol.units import E8


@dataclass(slots=True)
class CertificateReport:
    """The certificate that settled: ``latency_ms`` from the first venue frame used to published."""

    price_e8: int
    grade: str
    signers: list[str]
    latency_ms: float


@dataclass(slots=True)
class TxReport:
    """A transaction of the contract and where it was mined."""

    name: str
    txid: str
    vsize: int
    height: int


@dataclass(slots=True)
class ProverReport:
    """What one prover of the pool did."""

    name: str
    chunks: int
    steps: int
    seconds: float


@dataclass(slots=True)
class DisputeReport:
    """How a lie was found: ``step`` is None where the game ended above a single step."""

    kind: str
    step: int | None
    instruction: str | None
    fault: str
    rounds: int
    reason: str
    winner: str


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
    claimed_sats: int | None = None
    payout_sats: int | None = None
    dispute: DisputeReport | None = None
    outcome: str = ""
    txs: list[TxReport] = field(default_factory=list)
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
    console.print(f"{report.outcome} The holder received {bitcoin(report.payout_sats or 0)}.")
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
    table = _table("Bitcoin (regtest, Bitcoin Core's consensus)", "tx", "txid", "vB", "height")
    for tx in report.txs:
        table.add_row(tx.name, tx.txid, str(tx.vsize), str(tx.height))
    yield table
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
    table.add_row("claimed payout", bitcoin(report.claimed_sats or 0))
    table.add_row("steps", f"{report.steps:,}")
    table.add_row("root", report.root or "")
    table.add_row("proved in", f"{report.prove_seconds:.3f} s")
    for prover in report.provers:
        work = f"{prover.chunks} chunks, {prover.steps:,} steps in {prover.seconds:.3f} s"
        table.add_row(prover.name, work)
    return table


def _dispute(dispute: DisputeReport) -> Table:
    table = _table(f"Dispute: the lie was '{dispute.kind}'", "what", "value")
    table.add_row("fault", dispute.fault)
    if dispute.step is not None:
        table.add_row("step", f"{dispute.step:,}: {dispute.instruction}")
    table.add_row("found after", f"{dispute.rounds} answers of the challenger")
    table.add_row("reason", dispute.reason)
    table.add_row("winner", dispute.winner)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
