"""A pool beside an event loop: certified prices in, batches out, everything of it in one thread.

The sequencer, its file and all questions about the state share a thread, so there is one order of
things and the loop never waits for the disk. What the stream shows is made there too, once a batch.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from actors import pool_views as views
from actors.history import AnyCertificate
from actors.logs import event
from actors.pool_sequencer import PoolSequencer, Receipt
from actors.pool_store import PoolStore, StoredBatch
from actors.pool_summary import Summary
from protocol.errors import ProtocolError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.pool import view
from protocol.pool.pool import Pool

RETRY_S: Final = 5.0
"""After a batch that the disk refused."""

T = TypeVar("T")
Json = dict[str, Any]

log = logging.getLogger(__name__)


class PoolDesk:
    """The pool of a gateway. ``every_s`` is the least time between two batches."""

    def __init__(self, sequencer: PoolSequencer, every_s: int) -> None:
        self.changed: list[Callable[[], None]] = []
        """Called, in the loop, after a batch or a new operation."""
        self._sequencer = sequencer
        self._every_s = every_s
        self._newest: BatchCertificate | None = None
        self._stirred = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pool")
        self.state: Json
        """The pool as people read it."""
        self.details: Json
        """Everything of the newest state."""
        self._show(self._shown())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Makes batches inside the block, in the task that it gives; closes the file behind it."""
        task = asyncio.create_task(self._run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._thread.shutdown()
            self._sequencer.close()

    def certified(self, certificate: AnyCertificate) -> None:
        """Take the prices of a certificate whose signatures were checked; the newest counts."""
        if isinstance(certificate, BatchCertificate):
            self._newest = certificate
            self._stirred.set()

    # Operations

    @property
    def pending(self) -> int:
        """Operations that wait for a batch."""
        return self._sequencer.pending

    async def submit(self, body: bytes, key: str) -> Json:
        """``Submitted``; errors as ``PoolSequencer.submit``."""
        receipt = await self._asked(self._sequencer.submit, body, key)
        self._show(await self._asked(self._shown))
        return _submitted(receipt)

    async def operation(self, id_: bytes) -> Json | None:
        """``Operation``; None if none of this id has come."""
        return await self._asked(self._operation, id_)

    # What the pool is

    async def batches(self, limit: int, before: int | None) -> list[Json]:
        """``Batch`` of the newest, below ``before``."""
        return await self._asked(self._batches, limit, before)

    async def positions(self, owner: bytes | None, limit: int) -> list[Json]:
        """``Position`` of an owner, or of all."""
        return await self._asked(self._positions, owner, limit)

    async def orders(self, owner: bytes | None, limit: int) -> list[Json]:
        """``Order`` of an owner, or of all."""
        return await self._asked(self._orders, owner, limit)

    async def account(self, owner: bytes) -> Json:
        """``Account``; zeros for one who has never come."""
        return await self._asked(self._account, owner)

    # In the loop

    async def _run(self) -> None:
        """A batch for the newest certificate, ``every_s`` apart."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            certificate = self._newest
            if certificate is None or not self._is_time(certificate):
                continue
            try:
                if await self._asked(self._sequencer.advance, certificate) is not None:
                    self._show(await self._asked(self._shown))
            except ProtocolError as error:  # the disk, or oracles that lack a token
                event(log, "waiting", logging.WARNING, reason=str(error))
                await asyncio.sleep(RETRY_S)
                self._stirred.set()

    def _is_time(self, certificate: BatchCertificate) -> bool:
        return certificate.time // 1000 >= self._pool.vault.time + self._every_s

    async def _asked(self, work: Callable[..., T], *arguments: Any) -> T:
        """In the pool's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _show(self, shown: tuple[Json, Json]) -> None:
        self.state, self.details = shown
        for hear in self.changed:
            hear()

    # In the pool's thread

    @property
    def _pool(self) -> Pool:
        return self._sequencer.pool

    @property
    def _store(self) -> PoolStore:
        return self._sequencer.store

    def _shown(self) -> tuple[Json, Json]:
        pool, terms = self._pool, self._sequencer.terms
        details = views.details(pool, terms, self._sequencer.pending)
        return view.state(pool, terms.symbols), details

    def _operation(self, id_: bytes) -> Json | None:
        kept = self._store.operation(id_)
        if kept is None:
            return None
        return views.operation(_submitted(self._sequencer.receipt(kept)), self._store.result(id_))

    def _batches(self, limit: int, before: int | None) -> list[Json]:
        return [
            views.batch(_summary(row), row.journal, self._transactions(row.seq))
            for row in self._store.batches(limit, before)
        ]

    def _transactions(self, seq: int) -> list[Json]:
        return [msgspec.json.decode(body) for body in self._store.anchors(seq)]

    def _positions(self, owner: bytes | None, limit: int) -> list[Json]:
        found = (each for each in self._pool.open_positions() if owner in (None, each.owner))
        rows = [
            views.position(self._pool, self._sequencer.terms, each) for each in islice(found, limit)
        ]
        return sorted(rows, key=lambda row: (row["owner"], row["token"], row["side"]))

    def _orders(self, owner: bytes | None, limit: int) -> list[Json]:
        found = (each for each in self._pool.open_orders() if owner in (None, each.owner))
        rows = [
            views.order(self._pool, self._sequencer.terms, each) for each in islice(found, limit)
        ]
        return sorted(rows, key=lambda row: (row["owner"], row["nonce"]))

    def _account(self, owner: bytes) -> Json:
        results = self._store.results_of(owner)
        return views.account(self._pool, owner, results, self._sequencer.fee_index)


def _submitted(receipt: Receipt) -> Json:
    operation = receipt.signed.operation
    return {
        "id": receipt.id.hex(),
        "owner": operation.owner.hex(),
        "kind": operation.name,
        "nonce": operation.nonce,  # type: ignore[attr-defined]
        "place": receipt.place,
    }


def _summary(row: StoredBatch) -> Summary:
    return msgspec.json.decode(row.summary, type=Summary)
