"""What peers remember of an oracle, asked before it signs again: a rolled-back guard is found out.

A peer's answer is the newest observation of this oracle that it has verified, so it proves itself:
nobody can stop an oracle by inventing a number.

A guard that was restored from a backup resumes here. Of what the lost part signed peers may have
seen nothing, or hide it: their answers alone make no floor. But an oracle signs no round beyond the
one after that of its clock, so all that it has ever signed ends one round from now, if the clock is
right now and was then. That takes one honest peer, which speaks only to clocks near its own: f + 1
answers, and the latest time of one counts. What they show raises the floor and the numbers further.
An oracle without peers (n = 1) has nothing but its own clock.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from protocol.errors import SignatureError
from protocol.oracle.config import OracleConfig
from protocol.oracle.messages import SeenAnswer

MARGIN_MS: Final = 10_000
"""Behind now, up to where a restored guard signs nothing: a clock may be 5 s from an honest peer's,
and may have been 5 s off in the other direction when the lost part was signed."""


class Restorable(Protocol):
    """A sign guard, as far as peers' memory concerns it (``actors.journal.SignGuard``)."""

    @property
    def is_restored(self) -> bool:
        """Whether it was brought back from a backup and records nothing until ``resume``."""

    def require_seq(self, peers_seq: int, round_id: int) -> None:
        """GuardError if it has not come so far."""

    def resume(self, peers_seq: int, floor: int) -> None:
        """Record numbers above ``peers_seq`` and rounds above ``floor`` from now on."""


class Recollection:
    """The answers of the other oracles to the oracle ``index`` since its start. ``observation`` is
    the class of signed observations, ``retired`` are the guards of its keys of earlier epochs."""

    def __init__(
        self,
        config: OracleConfig,
        index: int,
        observation: Any,
        guard: Restorable,
        retired: Sequence[Restorable] = (),
    ) -> None:
        self._config = config
        self._index = index
        self._observation = observation
        self._guard = guard
        self._guards = (*retired, guard)
        self._answered: set[int] = set()
        self._seq, self._round, self._now_ms = 0, -1, 0

    @property
    def missing(self) -> frozenset[int]:
        """The oracles that have not answered yet."""
        everybody = frozenset(range(len(self._config.oracles)))
        return everybody - self._answered - {self._index}

    @property
    def needed(self) -> int:
        """How many have to answer: a quorum with this oracle, which costs nothing, without so many
        nothing can be certified; and one honest one for a guard that was restored."""
        config = self._config
        honest = config.faults + 1 if self._is_restored else 0
        return min(max(config.quorum - 1, honest), len(config.oracles) - 1)

    @property
    def is_enough(self) -> bool:
        """Whether so many have answered."""
        return len(self._answered) >= self.needed

    @property
    def fault(self) -> str | None:
        """Why the oracle signs nothing yet, None if it may."""
        if self.is_enough:
            return None
        why = "; its sign guard was restored from a backup" if self._is_restored else ""
        return (
            "peers have not said yet what they have seen of this oracle:"
            f" {len(self._answered)} of {self.needed} needed{why}"
        )

    def receive(self, sender: int, answer: SeenAnswer, now_ms: int) -> None:
        """An answer. GuardError if it proves that the sign guard was rolled back; EncodingError or
        SignatureError, and it does not count, if it is no observation of this oracle."""
        if sender not in self.missing:
            return
        if answer.observation:
            signed = self._observation.decode(answer.observation)
            public = self._config.oracles[self._index]
            if not signed.verify(public):
                raise SignatureError(f"oracle {sender} shows an observation that is not ours")
            seen = signed.observation
            self._guard.require_seq(seen.seq, seen.round)
            self._seq, self._round = max(self._seq, seen.seq), max(self._round, seen.round)
        self._answered.add(sender)
        self.resume(now_ms)

    def resume(self, now_ms: int) -> None:
        """Lets restored guards go on if enough have answered; nothing otherwise. GuardError if the
        disk fails."""
        # The clock may have been set back since an honest one of them has confirmed it.
        self._now_ms = max(self._now_ms, now_ms)
        if self.is_enough:
            floor = max(self._round, self._config.round_at(self._now_ms + MARGIN_MS) + 1)
            for guard in self._guards:
                if guard.is_restored:
                    guard.resume(self._seq if guard is self._guard else 0, floor)

    @property
    def _is_restored(self) -> bool:
        return any(guard.is_restored for guard in self._guards)
