"""A bitcoind of our own: found, started on a free port, asked until it is ready, stopped.

Stopping goes by RPC, then by SIGTERM, then by SIGKILL, always to the one process that was started.
A node whose owner died without stopping it is found by the lock that it holds on its folder.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from protocol.errors import ChainError
from regtest.rpc import CALL_S, Rpc

START_S: Final = 120.0
"""For a start, a rebuild of the databases included."""
STOP_S: Final = 60.0
_POLL_S: Final = 0.02
_PORT_TRIES: Final = 3

REQUIRED: Final = (
    "-regtest",
    "-server=1",
    "-daemon=0",
    "-listen=0",
    "-connect=0",
    "-rpcbind=127.0.0.1",
    "-rpcallowip=127.0.0.1",
)

OPTIONAL: Final = {
    "dnsseed": "0",
    "fixedseeds": "0",
    "discover": "0",
    "natpmp": "0",
    "printtoconsole": "0",
    "txindex": "1",
    "fallbackfee": "0.00002",
    "keypool": "50",
    "acceptnonstdtxn": "0",
    "par": "1",  # scripts checked in order: a refused block names its first failing input
    "checkblockindex": "0",  # regtest walks the whole index at every block otherwise
    "maxtipage": "3153600000",  # our clock begins in 2011: do not take that for a download
    "corepolicy": "1",  # Bitcoin Knots only
}
"""Given to the nodes that list them in their help; an unknown option would stop a node."""


FETCHED: Final = Path(__file__).parents[1] / ".cache" / "bitcoind" / "bin" / "bitcoind"
"""Where `make test-bitcoind` puts the node that it fetches."""


def find_bitcoind() -> Path:
    """The node to run: ``BITCOIND``, else what PATH finds, else the one that was fetched.
    ChainError telling how to get one."""
    named = os.environ.get("BITCOIND")
    found = shutil.which(named) if named else shutil.which("bitcoind") or shutil.which(FETCHED)
    if found:
        return Path(found).resolve()
    if named:
        raise ChainError(f"BITCOIND={named} is no program that can be run: correct or unset it")
    raise ChainError(
        "no bitcoind here: set BITCOIND=/path/to/bitcoind, or on a machine with a Debian mirror"
        " run `make test-bitcoind`, which fetches one"
    )


@lru_cache(maxsize=8)
def options_of(binary: Path) -> tuple[str, ...]:
    """The flags that this binary is started with; ChainError if it does not run."""
    try:
        told = subprocess.run(
            [binary, "-help", "-help-debug"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ChainError(f"{binary} does not run: {error}") from error
    words = {line.strip().split("=")[0] for line in told.splitlines()}
    chosen = [f"-{name}={value}" for name, value in OPTIONAL.items() if f"-{name}" in words]
    return (*REQUIRED, *chosen)


class NodeProcess:
    """One running bitcoind on ``folder``, which it owns alone."""

    def __init__(self, binary: Path, folder: Path, *, reindex: bool = False) -> None:
        """Start it and wait until it answers and has read its blocks. ChainError with its own
        words if it does not get there."""
        self.folder = folder
        _net(folder).mkdir(parents=True, exist_ok=True)
        _cookie(folder).unlink(missing_ok=True)  # of a life that was cut off
        deadline = time.monotonic() + START_S
        for attempt in range(_PORT_TRIES):
            self._launch(binary, reindex=reindex)
            try:
                if self._ready_by(deadline):
                    return
                if attempt + 1 == _PORT_TRIES or "Unable to bind" not in self._last_words():
                    self.require_running()
                self.rpc.close()
            except BaseException:
                self._kill()
                raise

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def require_running(self) -> None:
        """ChainError with how it ended, once it has."""
        if not self.running:
            code = self._child.returncode
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            raise ChainError(
                f"bitcoind (process {self.pid}) on {self.folder} has ended {how}: open it again"
                f" (with reindex=True if its databases are damaged){self._last_words()}"
            )

    def stop(self) -> bool:
        """Until it has ended; whether in order, with everything on disk."""
        if self.running:
            try:
                self.rpc.call("stop", timeout_s=STOP_S)
            except ChainError:
                self._child.terminate()
        self.rpc.close()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._kill()
        return self._child.returncode == 0

    def _kill(self) -> None:
        self.rpc.close()
        self._child.kill()
        self._child.wait()

    def _launch(self, binary: Path, *, reindex: bool) -> None:
        port = _free_port()
        command = [str(binary), f"-datadir={self.folder}", f"-rpcport={port}"]
        command += [*options_of(binary), *(["-reindex"] if reindex else [])]
        _port(self.folder).write_text(f"{port}\n")
        with _output(self.folder).open("wb") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.rpc = Rpc(port, _cookie(self.folder))

    def _ready_by(self, deadline: float) -> bool:
        """True once it answers and has read its blocks; False if it ended before."""
        answer: Any = "nothing"
        while self.running:
            try:
                answer = self.rpc.call("getblockchaininfo")
                if not answer["initialblockdownload"]:
                    return True
            except ChainError as error:  # nobody listens yet, no cookie yet, warming up
                answer = error
            if time.monotonic() > deadline:
                raise ChainError(
                    f"bitcoind on {self.folder} was not ready in {START_S:g} s{self._last_words()};"
                    f" asked at the end, it said: {answer}"
                )
            time.sleep(_POLL_S)
        return False

    def _last_words(self) -> str:
        lines = _output(self.folder).read_text(errors="replace").split("\n")
        said = " / ".join(line.strip() for line in lines if line.strip())
        return f"; it said: {said[-500:]}" if said else ""


def stop_orphan(folder: Path, *, ours: bool) -> bool:
    """Stop the bitcoind that still runs on ``folder`` although its owner is gone, if there is one.

    True if it ended in order. ChainError if it is not ``ours`` to stop, or does not stop.
    """
    if not _held(folder):
        return False
    if not ours:
        raise ChainError(
            f"{folder} is open in a bitcoind that was started elsewhere: stop it there, or choose"
            " another folder"
        )
    deadline = time.monotonic() + CALL_S
    with Rpc(int(_port(folder).read_text()), _cookie(folder)) as rpc:
        while _held(folder) and time.monotonic() < deadline:
            try:
                rpc.call("stop", timeout_s=5)
            except ChainError:
                time.sleep(_POLL_S)  # still starting, or already stopping
            else:
                if _until(lambda: not _held(folder), STOP_S):
                    return True
    if _held(folder):
        pid = int((_net(folder) / "bitcoind.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        if not _until(lambda: not _held(folder), STOP_S):
            raise ChainError(f"process {pid} does not let go of {folder}: end it by hand")
    return False


def _until(done: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _held(folder: Path) -> bool:
    """Whether a bitcoind, whoever started it, has the folder open: it locks a file as long."""
    try:
        lock = os.open(_net(folder) / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _net(folder: Path) -> Path:
    return folder / "regtest"


def _cookie(folder: Path) -> Path:
    return _net(folder) / ".cookie"


def _port(folder: Path) -> Path:
    return folder / "rpc.port"


def _output(folder: Path) -> Path:
    return folder / "bitcoind.out"
