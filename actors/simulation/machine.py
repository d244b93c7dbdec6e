"""What a simulated process runs on: a disk that survives crashes and a clock that may be wrong."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from protocol.errors import GuardError
from protocol.oracle.evidence import Evidence
from protocol.oracle.layout import ZERO32
from protocol.oracle.messages import HISTORY_LIMIT


class Crash(Exception):  # noqa: N818
    """The process is gone; what its disk holds is what it will remember."""


class Disk:
    """Certificates, evidence and the sign guard's records. Every write is a crash point before and
    after it is durable; so is whatever else the process calls ``point`` for."""

    def __init__(self) -> None:
        self.certificates: dict[bytes, Any] = {}
        self.evidence: list[Evidence] = []
        self.slots: dict[bytes, tuple[int, bytes]] = {}
        self.seq = 0
        self.crash_in: int | None = None

    def point(self) -> None:
        """A place where a process can die."""
        if self.crash_in is None:
            return
        self.crash_in -= 1
        if self.crash_in < 0:
            self.crash_in = None
            raise Crash

    def store(self, certificate: Any) -> None:
        """A certificate, durable."""
        self.point()
        self.certificates[certificate.hash] = certificate
        self.point()

    def lose(self, count: int) -> None:
        """The newest certificates are gone: a backup was restored. The sign guard never is."""
        for certificate in self.newest_first[:count]:
            del self.certificates[certificate.hash]

    def holes(self) -> list[tuple[Any, int]]:
        """Certificates whose predecessor is missing, and the round of the newest before them."""
        kept = reversed(self.newest_first)
        return [
            (later, earlier.round if earlier else -1)
            for earlier, later in pairwise([None, *kept])
            if later.previous_hash not in {ZERO32, *self.certificates}
        ]

    @property
    def newest_first(self) -> list[Any]:
        """All certificates."""
        return sorted(self.certificates.values(), key=lambda c: c.round, reverse=True)

    @property
    def last(self) -> Any:
        """The newest certificate, or None."""
        return next(iter(self.newest_first), None)

    def history(self, after_round: int) -> Sequence[bytes]:
        """The certificates after a round, oldest first."""
        kept = reversed(self.newest_first)
        return [c.encode() for c in kept if c.round > after_round][:HISTORY_LIMIT]


class SimulatedGuard:
    """The rules of ``actors.journal.SignGuard`` on a simulated disk. ``seen`` hears of every
    message that is about to be signed: kind, configuration, feed, round, message."""

    def __init__(self, disk: Disk, seen: Callable[[bytes, bytes, bytes, int, bytes], None]) -> None:
        self._disk = disk
        self._seen = seen

    def next_seq(self) -> int:
        return self._disk.seq + 1

    def record(
        self, kind: bytes, config_digest: bytes, feed_id: bytes, round_id: int, message: bytes
    ) -> None:
        lane = kind + config_digest + feed_id
        newest = self._disk.slots.get(lane, (-1, b""))
        if newest != (round_id, message):
            if round_id <= newest[0]:
                raise GuardError(f"round {round_id} was signed")
            self._disk.point()
            self._disk.slots[lane] = round_id, message
            self._disk.seq += 1
            self._disk.point()
        self._seen(kind, config_digest, feed_id, round_id, message)

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        newest = self._disk.slots.get(kind + config_digest + feed_id)
        return None if newest is None else newest[1]

    def record_once(self, kind: bytes, slot: bytes, message: bytes) -> None:
        raise GuardError("the simulation signs rounds only")

    def recall_once(self, kind: bytes, slot: bytes) -> bytes | None:
        raise GuardError("the simulation signs rounds only")


class ForgetfulGuard(SimulatedGuard):
    """A guard that keeps nothing and refuses nothing: what traitors use, and honest oracles under
    ``--break sign-guard``."""

    def record(
        self, kind: bytes, config_digest: bytes, feed_id: bytes, round_id: int, message: bytes
    ) -> None:
        self._disk.seq += 1
        self._disk.point()
        self._seen(kind, config_digest, feed_id, round_id, message)

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        return None


class SimulatedClock:
    """True time plus an offset, unix ms."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def read(self, true_ms: int) -> int:
        """What this machine's clock shows at true time."""
        return max(0, true_ms + self.offset_ms)
