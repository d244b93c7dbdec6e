"""The one-time messages of a dispute, by their place in the game: whose, which round, which field.

A contract maps each to the key of its :class:`protocol.crypto.winternitz.Label`; a leaf's template
knows only these names. Round 0 is before the first CHALLENGE, R + 1 the block's, R + 2 EXECUTE's.

    field          party       round     digits
    input          prover      0.. (part)  the part's
    root           prover      0         2 W
    node_0..3      prover      1..R      2 W each
    record_0..3    prover      R + 1     24 each
    digit          challenger  1..R + 1  1
    head, slot_0..2, write     prover    R + 2     protocol/dispute/fragment.py
    path_0..       challenger  R + 3     2 W each
    record         challenger  R + 3     24
    below          challenger  t < R     the base-4 digits of j behind the child of round t

The last three are an assertion's (protocol/dispute/assertion.py). ``below`` counts by the round in
which j leaves the way to i: its length is part of its key.
"""

from dataclasses import dataclass

from protocol.dispute.claim import FAN, Party
from protocol.dispute.fragment import RECORD_DIGITS, Message, message_sizes


@dataclass(frozen=True, slots=True)
class Said:
    """One message: ``field`` of ``party`` in round ``turn``, of ``digits`` base-16 digits."""

    party: Party
    turn: int
    field: str
    digits: int


def published(part: int, digits: int) -> Said:
    """The input's digits that transaction ``part`` reveals: INPUT_1..m, then KICKOFF."""
    return Said(Party.PROVER, part, "input", digits)


def root(width: int) -> Said:
    """The claimed root."""
    return Said(Party.PROVER, 0, "root", 2 * width)


def nodes(turn: int, width: int) -> tuple[Said, ...]:
    """The four nodes of round ``turn``."""
    return tuple(Said(Party.PROVER, turn, f"node_{m}", 2 * width) for m in range(FAN))


def records(log4_steps: int) -> tuple[Said, ...]:
    """The four records of the block, which the last round reveals."""
    names = (f"record_{m}" for m in range(FAN))
    return tuple(Said(Party.PROVER, log4_steps, name, RECORD_DIGITS) for name in names)


def digit(turn: int) -> Said:
    """The child, or in the last round the record, that the challenger picks."""
    return Said(Party.CHALLENGER, turn, "digit", 1)


def digits(log4_steps: int) -> tuple[Said, ...]:
    """The challenger's digits of i, most significant first."""
    return tuple(digit(turn) for turn in range(1, log4_steps + 1))


def fragment(log4_steps: int) -> dict[Message, Said]:
    """The five messages of F_i."""
    sizes = message_sizes(log4_steps)
    turn = log4_steps + 1
    return {m: Said(Party.PROVER, turn, m.value, size) for m, size in sizes.items()}


def path(log4_steps: int, width: int, count: int) -> tuple[Said, ...]:
    """The nodes that an assertion signs, lowest first."""
    turn = log4_steps + 2
    return tuple(Said(Party.CHALLENGER, turn, f"path_{n}", 2 * width) for n in range(count))


def record(log4_steps: int) -> Said:
    """The record that an assertion signs."""
    return Said(Party.CHALLENGER, log4_steps + 2, "record", RECORD_DIGITS)


def below(log4_steps: int, turn: int) -> Said:
    """The base-4 digits of j behind the child of round ``turn``."""
    return Said(Party.CHALLENGER, turn, "below", log4_steps - turn)
