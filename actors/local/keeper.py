"""The keeper: starts the programs of a group, starts one again that dies, ends all in the end.

What runs is not in its memory but in the process files: a keeper that was killed leaves programs
that go on, and the next one takes them over. ``state.json`` is for those who ask. It knows no other
group, and is the leader of a process group that its programs and their children are in.
"""

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from actors.control import call
from actors.local.place import Place
from actors.local.process import Process, claim, living
from actors.local.programs import KEEPER, Program, programs_of
from actors.local.state import KeeperState, ProgramState
from actors.local.status import until_ready
from actors.logs import OPERATOR, event, open_log
from actors.party_folder import CONTROL
from actors.restarts import Restarts
from actors.until_stopped import until_stopped
from protocol.errors import ConfigError, ProtocolError

READY_S: Final = 300.0
"""For everything to start: the first time on a machine, things are compiled."""
STOP_S: Final = 20.0
"""From SIGTERM to SIGKILL; the desk ends its parties within this."""
ASK_S: Final = 1.0
LOG_LINES: Final = 8
"""Of a program that did not start."""
QUIET: Final = {"RUST_BACKTRACE": "0"}
"""Of the gateway's server only its reason is of interest."""

log = logging.getLogger(__name__)


def keep(place: Place) -> None:
    """Be the keeper of ``place`` until SIGINT or SIGTERM. GuardError if there is one, ConfigError
    if something does not start."""
    claim(place.process(KEEPER))
    open_log(operator=place.name)
    asyncio.run(until_stopped(_keep(place)))


async def _keep(place: Place) -> None:
    keeper = Keeper(place)
    try:
        await keeper.start(READY_S)
        await keeper.run()
    finally:
        await keeper.stop()


class Keeper:
    """Of the programs of ``place``. The process that runs it has claimed the keeper's file."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._programs = programs_of(place)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._died: asyncio.Future[str]
        programs = {program.name: ProgramState("starting") for program in self._programs}
        self.state = KeeperState("starting", programs)

    async def start(self, deadline_s: float) -> None:
        """Start or take over every program and wait until all of it works. ConfigError names the
        one that ended before that, with the end of its log; the caller ends the others."""
        self._died = asyncio.get_running_loop().create_future()
        self._write()
        self._keeping = [asyncio.create_task(self._keep(program)) for program in self._programs]
        ready = asyncio.create_task(until_ready(self._place, deadline_s))
        try:
            await asyncio.wait((ready, self._died), return_when=asyncio.FIRST_COMPLETED)
            if self._died.done():
                raise ConfigError(self._died.result())
            await ready
        except ConfigError as error:
            self.state.phase, self.state.fault = "failed", str(error)
            raise
        finally:
            ready.cancel()
            self._write()
        self.state.phase = "up"
        self._write()
        event(log, "up", programs=len(self._programs))

    async def run(self) -> None:
        """Keep everything running until cancelled."""
        await asyncio.gather(*self._keeping)

    async def stop(self) -> None:
        """End every program, the last one first. A phase that says why stays."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        if self.state.phase != "failed":
            self.state.phase = "stopping"
            self._write()
        await asyncio.to_thread(self._end)
        event(log, "down")

    def _end(self) -> None:
        end(self._place)
        for child in self._children.values():
            if child.poll() is None:  # it has not written its process file yet
                child.terminate()
            child.wait()

    async def _keep(self, program: Program) -> None:
        """Have it run, again and again, until its budget is spent."""
        own, restarts = self.state.programs[program.name], Restarts()
        while True:
            process = await self._running(program)
            own.state = "running" if process else own.state
            self._write()
            if process is not None:
                await _ended(process)
            fault = self._fault(program)
            if self.state.phase == "starting":
                if not self._died.done():
                    self._died.set_result(fault)
                return
            now_s = time.monotonic()
            delay_s = restarts.delay_s(now_s)
            own.fault, own.state = fault, "failed" if delay_s is None else "restarting"
            event(log, own.state, logging.ERROR, name=program.name, fault=fault)
            self._write()
            if delay_s is None:
                return
            await asyncio.sleep(delay_s)
            restarts = restarts.another(now_s)
            own.restarts = restarts.total

    async def _running(self, program: Program) -> Process | None:
        """The program's process: the one that runs, or else a new one. None if that one has ended
        already."""
        found = living(program.process)
        if found is not None:
            event(log, "taken over", name=program.name, process=found.pid)
            return found
        command = [sys.executable, "-m", "actors.local.child", str(program.process)]
        with program.log.open("ab") as output:
            child = subprocess.Popen(  # in the keeper's process group, which is the operator's
                [*command, *program.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env=os.environ | QUIET | {OPERATOR: self._place.name},
            )
        self._children[program.name] = child
        event(log, "started", name=program.name, process=child.pid)
        return Process.of(child.pid)

    def _fault(self, program: Program) -> str:
        """How it ended and what it said last."""
        child = self._children.pop(program.name, None)
        code = None if child is None else child.wait()
        how = "" if code is None else f" (exit code {code})"
        said = "\n".join(last_lines(program.log, LOG_LINES))
        return f"{self._place.full(program.name)} has ended{how}; {program.log} says:\n{said}"

    def _write(self) -> None:
        """For those who ask. A full disk must not end what runs, nor keep it from ending."""
        try:
            self.state.write(self._place.state)
        except OSError as error:
            event(log, "state not written", logging.ERROR, reason=str(error))


def end(place: Place) -> None:
    """End what lives, the last one first: nobody loses what it needs before it ends."""
    *others, last = programs_of(place)
    _end(last)
    for party in _parties(place):
        party.end(STOP_S)
    for program in reversed(others):
        _end(program)


def _end(program: Program) -> None:
    process = living(program.process)
    if process is not None:
        process.end(STOP_S)


def _parties(place: Place) -> Iterator[Process]:
    """Those that run: a desk that was killed has left them, and the next one has not started
    them."""
    for socket in sorted(place.contracts.glob(f"*/*/{CONTROL}")):
        with suppress(ProtocolError):
            pid = int(asyncio.run(call(socket, "status", ASK_S))["pid"])
            process, config = Process.of(pid), str(socket.parent) + ".toml"
            if process is not None and config.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield process


def last_lines(file: Path, count: int) -> list[str]:
    """Of a log."""
    with suppress(OSError), file.open("rb") as log_file:
        size = log_file.seek(0, os.SEEK_END)
        log_file.seek(max(size - 1000 * count, 0))
        return log_file.read().decode(errors="replace").splitlines()[-count:]
    return []


async def _ended(process: Process) -> None:
    """Returns when it has."""
    fd = process.open()
    if fd is None:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


if __name__ == "__main__":
    try:
        keep(Place.load(Path(sys.argv[1])))
    except ProtocolError as error:
        sys.exit(f"error: {error}")
