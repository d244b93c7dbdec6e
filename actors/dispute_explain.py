"""``oracle-vm dispute explain TXID``: a transaction of a contract in words."""

import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from actors.chain_commands import opened
from actors.chain_contracts import contracts_below, graphs_of
from actors.config import Chain
from protocol.bitcoin.tx import hash_hex, txid
from protocol.errors import ConfigError, EncodingError
from protocol.settlement.dispute.explain import Explanation, Next, explain
from protocol.settlement.dispute.story import Act, Story, story_of
from protocol.settlement.graph import Graph

ChainOption = Annotated[
    Path | None,
    typer.Option("--chain", help="Folder or socket of `chain serve`; without it this folder."),
]

_TXID_DIGITS: Final = 64
_WIDTH: Final = 130
"""Columns where there is no terminal."""


def explain_command(
    transaction: Annotated[str, typer.Argument(metavar="TXID")],
    chain: ChainOption = None,
    contract: Annotated[
        list[Path] | None,
        typer.Option(help="A contract file; without one, those below the folder are taken."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What a transaction of a contract says, field by field; of a verdict what it proves, with its
    numbers; and what may come next until when."""
    wanted = _hash(transaction)
    beside = chain if chain is not None and not chain.is_socket() else Path()
    graphs = graphs_of(contract or contracts_below(beside))
    with chain_at(chain or Path()) as node:
        story, act = _found(graphs, node, wanted)
    found = explain(story, act)
    if as_json:
        print(json.dumps(to_json(story, found)))
    else:
        _show(found, Console(width=None if sys.stdout.isatty() else _WIDTH))


def chain_at(path: Path) -> AbstractContextManager[Chain]:
    """The chain in a folder or behind a socket; ConfigError if none is there."""
    return opened(None, path) if path.is_socket() else opened(path, None)


def to_json(story: Story, found: Explanation) -> dict[str, object]:
    """As plain values; hashes in hexadecimal as explorers show them."""
    return {
        "contract": story.graph.contract.id.hex(),
        **asdict(found),
        "fields": dict(found.fields),
    }


def _hash(text: str) -> bytes:
    """A txid in wire order, from what explorers show."""
    try:
        if len(text) != _TXID_DIGITS:
            raise ValueError
        return bytes.fromhex(text)[::-1]
    except ValueError:
        raise EncodingError(f"TXID: {_TXID_DIGITS} hexadecimal digits are needed") from None


def _found(graphs: Sequence[Graph], node: Chain, wanted: bytes) -> tuple[Story, Act]:
    """The contract whose transaction it is; ConfigError where there is none."""
    if not graphs:
        raise ConfigError("no contract file here: name one with --contract")
    if node.tx(wanted) is None:
        raise ConfigError(f"TXID {hash_hex(wanted)}: this chain has no such transaction")
    for graph in graphs:
        story = story_of(graph, node)
        for act in story.acts:
            if txid(act.tx) == wanted:
                return story, act
    raise ConfigError(f"TXID {hash_hex(wanted)}: of none of these {len(graphs)} contracts")


def _show(found: Explanation, console: Console) -> None:
    where = "in the mempool" if found.height is None else f"in block {found.height:,}"
    console.print(f"{found.name}: {found.title}", style="bold", highlight=False)
    lines = [f"{found.txid} {where}, {found.vsize:,} vB"]
    if found.leaf:
        signers = " and ".join(f"the {signer}" for signer in found.signers)
        lines.append(f"leaf {found.leaf}, {found.leaf_bytes:,} bytes, signed by {signers}")
    if found.answers:
        lines.append(f"spends {found.answers}")
    for line in lines:
        console.print(line, highlight=False)
    if found.fields:
        table = Table(show_header=False)
        for name, value in found.fields:
            table.add_row(name, value)
        console.print(table)
    if found.words:
        console.print(found.words, highlight=False)
    for following in found.next:
        console.print(_next(following), highlight=False)


def _next(following: Next) -> str:
    """One way on, as a line."""
    until = "" if following.until is None else f", alone until block {following.until:,}"
    return f"next: {following.name} by {_who(following)} from block {following.opens:,} on{until}"


def _who(following: Next) -> str:
    return "either side" if following.who == "either" else f"the {following.who}"
