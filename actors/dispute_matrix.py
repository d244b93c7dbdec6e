"""Every lie in both directions, played out: does who lies lose, on a leaf that it should end on?"""

import multiprocessing
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from itertools import cycle, product
from pathlib import Path
from typing import Any, Final

from actors.dispute_play import PLACES, play
from actors.dispute_play_stage import Stage
from protocol.dispute.lies.catalog import Lie, catalogue
from protocol.errors import ProtocolError
from protocol.settlement.terms import Role
from riscv_vm.isa import LOG4_STEPS_DEFAULT

KERNEL: Final = "kernel"
PROCESSES: Final = 2
"""Of the full matrix: each plays its games on a contract of its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One game to play; ``place`` is where the lie is told (``dispute_play.step_at``)."""

    lie: str
    prover: Role
    place: str


@dataclass(frozen=True, slots=True)
class Row:
    """One game and what it came to; ``error`` says why it came to nothing."""

    lie: str
    side: str
    prover: str
    place: str
    expected: str
    ok: bool = False
    step: int | None = None
    winner: str = ""
    fault: str = ""
    leaf: str = ""
    transactions: int = 0
    vbytes: int = 0
    refused: int = 0
    """Transactions of the liar that no block may hold."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class MatrixReport:
    """All games; ``ok`` if each ended as it must."""

    full: bool
    seed: int
    width: int
    seconds: float
    rows: list[Row] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether every game ended as it must."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"ok": self.ok, "games": len(self.rows), **asdict(self)}


def entries(*, full: bool) -> Iterator[Entry]:
    """The games of the matrix: every lie at every place in both directions, or each kind of lie
    once, with places and directions by turns."""
    lies = catalogue(LOG4_STEPS_DEFAULT).values()
    if full:
        for lie, prover in product(lies, Role):
            for place in PLACES if lie.has_step else PLACES[:1]:
                yield Entry(lie.name, prover, place)
        return
    for lie, place, prover in zip(_one_a_kind(lies), cycle(PLACES), cycle(Role), strict=False):
        yield Entry(lie.name, prover, place)


def played(
    games: Iterable[Entry],
    folder: Path,
    *,
    seed: int = 0,
    width: int = 20,
    processes: int = 1,
    heard: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """What the games come to, each told to ``heard`` as it ends. ``folder`` must be empty."""
    play_one = partial(_play, folder, width, seed)
    rows: list[Row] = []
    with ExitStack() as stack:
        results: Iterator[Row] = map(play_one, games)
        if processes > 1:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(processes, mp_context=context)
            stack.callback(pool.shutdown, cancel_futures=True)
            results = pool.map(play_one, games)
        for row in results:
            heard(row)
            rows.append(row)
    return rows


def _play(folder: Path, width: int, seed: int, game: Entry) -> Row:
    lie = catalogue(LOG4_STEPS_DEFAULT)[game.lie]
    where = game.place if lie.has_step else ""
    row = partial(Row, lie.name, lie.side.value, game.prover.value, where, lie.winner.value)
    try:
        report = play(_stage(folder, width), lie, game.prover, game.place, seed)
    except ProtocolError as error:
        return row(error=str(error))
    return row(
        ok=report.ok,
        step=report.step,
        winner=report.winner,
        fault=report.fault,
        leaf=report.leaf,
        transactions=report.totals.transactions,
        vbytes=report.totals.vbytes,
        refused=len(report.refused),
    )


@lru_cache(maxsize=1)
def _stage(folder: Path, width: int) -> Stage:
    """The contract that this process plays its games on."""
    return Stage.create(Path(tempfile.mkdtemp(dir=folder)), KERNEL, width, lambda _: None)


def _one_a_kind(lies: Iterable[Lie]) -> Iterator[Lie]:
    """Each lie, but of those that differ in their round the one of a round in the middle."""
    middle = str(LOG4_STEPS_DEFAULT // 2)
    for lie in lies:
        number = re.search(r"-(\d+)$", lie.name)
        if number is None or number[1] == middle:
            yield lie
