"""How far the prover pool scales: ``python -m tests.bench.prover_pool [--json]``.

The costs of a task are measured, then the pool's own schedule runs in simulated time with them, for
up to 1,000 workers. Pools of one and two provers are measured in turns with the costs: their points
are to agree. Where it may, the benchmark takes precedence over other processes of the machine.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from actors import placement
from actors.outcomes import fetch, first_done, value
from actors.prover import Job, Prover
from actors.prover_pool import ProverPool
from actors.runtime import local_cluster
from riscv_vm.image import ProgramImage
from riscv_vm.prove import ChunkTask, PrePass, warm_up
from tests.bench._report import finish, hardware, say
from tests.bench._schedule import Costs, Simulation
from tests.bench._workload import ROUNDS_100_M, chain_image, chain_input

TASK_STEPS: Final = 1 << 22
SMALLER: Final = 1 << 20
WORKERS: Final = (1, 2, 3, 4, 5, 6, 8, 16, 32, 64, 128, 256, 512, 1000)
LONGEST: Final = 4**15
MEASURED: Final = {"1": (1, 0.0), "2": (2, 0.0), "2 twice": (2, 1.0)}
"""Provers, and the share of tasks that two of them hash."""
ROUNDS: Final = 7
PRECEDENCE: Final = -20
STARTUP_S: Final = 180.0

METHODS: Final = {
    "costs_ms": "of one task, medians of the rounds: `prepass` of the driver's plain run and"
    " its checkpoints; `submit` of the call, `hear` of waiting for a finished answer and reading"
    " it, both in the driver; `hash` the prover's replay and hash, as it says; `ray` the CPU time"
    " of every other thread and process of driver, provers and Ray, in a pool of one prover;"
    " `hop` half of what is left of the time from call to answer",
    "beside": "pace of a prover while the other one hashes, over its pace alone; a core per prover",
    "measured": "seconds of a proof of 100 M steps by pools of real processes, median and all, and"
    " of the same schedule simulated with these costs on the cores of this machine; `ratio` is"
    " simulated over measured",
    "speedup": "simulated, each worker and the driver on a core of its own, over one process that"
    " proves alone without a pool (no pre-pass); `longest` for 4^15 steps, `twice` with every task"
    " hashed by two, `small_tasks` in tasks of a quarter, `prepass_4x` if the plain run were four"
    " times as fast, `submit_free` without the driver's cost of calls and answers",
    "precedence": "whether these processes run at priority -20, as root may; if not, other load"
    " on the machine spoils the figures",
    "external_cores": "what other processes used while a block ran, median",
}


def own_processes() -> dict[int, int]:
    """The pids of this process and all below it, with the clock ticks that they have computed."""
    parents: dict[int, int] = {}
    spent: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(words[1])
            spent[int(entry.name)] = int(words[11]) + int(words[12])
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return {pid: spent[pid] for pid in own}


def cpu_times() -> tuple[float, float]:
    """CPU seconds of the whole machine, and of this process and all below it, since their start."""
    tick = os.sysconf("SC_CLK_TCK")
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]  # idle, and idle waiting for a disk
    return busy / tick, sum(own_processes().values()) / tick


def take_precedence() -> bool:
    """For this process and all below it, over the other sessions of the machine too."""
    try:
        for pid in own_processes():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), PRECEDENCE)
            group = Path(f"/proc/{pid}/autogroup")
            if group.exists():
                group.write_text(str(PRECEDENCE))
    except OSError:
        return False
    return True


class Block:
    """What other processes used while a measurement ran."""

    def __init__(self) -> None:
        self._begin, self._times = perf_counter(), cpu_times()

    def external_cores(self) -> float:
        """Cores that were busy with something else."""
        busy, own = (now - then for now, then in zip(cpu_times(), self._times, strict=True))
        return max(0.0, busy - own) / (perf_counter() - self._begin)


class Ground:
    """Two provers, and the proof that is measured."""

    def __init__(self, image: ProgramImage, provers: dict[str, Any]) -> None:
        self.image, self.provers = image, provers
        self.job = Job(chain_input(ROUNDS_100_M), 14, 20, 8)
        self.execution = self.job.execution(image)
        self.pids = [value(prover.pid.remote(), STARTUP_S) for prover in provers.values()]
        self.tasks = self.prepass()[1]
        self.roots: set[bytes] = set()

    def prepass(self) -> tuple[float, list[ChunkTask]]:
        """Seconds for a task, and the tasks."""
        begin = perf_counter()
        tasks = []
        run = PrePass(self.execution, TASK_STEPS // self.execution.chunk_steps)
        for task in run:
            tasks.append(task)
            _ = run.reached.digest
        return (perf_counter() - begin) / len(tasks), tasks

    def calls(self) -> dict[str, float]:
        """Seconds of one call after the other to one prover, by part."""
        parts: dict[str, list[float]] = {"submit": [], "hash": [], "hear": [], "hop": []}
        prover = self.provers["prover-0"]
        for task in self.tasks[:-1]:
            begin = perf_counter()
            call = prover.prove.remote(self.job, task)
            given = perf_counter()
            first_done([call], STARTUP_S)
            there = perf_counter()
            first_done([call], 0.0)
            proved = fetch(call, STARTUP_S).value
            heard = perf_counter()
            parts["submit"].append(given - begin)
            parts["hash"].append(proved.seconds)
            parts["hear"].append(heard - there)
            parts["hop"].append((there - given - proved.seconds) / 2)
        return {name: median(found) for name, found in parts.items()}

    def beside(self) -> float:
        """How fast a prover hashes while another one does, over its pace alone."""
        alone, both = [], []
        for task in self.tasks[:-1:4]:
            for found, provers in ((alone, 1), (both, len(self.provers))):
                some = list(self.provers.values())[:provers]
                calls = [prover.prove.remote(self.job, task) for prover in some]
                found += [fetch(call, STARTUP_S).value.seconds for call in calls]
        return median(alone) / median(both)

    def proof(self, provers: int, twice: float) -> tuple[float, float]:
        """Seconds of a proof by a pool, and the CPU seconds of all its processes."""
        some = dict(list(self.provers.items())[:provers])
        before = cpu_times()[1]
        proof = ProverPool(self.image, some, twice=twice).prove(self.job, TASK_STEPS)
        self.roots.add(proof.trace.root)
        return proof.seconds, cpu_times()[1] - before


@contextmanager
def ground() -> Iterator[Ground]:
    image = chain_image()
    with local_cluster(cpus=2):
        provers = {
            f"prover-{i}": placement.start(placement.PROVER, f"bench-{i}", Prover, image)
            for i in range(2)
        }
        yield Ground(image, provers)


def rounds(here: Ground) -> tuple[dict[str, list[Any]], float]:
    """The results by kind, measured in turns, and what others used meanwhile."""
    kinds: dict[str, Callable[[], Any]] = {
        "prepass": lambda: here.prepass()[0],
        "calls": here.calls,
        "beside": here.beside,
    }
    for name, (provers, twice) in MEASURED.items():
        kinds[name] = partial(here.proof, provers, twice)
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    external = []
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        for name, measure in kinds.items():
            block = Block()
            found[name].append(measure())
            external.append(block.external_cores())
    return found, median(external)


def costs_of(found: dict[str, list[Any]], tasks: int) -> Costs:
    """The medians. What Ray spends is what a pool of one prover used beyond the parts."""
    parts = {name: median(calls[name] for calls in found["calls"]) for name in found["calls"][0]}
    prepass = median(found["prepass"])
    known = prepass + parts["submit"] + parts["hash"] + parts["hear"]
    spent = median(cpu for _, cpu in found["1"]) / tasks
    return Costs(prepass=prepass, ray=max(0.0, spent - known), **parts)


def curve(costs: Costs, tasks: int, alone_s: float, twice: float = 0.0) -> dict[str, float]:
    """Speed-up by the number of workers."""
    return {
        str(workers): alone_s / Simulation(workers, tasks, costs, twice=twice).run()
        for workers in WORKERS
    }


def scaled(costs: Costs, factor: float) -> Costs:
    """The costs of tasks ``factor`` times as long: calls and answers cost what they did."""
    return replace(costs, prepass=costs.prepass * factor, hash=costs.hash * factor)


def speedups(costs: Costs, tasks: int) -> dict[str, dict[str, float]]:
    """Curves as the methods name them."""
    alone_s, longest = tasks * costs.hash, LONGEST // TASK_STEPS
    shrink = TASK_STEPS // SMALLER
    free = replace(costs, submit=0.0, hear=0.0, ray=0.0)
    return {
        "100_m": curve(costs, tasks, alone_s),
        "100_m_twice": curve(costs, tasks, alone_s, twice=1.0),
        "100_m_small_tasks": curve(scaled(costs, 1 / shrink), tasks * shrink, alone_s),
        "longest": curve(costs, longest, longest * costs.hash),
        "longest_prepass_4x": curve(
            replace(costs, prepass=costs.prepass / 4), longest, longest * costs.hash
        ),
        "longest_submit_free": curve(free, longest, longest * costs.hash),
    }


def stops(speedup: dict[str, float]) -> int:
    """The fewest workers that come within 5 % of the best."""
    best = max(speedup.values())
    return min(int(workers) for workers, found in speedup.items() if found >= 0.95 * best)


def measure() -> dict[str, Any]:
    """Everything, as JSON."""
    say("starting provers")
    warm_up()
    with ground() as here:
        precedence = take_precedence()
        for provers, twice in MEASURED.values():
            here.proof(provers, twice)
        found, external = rounds(here)
        tasks = len(here.tasks)
        assert len(here.roots) == 1, "the pool changed the root"
    costs = costs_of(found, tasks)
    beside = min(1.0, median(found["beside"]))
    say("simulating")
    measured = {}
    for name, (provers, twice) in MEASURED.items():
        seconds = [wall for wall, _ in found[name]]
        simulated = Simulation(
            provers, tasks, costs, cores=len(os.sched_getaffinity(0)), beside=beside, twice=twice
        ).run()
        measured[name] = {
            "seconds": median(seconds),
            "all": seconds,
            "simulated": simulated,
            "ratio": simulated / median(seconds),
        }
    speedup = speedups(costs, tasks)
    serial = costs.prepass + costs.submit + costs.hear
    return {
        "hardware": hardware(),
        "precedence": precedence,
        "external_cores": external,
        "tasks": tasks,
        "task_steps": TASK_STEPS,
        "costs_ms": {name: 1e3 * cost for name, cost in asdict(costs).items()},
        "beside": beside,
        "measured": measured,
        "serial_ms": {"prepass": 1e3 * costs.prepass, "calls": 1e3 * (serial - costs.prepass)},
        "ceiling": costs.hash / serial,
        "stops_at_workers": {name: stops(found) for name, found in speedup.items()},
        "speedup": speedup,
        "methods": METHODS,
    }


if __name__ == "__main__":
    finish("prover_pool", measure)
