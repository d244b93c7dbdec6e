"""What is refused before a route sees it, and how long the rest took.

The gateway listens on loopback, where any page of a browser can send requests to it: a Host that is
not this machine's is a rebound name, a foreign Origin another site. Bodies are bounded while they
arrive, whatever Content-Length says.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.gateway.problems import Problem, answer
from actors.transport_options import is_loopback

BODY_MAX: Final = 2 << 20
"""Bytes of a request: 10,000 rows of the longest names."""

Observe = Callable[[str, int, float], None]
"""Hears path of the route, status and seconds of every request."""


class Guard:
    """ASGI around ``app``. ``hosts`` are names beside those of loopback."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], observe: Observe) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket" and not self._is_ours(scope):
            await send({"type": "websocket.close", "code": 1008, "reason": "wrong host or origin"})
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin, status = time.perf_counter(), 500

        async def said(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        refusal = self._refusal(scope)
        try:
            if refusal is not None:
                await answer(refusal)(scope, receive, said)
            elif scope["method"] == "POST":
                await self._bounded(scope, receive, said)
            else:
                await self._app(scope, receive, said)
        finally:
            self._observe(_route(scope), status, time.perf_counter() - begin)

    async def _bounded(
        self, scope: Scope, receive: Receive, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Reads the whole body first, if it is not too long."""
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > BODY_MAX:
                await answer(_too_large())(scope, receive, send)
                return
        body: list[Message] = [{"type": "http.request", "body": b"".join(parts)}]

        async def replay() -> Message:
            return body.pop() if body else await receive()

        await self._app(scope, replay, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        if not self._is_ours(scope):
            return Problem(
                "wrong-host",
                "Host or Origin is not this gateway's: use 127.0.0.1, or add the name to `hosts` in"
                " [api] of its file",
            )
        length = _header(scope, b"content-length")
        if length.isdecimal() and int(length) > BODY_MAX:
            return _too_large()
        return None

    def _is_ours(self, scope: Scope) -> bool:
        origin = _header(scope, b"origin")
        hosts = [_header(scope, b"host")] + ([urlsplit(origin).netloc] if origin else [])
        return all(self._is_known(host) for host in hosts)

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name.lower() in self._hosts


def _too_large() -> Problem:
    return Problem("too-large", f"a request has at most {BODY_MAX} bytes; send it in parts")


def _header(scope: Scope, name: bytes) -> str:
    headers: Any = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return str(getattr(route, "path", "other"))
