"""What a user sees of a long proof, on stderr: that kernels compile, and a bar after a second."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from riscv_vm.jit import on_compilation

PATIENCE_S = 1.0
"""A proof that takes no longer shows no bar."""
COMPILING = (
    "compiling the machine for this processor: some seconds, once after an installation or update"
)


@contextmanager
def compilation_told() -> Iterator[None]:
    """Say so on stderr, once, if a kernel is not in the cache and has to be compiled."""
    with on_compilation(lambda: print(COMPILING, file=sys.stderr, flush=True)):
        yield


class ProofBar:
    """The steps proved so far. How many there will be is known only when the program has ended."""

    def __init__(self, console: Console) -> None:
        self._shown = console.is_terminal
        self._begin = time.monotonic()
        self._bar = Progress(
            TextColumn("proving"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} steps, {task.fields[mega]:.0f} M a second"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, mega=0.0)
        self.started = False

    def advance(self, steps: int) -> None:
        """``steps`` are done in all."""
        seconds = time.monotonic() - self._begin
        if not self._shown or seconds < PATIENCE_S:
            return
        if not self.started:
            self._bar.start()
            self.started = True
        self._bar.update(self._task, completed=steps, mega=steps / seconds / 1e6)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self.started:
            self._bar.stop()


@contextmanager
def proof_bar(console: Console | None = None) -> Iterator[Callable[[int], None]]:
    """A function that hears the steps done; it draws on a terminal only (stderr unless given)."""
    bar = ProofBar(console or Console(stderr=True))
    try:
        yield bar.advance
    finally:
        bar.close()
