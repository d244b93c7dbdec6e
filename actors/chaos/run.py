"""A chaos run: the ground is made, faults come and go by the plan, all is watched meanwhile."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from actors.chaos.breaks import BREAKS, Break
from actors.chaos.faults import INJECT
from actors.chaos.ground import Ground
from actors.chaos.invariants import Certified, Injection, Invariant, Ledger
from actors.chaos.pace import Pace
from actors.chaos.plan import Plan
from actors.chaos.processes import MARK, marked, new_mark, title
from actors.chaos.turns import must_wait
from actors.chaos.undertaker import watched_over
from actors.chaos.verdict import Verdict
from actors.chaos.watch import Watch
from protocol.errors import ConfigError
from protocol.oracle.config import OracleConfig

LOOK_S: Final = 0.1
PROGRAMS_S: Final = 1.0
SECRETS_S: Final = 10.0
START_S: Final = 120.0
BROKEN_S: Final = 5.0
"""What nobody waits for longer where something is broken on purpose."""
GONE_S: Final = 10.0
"""For what was ended to be gone."""
HEAL_S: Final = 180.0
"""For the last fault, times ``busy``: a Ray cluster takes its time."""

Tell = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What happened. ``corrupted`` are frames; ``logs`` the texts of the programs' logs by file
    name."""

    plan: Plan
    seconds: float
    injections: list[Injection]
    ledger: Ledger
    pace: Pace
    certificates: int
    corrupted: int
    proofs: dict[str, int]
    broken: Invariant | None
    logs: dict[str, bytes] = field(default_factory=dict)

    @property
    def violations(self) -> int:
        """How many there were, of all invariants."""
        return self.ledger.violated.total()


def run(plan: Plan, broken: Invariant | None = None, tell: Tell = lambda _: None) -> Outcome:
    """Run ``plan``; ``broken`` is an invariant whose defence is taken away. ConfigError if the
    ground cannot be made. Whatever was started is gone at the end, also if this process is
    killed."""
    with (
        _marked() as mark,
        tempfile.TemporaryDirectory(prefix="chaos-") as place,
        watched_over(mark, Path(place)),
    ):
        return _Run(plan, Path(place) / "net", mark, broken, tell).whole()


@contextmanager
def _marked() -> Iterator[str]:
    """Every process that is started carries a mark, which names this run."""
    mark = new_mark()
    os.environ[MARK] = mark
    try:
        yield mark
    finally:
        del os.environ[MARK]


