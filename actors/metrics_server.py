"""The metrics of this process over HTTP/1.1: ``GET /metrics``, ``GET /healthz``, nothing else."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Self

from actors.listening import close_server
from actors.metrics import CONTENT_TYPE, Registry
from actors.transport_options import is_loopback
from protocol.errors import ConfigError

HEAD_LIMIT: Final = 4096
"""Bytes of a request; none has a body."""
PATIENCE_S: Final = 2.0
"""For a request to arrive, and for its answer to be read."""
MOST_CLIENTS: Final = 16

_PLAIN: Final = "text/plain; charset=utf-8"


class MetricsServer:
    """Serves ``registry`` on ``host`` (loopback, unless ``exposed``) and ``port`` (0: any).

    ``refresh`` is called before each answer, to bring gauges up to date; ``fault`` says why the
    process is not healthy, None if it is; another ``registry`` may take the place of the first.
    ConfigError if it would be open to others.
    """

    def __init__(
        self,
        registry: Registry,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        refresh: Callable[[], None] = lambda: None,
        fault: Callable[[], str | None] = lambda: None,
        exposed: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        if not exposed and not is_loopback(host):
            raise ConfigError(f"metrics: {host} is open to others; use 127.0.0.1 and a proxy")
        self.registry = registry
        self._address = host, port
        self._refresh = refresh
        self._fault = fault
        self._patience_s = patience_s
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """The port that it listens on; ConfigError before ``start``."""
        if self._server is None:
            raise ConfigError("metrics: not started")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen; ConfigError if the address cannot be had."""
        host, port = self._address
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, limit=HEAD_LIMIT, start_serving=False
            )
            await self._server.start_serving()
        except OSError as error:
            raise ConfigError(f"metrics: {host}:{port}: {error.strerror or error}") from None

    async def stop(self) -> None:
        """Close it and its connections."""
        if self._server is not None:
            await close_server(self._server)
            for client in list(self._clients):
                client.transport.abort()
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            # An exception here is the client's: it left, or it is too slow.
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                writer.write(_response(*self._answer(await self._read(reader))))
                async with asyncio.timeout(self._patience_s):
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._clients.discard(writer)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> bytes | HTTPStatus:
        """The head of a request, or what to answer if there is none."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return HTTPStatus.REQUEST_TIMEOUT
        except asyncio.LimitOverrunError:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    def _answer(self, request: bytes | HTTPStatus) -> tuple[HTTPStatus, str, str]:
        """Status, content type and text."""
        if isinstance(request, HTTPStatus):
            return request, _PLAIN, request.phrase
        method, path = [*request.split(b"\r\n", 1)[0].split(b" "), b"", b""][:2]
        if method != b"GET":
            status = HTTPStatus.METHOD_NOT_ALLOWED
        elif path == b"/metrics":
            self._refresh()
            return HTTPStatus.OK, CONTENT_TYPE, self.registry.text()
        elif path == b"/healthz":
            fault = self._fault()
            status = HTTPStatus.OK if fault is None else HTTPStatus.SERVICE_UNAVAILABLE
            return status, _PLAIN, fault or "ok"
        else:
            status = HTTPStatus.NOT_FOUND
        return status, _PLAIN, status.phrase


def _response(status: HTTPStatus, content_type: str, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
