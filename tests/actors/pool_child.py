"""Sequencers that are killed between any two lines: a process of its own that the tests start.

python pool_child.py FOLDER STEP

For every STEP-th line of the sequencer and its store that the story below runs through: a forked
process tells the story and is gone by SIGKILL at that line, as in a power cut; another one opens
the same folder and is told the whole story again. A JSON line says what was acknowledged before
the kill, which of that the file had lost then, and what it holds in the end. The last one is of a
story that ran to its end.
"""

import json
import os
import signal
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import actors.pool_sequencer
import actors.pool_store
import actors.sqlite_file
from actors.pool_store import PoolStore
from tests.builders.crash import Crash
from tests.builders.sequencing import Venue, key_of

OWNERS = ("lp", "bob", "eve")
WATCHED = {
    actors.pool_sequencer.__file__,
    actors.pool_store.__file__,
    actors.sqlite_file.__file__,
}


def story(folder: Path, line: int, told: Path) -> None:
    """An LP, two traders, three batches of which the second liquidates; every acknowledgement and
    every batch goes to ``told`` as soon as the sequencer has returned."""
    log = os.open(told, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    if line:
        sys.settrace(Crash(line, WATCHED))
    venue = Venue(folder)
    steps = (
        ("add", lambda: venue.add("lp", 100_000)),
        ("bob", lambda: venue.increase("bob", 1_000)),
        ("batch", venue.certificate),
        ("eve", lambda: venue.increase("eve", 500, side=1)),
        ("batch", lambda: venue.certificate(BTC=36_000)),
        ("lp again", lambda: venue.add("lp", 5_000)),
        ("batch", lambda: venue.certificate(BTC=37_000)),
    )
    for name, make in steps:
        if name == "batch":
            venue.sequencer.advance(make())
        else:
            receipt = venue.sequencer.submit(make(), name.replace(" ", "-"))
            os.write(log, f"{receipt.id.hex()}\n".encode())
    sys.settrace(None)
    venue.sequencer.close()


def forked(folder: Path, line: int, told: Path) -> bool:
    """Whether the process was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            story(folder, line, told)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.waitstatus_to_exitcode(status) == 0, "the child has failed"
    return killed


def is_kept(folder: Path, id_: str) -> bool:
    """Whether the file has an operation."""
    with closing(PoolStore.open(folder / "pool.sqlite")) as store:
        return store.operation(bytes.fromhex(id_)) is not None


def found(folder: Path) -> dict[str, Any]:
    """What the file holds."""
    sequencer = Venue(folder).sequencer
    rows = [row for name in OWNERS for row in sequencer.store.results_of(key_of(name).public)]
    shown = {
        "root": sequencer.pool.root().hex(),
        "batches": sequencer.pool.vault.seq,
        "pending": sequencer.pending,
        "results": [[row.kind, row.batch, row.code] for row in rows],
        "ids": [row.id.hex() for row in rows],
    }
    sequencer.close()
    return shown


def main(folder: Path, step: int) -> None:
    for line in count(1, step):
        place = folder / str(line)
        place.mkdir()
        killed = forked(place, line, place / "first")
        told = (place / "first").read_text().split() if (place / "first").exists() else []
        lost = [id_ for id_ in told if not is_kept(place, id_)]
        forked(place, 0, place / "second")
        shown = {"killed": killed, "told": len(told), "lost": lost} | found(place)
        print(json.dumps(shown), flush=True)
        if not killed:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
