"""A contract's demo whose processes die: forked from a server that has imported everything, so that
another life costs little.

``Mortal`` parties end their life by SIGKILL at every effect that they have not died of yet: what
they keep, say, reveal and broadcast. What has killed them is written to ``deaths`` beforehand. A
pattern may say what is fatal; by default everything is.
"""

import asyncio
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.contract_demo import ContractDemo
from actors.contract_process import Program
from actors.contract_setting import Ending
from protocol.errors import ChainError
from protocol.settlement.messages import Broadcast, Keep, Note, Say
from protocol.settlement.terms import Role

REPEAT_MS = 300
"""So long a party waits before it repeats itself; five seconds outside tests."""

POLL_S = 0.01
_ONE_AT_A_TIME = threading.Lock()
"""The module's processes are not for several threads."""

_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = ["actors.party_commands", "regtest.kernel", "regtest.served", "actors.watchtower"]
_FORKS.set_forkserver_preload([*_PRELOADED, "tests.builders.warm", "tests.builders.parties"])
EVERYTHING = ""
"""The pattern of every cause."""


class Forked(Program):
    """A program as a forked child that is started again whenever SIGKILL has ended it; ``lives``
    counts how often it was started."""

    def __init__(self, like: Program, main: Callable[..., None], *arguments: Any) -> None:
        super().__init__(like.name, like.command, like.log, like.control)
        self._main = main
        self._arguments = arguments
        self._stopping = threading.Event()
        self.lives = 0

    def start(self) -> None:
        self._fork()
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def terminate(self) -> None:
        self._stopping.set()
        with _ONE_AT_A_TIME:
            self.fork.terminate()

    def wait(self) -> None:
        with _ONE_AT_A_TIME:
            self.fork.join(10)
            self.fork.kill()
            self.fork.join()

    def require_alive(self) -> None:
        with _ONE_AT_A_TIME:
            code = self.fork.exitcode
        if code not in (None, -signal.SIGKILL):
            raise AssertionError(f"{self.name} ended by itself: {self.log.read_text()[-2000:]}")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Not running inside."""
        self.terminate()
        self.wait()
        yield
        self._stopping = threading.Event()
        self.start()

    def _fork(self) -> None:
        target, log = self._main, self.log
        with _ONE_AT_A_TIME:
            if self._stopping.is_set():
                return
            arguments = (log, target, self._arguments)
            self.fork = _FORKS.Process(target=_child, args=arguments, daemon=True)
            self.fork.start()
            self.lives += 1

    def _keep_alive(self) -> None:
        while not self._stopping.wait(POLL_S):
            with _ONE_AT_A_TIME:
                dead = self.fork.exitcode == -signal.SIGKILL
            if dead:
                self._fork()


def _child(log: Path, main: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    with log.open("a", buffering=1) as output:
        sys.stdout = sys.stderr = output
        main(*arguments)


def serve_chain(folder: Path, deaths: Path | None) -> None:
    """The node; with ``deaths``, it dies of each transaction once, after it has taken it."""
    from actors.config import CHAIN_NODE, CHAIN_SOCKET, ChainServer
    from protocol.bitcoin.tx import hash_hex
    from regtest.kernel import KernelChain

    folder.mkdir(parents=True, exist_ok=True)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    with KernelChain(folder / CHAIN_NODE) as chain:
        if deaths is not None:
            take = chain.broadcast

            def broadcast(tx: Any) -> bytes:
                txid = take(tx)
                die_once(deaths, hash_hex(txid))
                return txid

            chain.broadcast = broadcast  # type: ignore[method-assign]
        with ChainServer(chain, folder / CHAIN_SOCKET):
            while not stopping:
                signal.pause()


def run_party(file: Path, lie: str | None, deaths: Path | None, fatal: str, since: int) -> None:
    """A party; with ``deaths``, it dies of whatever matches ``fatal``, once it keeps ``since``
    records."""
    from actors import party
    from actors.logs import open_log
    from actors.party_commands import program_of
    from actors.party_config import load_party
    from actors.until_stopped import until_stopped

    open_log()
    party.LIMITS = replace(party.LIMITS, retry_cap_s=0.1)
    program = program_of(load_party(file), lie)
    program.policy = replace(program.policy, repeat_ms=REPEAT_MS)
    if deaths is not None:
        _make_mortal(program.core, deaths, re.compile(fatal), since)
    asyncio.run(until_stopped(program.serve()))


def run_watchtower(file: Path, deaths: Path, fatal: str) -> None:
    """A watchtower that dies of whatever matches ``fatal``."""
    from actors.clock import SystemClock
    from actors.logs import open_log
    from actors.until_stopped import until_stopped
    from actors.watchtower import WatchtowerProgram
    from actors.watchtower_config import load_watchtower

    open_log()
    program = WatchtowerProgram(load_watchtower(file), SystemClock())
    for contract in program.contracts:
        _make_mortal(contract.core, deaths, re.compile(fatal), 0)
    asyncio.run(until_stopped(program.serve()))


def _make_mortal(core: Any, deaths: Path, fatal: re.Pattern[str], since: int) -> None:
    def die(cause: str) -> None:
        if len(core.records) >= since and fatal.search(cause):
            die_once(deaths, cause)

    do, setdefault = core.do, core.folder.guard.setdefault

    def mortal(effect: Any) -> Any:
        name = _name(effect, len(core.records))
        if isinstance(effect, Broadcast):
            die(f"before {name}")
        after = do(effect)
        if name:
            die(f"after {name}")
        return after

    def reveal(label: Any, digits: Any) -> Any:
        found = setdefault(label, digits)
        if label.field != "input" or label.round in (0, 5):  # the first messages of a transaction
            die(f"after the guard of {label.field} {label.round}")
        return found

    core.do = mortal
    core.folder.guard.setdefault = reveal


def _name(effect: Any, record: int) -> str:
    if isinstance(effect, Note):
        return ""
    if isinstance(effect, Keep):
        kind = effect.record[1 : 1 + effect.record[0]].decode()
        return f"record {record} {kind}"
    if isinstance(effect, Say):
        return f"{type(effect.message).__name__} {getattr(effect.message, 'step', '')}"
    return f"{type(effect).__name__} {getattr(effect, 'name', '')}"


def die_once(deaths: Path, cause: str) -> None:
    """SIGKILL for this process, unless it has died of this before."""
    with deaths.open("a+") as file:
        file.seek(0)
        if cause in file.read().splitlines():
            return
        file.write(cause + "\n")
    os.kill(os.getpid(), signal.SIGKILL)


class MortalDemo(ContractDemo):
    """The demo of a contract whose ``dying`` processes ("chain", "holder", "writer") die all the
    time: parties of what matches ``fatal``, once they have kept ``since`` records. The others live
    in forks as well, but for a node that is no kernel."""

    def __init__(
        self,
        ending: Ending,
        units: int | None,
        folder: Path,
        *dying: str,
        fatal: str = EVERYTHING,
        since: int = 0,
        lie: str | None = None,
        backend: str = "kernel",
    ) -> None:
        super().__init__(ending, units, backend, folder, lambda _: None, lie)
        self.dying = dying
        self._fatal, self._since = fatal, since
        self._forked: dict[str, Forked] = {}

    def stopped(self, name: str) -> AbstractContextManager[None]:
        """Without this process inside; it is started again behind."""
        return self._forked[name].stopped()

    def lives(self, name: str) -> int:
        """How often a process was started."""
        return self._forked[name].lives

    def deaths(self, name: str) -> list[str]:
        """What has killed a process, in order."""
        file = self._deaths(name)
        return file.read_text().splitlines() if file.exists() else []

    def _next_block(self) -> int:
        before = self._chain.height
        while True:
            try:
                return super()._next_block()
            except ChainError:  # the node died before it answered: was there a block?
                if self._chain.height > before:
                    return before + 1

    def _deaths(self, name: str) -> Path:
        return self.setting.folder / f"{name}.deaths"

    def _programs(self) -> list[Program]:
        return list(map(self._program, self.setting.programs(self._backend)))

    def _program(self, like: Program) -> Program:
        folder = self.setting.folder
        deaths = self._deaths(like.name) if like.name in self.dying else None
        if like.name == "chain":
            if self._backend != "kernel":
                return like
            program = Forked(like, serve_chain, folder / "chain", deaths)
        else:
            file, role = folder / f"{like.name}.toml", Role(like.name)
            lie = self.setting.lies.get(role)
            program = Forked(like, run_party, file, lie, deaths, self._fatal, self._since)
        self._forked[like.name] = program
        return program
