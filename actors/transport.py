"""Signed frames between the operators of a roster, over WebSocket.

Every pair has one connection: an oracle dials the oracles with a lower index and the aggregator,
the aggregator dials nobody. Nothing is said before both sides have proved their identity keys
(``protocol.wire.handshake``). Delivery is not guaranteed: what a peer cannot take is dropped and
counted, the rounds of ``protocol.oracle`` live with that.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from websockets.client import ClientProtocol
from websockets.frames import CloseCode
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from actors.listening import close_server
from actors.logs import event
from actors.transport_door import Door
from actors.transport_link import Identity, Link, Sealer, Station, Traffic
from actors.transport_observers import PATH, Observers
from actors.transport_options import Host, Limits, Peer, Tls, is_loopback, parse_url
from actors.transport_queue import Meter
from actors.transport_socket import WEBSOCKET_LOG, Handler, Socket
from actors.transport_tls import pinned_context, require_pin
from protocol import wire
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, EncodingError, SignerError
from protocol.oracle.messages import AGGREGATOR

log = logging.getLogger(__name__)

STEADY_S: Final = 5.0
"""A connection that held so long was good: the next attempt comes soon."""
MAX_DOUBLINGS: Final = 16


class Transport:
    """This operator's end of the network. ``async with Transport(...) as transport: ...``

    ``me`` is an oracle's index or AGGREGATOR, ``key`` its identity key, ``roster`` everybody by
    address, ``listen`` host and port (0: any), ``digest`` the configuration that all must share.
    ``receive(sender, message)`` is called in the event loop for each message; what it raises goes
    to the loop's exception handler and ends that connection. ``joined(peer)`` is called when a peer
    can be spoken to. ConfigError names a wrong argument.
    """

    def __init__(
        self,
        *,
        me: int,
        key: SecretKey | Sealer,
        roster: Mapping[int, Peer],
        listen: tuple[str, int] | None,
        digest: bytes,
        receive: Callable[[int, Any], None],
        joined: Callable[[int], None] = lambda _: None,
        host: Host | None = None,
        limits: Limits | None = None,
        tls: Tls | None = None,
    ) -> None:
        if me not in roster or roster[me].identity != key.public:
            raise ConfigError(f"roster[{me}]: it must hold this operator's own identity key")
        peers = frozenset(roster) - {me}
        dialled = frozenset(peer for peer in peers if _dials(me, peer))
        self.me = me
        self.traffic = {peer: Traffic() for peer in sorted(peers)}
        """What was exchanged with each peer, for metrics and for a person."""
        self._host = host or Host()
        self._limits = limits or Limits()
        self._urls = {p: parse_url(f"roster[{p}].url", roster[p].url) for p in dialled}
        self._client_tls = _client_tls(self._urls, roster, tls)
        self._tell_joined = joined
        self._listen = listen
        context = _server_tls(listen, tls, roster[me].tls_key)
        self._door = None if context is None else Door(context, self._limits, self._accept)
        self._identity = Identity(me, key, digest, self._host)
        self._station = Station(
            identity=self._identity,
            roster=dict(roster),
            callers=peers - dialled,
            limits=self._limits,
            meters={peer: self._meter() for peer in peers},
            traffic=self.traffic,
            joined=self._joined,
            left=self._left,
            receive=receive,
        )
        self._links: dict[int, Link] = {}
        self._sockets: set[Socket] = set()
        self._strangers: dict[Socket, None] = {}
        self._observers = Observers(self._limits)
        self._server: asyncio.Server | None = None
        self._dialling: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> frozenset[int]:
        """The peers that can be heard and spoken to now."""
        return frozenset(self._links)

    @property
    def observers(self) -> int:
        """How many clients are shown the certificates."""
        return len(self._observers)

    @property
    def port(self) -> int:
        """The port that it listens on; ConfigError if it does not."""
        if self._server is None or not self._server.is_serving():
            raise ConfigError("listen: this transport does not listen")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen and begin to dial; ConfigError if the address cannot be had."""
        if self._listen is not None:
            name, port = self._listen
            loop, greet = asyncio.get_running_loop(), self._door or self._accept
            try:
                self._server = await loop.create_server(greet, name, port, start_serving=False)
                await self._server.start_serving()
            except OSError as error:
                raise ConfigError(f"listen: {name}:{port}: {error.strerror or error}") from None
        self._dialling = [asyncio.create_task(self._keep(peer)) for peer in self._urls]

    async def stop(self) -> None:
        """Close everything; raises what a dialling task died of, if one did."""
        for task in self._dialling:
            task.cancel()
        outcomes = await asyncio.gather(*self._dialling, return_exceptions=True)
        if self._server is not None:
            await close_server(self._server)
        if self._door is not None:
            self._door.close()
        for socket in list(self._sockets):
            socket.close("this operator stops", CloseCode.GOING_AWAY)
        await self._wait_closed()
        for socket in list(self._sockets):
            socket.abort("this operator stops")
        await self._wait_closed()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def send(self, to: Sequence[int], message: object) -> None:
        """Puts a message on the way to these addresses, encoded and signed once; never blocks.
        What is too large for a frame is not sent and counted. ConfigError for an address that is
        not in the roster, EncodingError for a type that does not travel."""
        sealed: bytes | None = None
        for address in to:
            if address not in self.traffic:
                raise ConfigError(f"address {address} is not in the roster")
            link = self._links.get(address)
            if link is not None:
                sealed = self._seal(message) if sealed is None else sealed
            if link is not None and sealed:
                link.send(sealed)
            else:
                self.traffic[address].unsent += 1

    def _seal(self, message: object) -> bytes:
        """The frame, or nothing if there is too much to say, or nobody to sign it."""
        kind, body = wire.encode(message)
        try:
            return self._identity.seal(kind, body)
        except SignerError:
            return b""
        except EncodingError:
            event(log, "too large to send", logging.ERROR, kind=kind, size=len(body))
            return b""

    def publish(self, message: object) -> None:
        """Shows a message that proves itself, such as a certificate, to all observers."""
        self._observers.publish(wire.Notice(*wire.encode(message)).encode())

    # Links.

    def _joined(self, link: Link) -> None:
        replaced = self._links.get(link.peer)
        self._links[link.peer] = link
        traffic = self.traffic[link.peer]
        traffic.connected = True
        traffic.connects += 1
        event(log, "connected", peer=link.peer, connects=traffic.connects)
        if replaced is not None:
            replaced.close("a newer connection of the same operator")
        self._tell_joined(link.peer)

    def _left(self, link: Link, reason: str) -> None:
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self.traffic[link.peer].connected = False
            event(log, "disconnected", logging.WARNING, peer=link.peer, reason=reason)

    # Listening.

    def _accept(self) -> Socket:
        protocol = ServerProtocol(max_size=self._limits.frame_bytes, logger=WEBSOCKET_LOG)
        return Socket(protocol, self._limits, self._meter(), self._called, route=self._route)

    def _made(self, socket: Socket) -> None:
        self._sockets.add(socket)
        socket.done.add_done_callback(lambda _: self._forget(socket))

    def _called(self, socket: Socket) -> None:
        self._made(socket)
        self._strangers[socket] = None
        if len(self._strangers) > self._limits.strangers:
            self._strangers = {s: None for s in self._strangers if s.is_stranger}
        if len(self._strangers) > self._limits.strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]  # now: a hundred may call before it has ended
            oldest.abort("too many strangers")

    def _forget(self, socket: Socket) -> None:
        self._sockets.discard(socket)
        self._strangers.pop(socket, None)

    def _route(self, path: str) -> Handler | tuple[int, str]:
        if path == "/":
            return Link(self._station)
        return self._observers.subscribe() if path == PATH else (404, "nothing is served here")

    # Dialling.

    async def _keep(self, peer: int) -> None:
        """Dials a peer again and again."""
        limits, failures, told = self._limits, 0, ""
        while True:
            began_s = time.monotonic()
            fault = await self._dial(peer)
            steady = time.monotonic() - began_s > STEADY_S
            failures = 0 if steady else min(failures + 1, MAX_DOUBLINGS)
            self.traffic[peer].fault = fault
            if fault != told:
                event(log, "dialling", logging.WARNING, peer=peer, reason=fault)
                told = fault
            delay_s = min(limits.retry_cap_s, limits.retry_s * 2**failures)
            await asyncio.sleep(delay_s * self._host.uniform(0.5, 1.0))

    async def _dial(self, peer: int) -> str:
        """One connection, from the first packet to its end; returns why it ended."""
        uri, patience = self._urls[peer], self._limits.open_s

        def make() -> Socket:
            protocol = ClientProtocol(uri, max_size=self._limits.frame_bytes, logger=WEBSOCKET_LOG)
            link = Link(self._station, peer)
            meter, pin = self._meter(), self._station.roster[peer].tls_key
            return Socket(protocol, self._limits, meter, self._made, handler=link, pin=pin)

        try:
            async with asyncio.timeout(patience):
                _, socket = await asyncio.get_running_loop().create_connection(
                    make,
                    uri.host,
                    uri.port,
                    ssl=self._client_tls.get(peer),
                    server_hostname=uri.host if uri.secure else None,
                )
        except TimeoutError:
            return f"no connection within {patience:g} s"
        except OSError as error:
            return str(error) or type(error).__name__
        return await asyncio.shield(socket.done)

    def _meter(self) -> Meter:
        return Meter(self._limits.frames_per_s, self._limits.bytes_per_s, time.monotonic)

    async def _wait_closed(self) -> None:
        waiting = [socket.done for socket in self._sockets]
        if waiting:
            await asyncio.wait(waiting, timeout=self._limits.close_s)


def _dials(me: int, peer: int) -> bool:
    return me != AGGREGATOR and (peer == AGGREGATOR or peer < me)


def _client_tls(
    urls: Mapping[int, WebSocketURI], roster: Mapping[int, Peer], tls: Tls | None
) -> dict[int, ssl.SSLContext]:
    """The contexts to dial those with whom TLS is spoken."""
    secure = [peer for peer, uri in urls.items() if uri.secure]
    pinned = pinned_context()
    if all(roster[peer].tls_key for peer in secure):
        return dict.fromkeys(secure, pinned)
    vouched = (tls or Tls()).client()
    return {peer: pinned if roster[peer].tls_key else vouched for peer in secure}


def _server_tls(
    listen: tuple[str, int] | None, tls: Tls | None, pin: bytes | None
) -> ssl.SSLContext | None:
    """The context to listen with, if there is a certificate; it is needed beyond loopback.
    ConfigError if its key is not the one that the roster pins: everybody would refuse it."""
    if listen is None or (is_loopback(listen[0]) and (tls is None or tls.cert is None)):
        return None
    context = (tls or Tls()).server()
    if pin is not None and tls is not None and tls.cert is not None:
        require_pin(tls.cert, pin)
    return context
