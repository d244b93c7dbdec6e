"""FAKE: an HTTP server that speaks the documented shapes of a bitcoind's JSON-RPC. No node.

It serves what a test scripts, to try the client on answers that a real node seldom gives.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COOKIE = b"__cookie__:0123456789abcdef"

Answer = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One connection; ``server.answer`` decides what it says."""

    protocol_version = "HTTP/1.1"
    message: Any

    def do_POST(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"]))
        self.message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.answer(self)

    def reply(self, body: object, status: int = 200) -> None:
        """``body`` as JSON, or bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def result(self, result: object) -> None:
        """As Bitcoin Core 28 and later answer ``"jsonrpc": "2.0"``."""
        self.reply({"jsonrpc": "2.0", "result": result, "id": self.message["id"]})

    def error(self, code: int, message: str) -> None:
        """As older versions answer: HTTP 500, and a result that is null."""
        error = {"code": code, "message": message}
        self.reply({"result": None, "error": error, "id": self.message["id"]}, 500)

    def log_message(self, *_: object) -> None:
        pass


class FakeBitcoind(ThreadingHTTPServer):
    """Listening on a port of its own; ``seen`` are the paths and credentials of requests."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.answer = answer
        self.seen: list[tuple[str, str]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error of the test."""


@contextmanager
def fake_bitcoind(answer: Answer) -> Iterator[FakeBitcoind]:
    server = FakeBitcoind(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
