"""The REST half of a simulated venue: answers to GET on the port of its WebSocket."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Response

from actors.feeds.simulated.faults import Bad, Faults

DRIP_S: Final = 0.02
HUGE_BYTES: Final = 2**21
_PORTAL: Final = "<html><head><title>Welcome</title></head><body>Please log in.</body></html>"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply; ``value`` is sent as JSON, a string as it is."""

    value: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The same as bytes with headers."""
        text = self.value if isinstance(self.value, str) else compact(self.value)
        body = text.encode()
        kind = "text/html" if text.startswith("<") else "application/json"
        headers = Headers({"Content-Type": kind, "Connection": "close", **self.headers})
        if "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        return Response(self.status, "", headers, body)


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


async def wrong_response(socket: ServerConnection, faults: Faults) -> Response | None:
    """What is sent in place of the right answer, if anything."""
    if faults.status is not None:
        return Reply(faults.body, faults.status, faults.headers).response()
    match faults.rest:
        case Bad.HTML:
            return Reply(_PORTAL).response()
        case Bad.REDIRECT:
            return Reply("", 302, {"Location": "http://127.0.0.1:1/elsewhere"}).response()
        case Bad.HUGE:
            return Reply('{"pad":"' + "A" * HUGE_BYTES + '"}').response()
        case Bad.CUT:
            return Reply('{"error"', headers={"Content-Length": "1000"}).response()
        case Bad.SLOW:
            await _drip(socket)
        case Bad.GARBAGE:
            socket.transport.write(b"\x00\xff" * 100)
            socket.transport.close()
    return None


async def _drip(socket: ServerConnection) -> None:
    """A header that never ends, until the client has had enough."""
    socket.transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not socket.transport.is_closing():
        socket.transport.write(b".")
        await asyncio.sleep(DRIP_S)
