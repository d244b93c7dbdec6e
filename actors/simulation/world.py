"""The event loop of one schedule: virtual time, the members, the links, the faults."""

import heapq
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any, Final

from actors.simulation.bad_aggregators import BAD_AGGREGATORS
from actors.simulation.invariants import Invariants
from actors.simulation.links import Links
from actors.simulation.machine import Disk, SimulatedGuard
from actors.simulation.market import Market
from actors.simulation.process import FRAME_MS, AggregatorProcess, OracleProcess, Process
from actors.simulation.scenario import DURATION_MS, FAULTS_END_MS, Event, Fault, Scenario
from actors.simulation.traitors import TRAITORS
from protocol.crypto.keys import SecretKey
from protocol.oracle.batch_round import BatchAggregatorNode, BatchOracleNode
from protocol.oracle.config import MAX_ORACLES, OracleConfig
from protocol.oracle.feed import Feed
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.proposal import Vote
from protocol.oracle.report import Report
from protocol.oracle.round import AggregatorNode, OracleNode
from protocol.oracle.schedule import Schedule

START_MS: Final = 1_790_359_200_000
SCHEDULE: Final = Schedule(interval_ms=1_000, schedule_ms=2_000, deviation_bps=20)
FEEDS: Final = tuple(Feed(symbol).feed_id for symbol in ("BTC/USD", "ETH/USD", "SOL/USD"))
SETTLED_MS: Final = FAULTS_END_MS + 2_000
LINKS_MS: Final = 100
BOUND_MS: Final = SCHEDULE.schedule_ms + SCHEDULE.interval_ms + SCHEDULE.takeover_ms + LINKS_MS
"""With one fault at most no honest oracle waits longer for the next certificate: one period of the
schedule, one burnt round, one take-over, and the links."""
KEYS: Final = tuple(
    SecretKey(sha256(b"simulated oracle %d" % i).digest()) for i in range(MAX_ORACLES)
)


