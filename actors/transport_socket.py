"""One WebSocket connection over asyncio and the sans-I/O protocol of ``websockets``.

Frames are delivered and sent inside the event loop's callbacks: no task per connection, none per
message. Input is parsed in small pieces and metered, so that a peer that floods waits in its own
socket; output that the peer does not read is queued, bounded, and its oldest frames are dropped.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

from actors.transport_options import Limits
from actors.transport_queue import Meter, Outbox, Tally
from actors.transport_tls import pin_fault

PIECE: Final = 1024
"""Bytes parsed at a time: at most 512 frames."""
MOST: Final = 16 << 10
"""Bytes parsed at a time in a long message: after a piece that ends no frame the next is twice as
long. What follows the message in its last piece is bounded by this."""
TURN: Final = 16
"""Frames handled before other connections have their turn."""
STRANGER_BYTES: Final = 8 << 10
"""Read from a peer that has not proved its identity, HTTP request included."""

WEBSOCKET_LOG: Final = logging.getLogger("actors.transport.websocket")
"""For the library. It has nothing to say that is not counted or logged here."""
WEBSOCKET_LOG.setLevel(logging.CRITICAL)


class Handler(Protocol):
    """What a connection is for."""

    def opened(self, socket: "Socket") -> None:
        """The WebSocket is open."""

    def received(self, data: bytes) -> None:
        """A binary message arrived."""

    def ended(self, reason: str) -> None:
        """It is over; ``reason`` says why."""


Route = Callable[[str], Handler | tuple[int, str]]
"""Maps the path that a client asks for to a handler, or to an HTTP status and a sentence."""


class Socket(asyncio.Protocol):
    """A connection that we opened (``handler``) or accepted (``route`` finds the handler);
    ``made`` is told that it exists. Nothing is said to a peer without the TLS key of ``pin``."""

    def __init__(
        self,
        protocol: ClientProtocol | ServerProtocol,
        limits: Limits,
        meter: Meter,
        made: Callable[["Socket"], None],
        *,
        handler: Handler | None = None,
        route: Route | None = None,
        pin: bytes | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._limits = limits
        self._meter = meter
        self._handler = handler
        self._route = route
        self._made = made
        self._pin = pin
        self._transport: asyncio.Transport
        self._reason: str | None = None
        self._eof = False
        self._backlog = bytearray()
        self._throttle: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._stranger_bytes: int | None = STRANGER_BYTES
        self._heard_s = 0.0
        self._full_since_s: float | None = None
        self._outbox = Outbox()
        self._tally = Tally()
        self.done: asyncio.Future[str] = self._loop.create_future()
        """Why the connection ended, once it has."""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._protocol.state is State.OPEN and not self._transport.is_closing()

    @property
    def is_stranger(self) -> bool:
        """Whether it was not admitted yet."""
        return self._stranger_bytes is not None

    def admit(self, limits: Limits, meter: Meter, tally: Tally) -> None:
        """The peer may stay: from now on it is pinged, has these limits and adds to ``tally``."""
        self._limits, self._meter, self._tally = limits, meter, tally
        self._stranger_bytes = None
        self._set_timer(limits.ping_s, self._ping)

    def send(self, data: bytes) -> None:
        """Puts one binary message on the way; never blocks."""
        if self.is_open and self._full_since_s is None:
            self._write(data)
        else:
            limits = self._limits
            self._tally.dropped += self._outbox.put(data, limits.queue_frames, limits.queue_bytes)

    def close(self, reason: str, code: int = CloseCode.POLICY_VIOLATION) -> None:
        """Tells the peer why, and ends the connection."""
        self._because(reason)
        if self.is_open:
            # The close frame holds 123 bytes of reason.
            self._protocol.send_close(code, reason.encode()[:120].decode(errors="ignore"))
            self._flush()
        elif self._protocol.state is State.CONNECTING:
            self._transport.abort()

    def abort(self, reason: str) -> None:
        """Ends the connection without a word."""
        self._because(reason)
        self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._pin is not None:
            fault = pin_fault(transport.get_extra_info("ssl_object"), self._pin)
            if fault is not None:
                self.abort(fault)
                return
        self._transport.set_write_buffer_limits(high=self._limits.write_bytes)
        seconds = self._limits.open_s
        self._set_timer(seconds, self.abort, f"no identity proved within {seconds:g} s")
        self._made(self)
        if isinstance(self._protocol, ClientProtocol):
            self._protocol.send_request(self._protocol.connect())
            self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        self._backlog += data
        if self._throttle is None:
            self._feed()

    def eof_received(self) -> None:
        self._eof = True
        self._backlog.clear()
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._eof = True
        self._backlog.clear()
        self._protocol.receive_eof()
        for timer in (self._timer, self._throttle, self._closing):
            if timer is not None:
                timer.cancel()
        reason = self._reason or self._fault(exc)
        if not self.done.done():
            self.done.set_result(reason)
        if self._handler is not None:
            self._handler.ended(reason)

    def pause_writing(self) -> None:
        self._full_since_s = self._loop.time()

    def resume_writing(self) -> None:
        self._full_since_s = None
        while self._outbox and self._full_since_s is None and self.is_open:
            self._write(self._outbox.take())

    # Input: a piece at a time, and not faster than the meter allows.

    def _feed(self) -> None:
        self._throttle = None
        frames, size = 0, PIECE
        while self._backlog and not self._eof:
            piece = bytes(self._backlog[:size])
            del self._backlog[:size]
            found = self._parse(piece)
            frames += found
            size = PIECE if found else min(2 * size, MOST)
            debt_s = self._meter.debt_s()
            if debt_s > 0 or (self._backlog and frames >= TURN):
                self._tally.throttled += debt_s > 0
                self._transport.pause_reading()
                self._throttle = self._loop.call_later(max(debt_s, 0), self._feed)
                return
        self._transport.resume_reading()

    def _parse(self, piece: bytes) -> int:
        if self._stranger_bytes is not None:
            self._stranger_bytes -= len(piece)
            if self._stranger_bytes < 0:
                self.abort("a stranger that says too much")
                return 0
        self._protocol.receive_data(piece)
        events = self._protocol.events_received()
        self._meter.spend(len(events), len(piece))
        self._flush()  # pongs, the answer to a close
        for event in events:
            self._take(event)
        return len(events)

    def _take(self, event: Event) -> None:
        if isinstance(event, Request):
            self._answer(event)
        elif isinstance(event, Response):
            if self.is_open and self._handler is not None:
                self._handler.opened(self)
        elif not self.is_open or event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
            return
        elif event.opcode is Opcode.BINARY and event.fin:
            if self._handler is not None:
                self._handler.received(bytes(event.data))
        else:
            self.close("only whole binary messages are spoken here", CloseCode.UNSUPPORTED_DATA)

    def _answer(self, request: Request) -> None:
        protocol = self._protocol
        if not isinstance(protocol, ServerProtocol) or self._route is None:
            return
        found = self._route(request.path)
        if isinstance(found, tuple):
            self._because(found[1])
            response = protocol.reject(found[0], found[1] + "\n")
        else:
            self._handler = found
            response = protocol.accept(request)
        protocol.send_response(response)
        self._flush()
        if self.is_open and self._handler is not None:
            self._handler.opened(self)

    # Output.

    def _write(self, data: bytes) -> None:
        self._protocol.send_binary(data)
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        if self._closing is None and self._protocol.close_expected():
            self._closing = self._loop.call_later(self._limits.close_s, self._transport.abort)

    # Time.

    def _set_timer(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, call, *arguments)

    def _ping(self) -> None:
        limits, now = self._limits, self._loop.time()
        # While it is throttled, it is this side that does not listen.
        if self._throttle is None and now - self._heard_s > limits.silence_s:
            self.abort(f"no sign of life for {limits.silence_s:g} s")
        elif self._full_since_s is not None and now - self._full_since_s > limits.silence_s:
            self.abort(f"reads nothing for {limits.silence_s:g} s")
        elif self.is_open:
            if self._full_since_s is None:
                self._protocol.send_ping(b"")
                self._flush()
            self._set_timer(limits.ping_s, self._ping)

    def _because(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason

    def _fault(self, exc: Exception | None) -> str:
        """Why the connection was lost, when it was not this side that ended it."""
        close = self._protocol.close_rcvd
        if close is not None:
            return f"closed by the peer: {close.reason or close.code}"
        fault = self._protocol.handshake_exc or self._protocol.parser_exc or exc
        return str(fault or "") or "the connection was lost"
