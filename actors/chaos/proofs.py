"""Proofs while things break: the same program proved again and again, by provers that may lie.

What a party does (``actors.prover_client``): it runs the program itself, asks a prover for the
roots, hashes a stretch of them again, and proves alone if the prover is away or false.
"""

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actors.chaos.child import on_clock
from actors.chaos.keeper import Keeper
from actors.network_files import table
from actors.prover_client import checked_trace
from actors.prover_frames import ANSWER, REQUEST, Answer, Request, read_frame, send_frame
from protocol.errors import EncodingError, ProtocolError

NAME: Final = "prover"
EVERY_S: Final = 1.0
ANSWER_S: Final = 20.0
REQUESTED: Final = Request(program="pool", terms=b"", data=bytes(64), log4_steps=10, width=20)
"""A program of ours on an input that it refuses: some 286,000 steps."""


@dataclass(slots=True)
class Tally:
    """What became of the proofs. ``roots`` are those of a prover that were relied on."""

    roots: list[bytes] = field(default_factory=list)
    alone: int = 0
    """Nobody answered: proved here."""
    caught: int = 0
    """False roots that were found; proved here too."""
    requeued: int = 0
    """Parts of a proof that were given to another prover, because the first one was lost."""


class Proofs:
    """A context manager: a prover's process runs, and a thread asks it."""

    def __init__(self, folder: Path, keeper: Keeper) -> None:
        self.tally = Tally()
        self._checks = True
        self.expected = b""
        self._folder = folder
        self._keeper = keeper
        self._config = folder / f"{NAME}.toml"
        self._socket = folder / "prover.sock"
        self._honest: tuple[str, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proofs", daemon=True)

    def __enter__(self) -> "Proofs":
        self.expected = expected_root()
        fields = {"socket": self._socket.name, "workers": 1}
        self._config.write_text(table("[prover]", fields))
        clock = self._folder / f"{NAME}.clock"
        self._honest = on_clock(clock, "prover", "run", "--config", str(self._config))
        self._keeper.start(NAME, self._honest, self._folder / f"{NAME}.log")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def lie(self) -> None:
        """From now on a prover answers whose roots are false."""
        self._keeper.replace(NAME, ("-m", "actors.chaos.lying_prover", str(self._config)))

    def be_honest(self) -> None:
        """The honest one again."""
        self._keeper.replace(NAME, self._honest)

    def believe(self) -> None:
        """Nothing that the prover says is checked any more."""
        self._checks = False

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._prove()

    def _prove(self) -> None:
        """As a party does."""
        try:
            answer = asyncio.run(asyncio.wait_for(self._ask(), ANSWER_S))
        except (OSError, EOFError, TimeoutError, ProtocolError):
            self.tally.alone += 1
            return
        try:
            root = checked_trace(REQUESTED, answer.roots).root if self._checks else believed(answer)
        except EncodingError:
            self.tally.caught += 1
        else:
            self.tally.roots.append(root)

    async def _ask(self) -> Answer:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            await send_frame(writer, REQUEST, REQUESTED)
            answer: Answer = await read_frame(reader, ANSWER)
        finally:
            writer.close()
        if answer.error:
            raise ProtocolError(answer.error)
        return answer


def expected_root() -> bytes:
    """What this process finds."""
    from riscv_vm.prove import prove

    return prove(REQUESTED.execution()).root


def believed(answer: Answer) -> bytes:
    """The root of what a prover says, unseen."""
    from riscv_vm.prove import CHECKPOINT_STEPS, PrePass

    execution = REQUESTED.execution()
    prepass = PrePass(execution, CHECKPOINT_STEPS // execution.chunk_steps)
    for _ in prepass:  # the plain run
        pass
    width = REQUESTED.width
    roots = [answer.roots[at : at + width] for at in range(0, len(answer.roots), width)]
    return prepass.trace([roots]).root
