"""What is ordered in a soak, when, and how it is meant to end: drawn from a seed. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from random import Random
from typing import Final

from actors.party_config import Closing
from protocol.settlement.policy import Close
from protocol.settlement.terms import Role


class End(StrEnum):
    """How a contract is meant to end."""

    CLOSE = "both close together"
    CLAIM_HOLDER = "the writer is silent, the holder claims"
    CLAIM_WRITER = "the holder is silent, the writer claims"
    LIE_HOLDER = "the holder claims falsely"
    LIE_WRITER = "the writer claims falsely"
    LIE_CHALLENGE = "the writer challenges a true claim"

    @property
    def claims(self) -> Role | None:
        if self is End.CLOSE:
            return None
        return Role.WRITER if self in (End.CLAIM_WRITER, End.LIE_WRITER) else Role.HOLDER

    @property
    def liar(self) -> Role | None:
        return {
            End.LIE_HOLDER: Role.HOLDER,
            End.LIE_WRITER: Role.WRITER,
            End.LIE_CHALLENGE: Role.WRITER,
        }.get(self)


EUROPEAN: Final = (
    End.CLOSE,
    End.LIE_HOLDER,
    End.CLAIM_WRITER,
    End.CLOSE,
    End.LIE_WRITER,
    End.CLAIM_HOLDER,
    End.LIE_CHALLENGE,
)
"""Ends of European contracts, one after the other, again and again."""
AMERICAN: Final = (End.CLOSE, End.CLAIM_HOLDER, End.LIE_HOLDER, End.CLOSE, End.LIE_CHALLENGE)
"""Of exercised ones: before its expiry a contract is claimed by its holder alone."""
LIES: Final = {
    End.LIE_HOLDER: ("step", "payout", "root"),
    End.LIE_WRITER: ("wrong-opcode", "step"),
    End.LIE_CHALLENGE: ("challenge",),
}
"""Of protocol.dispute.lies, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One contract: ordered at ``order_s`` of the run. An American one is exercised ``exercise_s``
    after it is open, a European one waits for its expiry. It is a put, ``strike_steps`` of the
    listed strikes above the index (in the money)."""

    order_s: float
    american: bool
    exercise_s: float
    strike_steps: int
    end: End
    lie: str | None

    def closing(self, role: Role) -> Closing:
        """How this side closes."""
        if self.end is End.CLOSE:
            return Closing(cooperate=Close.OFFER if role is Role.HOLDER else Close.ANSWER)
        if role is self.end.claims:
            return Closing(cooperate=Close.NEVER, claim_after_s=0, claim_after_blocks=0)
        return Closing(cooperate=Close.NEVER, claims=False)

    def lie_of(self, role: Role) -> str | None:
        """What this side lies about, if it does."""
        return self.lie if role is self.end.liar else None


def draw(seed: int, span_s: float, every_s: float, last_european_s: float) -> list[Plan]:
    """Orders over ``span_s`` seconds, one each ``every_s``. Until ``last_european_s`` two of three
    are European; what is ordered later would not expire in the run, and is American."""
    random = Random(seed)
    ends = {True: cycle(AMERICAN), False: cycle(EUROPEAN)}
    lies = {end: cycle(names) for end, names in LIES.items()}
    plans = []
    for number in range(int(span_s / every_s)):
        order_s = number * every_s + random.uniform(0, every_s / 2)
        american = order_s > last_european_s or number % 3 == 2
        end = next(ends[american])
        plans.append(
            Plan(
                order_s=order_s,
                american=american,
                exercise_s=random.uniform(every_s / 10, every_s),
                strike_steps=random.randint(2, 6),
                end=end,
                lie=next(lies[end]) if end in lies else None,
            )
        )
    return plans
