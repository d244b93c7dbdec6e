"""For how long a venue wants to be left alone: Retry-After, rate limits and bans."""

from typing import Final

from actors.feeds.backoff import step_s
from actors.feeds.events import Action, Error
from actors.feeds.health import Health

BAN_S: Final = 3600.0
"""A ban (418) or a geographic block (451) without a stated end."""
LONGEST_S: Final = 3 * 86_400.0
"""Binance's longest ban; no header makes us wait longer."""
MISCONFIGURED_S: Final = 60.0
"""A question that the venue does not understand is not repeated before."""


class Restraint:
    """Before ``connect_from_s`` and ``ask_from_s`` (monotonic seconds) the venue is not connected
    to, nor asked by REST. What is open stays open."""

    def __init__(self, health: Health) -> None:
        self.connect_from_s = 0.0
        self.ask_from_s = 0.0
        self._health = health
        self._failures = 0

    def answered(self) -> None:
        """A REST request succeeded: the next failure is a first one."""
        self._failures = 0

    def failed(self, now_s: float) -> None:
        """A REST request failed for a reason that may pass."""
        self._failures += 1
        self._wait_to_ask(now_s + step_s(self._failures))

    def obey(self, error: Error, now_ms: int, now_s: float, *, asked: bool) -> None:
        """The venue refused a REST request (``asked``) or a connection."""
        stated_s = _stated_s(error, now_ms)
        if error.action is Action.STOP_UNTIL:
            wait_s = min(BAN_S if stated_s is None else stated_s, LONGEST_S)
            self._health.disabled_until_ms = now_ms + int(wait_s * 1000)
            self._wait_to_ask(now_s + wait_s)
            self.connect_from_s = max(self.connect_from_s, now_s + wait_s)
        elif not asked:
            self.connect_from_s = max(self.connect_from_s, now_s + min(stated_s or 0.0, LONGEST_S))
        elif error.action is Action.CONFIG_FAULT:
            self._wait_to_ask(now_s + MISCONFIGURED_S)
        else:
            self.failed(now_s)
            self._wait_to_ask(now_s + min(stated_s or 0.0, LONGEST_S))

    def _wait_to_ask(self, until_s: float) -> None:
        self.ask_from_s = max(self.ask_from_s, until_s)


def _stated_s(error: Error, now_ms: int) -> float | None:
    """Seconds that the venue named, by number or by date."""
    if error.retry_after_s is not None:
        return float(error.retry_after_s)
    if error.until_unix is not None:
        return max(0.0, error.until_unix - now_ms / 1000)
    return None