class _Run:
    def __init__(
        self, plan: Plan, folder: Path, mark: str, broken: Invariant | None, tell: Tell
    ) -> None:
        self.plan = plan
        self.mark = mark
        self.broken = broken
        self.ledger = Ledger()
        self.injections: list[Injection] = []
        self.pace = Pace(plan, self.injections, self.ledger)
        self._tell = tell
        self._break: Break = BREAKS[broken]() if broken else Break()
        bent = plan.liars("price") | self._break.bent(plan)
        self.ground = Ground(plan, folder, sorted(bent))
        self._waiting = list(plan.events)
        self._began = 0.0
        self._late_s = 0.0
        """How far the plan's clock is behind."""
        self._config: OracleConfig
        self._certified: Certified
        self._watch: Watch
        self._stop = threading.Event()

    @property
    def at_s(self) -> float:
        """Since the plan began."""
        return time.monotonic() - self._began

    def whole(self) -> Outcome:
        """From the first process to the last."""
        self._tell(f"starting {len(self.ground.names)} nodes")
        outcome: Outcome
        with self.ground:
            self._config = self.ground.network.config
            liars = frozenset(self.ground.bent)
            self._certified = Certified(self.plan, self._config, liars, self.ledger)
            self._watch = Watch(self.ground, self._certified, self.pace, self.ledger)
            self._first_certificate()
            self._faults()
            self._end_well()
            outcome = self._outcome()
        self._check_nothing_left()
        return outcome

    # While it runs

    def _first_certificate(self) -> None:
        self._began = time.monotonic()

        def missing() -> str | None:
            self._watch.look(0.0)
            return "no certificate" if self._certified.newest < 0 else None

        self.ground.wait(missing, START_S)
        self._began = time.monotonic()
        self.pace.restart()
        self._tell(f"round {self._certified.newest} is certified; {self.plan.seconds:g} s to go")

    def _faults(self) -> None:
        """Inject and heal, each fault in a thread; look all the time."""
        self._break.begin(self.ground)
        programs_s = secrets_s = 0.0
        most = max(len(self.plan.events), 1)
        with ThreadPoolExecutor(most, thread_name_prefix="fault") as threads:
            under_way: list[Future[None]] = []
            try:
                while self._waiting or self.at_s - self._late_s < self.plan.seconds:
                    while (injection := self._next()) is not None:
                        under_way.append(threads.submit(self._inject, injection))
                    _raise_failed(under_way)
                    self._look()
                    if self.at_s >= programs_s:
                        programs_s = self.at_s + PROGRAMS_S
                        self._watch.look_at_programs(self.at_s)
                    if self.at_s >= secrets_s:
                        secrets_s = self.at_s + SECRETS_S
                        self._watch.look_for_secrets(self.mark, self.at_s)
                    self._stop.wait(LOOK_S)
                self._heal(under_way)
            finally:
                self._stop.set()

    def _next(self) -> Injection | None:
        """A fault whose time has come. While it has to wait the plan's clock stands still."""
        now_s = self.at_s
        if not self._waiting or self._waiting[0].at_s > now_s - self._late_s:
            return None
        if must_wait(self._waiting[0], self.injections, self.plan, now_s):
            self._late_s = now_s - self._waiting[0].at_s
            return None
        self.injections.append(Injection(self._waiting.pop(0), now_s))
        return self.injections[-1]

    def _heal(self, under_way: list[Future[None]]) -> None:
        deadline_s = HEAL_S * self.plan.bounds.busy
        end = time.monotonic() + deadline_s
        while not all(one.done() for one in under_way):
            if time.monotonic() > end:
                raise ConfigError(f"a fault has not healed within {deadline_s:g} s")
            self._look()
            time.sleep(LOOK_S)
        _raise_failed(under_way)

    def _inject(self, injection: Injection) -> None:
        event = injection.event
        lasts = f" for {event.fault.for_s:g} s" if event.fault.for_s else ""
        self._tell(f"{self.at_s:6.1f} s  {event.kind}: {event.victim}{lasts}")
        with INJECT[type(event.fault)](self.ground, event):
            self._stop.wait(event.fault.for_s)
        injection.healed_round = self._round()
        injection.ended_s = self.at_s

    def _round(self) -> int:
        return self._config.round_at(time.time_ns() // 1_000_000)

    def _look(self) -> None:
        """At the disks, and at who has come back."""
        self._watch.look(self.at_s)
        for injection in self.injections:
            back = self._certified.active_last[injection.event.victim] > injection.healed_round
            if injection.ended_s is not None and injection.recovered_s is None and back:
                injection.recovered_s = self.at_s

    # At the end

    def _end_well(self) -> None:
        """Everybody takes part again, and has the same history."""
        certified, watch = self._certified, self._watch
        names = watch.nodes
        verdict = Verdict(self.plan, self.injections, self.ledger)
        healed, healed_s = self._round(), self.at_s
        due = {name: verdict.due_s(name, healed_s) for name in names}
        if self.broken:
            due = dict.fromkeys(names, healed_s + BROKEN_S)

        def is_back(name: str) -> bool:
            return certified.active_last[name] > healed

        for name in sorted(names, key=due.__getitem__):
            self._until(partial(is_back, name), due[name])
            what = f"{name} takes no part {due[name] - healed_s:.0f} s after the last fault"
            self.ledger.require(Invariant.RECOVER, is_back(name), self.at_s, what)
        last = certified.newest
        settled_s = self.at_s + (BROKEN_S if self.broken else verdict.settle_s)
        self._until(lambda: not any(certified.behind(name, last) for name in names), settled_s)
        liars = self.plan.liars("twice")  # who has just begun
        self._until(lambda: all(liars <= watch.convicted[n] for n in certified.honest), settled_s)
        self._break.end(self.ground, watch)
        watch.look(self.at_s)
        watch.look_last(self.at_s)
        self.pace.require_judged(self.at_s)
        watch.look_at_programs(self.at_s)
        watch.look_for_secrets(self.mark, self.at_s)
        certified.check_histories(names, last, self.at_s)
        verdict.check_recovered(names, self.at_s)
        verdict.check_convicted(watch.convicted, certified.honest, names, self.at_s)
        ends = {
            name: [(ended - self._began, code) for ended, code in program.ends]
            for name, program in self.ground.keeper.kept.items()
        }
        verdict.check_ends(ends)
        if self.plan.ground.provers:
            proofs = self.ground.proofs
            verdict.check_roots(proofs.tally.roots, proofs.expected, self.at_s)

    def _until(self, condition: Callable[[], bool], end_s: float) -> None:
        while not condition() and self.at_s <= end_s:
            self._look()
            time.sleep(LOOK_S)

    def _check_nothing_left(self) -> None:
        self._break.after(self.ground)
        end = time.monotonic() + GONE_S
        while (left := marked(self.mark)) and time.monotonic() < end:
            time.sleep(LOOK_S)
        what = "; ".join(f"{pid} {title(pid)}" for pid in left)
        self.ledger.require(Invariant.NOTHING_LEFT, not left, self.at_s, what)
        self.ledger.require_checked(self.plan, self.at_s)

    def _outcome(self) -> Outcome:
        tally = self.ground.proofs.tally
        return Outcome(
            plan=self.plan,
            seconds=self.at_s,
            injections=self.injections,
            ledger=self.ledger,
            pace=self.pace,
            certificates=len(self.pace.gaps),
            corrupted=self.ground.links.corrupted,
            proofs={
                "proofs": len(tally.roots),
                "lies_caught": tally.caught,
                "requeued": tally.requeued,
                "alone": tally.alone,
            },
            broken=self.broken,
            logs={path.name: path.read_bytes() for path in self.ground.logs()},
        )


def _raise_failed(under_way: list[Future[None]]) -> None:
    for one in under_way:
        if one.done():
            one.result()
