"""What a run takes of its machine: memory, descriptors, threads, tasks, objects, disk."""

import asyncio
import gc
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE_KB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
GROUPS: Final = {
    "history.sqlite": "histories",
    "guard.journal": "sign guards",
    "evidence.journal": "evidence",
    "market.sqlite": "market",
}
"""What a file is counted under, by the beginning of its name; the rest by its folder."""


@dataclass(frozen=True, slots=True)
class Sample:
    """At ``hour`` of virtual time. ``rss_kb``, ``fds`` and ``threads`` (those of libraries too) are
    of this process and its children; ``tasks`` of its event loop; ``objects`` those that its Python
    collector knows, after a full collection; ``alive`` are contracts that are not over; ``disk`` is
    bytes by kind of file."""

    hour: float
    rss_kb: int
    fds: int
    threads: int
    tasks: int
    objects: int
    alive: int
    disk: dict[str, int]


def sample(hour: float, alive: int, folder: Path) -> Sample:
    """Of now, in the loop's thread."""
    gc.collect()
    pids = family(os.getpid())
    return Sample(
        hour=hour,
        rss_kb=sum(map(rss_kb, pids)),
        fds=sum(count(pid, "fd") for pid in pids),
        threads=sum(count(pid, "task") for pid in pids),
        tasks=len(asyncio.all_tasks()),
        objects=len(gc.get_objects()),
        alive=alive,
        disk=disk(folder),
    )


def disk(folder: Path) -> dict[str, int]:
    """Bytes of the files below ``folder`` by kind."""
    sizes: Counter[str] = Counter()
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            try:
                sizes[_kind(path.relative_to(folder))] += path.lstat().st_size
            except FileNotFoundError:  # a draft that was renamed meanwhile
                continue
    return dict(sizes)


def _kind(path: Path) -> str:
    known = (kind for start, kind in GROUPS.items() if path.name.startswith(start))
    return next(known, path.parts[0])


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in tasks.read_text().split()]
        except OSError:  # the thread has ended
            continue
    return [pid, *(each for child in found for each in family(child))]


def rss_kb(pid: int) -> int:
    """Resident memory of a process; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB
    except OSError:
        return 0


def count(pid: int, kind: str) -> int:
    """Descriptors (``fd``) or threads (``task``) of a process; 0 once it has ended."""
    try:
        return len([*Path(f"/proc/{pid}/{kind}").iterdir()])
    except OSError:
        return 0
