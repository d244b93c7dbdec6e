"""``state.json`` of ``cluster run``: where its roles stand, for those who ask and for the next
supervisor, which learns from it what has run before."""

from pathlib import Path

import msgspec

from actors.files import write_whole
from actors.supervision import Phase, State


class ActorState(msgspec.Struct):
    """One actor. ``host`` is where it runs, or ran last; it is kept when the actor is gone.
    ``ended_s`` are the ends that its budget of restarts counts, in seconds of the monotonic clock
    of the supervisor's machine."""

    phase: Phase = Phase.OUT
    pid: int | None = None
    host: str = ""
    restarts: int = 0
    misses: int = 0
    reason: str = ""
    ended_s: tuple[float, ...] = ()


class RoleState(msgspec.Struct):
    """One role and its actors by name."""

    state: State
    reason: str
    actors: dict[str, ActorState]


class ClusterState(msgspec.Struct):
    """Everything. ``fault`` says why the cluster itself cannot be used, empty if it can."""

    state: State
    fault: str
    pid: int
    metrics: int
    written_ms: int
    roles: dict[str, RoleState]

    @classmethod
    def read(cls, path: Path) -> "ClusterState | None":
        """None if no supervisor has written there."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, path: Path) -> None:
        """Whole or not at all, and on the disk."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self)))
