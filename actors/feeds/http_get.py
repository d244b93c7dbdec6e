"""One HTTPS GET with hard limits: time for all of it, size of all of it, no redirect, no reuse.

asyncio opens the connection (TLS by the system's certificates, host names checked) and reads until
the server closes; ``http.client`` parses what came. A deadline over the whole exchange is what
stops a server that sends a byte a second, which time-outs of single reads do not.
"""

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from typing import IO, Final
from urllib.parse import urlsplit

from actors.feeds.http_reply import HttpReply
from actors.feeds.strict_json import MAX_BYTES, shown
from protocol.errors import EncodingError

TIMEOUT_S: Final = 5.0
MAX_HEAD_BYTES: Final = 2**16
USER_AGENT: Final = "oracle-vm"


async def http_get(url: str, now_ms: Callable[[], int], timeout_s: float = TIMEOUT_S) -> HttpReply:
    """The reply, whatever its status. OSError (of which TimeoutError is one) if there is none,
    EncodingError if it is no HTTP or too long."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(
            host, parts.port or (443 if secure else 80), ssl=_tls() if secure else None
        )
        try:
            sent_ms = now_ms()
            writer.write(_request(parts.netloc, parts.path or "/", parts.query))
            raw = await _read_all(reader)
        finally:
            writer.transport.abort()
    return _reply(raw, sent_ms)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(host: str, path: str, query: str) -> bytes:
    target = f"{path}?{query}" if query else path
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {USER_AGENT}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    raw = bytearray()
    while chunk := await reader.read(2**16):
        raw += chunk
        if len(raw) > MAX_BYTES + MAX_HEAD_BYTES:
            raise EncodingError("HTTP reply over 1 MiB")
    return bytes(raw)


class _Received:
    """What ``HTTPResponse`` wants of a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> IO[bytes]:
        return BytesIO(self._raw)


def _reply(raw: bytes, sent_ms: int) -> HttpReply:
    response = HTTPResponse(_Received(raw), method="GET")  # type: ignore[arg-type] # file only
    try:
        response.begin()
        body = response.read()
    except (HTTPException, ValueError) as error:
        raise EncodingError(f"not an HTTP reply: {shown(str(error) or repr(error))}") from None
    return HttpReply(response.status, body, dict(response.getheaders()), sent_ms)
