"""The whole game as a pure state machine, judged as the scripts judge it (dispute.md 3).

A move is confirmed or it is none: ``apply`` returns the next state, or raises DisputeError where no
leaf of the waiting output accepts the move. ``expire`` is what the waiting output's time-out does.

    waits for   the move                         time-out
    INPUT    P  Publish x m, Kickoff             C takes the pot
    WINDOW   C  Challenge                        SETTLE_open
    NODES    P  Reveal                           C takes the pot
    RECORDS  P  RevealBlock                      C takes the pot
    DIGIT    C  Pick                             SETTLE_round_t
    EXECUTE  P  Execute                          C takes the pot
    VERDICT  C  Verdict (C takes), Assertion     SETTLE_execute
    REFUTE   P  Refutation (SETTLE_assert)       TAKE may be spent
    TAKE     C  Take (C takes)                   SETTLE_assert

NODES and DIGIT come R = k - 1 times, then RECORDS and the last DIGIT. Nothing that P reveals is
checked before VERDICT: a lie stands until its leaf is spent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, get_args

from protocol.crypto.winternitz import TOP, Digits
from protocol.dispute import execute
from protocol.dispute.assertion import Assertion, BlockRefutation, NodeRefutation, Refutation
from protocol.dispute.claim import FAN, Fault, Party, is_digit
from protocol.dispute.fragment import Fragment
from protocol.dispute.opening import are_nodes, is_block
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import NOTHING_SAID, Nodes, Transcript
from protocol.dispute.verdicts import Verdict
from protocol.errors import DisputeError, EncodingError
from riscv_vm.record import Block


@dataclass(frozen=True, slots=True)
class Publish:
    """INPUT_1..m: the next part of the published digits."""

    digits: Digits


@dataclass(frozen=True, slots=True)
class Kickoff:
    """KICKOFF: the last part of the published digits, and the root."""

    digits: Digits
    root: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """CHALLENGE: C disputes the claim."""


@dataclass(frozen=True, slots=True)
class Reveal:
    """The four grandchildren of the current node."""

    nodes: Nodes


@dataclass(frozen=True, slots=True)
class RevealBlock:
    """The four records of the current block."""

    records: Block


@dataclass(frozen=True, slots=True)
class Pick:
    """C's digit: the leftmost node or record that differs from its own, 3 if none does."""

    digit: int


@dataclass(frozen=True, slots=True)
class Execute:
    """EXECUTE: P's fragment of the disputed step."""

    fragment: Fragment


@dataclass(frozen=True, slots=True)
class Take:
    """TAKE: the assertion stood for its window."""


Move = (
    Publish
    | Kickoff
    | Challenge
    | Reveal
    | RevealBlock
    | Pick
    | Execute
    | Verdict
    | Assertion
    | Refutation
    | Take
)


class Wait(StrEnum):
    """What the newest output of the game waits for."""

    INPUT = "INPUT"
    WINDOW = "WINDOW"
    NODES = "NODES"
    RECORDS = "RECORDS"
    DIGIT = "DIGIT"
    EXECUTE = "EXECUTE"
    VERDICT = "VERDICT"
    REFUTE = "REFUTE"
    TAKE = "TAKE"
    OVER = "OVER"


