"""What ``oracle-vm chain`` shows: the node, and of each contract its state and its transactions."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from actors.config import Chain
from actors.contract_txs import TxRow, contract_txs, fee_of
from protocol.bitcoin.tx import hash_hex, outpoint, txid, vsize
from protocol.settlement.graph import Graph
from protocol.settlement.lifecycle import Stage, position_of, stage_of


@dataclass(frozen=True, slots=True)
class Row:
    """A transaction of a contract that the chain knows."""

    name: str
    title: str
    txid: str
    height: int | None
    """None in the mempool."""
    depth: int
    """Confirmations: 1 at the tip, 0 in the mempool."""
    fee_sats: int
    vsize: int


@dataclass(frozen=True, slots=True)
class ContractRow:
    """A contract as the chain shows it."""

    id: str
    state: str
    locked_sats: int
    txs: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class ChainReport:
    """The node and its contracts."""

    network: str
    engine: str
    consensus: str
    policy: str
    height: int
    tip: str
    mempool: int
    contracts: tuple[ContractRow, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values; amounts in sats, sizes in virtual bytes."""
        return asdict(self)


def report(chain: Chain, graphs: Sequence[Graph]) -> ChainReport:
    """What ``chain`` knows of these contracts now."""
    caps, tip = chain.caps, chain.tip
    return ChainReport(
        network=caps.network,
        engine=caps.engine,
        consensus=caps.consensus,
        policy=caps.policy,
        height=tip.height,
        tip=hash_hex(tip.hash),
        mempool=len(chain.mempool()),
        contracts=tuple(contract_row(chain, graph) for graph in graphs),
    )


def contract_row(chain: Chain, graph: Graph) -> ContractRow:
    """One contract: its transactions on the chain, each followed by the child that pays for it."""
    rows = [row for tx in contract_txs(graph, chain) for row in (tx, *_bump(tx, graph, chain))]
    # Whether a claim is false is for who checks claims: here it is just one.
    stage = stage_of(position_of(graph, chain), depth=1) or Stage.SIGNED
    return ContractRow(
        graph.contract.id.hex(),
        stage.value,
        graph.contract.value_sats,
        tuple(_row(graph, tx, chain.height) for tx in rows),
    )


def title_of(graph: Graph, name: str) -> str:
    """A transaction in words: "KICKOFF of 12ab34cd by the holder"; of what either may broadcast
    only the direction is known: "SETTLE of 12ab34cd in the holder's claim"."""
    *above, plain = name.split(":")
    words = f"{plain} of {graph.contract.id.hex()[:8]}"
    move = graph.moves.get(name)
    if move is not None and move.payer is not None:
        return f"{words} by the {move.payer.value}"
    return f"{words} in the {above[0]}'s claim" if above else words


def show(found: ChainReport, console: Console) -> None:
    """Print it as tables."""
    for table in _tables(found):
        console.print(table)


def _tables(found: ChainReport) -> Iterator[Table]:
    table = _table(f"Bitcoin {found.network}", "what", "value")
    table.add_row("tip", f"{found.tip} at height {found.height}")
    table.add_row("engine", found.engine)
    table.add_row("blocks judged by", f"{found.consensus} consensus")
    table.add_row("mempool judged by", found.policy)
    table.add_row("waiting", f"{found.mempool} transactions")
    yield table
    for contract in found.contracts:
        table = _table(
            f"Contract {contract.id}: {contract.state}, {contract.locked_sats:,} sats",
            "transaction", "txid", "height", "deep", "fee", "vB",
        )  # fmt: skip
        for tx in contract.txs:
            height = "mempool" if tx.height is None else str(tx.height)
            table.add_row(
                tx.title, tx.txid, height, str(tx.depth), f"{tx.fee_sats:,}", f"{tx.vsize:,}"
            )
        yield table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(graph: Graph, tx: TxRow, height: int) -> Row:
    depth = 0 if tx.height is None else height - tx.height + 1
    title = title_of(graph, tx.name)
    return Row(tx.name, title, tx.txid, tx.height, depth, tx.fee, tx.vsize)


def _bump(tx: TxRow, graph: Graph, chain: Chain) -> Iterator[TxRow]:
    """What spends the anchor of a move."""
    move = graph.moves.get(tx.name)
    child = move and chain.spender(outpoint(txid(move.tx), move.anchor))
    if child:
        height = None if child.block is None else child.block.height
        name, fee = f"{tx.name}:BUMP", fee_of(child.tx, chain)
        yield TxRow(name, hash_hex(child.txid), vsize(child.tx), fee, height)
