"""How the operator of a running node talks to it: one JSON object a line over a Unix socket.

The socket is the owner's alone (mode 0600); nothing that crosses it is secret. A request names a
method and its arguments, the answer holds ``result`` or ``error``, a sentence.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from actors.listening import close_server
from protocol.errors import ConfigError, EncodingError, ProtocolError

Method = Callable[..., Awaitable[Any]]

LINE_LIMIT: Final = 1 << 20
PATH_LIMIT: Final = 100
"""Bytes of a path that every system takes as a socket's address."""


class Control:
    """Serves ``methods`` on the socket ``path``; a file left there by a dead process is replaced.

    A method takes the arguments of the request by keyword and returns what JSON can hold.
    """

    def __init__(self, path: Path, methods: Mapping[str, Method]) -> None:
        self.path = path
        self._methods = methods
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; ConfigError if the socket cannot be made."""
        try:
            self.path.unlink(missing_ok=True)
            with short_path(self.path) as path:
                self._server = await asyncio.start_unix_server(
                    self._serve, path, limit=LINE_LIMIT, start_serving=False
                )
            self.path.chmod(0o600)
            await self._server.start_serving()
        except OSError as error:
            raise ConfigError(f"{self.path}: no control socket ({error.strerror})") from None

    async def stop(self) -> None:
        """Close the socket with its connections and remove its file."""
        if self._server is not None:
            await close_server(self._server)
            self.path.unlink(missing_ok=True)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        # The streams of Python 3.11 complain about a task that was cancelled.
        with suppress(ValueError, ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        self._serving.discard(task)
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            method = self._methods[request["method"]]
            arguments = dict(request.get("arguments", {}))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            known = ", ".join(sorted(self._methods))
            return {"error": f"a request is an object with a method, one of {known}"}
        try:
            return {"result": await method(**arguments)}
        except ProtocolError as error:
            return {"error": str(error)}
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            return {"error": f"{request['method']}: wrong arguments ({error})"}


def from_hex(name: str, text: object) -> bytes:
    """The bytes of a method's argument; EncodingError if it is not hex."""
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        raise EncodingError(f"{name}: write the bytes in hex") from None


@contextmanager
def short_path(path: Path) -> Iterator[Path]:
    """The same path in few bytes: a socket's address holds 107 of them."""
    if len(str(path).encode()) <= PATH_LIMIT:
        yield path
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{folder}") / path.name
    finally:
        os.close(folder)


async def call(path: Path, method: str, deadline_s: float, **arguments: Any) -> Any:
    """The result of a method of the node behind ``path``.

    ConfigError if no node answers there within ``deadline_s`` seconds, ProtocolError with its
    sentence if it refuses.
    """
    try:
        async with asyncio.timeout(deadline_s):
            with short_path(path) as near:
                reader, writer = await asyncio.open_unix_connection(near, limit=LINE_LIMIT)
            try:
                request = {"method": method, "arguments": arguments}
                writer.write(json.dumps(request).encode() + b"\n")
                line = await reader.readline()
                if not line:
                    raise ConnectionError("it hung up")
                answer = json.loads(line)
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"{path}: no running node answers ({str(error) or 'too late'}); start it first"
        ) from None
    if "error" in answer:
        raise ProtocolError(answer["error"])
    return answer["result"]