_PROVER_OWES: Final = (Wait.INPUT, Wait.NODES, Wait.RECORDS, Wait.EXECUTE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who won. ``settle`` names the SETTLE transaction and is None exactly when C takes the pot.

    The pot is the whole waiting output: collateral and both bonds. SETTLE pays what was claimed and
    gives the bonds back, less the costs that the terms put on C.
    """

    winner: Party
    fault: Fault
    settle: str | None = None


@dataclass(frozen=True, slots=True)
class Play:
    """One dispute: its premises, what was said, and what it waits for."""

    premises: Premises
    said: Transcript = NOTHING_SAID
    wait: Wait = Wait.INPUT
    assertion: Assertion | None = None
    outcome: Outcome | None = None

    @property
    def turn(self) -> Party | None:
        """Whose silence would end or advance the game; None when it is over."""
        if self.wait is Wait.OVER:
            return None
        owed = self.wait in _PROVER_OWES or self.wait is Wait.REFUTE
        return Party.PROVER if owed else Party.CHALLENGER

    @property
    def node(self) -> tuple[int, int]:
        """(level, index) of the first of the four nodes that P reveals next; level 0 = blocks."""
        index = 0
        for digit in self.said.digits:
            index = index * FAN + digit
        return 2 * (self.premises.rounds - 1 - len(self.said.digits)), FAN * index

    @property
    def block(self) -> int:
        """The index of the block whose records P reveals, once the block is known."""
        return self.node[1] // FAN

    def apply(self, move: Move) -> "Play":
        """The state after ``move`` is confirmed; DisputeError if no waiting leaf accepts it."""
        moves = _MOVES[self.wait]
        handler = moves.get(type(move))
        if handler is None:
            raise DisputeError(f"{type(move).__name__} is no move here: wait for {self.wait}")
        return handler(self, move)

    def expire(self) -> "Play":
        """The state after the waiting output's time-out; DisputeError if the game is over."""
        if self.wait is Wait.OVER:
            raise DisputeError("the game is over: nothing waits")
        if self.wait in _PROVER_OWES:
            return self._taken(Fault.TIMEOUT)
        if self.wait is Wait.REFUTE:
            return replace(self, wait=Wait.TAKE)
        stage = {
            Wait.WINDOW: "open",
            Wait.DIGIT: f"round_{len(self.said.digits) + 1}",
            Wait.VERDICT: "execute",
            Wait.TAKE: "assert",
        }[self.wait]
        fault = Fault.NONE if self.wait in (Wait.WINDOW, Wait.VERDICT) else Fault.TIMEOUT
        return self._settled(fault, stage)

    def _taken(self, fault: Fault) -> "Play":
        return replace(self, wait=Wait.OVER, outcome=Outcome(Party.CHALLENGER, fault))

    def _settled(self, fault: Fault, stage: str) -> "Play":
        outcome = Outcome(Party.PROVER, fault, f"SETTLE_{stage}")
        return replace(self, wait=Wait.OVER, outcome=outcome)

    def _say(self, wait: Wait, **messages: Any) -> "Play":
        return replace(self, said=replace(self.said, **messages), wait=wait)


def _publish(play: Play, move: Publish) -> Play:
    parts = play.premises.layout.parts
    if len(play.said.published) == len(parts) - 1:
        raise DisputeError("the last part of the input is published together with the root")
    return play._say(Wait.INPUT, published=_published(play, move.digits))


def _kickoff(play: Play, move: Kickoff) -> Play:
    parts = play.premises.layout.parts
    if len(play.said.published) != len(parts) - 1:
        raise DisputeError(f"{len(parts) - 1} parts of the input come before the root")
    if not are_nodes((move.root,), 1, play.premises.width):
        raise DisputeError(f"a root has {play.premises.width} bytes")
    published = _published(play, move.digits)
    return play._say(Wait.WINDOW, published=published, root=move.root)


def _published(play: Play, digits: Digits) -> tuple[Digits, ...]:
    said = play.said.published
    size = play.premises.layout.parts[len(said)]
    if len(digits) != size or any(type(d) is not int or not 0 <= d <= TOP for d in digits):
        raise DisputeError(f"this part of the input has {size} base-16 digits")
    return (*said, digits)


def _challenge(play: Play, move: Challenge) -> Play:
    return replace(play, wait=_next_reveal(play))


def _reveal(play: Play, move: Reveal) -> Play:
    if not are_nodes(move.nodes, FAN, play.premises.width):
        raise DisputeError(f"an answer is {FAN} nodes of {play.premises.width} bytes")
    return play._say(Wait.DIGIT, rounds=(*play.said.rounds, move.nodes))


def _reveal_block(play: Play, move: RevealBlock) -> Play:
    if not is_block(move.records):
        raise DisputeError(f"a block is {FAN} records of three 32-bit words")
    return play._say(Wait.DIGIT, records=move.records)


def _pick(play: Play, move: Pick) -> Play:
    """The digit's own leaf must check its range: EXECUTE accepts no i with another digit."""
    if not is_digit(move.digit):
        raise DisputeError(f"a digit is 0 to {FAN - 1}, not {move.digit}")
    picked = play._say(play.wait, digits=(*play.said.digits, move.digit))
    return replace(picked, wait=_next_reveal(picked))


def _next_reveal(play: Play) -> Wait:
    done, rounds = len(play.said.digits), play.premises.rounds
    if done > rounds:
        return Wait.EXECUTE
    return Wait.RECORDS if done == rounds else Wait.NODES


def _execute(play: Play, move: Execute) -> Play:
    try:
        move.fragment.digits(play.premises.log4_steps)
    except EncodingError as error:
        raise DisputeError(f"the fragment cannot be signed: {error}") from None
    if not execute.executes(play.premises, play.said.digits, move.fragment):
        raise DisputeError("no EXECUTE leaf accepts this fragment")
    return play._say(Wait.VERDICT, fragment=move.fragment)


def _verdict(play: Play, move: Verdict) -> Play:
    if not move.holds(play.premises, play.said):
        raise DisputeError(f"the leaf {move.fault} does not hold: the prover has not lied there")
    return play._taken(move.fault)


def _assert(play: Play, move: Assertion) -> Play:
    if not move.holds(play.premises, play.said):
        raise DisputeError("no ASSERT leaf accepts this assertion")
    return replace(play, wait=Wait.REFUTE, assertion=move)


def _refute(play: Play, move: Refutation) -> Play:
    assert play.assertion is not None
    if not move.holds(play.premises, play.assertion):
        raise DisputeError("this refutes no segment of the assertion")
    return play._settled(Fault.REFUTED, "assert")


def _take(play: Play, move: Take) -> Play:
    assert play.assertion is not None
    return play._taken(play.assertion.fault)


_Handlers = Mapping[type, Callable[[Play, Any], Play]]
_VERDICTS: Final[_Handlers] = dict.fromkeys(get_args(Verdict), _verdict)
_REFUTATIONS: Final[_Handlers] = {BlockRefutation: _refute, NodeRefutation: _refute}
_MOVES: Final[Mapping[Wait, _Handlers]] = MappingProxyType(
    {
        Wait.INPUT: {Publish: _publish, Kickoff: _kickoff},
        Wait.WINDOW: {Challenge: _challenge},
        Wait.NODES: {Reveal: _reveal},
        Wait.RECORDS: {RevealBlock: _reveal_block},
        Wait.DIGIT: {Pick: _pick},
        Wait.EXECUTE: {Execute: _execute},
        Wait.VERDICT: {**_VERDICTS, Assertion: _assert},
        Wait.REFUTE: _REFUTATIONS,
        Wait.TAKE: {Take: _take, **_REFUTATIONS},
        Wait.OVER: {},
    }
)
