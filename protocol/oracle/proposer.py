"""The proposing side of a member: which rounds are open, and which one to propose now."""

from collections.abc import Mapping
from typing import Any

from protocol.errors import QuorumError
from protocol.oracle.schedule import Schedule


class Proposer:
    """Drives an aggregator node, one round at a time: a proposal links to the certificate before
    it, so rounds wait until the one before is certified or has had ``takeover_ms``. So long does
    a turn last; what was not proposed in it is the next one's business.

    Of several rounds that are ready the newest is proposed: prices age, and a network that cannot
    keep up must leave rounds out, not fall behind.
    """

    def __init__(self, node: Any, schedule: Schedule) -> None:
        self.node = node
        self._schedule = schedule
        self._shown: dict[int, int] = {}

    def propose(self, turns: Mapping[int, int], now_ms: int) -> list[Any]:
        """The proposals to show now. ``turns`` maps the open rounds to when this member's turn
        comes, unix ms."""
        self._shown = {r: shown for r, shown in self._shown.items() if r in turns}
        if any(self._is_under_way(shown, now_ms) for shown in self._shown.values()):
            return []
        for round_id, turn in sorted(turns.items(), reverse=True):
            is_my_turn = 0 <= now_ms - turn < self._schedule.takeover_ms
            if is_my_turn and round_id > max(self._shown, default=-1):
                proposal = self._try(round_id, now_ms)
                if proposal is not None:
                    return [proposal]
        return []

    def wakes_ms(self, turns: Mapping[int, int], now_ms: int) -> list[int]:
        """When ``propose`` may have something new, unix ms."""
        wakes = list(turns.values())
        for round_id in turns:
            deadline = self.node.deadline_ms(round_id)
            if round_id in self._shown:
                wakes.append(self._shown[round_id] + self._schedule.takeover_ms)
            elif deadline is not None:
                wakes.append(deadline)
        return [wake for wake in wakes if wake > now_ms]

    def _try(self, round_id: int, now_ms: int) -> Any:
        try:
            proposal = self.node.propose(round_id, now_ms)
        except QuorumError:  # too few or too far apart; a further observation may come
            return None
        if proposal is not None:
            self._shown[round_id] = now_ms
        return proposal

    def _is_under_way(self, shown_ms: int, now_ms: int) -> bool:
        """Limits at both ends: a clock may step back."""
        return 0 <= now_ms - shown_ms < self._schedule.takeover_ms
