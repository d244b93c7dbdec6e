"""What the network does to a message: delay, loss, duplication, partitions."""

from random import Random
from typing import Final

from actors.simulation.scenario import Event, Fault, Scenario

MILLION: Final = 1_000_000


class Links:
    """Directed links between addresses. Times are ms since the start of the schedule."""

    def __init__(self, random: Random, scenario: Scenario) -> None:
        self._random = random
        self._events = [e for e in scenario.events if e.fault in _RULES]
        self._base_ms = random.choice((1, 2, 5, 20, 40))
        self._islands = {a: random.randrange(2) for a in (*range(scenario.oracles), 255)}
        self._one_way = random.random() < 0.5

    def arrivals_ms(self, sender: int, to: int, now_ms: int) -> list[int]:
        """When a message sent now arrives: never, once or twice."""
        random = self._random
        copies, extra = 1, 0
        for event in self._events:
            if not event.start_ms <= now_ms < event.end_ms:
                continue
            if self._is_cut(event, sender, to, now_ms):
                return []
            if event.fault is Fault.DROPS and random.randrange(MILLION) < event.amount:
                return []
            if event.fault is Fault.DELAYS:
                extra = random.randint(0, event.amount)
            if event.fault is Fault.DUPLICATES and random.random() < 0.3:
                copies = 2
        return [
            now_ms + self._base_ms + random.randint(0, self._base_ms) + extra * (copy + 1)
            for copy in range(copies)
        ]

    def _is_cut(self, event: Event, sender: int, to: int, now_ms: int) -> bool:
        alone = event.victim
        if event.fault is Fault.SPLIT:
            return alone in (sender, to)
        if event.fault is Fault.ISLANDS:
            return True
        if event.fault is Fault.ONE_WAY:
            return alone == (sender if self._one_way else to)
        if event.fault is Fault.FLAPPING:
            is_down = now_ms // 400 % 2 == 0
            return is_down and self._islands[sender] != self._islands[to]
        return False


_RULES: Final = frozenset(
    {
        Fault.DROPS,
        Fault.DELAYS,
        Fault.DUPLICATES,
        Fault.SPLIT,
        Fault.ISLANDS,
        Fault.ONE_WAY,
        Fault.FLAPPING,
    }
)
