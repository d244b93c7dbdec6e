"""A chain that another process owns and serves on a Unix socket (``regtest.served``).

``RemoteChain(path)`` is a whole :class:`regtest.chain.Chain`: same calls, same errors. If the node
process is started again behind its back, it connects again; a question is asked again then, a call
that changes the chain is not: ``LostAnswerError`` says that it may have happened.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from bitcoin.core import COutPoint, CTransaction

from protocol.errors import ChainError
from regtest import wire
from regtest.chain import ANYONE, BlockRef, Caps, Chain, Header, TxRef, Utxo, Verdict
from regtest.frames import (
    ANSWER_LIMIT,
    REQUEST_LIMIT,
    HungUpError,
    LateError,
    connect,
    read_frame,
    send_frame,
)
from regtest.wire import GREETING, Call, Greeting

T = TypeVar("T")

CALL_S: Final = 60.0
"""What a call may take, connecting and a restart of the node included."""
BLOCK_S: Final = 0.1
"""What each block that a call mines or drops may take on top."""
WAIT_MS: Final = 1_000
"""How long one question for a change is left open."""
RETRY_S: Final = 0.05


class LostAnswerError(ChainError):
    """A call that changes the chain was sent, and no answer came: it may have happened. Look at
    tip and mempool before you repeat it."""


class RemoteChain(Chain):
    """A served chain. Thread-safe; may be pickled, its path travels. ``close`` ends the
    connections, the node lives on."""

    def __init__(
        self, path: Path | str, *, network: str = "regtest", timeout_s: float = CALL_S
    ) -> None:
        """``path`` is the node's socket, ``network`` the one that it must be on, ``timeout_s``
        the deadline of a call. Nothing is asked before the first call."""
        self.path = Path(path)
        self._network = network
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.path, self._network, self._timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    # The calls of Chain

    @property
    def caps(self) -> Caps:
        return self._ask(wire.CAPS_CALL)

    @property
    def height(self) -> int:
        return self.tip.height

    @property
    def tip(self) -> BlockRef:
        return self._ask(wire.TIP_CALL)

    def header(self, block: int | bytes) -> Header:
        return self._ask(wire.HEADER_CALL, block=block)

    def block(self, block: int | bytes) -> tuple[CTransaction, ...]:
        return self._ask(wire.BLOCK_CALL, block=block)

    def utxo(self, point: COutPoint, *, mempool: bool = True) -> Utxo | None:
        return self._ask(wire.UTXO_CALL, point=point, mempool=mempool)

    def unspent(self, script: bytes) -> tuple[Utxo, ...]:
        return self._ask(wire.UNSPENT_CALL, script=script)

    def tx(self, txid: bytes) -> TxRef | None:
        return self._ask(wire.TX_CALL, txid=txid)

    def spender(self, point: COutPoint) -> TxRef | None:
        return self._ask(wire.SPENDER_CALL, point=point)

    def mempool(self) -> tuple[CTransaction, ...]:
        return self._ask(wire.MEMPOOL_CALL)

    def check(self, tx: CTransaction) -> Verdict:
        return self._ask(wire.CHECK_CALL, tx=tx)

    def submit_block(self, raw: bytes) -> BlockRef:
        return self._ask(wire.SUBMIT_BLOCK_CALL, raw=raw)

    def mine(
        self, count: int = 1, *, to: bytes = ANYONE, txs: Sequence[CTransaction] | None = None
    ) -> tuple[BlockRef, ...]:
        return self._ask(wire.MINE_CALL, count * BLOCK_S, count=count, to=to, txs=txs)

    def broadcast(self, tx: CTransaction) -> bytes:
        return self._ask(wire.BROADCAST_CALL, tx=tx)

    def broadcast_package(self, txs: Sequence[CTransaction]) -> tuple[bytes, ...]:
        return self._ask(wire.BROADCAST_PACKAGE_CALL, txs=txs)

    def set_time(self, unix_seconds: int) -> None:
        return self._ask(wire.SET_TIME_CALL, unix_seconds=unix_seconds)

    def reorg(self, depth: int, *, txs: Sequence[CTransaction] = ()) -> BlockRef:
        return self._ask(wire.REORG_CALL, max(depth, 0) * BLOCK_S, depth=depth, txs=txs)

    def checkpoint(self) -> None:
        return self._ask(wire.CHECKPOINT_CALL)

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        seen = self._ask(wire.CHANGED_CALL, since=None, wait_ms=0)
        while not ready():
            left_ms = int(1000 * (deadline - time.monotonic()))
            if left_ms <= 0:
                raise ChainError(f"what was waited for did not happen in {timeout_s} s")
            seen = self._ask(wire.CHANGED_CALL, since=seen, wait_ms=min(left_ms, WAIT_MS))

    # Connections

    def _ask(self, call: Call[T], extra_s: float = 0.0, /, **arguments: Any) -> T:
        request = {"call": call.name, "arguments": call.pack_arguments(arguments)}
        deadline = time.monotonic() + self._timeout_s + extra_s
        while True:
            link = self._connection(deadline)
            try:
                answer = self._exchange(link, call, request, deadline)
            except HungUpError:
                link.close()
                time.sleep(RETRY_S)
                continue
            except BaseException:
                link.close()
                raise
            self._put_back(link)
            return call.result_of(answer)

    def _exchange(self, link: socket.socket, call: Call[Any], request: Any, deadline: float) -> Any:
        """The answer. HungUpError if the call may be repeated, LostAnswerError if it may not."""
        # What could not be sent to its end is no request yet: the node does nothing.
        send_frame(link, request, REQUEST_LIMIT, deadline)
        try:
            return read_frame(link, ANSWER_LIMIT, deadline)
        except (HungUpError, LateError) as error:
            if call.changes:
                raise LostAnswerError(
                    f"{self.path}: {call.name} was sent and not answered ({error}): it may have"
                    " happened; look at the tip and the mempool before you repeat it"
                ) from None
            if isinstance(error, LateError):
                raise ChainError(
                    f"{self.path}: {call.name} was not answered in {self._timeout_s:g} s: the node"
                    " hangs, or is busy"
                ) from None
            raise

    def _connection(self, deadline: float) -> socket.socket:
        """An idle connection that still lives, or a new one once the node listens."""
        while True:
            with self._lock:
                if self._closed:
                    raise ChainError(f"the connection to {self.path} is closed: open it again")
                link = self._idle.pop() if self._idle else None
            if link is None:
                return self._connect(deadline)
            if _lives(link):
                return link
            link.close()

    def _connect(self, deadline: float) -> socket.socket:
        while True:
            left = deadline - time.monotonic()
            try:
                link = connect(self.path, max(left, 0.001))
            except OSError as error:
                if left > RETRY_S and not self._closed:
                    time.sleep(RETRY_S)
                    continue
                raise ChainError(
                    f"{self.path}: no node serves there ({error.strerror or 'too late'}); start"
                    " one with `oracle-vm chain serve`"
                ) from None
            try:
                self._greeted(link, deadline)
            except HungUpError:  # it was just ending
                link.close()
                time.sleep(RETRY_S)
                continue
            except BaseException:
                link.close()
                raise
            return link

    def _greeted(self, link: socket.socket, deadline: float) -> None:
        greeting: Greeting = GREETING.unpack("greeting", read_frame(link, 1 << 16, deadline))
        if greeting.error:
            raise ChainError(f"{self.path}: {greeting.error}")
        if greeting.network != self._network:
            raise ChainError(
                f"{self.path}: this node is on {greeting.network}, not on {self._network}:"
                " choose the node of your network"
            )

    def _put_back(self, link: socket.socket) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(link)
                return
        link.close()


def serves(path: Path) -> bool:
    """Whether a node serves on the socket ``path`` now."""
    try:
        connect(path, RETRY_S).close()
    except OSError:
        return False
    return True


def _lives(link: socket.socket) -> bool:
    """Whether the node still holds its end: between calls nothing may have come."""
    link.settimeout(0)
    try:
        link.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _again(path: Path, network: str, timeout_s: float) -> RemoteChain:
    return RemoteChain(path, network=network, timeout_s=timeout_s)
