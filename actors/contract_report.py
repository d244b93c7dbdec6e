"""What a contract's demo found out, as JSON for programs and as tables for a person."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from actors.contract_txs import TxRow
from actors.report import DisputeReport, bitcoin, dollars


@dataclass(slots=True)
class Balance:
    """What one party's wallet held before and after, and why it differs: in sats, the amounts of
    ``because`` add up to the difference."""

    before: int
    after: int
    difference: int
    because: dict[str, int]


@dataclass(slots=True)
class ContractReport:
    """The whole run; what did not happen is None or empty. Amounts in sats, price in 10^-8 USD."""

    ok: bool = False
    path: str = ""
    backend: str = ""
    instrument: str = ""
    contract: str = ""
    price_e8: int | None = None
    units: int | None = None
    unit_sats: int = 0
    payout_sats: int | None = None
    end: str = ""
    """The transaction that ended it: CLOSE, REFUND, ``holder:SETTLE``, ``writer:NODE_3`` ..."""
    outcome: str = ""
    txs: list[TxRow] = field(default_factory=list)
    balances: dict[str, Balance] = field(default_factory=dict)
    fees: dict[str, int] = field(default_factory=dict)
    """Where the costs of both parties went: ``miners``, and ``left``, outputs that nobody took."""
    dispute: DisputeReport | None = None
    """How the claim fared, wherever there was one."""
    blocks: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def show(report: ContractReport, console: Console) -> None:
    """Print the tables."""
    for table in _tables(report):
        console.print(table)
    console.print(report.outcome)
    fees = report.fees
    console.print(
        f"Both together paid {sum(fees.values()):,} sats: {fees.get('miners', 0):,} to miners,"
        f" {fees.get('left', 0):,} left in outputs that nobody took (anchors)."
    )
    console.print(
        f"{report.seconds:.1f} s, {report.blocks} blocks on {report.backend} (regtest). Real"
        " signatures and consensus; the oracles and their price are the demo's own."
    )


def _tables(report: ContractReport) -> Iterator[Table]:
    table = _table("Contract", "what", "value")
    table.add_row("instrument", report.instrument)
    table.add_row("id", report.contract)
    if report.price_e8 is not None:
        table.add_row("certified price", f"{dollars(report.price_e8)} USD, by three demo oracles")
    if report.units is not None:
        sats = bitcoin(report.units * report.unit_sats)
        units = f"{report.units:,} units of {report.unit_sats:,} sats"
        table.add_row("payout", f"{sats}: {units}")
    yield table
    table = _table("Transactions", "name", "txid", "vB", "fee", "height")
    for tx in report.txs:
        name = tx.name.split(":")[-1]  # one side claims in all of them
        table.add_row(name, tx.txid, f"{tx.vsize:,}", f"{tx.fee:,}", str(tx.height))
    yield table
    if report.dispute is not None and report.dispute.challenged:
        yield _dispute(report.dispute)
    yield _balances(report.balances)


def _dispute(dispute: DisputeReport) -> Table:
    lie = f" about the lie '{dispute.kind}'" if dispute.kind else ""
    table = _table(f"Dispute{lie}", "what", "value")
    claimed = "nothing whole" if dispute.claimed_sats is None else bitcoin(dispute.claimed_sats)
    table.add_row("claimed", f"{claimed} by the {dispute.prover}")
    table.add_row("winner", f"the {dispute.winner}; the {dispute.loser} loses its bond")
    if dispute.step is not None:
        table.add_row("step", f"{dispute.step:,}: {dispute.instruction}")
    table.add_row("decided by", f"leaf {dispute.leaf}, {dispute.txid}")
    table.add_row("because", dispute.reason)
    table.add_row("took", f"{dispute.blocks} blocks from KICKOFF on, {dispute.vbytes:,} vB")
    return table


def _balances(balances: dict[str, Balance]) -> Table:
    """One column a party: what it had, every reason, what it has."""
    table = _table("Balances, sats", "")
    for name in balances:
        table.add_column(name, justify="right")
    reasons = list(dict.fromkeys(reason for b in balances.values() for reason in b.because))
    table.add_row("before", *(f"{b.before:,}" for b in balances.values()))
    for reason in reasons:
        table.add_row(reason, *(_signed(b.because.get(reason)) for b in balances.values()))
    table.add_section()
    table.add_row("after", *(f"{b.after:,}" for b in balances.values()))
    return table


def _signed(sats: int | None) -> str:
    return "" if sats is None else f"{sats:+,}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        right = column in ("vB", "fee", "height")
        table.add_column(column, overflow="fold", justify="right" if right else "left")
    return table
