"""``oracle-vm chain ...``: a Bitcoin node for this machine, and what is on its chain."""

import json
import logging
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from actors.chain_anchor import anchor_head
from actors.chain_contracts import contracts_below, graphs_of, read_contract
from actors.chain_drawing import as_text, draw
from actors.chain_report import report, show
from actors.chain_svg import as_svg
from actors.config import (
    CHAIN_NODE,
    CHAIN_SOCKET,
    Chain,
    ChainServer,
    Wallet,
    chain_network,
    open_chain,
    open_folder,
    serves,
)
from actors.history import History
from actors.keyfile import load_key
from actors.logs import open_log
from protocol.bitcoin.address import decode_address
from protocol.bitcoin.tx import hash_hex, parse_tx, txout
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConfigError, EncodingError

chain = typer.Typer(help="A Bitcoin node for this machine, and the contracts on its chain.")

FAUCET: Final = SecretKey(tagged_hash("btcfi/regtest/faucet/v1", b""))
"""Everybody's key: it holds coins of regtest only."""
MATURITY_BLOCKS: Final = 100
FEES_SATS: Final = 100_000
LIVES_S: Final = 0.5
"""How often the node is asked whether it lives."""

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="The folder of `oracle-vm chain serve`; without it the current one."
    ),
]
SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="The socket of a served chain.")
]
NetworkOption = Annotated[str, typer.Option(help="regtest, or signet; mainnet is refused.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@chain.callback(invoke_without_command=True)
def chain_(
    context: typer.Context,
    folder: FolderOption = None,
    socket: SocketOption = None,
    contract: Annotated[
        list[Path] | None,
        typer.Option(help="A contract file; without one, those below DIR are taken."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tip, node and policy of a chain, and every transaction of its contracts by name."""
    if context.invoked_subcommand is not None:
        if folder or socket or contract or as_json:
            raise ConfigError(f"give the options behind `{context.invoked_subcommand}`")
        return
    with opened(folder, socket) as node:
        place = None if socket else folder or Path()
        files = contract or ([] if place is None else contracts_below(place))
        found = report(node, graphs_of(files))
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        show(found, Console(width=None if sys.stdout.isatty() else 150))


@chain.command()
def graph(
    contract: Annotated[Path, typer.Argument(metavar="CONTRACT", help="A contract file.")],
    folder: FolderOption = None,
    socket: SocketOption = None,
    out: Annotated[Path | None, typer.Option(help="FILE.svg or FILE.txt; else as text.")] = None,
) -> None:
    """Draw the transactions of a contract: what happened, what may happen now, what cannot."""
    kind = ".txt" if out is None else out.suffix
    if kind not in (".txt", ".svg"):
        raise ConfigError(
            f"--out {out}: write .svg or .txt; nothing here draws other pictures, but every browser"
            " shows an SVG and `rsvg-convert FILE.svg -o FILE.png` makes a PNG of it"
        )
    found = read_contract(contract).graph()
    beside = contract.parent if folder is None and socket is None else folder
    with opened(beside, socket) as node:
        title, root = f"Contract {found.contract.id.hex()}", draw(found, node)
    drawn = as_text(title, root) + "\n" if kind == ".txt" else as_svg(title, root)
    if out is None:
        print(drawn, end="")
    else:
        try:
            out.write_text(drawn, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--out {out}: not written ({error.strerror})") from None
        print(out)


@chain.command()
def anchor(
    history: Annotated[Path, typer.Option(help="A node's history.sqlite.")],
    folder: FolderOption = None,
    socket: SocketOption = None,
    key: Annotated[
        Path | None, typer.Option(help="Key file that pays; without one, the regtest faucet.")
    ] = None,
    feerate: Annotated[int, typer.Option(min=1, max=1000, help="In sat/vB.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Commit the newest certificate of a history, and with it all before, to the chain; run it
    every so many rounds."""
    with opened(folder, socket) as node, closing(History.read(history)) as source:
        if key is None:
            _regtest(node)
        wallet = Wallet(node, FAUCET if key is None else load_key(key))
        head, txid = anchor_head(node, wallet, source, feerate)
    record = {"txid": hash_hex(txid), "round": head.round}
    print(json.dumps(record) if as_json else f"{record['txid']} anchors round {record['round']}")


@chain.command()
def serve(
    folder: Annotated[Path, typer.Option("--dir", help="For blocks and socket; made if missing.")],
    backend: Annotated[str, typer.Option(help="kernel, bitcoind, or rpc: a node of yours.")] = (
        "kernel"
    ),
    network: NetworkOption = "regtest",
    rpc_url: Annotated[str, typer.Option(help="Of your node, with --backend rpc.")] = "",
    cookie: Annotated[Path | None, typer.Option(help="Its cookie file.")] = None,
    since_height: Annotated[int, typer.Option(min=0, help="Read its chain from here on.")] = 0,
) -> None:
    """Own a node and serve it on DIR/chain.sock until SIGINT or SIGTERM; `ready` on stdout when it
    can be asked."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    open_log(level=logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    place = cookie if cookie is not None else folder / CHAIN_NODE
    with (
        open_chain(
            place, backend, network=network, rpc_url=rpc_url, since_height=since_height
        ) as node,
        ChainServer(node, folder / CHAIN_SOCKET) as server,
    ):
        print(f"ready: {server.path} serves {node.caps.engine} at {node.tip}", flush=True)
        while not stopping.wait(LIVES_S):
            _ = node.tip  # ChainError once a child process has ended: so do we


@chain.command()
def mine(
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=10_000)] = 1,
    folder: FolderOption = None,
    socket: SocketOption = None,
    to: Annotated[str | None, typer.Option(help="Address that earns the coinbases.")] = None,
) -> None:
    """Mine N blocks on regtest; the first holds the mempool."""
    with opened(folder, socket) as node:
        script = _regtest(node) if to is None else decode_address(to, chain_network("regtest"))
        for block in node.mine(count, to=script):
            print(f"{block.height} {hash_hex(block.hash)}")


@chain.command()
def faucet(
    address: Annotated[str, typer.Argument()],
    sats: Annotated[int, typer.Argument(min=330)],
    folder: FolderOption = None,
    socket: SocketOption = None,
) -> None:
    """Pay SATS to ADDRESS on regtest and mine a block with it; mines its own coins where none
    is mature."""
    with opened(folder, socket) as node:
        script = decode_address(address, chain_network(node.caps.network))
        own = _regtest(node)
        wallet = Wallet(node, FAUCET)
        while wallet.balance_sats() < sats + FEES_SATS:
            earned = [node.block(block.height)[0].vout[0].nValue for block in node.mine(8, to=own)]
            if sum(earned) * MATURITY_BLOCKS < sats:
                raise ConfigError("SATS: the blocks here earn too little by now; start a new chain")
            node.mine(MATURITY_BLOCKS)
        txid = node.broadcast(wallet.pay([txout(sats, script)], secrets.token_bytes(32)))
        (block,) = node.mine(to=own)
        print(f"{hash_hex(txid)} in block {block.height}")


@chain.command("send-raw")
def send_raw(
    transaction: Annotated[str, typer.Argument(metavar="HEX", help="`-` reads it from stdin.")],
    folder: FolderOption = None,
    socket: SocketOption = None,
) -> None:
    """Broadcast a signed transaction; its txid, or the node's reason against it."""
    text = sys.stdin.read() if transaction == "-" else transaction
    try:
        tx = parse_tx(bytes.fromhex(text.strip()))
    except ValueError as error:
        raise EncodingError(f"HEX: a serialized transaction is needed ({error})") from None
    with opened(folder, socket) as node:
        print(hash_hex(node.broadcast(tx)))


@contextmanager
def opened(folder: Path | None, socket: Path | None) -> Iterator[Chain]:
    """The chain of a folder, by default the current one, or behind a socket; ConfigError if both
    are named or it is not there."""
    if socket is None:
        with open_folder(folder or Path()) as node:
            yield node
    elif folder is None:
        if not serves(socket):
            raise ConfigError(f"--socket {socket}: no node serves there; `oracle-vm chain serve`")
        with open_chain(socket, "socket") as node:
            yield node
    else:
        raise ConfigError("--dir DIR or --socket PATH: say which chain, once")


def _regtest(node: Chain) -> bytes:
    """Where the faucet's coins go; ConfigError where coins are worth something."""
    if node.caps.network != "regtest":
        raise ConfigError(f"this chain is on {node.caps.network}: only regtest is mined by hand")
    return Wallet(node, FAUCET).script()
