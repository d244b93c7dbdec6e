"""What one node of the network says of itself, and what its history says of its oracle."""

import asyncio
from contextlib import closing, suppress
from itertools import islice
from typing import Any, Final
from urllib.error import HTTPError, URLError

from actors.control import call
from actors.history import History
from actors.local.place import Node
from actors.loopback import get_page
from actors.network import AGGREGATOR_NAME, Network
from protocol.errors import ProtocolError
from protocol.oracle.messages import AGGREGATOR

ASK_S: Final = 20.0
SILENT: Final = "it does not answer"
RECENT: Final = 100
"""The newest certificates, of which it is counted how many an oracle has signed."""


def node_status(node: Node, network: Network) -> dict[str, Any]:
    """A plain object. ``signed`` of the ``recent`` newest certificates in its own history have the
    oracle's signature (None for the aggregator, which signs none); ``connected`` are names;
    ``health`` is empty if /healthz says ok, else why not."""
    is_oracle = node.name in network.names
    address = network.names.index(node.name) if is_oracle else AGGREGATOR
    found: dict[str, Any] = {
        "node": node.name,
        "identity_key": network.peers[address].identity.hex(),
        "oracle_key": network.config.oracles[address].hex() if is_oracle else None,
        "round": None,
        "certificates": None,
        "connected": [],
        "peers": len(network.peers) - 1,
        "metrics": None,
        "health": SILENT,
    }
    if status := _ask(node):
        found |= {key: status[key] for key in ("round", "certificates")}
        found |= {
            "connected": [name_of(network, peer) for peer in status["connected"]],
            "metrics": f"http://127.0.0.1:{status['metrics']}/metrics",
            "health": health(status["metrics"]),
        }
    return found | signed_by(node, address if is_oracle else None)


def node_fault(node: Node) -> str:
    """Empty if it is well, else why not."""
    status = _ask(node)
    return health(status["metrics"]) if status else SILENT


def _ask(node: Node) -> dict[str, Any] | None:
    with suppress(ProtocolError):  # it does not answer yet, or any more
        return dict(asyncio.run(call(node.control, "status", ASK_S)))
    return None


def health(port: int) -> str:
    """Empty if the process behind a metrics port is well, else why it is not."""
    try:
        get_page(port, "/healthz", ASK_S)
        return ""
    except HTTPError as error:
        with closing(error):
            return str(error.read().decode(errors="replace"))
    except (URLError, OSError) as error:
        return f"its metrics port does not answer ({error})"


def signed_by(node: Node, oracle: int | None) -> dict[str, int | None]:
    """How many of the newest certificates in a node's history an oracle has signed."""
    recent: list[Any] = []
    with suppress(ProtocolError), closing(History.read(node.folder / "history.sqlite")) as history:
        recent = [*islice(history.newest_first(), RECENT)]
    signed = sum(oracle in certificate.signers for certificate in recent)
    return {"recent": len(recent), "signed": None if oracle is None else signed}


def name_of(network: Network, address: int) -> str:
    """Of an address in the roster."""
    return AGGREGATOR_NAME if address == AGGREGATOR else network.names[address]
