"""How a process that serves ends: on SIGINT or SIGTERM, in order."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Coroutine
from typing import Any

from actors.logs import event

log = logging.getLogger(__name__)


async def first_ended(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of ``work`` until the first of it ends, and end the rest; raises what it raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until_stopped(serving: Awaitable[None]) -> None:
    """Await ``serving``; a signal cancels it, and then it counts as done."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        event(log, "stopped")
