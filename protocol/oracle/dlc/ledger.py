"""The rule that keeps an oracle's key: an event is announced once and has one outcome, for ever.

Nonces follow from the event's id. So a second announcement of an id, or a second outcome, would
sign twice with one nonce, and that gives the key away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protocol.errors import GuardError
from protocol.oracle.dlc.announcement import Announcement

Outcomes = tuple[str, ...]


@dataclass(slots=True)
class Ledger:
    """What one key has announced and which outcomes it is bound to, by event id. Whoever adds to
    it has put the addition on disk first."""

    _announced: dict[str, Announcement] = field(default_factory=dict)
    _bound: dict[str, Outcomes] = field(default_factory=dict)

    @property
    def announced(self) -> Mapping[str, Announcement]:
        """Announcements by event id, in the order in which they were made."""
        return self._announced

    @property
    def bound(self) -> Mapping[str, Outcomes]:
        """Outcomes by event id."""
        return self._bound

    def announcement(self, event_id: str) -> Announcement:
        """GuardError if the event was never announced."""
        if event_id not in self._announced:
            raise GuardError(f"event {event_id}: it was never announced, announce it first")
        return self._announced[event_id]

    def is_new(self, announcement: Announcement) -> bool:
        """Whether nothing was announced under its id. The same event again is not new; another one
        under the same id is a GuardError."""
        event = announcement.event
        known = self._announced.get(event.event_id)
        if known is not None and known.event != event:
            raise GuardError(
                f"event {event.event_id}: announced before with other terms, which stand; name"
                " another event"
            )
        return known is None

    def is_unbound(self, event_id: str, outcomes: Sequence[str]) -> bool:
        """Whether no outcome is bound yet. The same one again is not new; another one is a
        GuardError, one that the event does not have an EncodingError."""
        self.announcement(event_id).event.descriptor.require(outcomes)
        bound = self._bound.get(event_id)
        if bound is not None and bound != tuple(outcomes):
            raise GuardError(
                f"event {event_id}: another outcome was attested, {' '.join(bound)}; a second one"
                " would reveal the key"
            )
        return bound is None

    def announce(self, announcement: Announcement) -> None:
        """Add it; errors as ``is_new``."""
        if self.is_new(announcement):
            self._announced[announcement.event.event_id] = announcement

    def bind(self, event_id: str, outcomes: Sequence[str]) -> None:
        """Add it; errors as ``is_unbound``."""
        if self.is_unbound(event_id, outcomes):
            self._bound[event_id] = tuple(outcomes)
