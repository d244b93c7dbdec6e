"""Lies, games and the matrix as a person reads them."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.console import Console
from rich.table import Table

from actors.dispute_matrix import MatrixReport, Row
from actors.dispute_play import GameReport
from protocol.dispute.claim import Party as Side
from protocol.dispute.lies.catalog import Lie

_WORDS = {
    "NODE": "the revealed nodes do not hash to their parent",
    "BLOCK": "the revealed records do not hash to their block node",
    "RECORD": "the executed record is not the one that was revealed",
    "ROM": "the program has another instruction at that pc",
    "ENTRY": "the first step is not at the entry point",
    "OPEN": "an earlier record contradicts what the step reads",
    "FUTURE": "the step reads what no earlier step wrote",
    "INIT": "a word that nothing wrote began with another value",
    "INPUT": "the published input has another word there",
    "WORD": "the input that both sides know has another word there",
    "ZERO": "a word that nothing wrote was not zero",
    "NOT-HALT": "the program does not accept the claim",
    "REFUTED": "what the challenger asserted is false",
    "TIMEOUT": "one side did not answer in time",
    "NONE": "nothing false was shown",
}
"""What a game ended on, in words."""


def show_lies(lies: Iterable[Lie], console: Console) -> None:
    """Every lie with who tells it and what it ends on."""
    table = _table("Lies, and what each ends on", "name", "told by", "what it is", "ends on")
    for lie in lies:
        ends = " or ".join(sorted(fault.value for fault in lie.ends))
        table.add_row(lie.name, lie.side.value, lie.about, ends)
    console.print(table)
    console.print("Who lies loses; in `no-take` and `no-refute` both lie, and silence loses.")
    console.print("Play one: oracle-vm dispute play --lie wrong-opcode --step middle")


def show_game(report: GameReport, console: Console) -> None:
    """Who lied and how, the moves, the leaf that decided, who got what."""
    liar, honest = report.roles[report.side], report.roles[_other(report.side)]
    console.print(f"The {liar} lies, as {report.side}: {report.about}.", highlight=False)
    console.print(_moves(report))
    for line in _sentences(report, liar, honest):
        console.print(line, highlight=False)


def show_matrix(report: MatrixReport, console: Console) -> None:
    """One line a game, and whether all ended as they must."""
    columns = ("lie", "told by", "proves", "where", "step", "ends on", "wins", "vB", "")
    table = _table("Lies, played to the end in real blocks", *columns)
    for row in report.rows:
        table.add_row(*_cells(row))
    console.print(table)
    bad = [row for row in report.rows if not row.ok]
    what = "every liar lost" if report.ok else f"{len(bad)} did not end as they must"
    rate = report.seconds / max(1, len(report.rows))
    console.print(
        f"{len(report.rows)} games, {what}; {report.seconds:.0f} s, {rate:.2f} s a game."
        f" The settlement program, hashes of {report.width} bytes, blocks of the embedded node.",
        highlight=False,
    )


def _cells(row: Row) -> tuple[str, ...]:
    step = "" if row.step is None else f"{row.step:,}"
    end = row.error or (row.leaf if row.leaf.startswith("SETTLE") else row.fault)
    verdict = "ok" if row.ok else f"WRONG, the {row.expected} must win"
    return (row.lie, row.side, row.prover, row.place, step, end, row.winner, f"{row.vbytes:,}",
            verdict)  # fmt: skip


def _moves(report: GameReport) -> Table:
    """The transactions; the rounds of the bisection in one line."""
    table = _table("", "move", "by", "vB", "height", "txid")
    for number, group in groupby(report.moves, lambda move: _is_round(move.name)):
        rows = list(group)
        if number and len(rows) > 4:
            first, last = rows[0], rows[-1]
            size, name = sum(row.vsize for row in rows), f"{first.name} .. {last.name}"
            heights = f"{first.height}-{last.height}"
            table.add_row(name, "both", f"{size:,}", heights, f"{len(rows)} of them")
            continue
        for row in rows:
            table.add_row(row.name, row.by, f"{row.vsize:,}", str(row.height), row.txid)
    return table


def _sentences(report: GameReport, liar: str, honest: str) -> Iterator[str]:
    if report.step is not None:
        yield f"The disputed step is {report.step:,}: {report.instruction}."
    for name, reason in report.refused.items():
        yield f"Bitcoin refused {name.partition(':')[2]} of the liar: {reason}."
    winner = report.roles[report.winner]
    yield f"Decided by {report.leaf}: {_WORDS[report.fault]}. The {winner} wins."
    totals = report.totals
    for role, sats in report.received_sats.items():
        yield f"  the {role} received {sats:,} sats"
    yield (
        f"{totals.transactions} transactions in {totals.blocks} blocks, {totals.vbytes:,} vB:"
        f" {totals.prover_vbytes:,} of the prover, {totals.challenger_vbytes:,} of the challenger;"
        f" {totals.fees_sats:,} sats of fees."
    )
    yield (
        f"On {report.backend} (regtest), hashes of {report.width} bytes. Real keys, scripts and"
        " consensus; the oracles and their price are made here."
    )
    if not report.ok:
        yield f"NOT AS IT MUST BE: the {report.expected} should have won."


def _is_round(name: str) -> bool:
    return name.startswith(("REVEAL_", "PICK_"))


def _other(side: str) -> str:
    return Side.CHALLENGER.value if side == Side.PROVER.value else Side.PROVER.value


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold")
    for column in columns:
        right = column in ("vB", "fee", "height", "step")
        table.add_column(column, overflow="fold", justify="right" if right else "left")
    return table
