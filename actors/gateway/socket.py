"""One client of ``/v1/stream``: JSON-RPC 2.0 with Deribit's methods and envelope.

    -> {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": [..]}}
    <- {"jsonrpc": "2.0", "id": 1, "result": [..]}
    <- {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": .., "data": ..}}

Also ``public/unsubscribe``, ``public/unsubscribe_all`` and ``public/test``. To subscribe again to a
channel brings a new snapshot.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from actors.gateway.stream import Client, Stream
from protocol.errors import EncodingError, ProtocolError

MESSAGE_MAX: Final = 64 << 10
CHANNELS_MAX: Final = 256
ANSWERS_MAX: Final = 64
"""That wait to be read; then nothing more is read."""
STALL_S: Final = 30.0
"""A client that reads nothing for so long is closed."""

PARSE, REQUEST, METHOD, PARAMS = -32700, -32600, -32601, -32602
"""Error codes of JSON-RPC 2.0."""

_TOO_BIG: Final = 1009
_TRY_LATER: Final = 1013

Json = dict[str, Any]


class _Request(msgspec.Struct, frozen=True):
    """JSON-RPC 2.0, with parameters by name."""

    method: str
    id: int | str | None = None
    params: Json = msgspec.field(default_factory=dict)


class Connection:
    """Reads and writes one WebSocket, until the client leaves or cannot be served."""

    def __init__(self, socket: WebSocket, stream: Stream) -> None:
        self._socket = socket
        self._stream = stream
        self._client = Client()
        self._channels: set[str] = set()
        self._methods = {
            "public/subscribe": self._subscribe,
            "public/unsubscribe": self._unsubscribe,
            "public/unsubscribe_all": self._unsubscribe_all,
            "public/test": self._test,
        }

    async def serve(self) -> None:
        """Returns when it is over."""
        await self._socket.accept()
        writing = asyncio.create_task(self._write())
        reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait((writing, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave(sorted(self._channels))
            for task in (writing, reading):
                task.cancel()
            await asyncio.gather(writing, reading, return_exceptions=True)

    async def _read(self) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                data = message.get("text") or message.get("bytes") or ""
                if len(data) > MESSAGE_MAX:
                    reason = f"a message has at most {MESSAGE_MAX} bytes"
                    await self._socket.close(_TOO_BIG, reason)
                    return
                self._client.answer(msgspec.json.encode(self._answer(data)))
                if len(self._client.answers) > ANSWERS_MAX:
                    await self._client.emptied.wait()

    async def _write(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # it has left
            while True:
                await self._client.stirred.wait()
                for message in self._client.take():
                    try:
                        async with asyncio.timeout(STALL_S):
                            await self._socket.send_text(message.decode())
                    except TimeoutError:
                        await self._socket.close(_TRY_LATER, "too slow")
                        return

    def _answer(self, data: str | bytes) -> Json:
        try:
            request = msgspec.json.decode(data, type=_Request)
        except msgspec.ValidationError as error:
            return _error(None, REQUEST, f"a request is an object with a method: {error}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _error(None, PARSE, "not JSON")
        method = self._methods.get(request.method)
        if method is None:
            return _error(request.id, METHOD, f"method: write one of {', '.join(self._methods)}")
        try:
            return {"jsonrpc": "2.0", "id": request.id, "result": method(request.params)}
        except ProtocolError as error:
            return _error(request.id, PARAMS, str(error))

    def _subscribe(self, params: Json) -> Any:
        names = _names(params)
        if len(self._channels.union(names)) > CHANNELS_MAX:
            raise EncodingError(f"channels: at most {CHANNELS_MAX} a connection")
        for channel in [self._stream.channel(name) for name in names]:
            self._stream.join(self._client, channel)
            self._channels.add(channel.name)
        return names

    def _unsubscribe(self, params: Json) -> Any:
        return self._leave([name for name in _names(params) if name in self._channels])

    def _unsubscribe_all(self, _: Json) -> Any:
        return self._leave(sorted(self._channels))

    def _leave(self, names: list[str]) -> Any:
        for name in names:
            self._stream.leave(self._client, name)
            self._channels.discard(name)
        return names

    def _test(self, _: Json) -> Any:
        return {"version": "1"}


def _error(number: int | str | None, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


def _names(params: Json) -> list[str]:
    try:
        names = msgspec.convert(params.get("channels"), list[str])
    except msgspec.ValidationError:
        raise EncodingError("channels: a list of names") from None
    return list(dict.fromkeys(names))
