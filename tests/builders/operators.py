"""Operators on loopback with known identity keys, and a dishonest one that can say anything."""

import asyncio
import contextlib
import time
from dataclasses import replace
from hashlib import sha256
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from actors.transport import Transport
from actors.transport_options import Limits, Peer
from protocol import wire
from protocol.crypto.keys import SecretKey
from protocol.oracle.messages import AGGREGATOR
from protocol.wire.frame import Frame
from protocol.wire.handshake import HELLO, PROOF, Hello, session_id

DEADLINE_S = 60.0
DIGEST = sha256(b"network and epoch").digest()
IDENTITIES = {
    address: SecretKey(sha256(b"identity %d" % address).digest())
    for address in (0, 1, 2, 3, AGGREGATOR)
}
ROSTER = {address: Peer(key.public) for address, key in IDENTITIES.items()}
NOBODY = "ws://127.0.0.1:1"
QUICK = Limits(open_s=2.0, close_s=0.5, ping_s=0.05, silence_s=0.5, retry_s=0.01, retry_cap_s=0.05)
"""Limits under which faults show in a fraction of a second."""


async def until(condition: Any) -> None:
    """Poll ``condition`` until it holds, for a fifth of the loop's time at most."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (began_s := time.monotonic()) < deadline_s:
        if condition():
            return
        await asyncio.sleep(max(0.002, 4 * (time.monotonic() - began_s)))
    raise AssertionError("the condition did not come true in time")


class Operator:
    """A transport and everything that it received, as (sender, message)."""

    def __init__(self, me: int, dials: dict[int, str] | None = None, **options: Any) -> None:
        urls = dials or {}
        roster = {
            address: replace(peer, url=urls.get(address, NOBODY))
            for address, peer in ROSTER.items()
            if AGGREGATOR in (me, address) or address >= me or address in urls
        }
        self.me = me
        self.inbox: list[tuple[int, Any]] = []
        fields: dict[str, Any] = {
            "me": me,
            "key": IDENTITIES[me],
            "roster": roster,
            "listen": ("127.0.0.1", 0),
            "digest": DIGEST,
            "receive": lambda sender, message: self.inbox.append((sender, message)),
            "limits": QUICK,
        }
        self.transport = Transport(**(fields | options))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.transport.port}"

    async def __aenter__(self) -> "Operator":
        await self.transport.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.stop()


@contextlib.asynccontextmanager
async def network(n: int = 3, **options: Any) -> Any:
    """The aggregator and n oracles, all connected, by address."""
    async with contextlib.AsyncExitStack() as stack:
        urls: dict[int, str] = {}
        members: dict[int, Operator] = {}
        for address in (AGGREGATOR, *range(n)):
            members[address] = await stack.enter_async_context(
                Operator(address, dict(urls), **options)
            )
            urls[address] = members[address].url
        everybody = frozenset(members)
        await until(
            lambda: all(m.transport.connected == everybody - {a} for a, m in members.items())
        )
        yield members


class Rogue:
    """A dialer of our own: it holds the identity key of ``me`` and obeys no rule."""

    def __init__(self, socket: Any, me: int, key: SecretKey, digest: bytes = DIGEST) -> None:
        self.socket, self.me, self.key, self.digest = socket, me, key, digest
        self.counter = time.time_ns() // 10**6 << 20

    def seal(self, kind: str, body: bytes, **changes: Any) -> bytes:
        self.counter += 1
        frame = Frame(
            config=self.digest,
            sender=self.me,
            counter=self.counter,
            time_ms=time.time_ns() // 10**6,
            kind=kind,
            body=body,
        )
        sealed = replace(frame, **changes)
        return wire.seal(sealed, lambda e: self.key.sign(wire.digest(e), bytes(32)))

    def say(self, message: Any, **changes: Any) -> bytes:
        return self.seal(*wire.encode(message), **changes)

    def hello(self, to: int) -> bytes:
        return self.seal(HELLO, Hello(to, bytes(32)).encode())

    async def shake(self, to: int) -> None:
        """The handshake as it should be."""
        mine = self.hello(to)
        await self.socket.send(mine)
        theirs = await self.socket.recv()
        await self.socket.recv()
        await self.socket.send(self.seal(PROOF, session_id(mine, theirs)))


@contextlib.asynccontextmanager
async def rogue(target: Operator, me: int = 2, shake: bool = True, **options: Any) -> Any:
    """A connection of a dishonest operator ``me`` to ``target``, through the handshake or not."""
    key = options.pop("key", None) or IDENTITIES[me]
    digest = options.pop("digest", DIGEST)
    async with connect(
        target.url, compression=None, ping_interval=None, close_timeout=0.5, **options
    ) as socket:
        dishonest = Rogue(socket, me, key, digest)
        if shake:
            await dishonest.shake(target.me)
            await until(lambda: me in target.transport.connected)
        yield dishonest


async def ended(connection: Any) -> str | None:
    """The reason that a connection was closed with."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                await connection.recv()
    reason: str | None = connection.close_reason
    return reason
