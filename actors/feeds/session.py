"""One WebSocket connection to a venue, from open to end: subscribe, listen, ping, give up."""

import asyncio
from collections.abc import Callable
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus, WebSocketException

from actors.feeds.adapter import Adapter
from actors.feeds.endpoints import Endpoint
from actors.feeds.events import Action, Control, Error, Event, Heartbeat, Quote, Reason, Reject
from actors.feeds.health import Health
from actors.feeds.host import Host, Policy
from actors.feeds.http_get import USER_AGENT
from actors.feeds.http_reply import HttpReply
from actors.feeds.strict_json import MAX_BYTES
from actors.websocket_client import Connect

MAX_QUEUE: Final = 16
"""Frames that wait for us; beyond them TCP makes the venue wait, or cut us off."""
CLOSE_TIMEOUT_S: Final = 1.0
KEEPALIVE_S: Final = 20.0
PING_EVERY_S: Final = 15.0
RESUBSCRIBE_EVERY_S: Final = 1.0

_RENEW: Final = {
    Action.RECONNECT: "the venue asks to reconnect",
    Action.STALLED: "heartbeats tell of trades that no ticker told of",
    Action.TOO_SLOW: "the venue cuts us off: we read too slowly",
}
_ACKS: Final = {Action.ACK, Action.TREAT_AS_ACK}
_NO_SIGN_OF_LIFE: Final = {Reason.FRAME, Reason.FIELD, Reason.STALE, Reason.FUTURE}


class Session:
    """The life of one connection.

    ``hear`` gets every frame and returns its events. ``notify`` is called when the connection
    opens, is confirmed, becomes ``ready`` to replace the one before it (it has quotes of every
    symbol, or of some for a while), wants to be ``renewed`` (its age, or the venue, asks for a
    successor; it goes on meanwhile), and when it ``ended``.
    """

    def __init__(
        self,
        adapter: Adapter,
        endpoint: Endpoint,
        policy: Policy,
        host: Host,
        health: Health,
        *,
        hear: Callable[["Session", bytes], list[Event]],
        notify: Callable[[], None],
        number: int = 1,
    ) -> None:
        self.adapter = adapter
        self.number = number
        self.opened = self.ready = self.renewed = self.ended = False
        self.fault: str | None = None
        self.refusal: HttpReply | None = None
        """The HTTP reply with which the venue refused the connection."""
        self._known: set[str] = set()
        self._quoted: set[str] = set()
        self._healthy_since_s: float | None = None
        self._endpoint = endpoint
        self._policy = policy
        self._host = host
        self._health = health
        self._hear = hear
        self._notify = notify
        self._deadline_s = policy.data_deadline_s or adapter.data_deadline_s
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def subscribed(self) -> bool:
        """The venue has confirmed a subscription, in words or by a quote."""
        return bool(self._known) and not self.ended

    @property
    def missing(self) -> tuple[str, ...]:
        """The symbols that the venue has neither confirmed nor quoted."""
        return tuple(symbol for symbol in self.adapter.symbols if symbol not in self._known)

    @property
    def healthy_s(self) -> float:
        """Seconds since the first quote."""
        since_s = self._healthy_since_s
        return 0.0 if since_s is None else self._host.now_s() - since_s

    async def run(self) -> None:
        """Connect and listen until the connection ends; ``fault`` says why it did."""
        try:
            self.fault = await self._connected()
        except InvalidStatus as error:
            reply = error.response
            body = bytes(reply.body or b"")
            self.refusal = HttpReply(reply.status_code, body, dict(reply.headers.raw_items()))
            self.fault = str(error)
        except (OSError, WebSocketException) as error:
            self.fault = str(error) or type(error).__name__
        finally:
            for timer in self._timers:
                timer.cancel()
            self.ended = True
            self._notify()

    async def _connected(self) -> str:
        async with Connect(
            self._endpoint.websocket_url,
            max_size=MAX_BYTES,
            max_queue=MAX_QUEUE,
            compression=None,
            open_timeout=self._policy.timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=KEEPALIVE_S,
            ping_timeout=KEEPALIVE_S,
            user_agent_header=USER_AGENT,
            proxy=None if self._endpoint.on_loopback else True,
        ) as socket:
            self.opened = True
            self._health.connects += 1
            self._notify()
            spread_s = self._policy.rotate_spread_s
            self._later(
                self._policy.rotate_s + self._host.uniform(-spread_s, spread_s), self._renew
            )
            try:
                await self._subscribe(socket)
                return await self._listen(socket)
            finally:
                await socket.close()  # politely, when we are cancelled too

    async def _subscribe(self, socket: ClientConnection) -> None:
        for message in self.adapter.subscriptions():
            await socket.send(message)

    async def _listen(self, socket: ClientConnection) -> str:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_s
        next_ping = subscribed_at = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    frame = await socket.recv(decode=False)
            except TimeoutError:
                return self._silence()
            events = self._hear(self, frame)
            gap = self._take(events)
            # Until the subscription is confirmed the first deadline stands, whatever else is sent.
            if self._known and any(map(_is_sign_of_life, events)):
                deadline = loop.time() + self._deadline_s
            if gap and loop.time() >= subscribed_at + RESUBSCRIBE_EVERY_S:
                subscribed_at = loop.time()
                self._health.resubscribes += 1
                await self._subscribe(socket)
            if loop.time() >= next_ping:
                next_ping = loop.time() + PING_EVERY_S
                ping = self.adapter.ping(self._host.now_ms())
                if ping:
                    await socket.send(ping)

    def _silence(self) -> str:
        what = "no data" if self._known else "no subscription"
        why = f" ({self.fault})" if self.fault else ""
        return f"{what} for {self._deadline_s:g} s{why}"

    def _take(self, events: list[Event]) -> bool:
        """Follow the protocol; whether messages are missing, so that we must resubscribe."""
        gap = False
        for event in events:
            if type(event) is Quote:
                self._take_quote(event.symbol)
            elif isinstance(event, Control | Error | Heartbeat):
                if event.action in _ACKS:
                    named = event.symbols if isinstance(event, Control) else self.adapter.symbols
                    self._confirm(named)
                elif event.action in _RENEW:
                    self.fault = _RENEW[event.action]
                    self._renew()
                elif event.action is Action.RESUBSCRIBE:
                    gap = True
                elif isinstance(event, Error):
                    self.fault = event.message
        return gap

    def _take_quote(self, symbol: str) -> None:
        if symbol in self._quoted:
            return
        self._quoted.add(symbol)
        if self._healthy_since_s is None:
            self._healthy_since_s = self._host.now_s()
            self._later(self._policy.handover_s, self._become_ready)
        self._confirm((symbol,))
        if len(self._quoted) == len(self.adapter.symbols):
            self._become_ready()

    def _confirm(self, symbols: tuple[str, ...]) -> None:
        self._known.update(symbols)
        self._notify()

    def _become_ready(self) -> None:
        self.ready = True
        self._notify()

    def _renew(self) -> None:
        self.renewed = True
        self._notify()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, action))


def _is_sign_of_life(event: Event) -> bool:
    return type(event) is not Reject or event.reason not in _NO_SIGN_OF_LIFE
