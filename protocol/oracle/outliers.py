"""Oracles that keep observing something else than the others: shown to operators, never excluded
by a program. A liar that stays inside the limits can only be judged by people."""

from collections.abc import Mapping
from typing import Final

ROUNDS: Final = 5
"""So many certified rounds in a row beyond delta make an outlier."""


class Outliers:
    """Counts, for each oracle, the certified rounds in a row in which it was beyond delta.
    ``distances`` maps an oracle to how far it was when it observed last, ppm."""

    def __init__(self, delta_ppm: int) -> None:
        self.distances: dict[int, int] = {}
        self._delta_ppm = delta_ppm
        self._streaks: dict[int, int] = {}

    @property
    def flagged(self) -> frozenset[int]:
        """The oracles that operators should quarantine."""
        return frozenset(o for o, streak in self._streaks.items() if streak >= ROUNDS)

    def receive(self, distances: Mapping[int, int]) -> None:
        """A certified round: how far each oracle was from it, ppm. One that observed nothing keeps
        its count."""
        self.distances = {**self.distances, **distances}
        for oracle, distance_ppm in distances.items():
            is_far = distance_ppm > self._delta_ppm
            self._streaks[oracle] = self._streaks.get(oracle, 0) + 1 if is_far else 0
