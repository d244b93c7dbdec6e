"""One process owns a node and serves its chain to others on a Unix socket (``regtest.remote``).

A client is a thread here; what it sends is checked by ``regtest.wire`` before the chain sees it,
so that malformed bytes end its own connection and nothing else.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from protocol.bitcoin.tx import txid
from protocol.crypto.hashes import sha256
from protocol.errors import ChainError, EncodingError, ProtocolError
from regtest.chain import Chain
from regtest.frames import (
    ANSWER_LIMIT,
    REQUEST_LIMIT,
    HungUpError,
    LateError,
    listen,
    read_frame,
    send_frame,
)
from regtest.wire import CALLS, GREETING, Greeting, refusal

MAX_CLIENTS: Final = 64
FRAME_S: Final = 30.0
"""For a request once it has begun, and for a client to take its answer."""
STOP_S: Final = 60.0

_logger = logging.getLogger(__name__)


class ChainServer:
    """Serves ``chain``, which stays the caller's to close, on the socket ``path`` (mode 0600).

    with ChainServer(chain, path): ...  # listening inside; calls under way are answered at its end
    """

    def __init__(self, chain: Chain, path: Path | str) -> None:
        """Listen at once; ChainError if another process serves there."""
        self.path = Path(path)
        self._chain = chain
        self._network = chain.caps.network
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._listener = listen(self.path)
        self._accepting = threading.Thread(target=self._accept, name="chain-accept", daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """No new connection and no new request; what is under way is answered."""
        self._stopping.set()
        self.path.unlink(missing_ok=True)
        _end(self._listener, socket.SHUT_RDWR)
        self._accepting.join(STOP_S)
        self._listener.close()
        with self._lock:
            clients = dict(self._clients)
        for link in clients:
            _end(link, socket.SHUT_RD)
        for thread in clients.values():
            thread.join(STOP_S)

    # One client

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError as error:
                if not self._stopping.is_set():  # out of descriptors: a client must leave first
                    _logger.error("no connection accepted: %s", error)
                    self._stopping.wait(1.0)
                continue
            thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
            with self._lock:
                full = len(self._clients) >= MAX_CLIENTS
                if not full:
                    self._clients[link] = thread
            if full:
                self._greet(link, f"it serves {MAX_CLIENTS} clients already: end one")
                link.close()
            else:
                thread.start()

    def _serve(self, link: socket.socket) -> None:
        try:
            if self._greet(link, ""):
                while self._answer_next(link):
                    pass
        finally:
            with self._lock:
                self._clients.pop(link, None)
            link.close()

    def _greet(self, link: socket.socket, error: str) -> bool:
        return _sent(link, GREETING.pack(Greeting(self._network, error)))

    def _answer_next(self, link: socket.socket) -> bool:
        """Whether the connection goes on behind the next request."""
        try:
            link.settimeout(None)
            if not link.recv(1, socket.MSG_PEEK):
                return False
            request = read_frame(link, REQUEST_LIMIT, time.monotonic() + FRAME_S)
        except (OSError, HungUpError, LateError):
            return False
        except EncodingError as error:  # where the next frame begins is not known any more
            _sent(link, refusal(error))
            return False
        return _sent(link, self._answer(request))

    def _answer(self, request: Any) -> Any:
        try:
            if type(request) is not dict or request.keys() != {"call", "arguments"}:
                raise EncodingError("a request has the fields call and arguments")
            name = request["call"]
            if type(name) is not str or name not in CALLS:
                raise EncodingError(f"call must be one of {', '.join(CALLS)}")
            arguments = CALLS[name].unpack_arguments(request["arguments"])
            result = _DO[name](self._chain, **arguments)
            return {"result": CALLS[name].result.pack(result)}
        except ProtocolError as error:
            return refusal(error)
        except Exception:
            _logger.exception("a call failed inside the node")
            return refusal(ChainError("the node failed inside: its log says where"))


def _sent(link: socket.socket, plain: Any) -> bool:
    """Whether it got through; a client that does not take its answer is given up."""
    try:
        send_frame(link, plain, ANSWER_LIMIT, time.monotonic() + FRAME_S)
    except EncodingError as error:  # too large an answer: the client is told so instead
        return _sent(link, refusal(error))
    except (HungUpError, LateError):
        return False
    return True


def _end(link: socket.socket, how: int) -> None:
    with suppress(OSError):  # it has ended already
        link.shutdown(how)


def _stamp(chain: Chain) -> bytes:
    """What differs after every change that a ``wait`` may be for."""
    return sha256(chain.tip.hash + b"".join(txid(tx) for tx in chain.mempool()))


def _changed(chain: Chain, since: bytes | None, wait_ms: int) -> bytes:
    if since is not None and wait_ms:
        with suppress(ChainError):  # nothing happened: the client asks again
            chain.wait(lambda: _stamp(chain) != since, wait_ms / 1000)
    return _stamp(chain)


_DO: Final[Mapping[str, Callable[..., Any]]] = {
    "caps": lambda chain: chain.caps,
    "tip": lambda chain: chain.tip,
    "header": lambda chain, block: chain.header(block),
    "block": lambda chain, block: chain.block(block),
    "utxo": lambda chain, point, mempool: chain.utxo(point, mempool=mempool),
    "unspent": lambda chain, script: chain.unspent(script),
    "tx": lambda chain, txid: chain.tx(txid),
    "spender": lambda chain, point: chain.spender(point),
    "mempool": lambda chain: chain.mempool(),
    "check": lambda chain, tx: chain.check(tx),
    "set_time": lambda chain, unix_seconds: chain.set_time(unix_seconds),
    "checkpoint": lambda chain: chain.checkpoint(),
    "changed": _changed,
    "submit_block": lambda chain, raw: chain.submit_block(raw),
    "mine": lambda chain, count, to, txs: chain.mine(count, to=to, txs=txs),
    "broadcast": lambda chain, tx: chain.broadcast(tx),
    "broadcast_package": lambda chain, txs: chain.broadcast_package(txs),
    "reorg": lambda chain, depth, txs: chain.reorg(depth, txs=txs),
}
