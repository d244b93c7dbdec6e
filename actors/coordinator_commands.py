"""``oracle-vm coordinator ...``: the Bitcoin node that everybody on this machine settles on.

It owns the node, serves it on FOLDER/chain.sock, relays what parties send and, on regtest, mines.
It holds no key and decides nothing: parties judge for themselves what the blocks say. The same as
`oracle-vm chain serve` from a file; kill it at any moment, it goes on from the node's blocks.
"""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated, Final

import typer

from actors.config import CHAIN_NODE, CHAIN_SOCKET, Chain, ChainServer, open_chain
from actors.coordinator_config import CoordinatorConfig, load_coordinator
from actors.logs import event, open_log
from actors.miner import endow, mine_until

coordinator = typer.Typer(no_args_is_help=True, help="A Bitcoin node for this machine; it mines.")

LIVES_S: Final = 0.5
"""How often the node is asked whether it lives."""

log = logging.getLogger(__name__)


@coordinator.callback()
def _coordinator() -> None:
    """A group, also with one command."""


@coordinator.command()
def run(config: Annotated[Path, typer.Option(help="The coordinator's TOML file.")]) -> None:
    """Serve the node, and mine if the file says so, until SIGINT or SIGTERM; logs on stderr."""
    settings = load_coordinator(config)
    open_log(level=getattr(logging, settings.log.upper()))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    serve(settings, stopping)


def serve(settings: CoordinatorConfig, stopping: threading.Event) -> None:
    """Serve the node, and mine, until ``stopping`` is set. ChainError if the node ends."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    with (
        _opened(settings) as node,
        ChainServer(node, settings.folder / CHAIN_SOCKET) as server,
    ):
        event(log, "serving", socket=str(server.path), engine=node.caps.engine, height=node.height)
        if settings.mining is not None:
            endow(node, settings.mining.scripts)
            mine_until(stopping, node, settings.mining.every_s)
        while not stopping.wait(LIVES_S):
            _ = node.tip  # ChainError once a child process has ended: so do we
    event(log, "stopped")


def _opened(settings: CoordinatorConfig) -> Chain:
    place = settings.folder / CHAIN_NODE if settings.cookie is None else settings.cookie
    return open_chain(
        place,
        settings.backend,
        network=settings.network,
        rpc_url=settings.rpc_url,
        since_height=settings.since_height,
    )
