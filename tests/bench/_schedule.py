"""The prover pool in simulated time: its own schedule, with costs instead of work.

A driver makes a task (the plain run up to its end), gives it, hears answers; each worker hashes one
task after the other. Whoever computes shares ``cores`` cores fairly, each of which does ``beside``
of its work while another is busy too; or has a core of its own on another machine.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from actors.prover_pool import TURN_S
from actors.prover_schedule import Schedule, Work
from riscv_vm.checkpoint import Checkpoint
from riscv_vm.prove import ChunkTask, Hashed

DRIVER = "driver"
RAY = "ray"


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds for a task. Of CPU: its plain run, its call, its replay and hash, its answer, and
    what Ray's own threads and processes do for it; of waiting: the way to a worker or back."""

    prepass: float
    submit: float
    hash: float
    hear: float
    ray: float
    hop: float


@dataclass(slots=True)
class Worker:
    """What a simulated prover has to do; ``says`` gives its answer."""

    name: str
    queue: deque[Work]
    says: Callable[[Work], Hashed | None]
    slowness: float = 1.0


def honest(work: Work) -> Hashed:
    """The roots of a simulated task are its number."""
    return Hashed((work.first.to_bytes(20),) * work.count, work.start, work.end)


class Simulation:
    """One proof of ``tasks`` tasks by ``workers``."""

    def __init__(
        self,
        workers: int,
        tasks: int,
        costs: Costs,
        *,
        cores: int | None = None,
        beside: float = 1.0,
        twice: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.costs, self._tasks = costs, tasks
        self._cores, self._beside = cores, beside
        names = [f"prover-{i}" for i in range(workers)]
        self.schedule = Schedule(names, twice, Random(seed).random, {})
        self.workers = {name: Worker(name, deque(), honest) for name in names}
        self._inbox: deque[tuple[str, Work, Hashed]] = deque()
        self._computing: dict[str, tuple[float, Callable[[], None]]] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._driver = self._drive()
        self._waiting = False
        self._ray_s = 0.0
        self.busy_s = 0.0
        """CPU seconds of the driver."""

    def run(self) -> float:
        """The wall time of the proof in seconds."""
        self._resume()
        while not self._ended:
            self._step()
        return self.now

    # Time

    _ended = False

    def _step(self) -> None:
        active, rate = len(self._computing), 1.0
        if self._cores is not None and active > 1:
            rate = self._beside * min(1.0, self._cores / active)
        least = min((left for left, _ in self._computing.values()), default=float("inf"))
        soonest = self._events[0][0] if self._events else float("inf")
        step = min(least / rate, max(0.0, soonest - self.now))
        self.now += step
        finished = []
        for who, (left, then) in self._computing.items():
            left -= step * rate
            self._computing[who] = left, then
            if left <= 1e-12:
                finished.append(who)
        for who in finished:
            self._computing.pop(who)[1]()
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()

    def _compute(self, who: str, seconds: float, then: Callable[[], None]) -> None:
        self._computing[who] = seconds, then

    def _at(self, delay: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._numbers), then))

    # The driver: the same turns as actors.prover_pool

    def _drive(self) -> Iterator[float | None]:
        """Yields CPU seconds to spend, or None to wait for an answer."""
        for number in range(self._tasks):
            yield self.costs.prepass
            name = number.to_bytes(32)
            task = ChunkTask(number, 1, Checkpoint(number, 0, b"", {}))
            self.schedule.add(task, name, (number + 1).to_bytes(32))
            yield from self._turn(wait=False)
            while self.schedule.waiting:
                yield from self._turn(wait=True)
        while not self.schedule.done:
            yield from self._turn(wait=True)

    def _turn(self, wait: bool) -> Iterator[float | None]:
        if wait and not self._inbox:
            yield None
        while self._inbox:
            name, work, said = self._inbox.popleft()
            yield self.costs.hear
            self.schedule.answered(name, work, said, self.costs.hash, self.now)
        for name in self.schedule.late(self.now):
            self._at(1.0, lambda name=name: self.schedule.back(name))
        while (given := self.schedule.give(self.now)) is not None:
            yield self.costs.submit
            self._send(*given)
        if (own := self.schedule.own()) is not None:
            yield self.costs.hash
            self.schedule.proved_here(own, honest(own).roots)

    def _resume(self) -> None:
        self._waiting = False
        try:
            seconds = next(self._driver)
        except StopIteration:
            self._ended = True
            return
        if seconds is not None:
            self.busy_s += seconds
            self._compute(DRIVER, seconds, self._resume)
        elif self._inbox:
            self._resume()
        else:
            self._waiting = True
            self._at(TURN_S, self._wake)

    def _wake(self) -> None:
        if self._waiting:
            self._resume()

    # The workers

    def _send(self, name: str, work: Work) -> None:
        self._ray_work()
        self._at(self.costs.hop, lambda: self._arrive(self.workers[name], work))

    def _ray_work(self) -> None:
        """Ray's threads work on one call after the other, beside everybody."""
        self._ray_s += self.costs.ray
        if RAY not in self._computing and self._ray_s > 0:
            seconds, self._ray_s = self._ray_s, 0.0
            self._compute(RAY, seconds, lambda: self._ray_s > 0 and self._ray_work())

    def _arrive(self, worker: Worker, work: Work) -> None:
        worker.queue.append(work)
        if worker.name not in self._computing:
            self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        if worker.queue:
            work = worker.queue.popleft()
            seconds = self.costs.hash * worker.slowness
            self._compute(worker.name, seconds, lambda: self._finish(worker, work))

    def _finish(self, worker: Worker, work: Work) -> None:
        said = worker.says(work)
        if said is not None:
            self._at(self.costs.hop, lambda: self._answer(worker.name, work, said))
        self._begin(worker)

    def _answer(self, name: str, work: Work, said: Hashed) -> None:
        self._inbox.append((name, work, said))
        self._wake()
