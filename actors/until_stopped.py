"""How a process that serves ends: on SIGINT or SIGTERM, in order."""

import asyncio
import logging
import signal
from collections.abc import Awaitable

from actors.logs import event

log = logging.getLogger(__name__)


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
