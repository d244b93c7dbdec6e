"""Certificates for a market: heard from the nodes of the network, and read from a node's history.

Nobody is believed: what arrives is a claim until ``Market.certified`` has checked its signatures.
Listening takes no key (``/certificates`` of every node); one honest node that answers is enough.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from actors.history import AnyCertificate, History, decode_certificate
from actors.history_file import explained
from actors.logs import event
from actors.network import AGGREGATOR_NAME, Network
from actors.transport_observers import PATH
from actors.transport_options import Tls
from actors.transport_tls import pin_fault, pinned_context
from actors.websocket_client import Connect
from protocol import wire
from protocol.errors import EncodingError, ProtocolError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.messages import AGGREGATOR
from protocol.wire.frame import MAX_SIZE, Notice

RETRY_S: Final = 0.5
RETRY_CAP_S: Final = 10.0
LOOK_S: Final = 0.2
"""Between two looks at a history."""

Hear = Callable[[AnyCertificate], None]
"""Takes a certificate; a ProtocolError says what is wrong with it."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class NodeState:
    """A node that is listened to, as it looks from here. ``round`` is the newest that it showed;
    ``fault`` says why it is not connected, or what was wrong with what it said."""

    name: str
    url: str
    key: bytes
    pin: bytes | None = None
    connected: bool = False
    round: int | None = None
    refused: int = 0
    fault: str = ""

    @property
    def place(self) -> tuple[str, str, bytes, bytes | None]:
        """What a roster says of it."""
        return self.name, self.url, self.key, self.pin


def nodes_of(network: Network) -> list[NodeState]:
    """The aggregator and every oracle; nobody is connected yet."""
    names = {AGGREGATOR: AGGREGATOR_NAME, **dict(enumerate(network.names))}
    addresses = sorted(network.peers, key=lambda address: (address != AGGREGATOR, address))
    peers = ((names[at], network.peers[at]) for at in addresses)
    return [NodeState(name, peer.url, peer.identity, peer.tls_key) for name, peer in peers]


async def listen(node: NodeState, ca: Path | None, hear: Hear) -> None:
    """Hear a node's certificates until cancelled, dialling again and again."""
    tls = None
    if node.url.startswith("wss://"):
        tls = Tls(ca).client() if node.pin is None else pinned_context()
    wait_s = RETRY_S
    while True:
        try:
            uri = node.url.rstrip("/") + PATH
            async with Connect(uri, ssl=tls, max_size=MAX_SIZE, compression=None) as socket:
                _require_pin(socket, node.pin)
                node.connected, node.fault, wait_s = True, "", RETRY_S
                async for data in socket:
                    _take(node, data, hear)
            node.fault = "it closed the connection"
        except (OSError, TimeoutError, WebSocketException) as error:
            node.fault = str(error) or type(error).__name__
        node.connected = False
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, RETRY_CAP_S)


def _require_pin(socket: ClientConnection, pin: bytes | None) -> None:
    fault = pin and pin_fault(socket.transport.get_extra_info("ssl_object"), pin)
    if fault:
        raise ConnectionError(fault)


def _take(node: NodeState, data: str | bytes, hear: Hear) -> None:
    try:
        if isinstance(data, str):
            raise EncodingError("a text message, certificates are binary")
        notice = Notice.decode(data)
        certificate = wire.decode(notice.kind, notice.body)
        if not isinstance(certificate, Certificate | BatchCertificate):
            raise EncodingError(f"a {notice.kind}, not a certificate")
        hear(certificate)
        node.round = max(node.round or 0, certificate.round)
    except ProtocolError as error:
        node.refused += 1
        node.fault = str(error)
        event(log, "refused", logging.WARNING, node=node.name, reason=str(error))


def recall(path: Path, most: int) -> list[AnyCertificate]:
    """The newest certificates of a history, oldest first; none if there is no history yet."""
    if not path.is_file():
        return []
    with closing(History.read(path)) as history, explained(path):
        return list(islice(history.newest_first(), most))[::-1]


async def follow(path: Path, first_round: int, hear: Hear) -> None:
    """Hear what is, and what will be, in a history from a round on, until cancelled; a history that
    is not there yet, or fails, is waited for."""
    told = ""
    while True:
        try:
            async for certificate in _rows(path, first_round):
                first_round = certificate.round + 1
                hear(certificate)
        except ProtocolError as error:
            if str(error) != told:
                event(log, "waiting", logging.WARNING, node="history", reason=str(error))
            told = str(error)
        await asyncio.sleep(LOOK_S)


async def _rows(path: Path, first_round: int) -> AsyncIterator[AnyCertificate]:
    with closing(History.read(path)) as history:
        while True:
            with explained(path):
                rows = history.after(first_round - 1)
            for certificate in map(decode_certificate, rows):
                first_round = max(first_round, certificate.round + 1)
                yield certificate
                await asyncio.sleep(0)  # a long history must not keep clients waiting
            if not rows:
                await asyncio.sleep(LOOK_S)
