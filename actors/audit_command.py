"""``oracle-vm audit CONTRACT``: was a contract settled rightly?"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from actors.chain_contracts import read_contract
from actors.dispute_explain import ChainOption, chain_at
from protocol.bitcoin.tx import hash_hex, txid
from protocol.dispute.rules import History
from protocol.settlement.dispute.audit import Audit, audit
from protocol.settlement.dispute.explain import explain
from protocol.settlement.dispute.story import Act, Story, story_of
from protocol.settlement.graph import Graph
from protocol.settlement.terms import Role

WRONGED: Final = 2
"""The exit code of a contract that was settled wrongly."""
_WIDTH: Final = 160
"""Columns where there is no terminal."""


def audit_command(
    contract: Annotated[Path, typer.Argument(metavar="CONTRACT", help="A contract file.")],
    chain: ChainOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Judge a settled contract from blocks and its contract file alone: who claimed what, what was
    said, which leaf decided, who is due what. Its file may be a watcher's (`contract export
    --watch`). Exit code 0: settled rightly; 2: wrongly; 1: not settled, or an error."""
    graph = read_contract(contract).graph()
    with chain_at(chain or contract.parent) as node:
        story = story_of(graph, node)
    found = audit(story, lambda data: retraced(graph, data))
    if as_json:
        print(json.dumps(to_json(story, found)))
    else:
        _show(story, found, Console(width=None if sys.stdout.isatty() else _WIDTH))
    if not found.is_right:
        raise typer.Exit(WRONGED)


def retraced(graph: Graph, data: bytes) -> History:
    """The honest trace of what was published: the machine runs it again."""
    # The machine takes a second to import: nothing else here needs it.
    from riscv_vm.prove import Execution, prove

    contract = graph.contract
    premises = contract.courses[Role.HOLDER].premises
    chain = contract.terms.chain
    execution = Execution(premises.image, data, log4_steps=chain.log4_steps, width=chain.width)
    return prove(execution)


def to_json(story: Story, found: Audit) -> dict[str, Any]:
    """As plain values: money in sats, hashes in hexadecimal."""
    claim = found.claim
    decided = explain(story, found.decided)
    return {
        "contract": found.contract_id.hex(),
        "moves": [
            {"name": act.name, "txid": hash_hex(txid(act.tx)), "height": act.height}
            for act in story.acts
        ],
        "claim": None
        if claim is None
        else {
            "prover": claim.prover.value,
            "units": claim.units,
            "input": claim.data.hex(),
            "root": claim.root.hex(),
            "honest_root": claim.honest_root.hex(),
            "true": claim.is_true,
            "failed_check": None if claim.failed is None else claim.failed.name,
        },
        "challenged": found.challenged,
        "challenger_right": found.challenger_is_right,
        "decided": {"name": decided.name, "txid": decided.txid, "words": decided.words},
        "lies": [
            {
                "move": lie.act,
                "by": lie.party.value,
                "what": lie.what,
                "said": lie.said,
                "true": lie.true,
            }
            for lie in found.lies
        ],
        "shares": {
            role.value: {
                "due_sats": share.due_sats,
                "took_sats": share.took_sats,
                "open_sats": share.open_sats,
                "arrived_sats": share.arrived_sats,
                "right": share.right,
            }
            for role, share in found.shares.items()
        },
        "right": found.is_right,
        "wronged": None if found.wronged is None else found.wronged.value,
        "reason": found.reason,
    }


def _show(story: Story, found: Audit, console: Console) -> None:
    console.print(f"Contract {found.contract_id.hex()}", style="bold", highlight=False)
    for table in (_moves(story), _lies(found), _shares(found)):
        if table.row_count:
            console.print(table)
    for sentence in _sentences(story, found):
        console.print(sentence, highlight=False)


def _moves(story: Story) -> Table:
    table = _table("On the chain", "transaction", "txid", "height", "what it is")
    for act in story.acts:
        height = "mempool" if act.height is None else f"{act.height:,}"
        table.add_row(act.name, hash_hex(txid(act.tx)), height, _title(story, act))
    return table


def _title(story: Story, act: Act) -> str:
    return explain(story, act).title


def _lies(found: Audit) -> Table:
    table = _table("Said, and not so", "transaction", "by", "what", "said", "in truth")
    for lie in found.lies:
        table.add_row(lie.act, lie.party.value, lie.what, lie.said, lie.true)
    return table


def _shares(found: Audit) -> Table:
    table = _table("Money, sats", "", "due", "took, before its own fees", "open", "arrived")
    for role, share in found.shares.items():
        sats = (share.due_sats, share.took_sats, share.open_sats, share.arrived_sats)
        table.add_row(role.value, *(f"{n:,}" for n in sats))
    return table


def _sentences(story: Story, found: Audit) -> Iterator[str]:
    claim = found.claim
    if claim is not None:
        truth = "true" if claim.is_true else "false"
        yield (
            f"The {claim.prover.value} claimed {claim.units:,} units under root {claim.root.hex()};"
            f" the machine says {truth}, root {claim.honest_root.hex()}."
        )
    if found.challenged and found.challenger_is_right is not None:
        yield f"It was challenged, {'rightly' if found.challenger_is_right else 'wrongly'}."
    decided = explain(story, found.decided)
    yield f"{decided.name} decided: {decided.title}. {decided.words}".rstrip()
    verdict = "Settled rightly" if found.wronged is None else "Settled wrongly"
    wronged = "" if found.wronged is None else f" The {found.wronged.value} was wronged."
    yield f"{verdict}. {found.reason}{wronged}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "txid")
    return table