class World:
    """One schedule; ``trace``, if given, hears every message: ms, sender, receiver, message."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        is_guard_broken: bool = False,
        trace: Callable[[int, int, int, Any], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.is_guard_broken = is_guard_broken
        self.random = Random(f"{scenario.seed}/{scenario.number}/run")
        self.schedule = SCHEDULE
        self.bound_ms = BOUND_MS
        self.settled_ms = SETTLED_MS
        self.config = configuration(scenario.oracles, scenario.faults, scenario.quorum)
        self.feeds = FEEDS[: scenario.feeds]
        self.now_ms = START_MS
        self.invariants = Invariants(self)
        self.stale: set[int] = set()
        self.messages: Counter[str] = Counter()
        jumps = [(e.start_ms, e.amount) for e in scenario.events if e.fault is Fault.JUMP]
        self.market = Market(self.random, DURATION_MS, jumps)
        self._links = Links(self.random, scenario)
        self._trace = trace
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self.processes: dict[int, Process] = {
            i: TRAITORS[scenario.traitors[i]](self, i)
            if i in scenario.traitors
            else OracleProcess(self, i)
            for i in range(scenario.oracles)
        }
        self.processes[AGGREGATOR] = (
            AggregatorProcess(self)
            if scenario.aggregator is None
            else BAD_AGGREGATORS[scenario.aggregator](self)
        )

    @property
    def elapsed_ms(self) -> int:
        """Since the schedule's start."""
        return self.now_ms - START_MS

    def well_since_ms(self, oracle: int) -> int | None:
        """From when on this oracle is promised certificates; None if it stays faulty."""
        scenario = self.scenario
        own = [
            e.fault
            for e in scenario.events
            if e.victim == oracle and e.fault not in (Fault.JUMP, Fault.DUPLICATES)
        ]
        if oracle in scenario.traitors or Fault.STEP in own:
            return None
        return self.settled_ms if own or not scenario.is_one_fault else 0

    def oracle_node(self, index: int, guard: SimulatedGuard, disk: Disk) -> Any:
        """The node of an oracle as it starts from its disk."""
        if len(self.feeds) == 1:
            return OracleNode(
                self.config, self.feeds[0], index, self.signer(index), guard, disk.last
            )
        earlier = disk.newest_first[:0:-1]
        return BatchOracleNode(
            self.config, self.feeds, index, self.signer(index), guard, disk.last, earlier
        )

    def aggregator_node(self, disk: Disk) -> Any:
        """The node of whoever proposes."""
        wait_ms = self.schedule.collect_ms
        if len(self.feeds) == 1:
            return AggregatorNode(self.config, self.feeds[0], disk.last, wait_ms)
        earlier = disk.newest_first[:0:-1]
        return BatchAggregatorNode(self.config, self.feeds, disk.last, wait_ms, earlier)

    def signer(self, oracle: int) -> Callable[[bytes], bytes]:
        """The key of an oracle: real BIP340, auxiliary randomness from the seed."""
        return lambda message: KEYS[oracle].sign(message, self.random.randbytes(32))

    def sign_report(self, oracle: int, report: Report) -> Vote:
        """The vote of a traitor for anything."""
        return Vote(oracle, report.round, report.hash, self.signer(oracle)(report.hash))

    def after(self, ms: int, action: Callable[[], None]) -> None:
        """Do this ``ms`` from now."""
        heapq.heappush(self._queue, (self.now_ms + max(0, ms), next(self._order), action))

    def send(self, sender: int, to: int, message: Any) -> None:
        """Put a message on its link."""
        self.messages[type(message).__name__] += 1
        for arrival in self._links.arrivals_ms(sender, to, self.elapsed_ms):
            self.after(arrival - self.elapsed_ms, lambda: self._arrive(sender, to, message))

    def _arrive(self, sender: int, to: int, message: Any) -> None:
        if self._trace is not None:
            self._trace(self.elapsed_ms, sender, to, message)
        self.processes[to].deliver(sender, message)

    def run(self) -> Invariants:
        """The whole schedule."""
        for address, process in self.processes.items():
            self.after(self.random.randint(0, 20), process.start)
            for ms in range(address % 7, DURATION_MS, FRAME_MS):
                self.after(ms, process.poll)
        for event in self.scenario.events:
            self.after(event.start_ms, partial(self._begin, event))
            self.after(event.end_ms, partial(self._heal, event))
        while self._queue and self._queue[0][0] <= START_MS + DURATION_MS:
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
        self.invariants.check_end(
            [
                process
                for address, process in self.processes.items()
                if address not in self.scenario.traitors
                and process.is_up
                and not (address == AGGREGATOR and self.scenario.aggregator)
            ]
        )
        return self.invariants

    def _begin(self, event: Event) -> None:
        is_aggregator = event.fault in (Fault.AGGREGATOR_CRASH, Fault.AGGREGATOR_STALE)
        process = self.processes[AGGREGATOR if is_aggregator else event.victim]
        if event.fault in (Fault.CRASH, Fault.AGGREGATOR_CRASH):
            process.disk.crash_in = event.amount
        elif event.fault in (Fault.STALE_DISK, Fault.AGGREGATOR_STALE):
            self.stale.add(process.address)
            process.disk.lose(1 + event.amount % 4)
            process.crash(event.end_ms - event.start_ms)
        elif event.fault is Fault.STOP:
            process.stop(event.end_ms - event.start_ms)
        elif event.fault in (Fault.SKEW, Fault.STEP):
            process.clock.offset_ms = event.amount
        elif event.fault is Fault.NO_DATA:
            process.has_data = False

    def _heal(self, event: Event) -> None:
        process = self.processes[event.victim]
        if event.fault in (Fault.SKEW, Fault.STEP):
            process.clock.offset_ms = 0
        elif event.fault is Fault.NO_DATA:
            process.has_data = True
        elif event.fault is Fault.CRASH:
            process.disk.crash_in = None
        elif event.fault is Fault.AGGREGATOR_CRASH:
            self.processes[AGGREGATOR].disk.crash_in = None


@cache
def configuration(oracles: int, faults: int, quorum: int) -> OracleConfig:
    """The configuration that the simulated oracles sign under."""
    return OracleConfig(
        genesis_hash=sha256(b"simulation").digest(),
        epoch=1,
        oracles=tuple(key.public for key in KEYS[:oracles]),
        quorum=quorum,
        faults=faults,
        interval_ms=SCHEDULE.interval_ms,
        delta_ppm=5_000,
        max_move_ppm=100_000,
        max_age_ms=5_000,
        future_ms=1_000,
        min_venues=2,
    )
