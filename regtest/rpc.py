"""JSON-RPC to a bitcoind, with the cookie that it wrote.

One connection that is kept open, one call at a time, a deadline on each. Amounts come back as
``Decimal`` bitcoins (``sats_of``), never as floats.
"""

import base64
import http.client
import json
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from protocol.errors import ChainError

CALL_S: Final = 60.0
"""What a call may take unless it is told otherwise."""

# bitcoin/src/rpc/protocol.h
NOT_FOUND: Final = -5
INVALID_PARAMETER: Final = -8
WALLET_NOT_FOUND: Final = -18
DECODE_FAILED: Final = -22
VERIFY_FAILED: Final = -25

_GONE_IDLE = (ConnectionResetError, BrokenPipeError)  # http.client.RemoteDisconnected is the first


class RpcError(ChainError):
    """The node's own answer to a call that it refused: its code and its message."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.code = code
        self.message = message


class Rpc:
    """Calls to one node. Thread-safe. ChainError if it does not answer in time, or not at all;
    RpcError if it answers that it cannot."""

    def __init__(self, port: int, cookie: Path, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = port
        self._cookie = cookie
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._authorization = ""
        self._calls = 0

    def call(
        self, method: str, *params: Any, wallet: str | None = None, timeout_s: float = CALL_S
    ) -> Any:
        """The ``result`` of a method with positional parameters, asked of the node or of one of
        its wallets."""
        path = "/" if wallet is None else f"/wallet/{quote(wallet, safe='')}"
        with self._lock:
            request = self._request(method, params)
            reply = self._post(path, request, method, timeout_s)
        return _result(method, request["id"], reply)

    def batch(
        self, calls: Sequence[tuple[str, Sequence[Any]]], *, timeout_s: float = CALL_S
    ) -> list[Any]:
        """Several calls in one exchange, answered in their order. An RpcError stands in the place
        of a call that was refused."""
        if not calls:
            return []
        name = f"a batch of {len(calls)} calls ({calls[0][0]}, ..)"
        with self._lock:
            requests = [self._request(method, params) for method, params in calls]
            replies = self._post("/", requests, name, timeout_s)
        if not isinstance(replies, list) or not all(isinstance(r, dict) for r in replies):
            raise ChainError(f"{name}: the answer is no list: {str(replies)[:200]}")
        by_id = {reply.get("id"): reply for reply in replies}
        results: list[Any] = []
        for (method, _), request in zip(calls, requests, strict=True):
            try:
                results.append(_result(method, request["id"], by_id.get(request["id"])))
            except RpcError as error:
                results.append(error)
        return results

    def close(self) -> None:
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        self._calls += 1
        return {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": list(params)}

    def _post(self, path: str, message: Any, name: str, timeout_s: float) -> Any:
        body = json.dumps(message).encode()
        deadline = time.monotonic() + timeout_s
        where = f"bitcoind on {self.host} port {self.port}"
        try:
            reused = self._connection is not None
            try:
                status, answer = self._exchange(path, body, deadline)
            except _GONE_IDLE:
                # A node closes connections that were idle for a while: that is no answer yet.
                # Repeating is safe, what it knows already it accepts again.
                self._drop()
                if not reused:
                    raise
                status, answer = self._exchange(path, body, deadline)
        except TimeoutError as error:
            self._drop()
            raise ChainError(
                f"{where} did not answer {name} in {timeout_s:g} s: it hangs, or is busy"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise ChainError(f"{where} cannot be asked {name}: {error or repr(error)}") from error
        return _decoded(status, answer, f"{where}, asked {name},", self._cookie)

    def _exchange(self, path: str, body: bytes, deadline: float) -> tuple[int, bytes]:
        connection = self._connection or self._connect()
        self._arm(connection, deadline)
        connection.request(
            "POST",
            path,
            body,
            {"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        self._arm(connection, deadline)
        response = connection.getresponse()
        parts = []
        while True:
            self._arm(connection, deadline)
            part = response.read1(1 << 20)
            if not part:
                break
            parts.append(part)
        response.close()  # read to its end; the connection stays, unless the node closes it
        if response.will_close:
            self._drop()
        return response.status, b"".join(parts)

    def _connect(self) -> http.client.HTTPConnection:
        self._authorization = "Basic " + base64.b64encode(self._credentials()).decode()
        self._connection = http.client.HTTPConnection(self.host, self.port)
        return self._connection

    def _credentials(self) -> bytes:
        """``user:password``, another one each time the node starts."""
        try:
            return self._cookie.read_bytes().strip()
        except FileNotFoundError as error:
            raise ChainError(
                f"no cookie at {self._cookie}: the node is not running, or not that far yet"
            ) from error

    def _arm(self, connection: http.client.HTTPConnection, deadline: float) -> None:
        """What is left until ``deadline`` becomes the limit of the next step."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.timeout = left
        if connection.sock is not None:
            connection.sock.settimeout(left)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def granted(result: Any) -> Any:
    """One result of a batch, which must not be an error: that is raised."""
    if isinstance(result, RpcError):
        raise result
    return result


def sats_of(bitcoins: Decimal | int) -> int:
    """An amount as the RPC writes it, in sats."""
    return int(bitcoins * 10**8)


def bitcoins_of(sats: int) -> str:
    """Sats as the RPC reads them; a string, so that no float comes between."""
    return f"{sats // 10**8}.{sats % 10**8:08d}"


def _decoded(status: int, answer: bytes, where: str, cookie: Path) -> Any:
    if status == http.client.UNAUTHORIZED:
        raise ChainError(f"{where} refuses the cookie {cookie}: another node listens there")
    if status == http.client.FORBIDDEN:
        raise ChainError(f"{where} forbids it: its -rpcallowip or -rpcwhitelist is too strict")
    if status == http.client.SERVICE_UNAVAILABLE:
        raise ChainError(f"{where} is too busy (its work queue is full): ask fewer at a time")
    try:
        return json.loads(answer, parse_float=Decimal)
    except ValueError as error:
        shown = answer[:200].decode(errors="replace")
        raise ChainError(f"{where} gave HTTP {status} and no JSON: {shown!r}") from error


def _result(method: str, asked: int, reply: Any) -> Any:
    if not isinstance(reply, dict) or reply.get("id") != asked:
        raise ChainError(f"{method}: the answer belongs to no question: {str(reply)[:200]}")
    error = reply.get("error")
    if error is not None:
        try:
            raise RpcError(method, int(error["code"]), str(error["message"]))
        except (TypeError, KeyError) as malformed:
            raise ChainError(f"{method}: an error without code and message: {error}") from malformed
    if "result" not in reply:
        raise ChainError(f"{method}: an answer without a result: {str(reply)[:200]}")
    return reply["result"]
