"""``oracle-vm signer ...``: a node's keys in a process of their own."""

import json
import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from actors.files import is_held
from actors.journal import read_guard
from actors.logs import event, open_log
from actors.signer_config import load_signer
from actors.signer_program import (
    Listener,
    SignerServer,
    give_up,
    lock_down,
    lock_of,
    open_core,
    serve_all,
)

signer = typer.Typer(no_args_is_help=True, help="A node's keys in a process of their own.")
log = logging.getLogger(__name__)

Config = Annotated[Path, typer.Option(help="The signer's TOML file.")]


@signer.command()
def run(config: Config) -> None:
    """Sign for the node behind a Unix socket until SIGINT or SIGTERM; logs on stderr."""
    settings = load_signer(config)
    open_log(level=getattr(logging, settings.log.upper()))
    lock_down()
    ends = {signal.SIGINT, signal.SIGTERM}
    listener = Listener(settings.socket)
    try:
        core = open_core(settings.folder, settings.keys)
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before there is a second thread
        server = SignerServer(core, give_up)
        threading.Thread(target=serve_all, args=(server, listener), daemon=True).start()
        held = {"identities": len(core.identities), "oracles": len(core.oracles)}
        event(log, "serving", socket=str(settings.socket), **held)
        signal.sigwait(ends)
        event(log, "stopped")
    finally:
        listener.close()


@signer.command()
def status(config: Config) -> None:
    """Whether a signer runs, and how far its sign guards have come, as JSON. No
    key file is read, and the node that it signs for is not disturbed."""
    settings = load_signer(config)
    guards = [read_guard(path) for path in sorted(settings.folder.glob("guard*.journal"))]
    print(
        json.dumps(
            {
                "socket": str(settings.socket),
                "running": is_held(lock_of(settings.socket)),
                "guards": [
                    {
                        "oracle_key": guard.public.hex(),
                        "seq": guard.seq,
                        "floor": guard.floor,
                        "restored": guard.is_restored,
                    }
                    for guard in guards
                ],
            }
        )
    )
