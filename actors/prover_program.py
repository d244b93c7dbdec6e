"""The prover as a process: it runs the machine for parties on this computer, on all its cores.

It holds no key and decides nothing: it is told a program, terms and an input, and answers with the
roots of the trace's chunks. Whoever may write to its socket (mode 0600) may ask. It keeps nothing:
kill it at any moment, its parties run the machine themselves until it is back.
"""

import asyncio
import logging
import os
import time
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from actors.control import short_path
from actors.files import open_locked
from actors.logs import event
from actors.prover_config import ProverConfig
from actors.prover_frames import ANSWER, REQUEST, Answer, Request, read_frame, send_frame
from protocol.errors import ConfigError, EncodingError
from riscv_vm.image import ImageError
from riscv_vm.prove import CHECKPOINT_STEPS, PrePass, prove_chunks, warm_up

Answering = Callable[[StreamReader, StreamWriter], Awaitable[None]]

log = logging.getLogger(__name__)


class ProverProgram:
    """One prover. Proofs are made one after the other, each on all workers."""

    def __init__(self, config: ProverConfig) -> None:
        self.config = config
        self._driver = ThreadPoolExecutor(1, thread_name_prefix="proof")
        self._workers = ThreadPoolExecutor(config.workers, thread_name_prefix="worker")
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Run until cancelled. GuardError if another process serves there, ConfigError if the
        socket cannot be made."""
        path = self.config.socket
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open_locked(path.with_name(path.name + ".lock"))
        try:
            await asyncio.to_thread(warm_up)
            server = await _listen(path, self._answer_all)
            event(log, "serving", socket=str(path), workers=self.config.workers)
            try:
                await server.serve_forever()
            finally:
                server.close()
                path.unlink(missing_ok=True)
        finally:
            for task in self._serving:
                task.cancel()
            for executor in (self._driver, self._workers):
                executor.shutdown(wait=False, cancel_futures=True)
            os.close(lock)

    async def _answer_all(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    request: Request = await read_frame(reader, REQUEST)
                    await send_frame(writer, ANSWER, await self._answer(request))
        except EncodingError as error:
            event(log, "refused", logging.WARNING, reason=str(error))
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer(self, request: Request) -> Answer:
        began_s = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            roots = await loop.run_in_executor(self._driver, self._prove, request)
        except (ImageError, EncodingError) as error:
            event(log, "refused", logging.WARNING, reason=str(error))
            return Answer(error=str(error))
        ms = round(1000 * (time.perf_counter() - began_s))
        event(log, "proved", image=request.program, chunks=len(roots), ms=ms)
        return Answer(roots=b"".join(roots))

    def _prove(self, request: Request) -> list[bytes]:
        execution = request.execution()
        tasks = PrePass(execution, CHECKPOINT_STEPS // execution.chunk_steps)
        runs = [self._workers.submit(prove_chunks, execution, task) for task in tasks]
        return [root for run in runs for root in run.result()]


async def _listen(path: Path, answer: Answering) -> asyncio.Server:
    try:
        path.unlink(missing_ok=True)  # of a process that was killed: the lock is ours
        with short_path(path) as near:
            server = await asyncio.start_unix_server(answer, near, start_serving=False)
        path.chmod(0o600)
        await server.start_serving()
    except OSError as error:
        raise ConfigError(f"[prover] socket: {path}: cannot be made ({error.strerror})") from None
    return server
