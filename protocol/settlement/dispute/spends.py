"""Which leaf says a move of the game (protocol.dispute.play), and what it shows.

A move is one transaction, but an assertion that does not fit one: then its lower nodes come first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.crypto.winternitz import Digits, Label
from protocol.dispute.assertion import Assertion, BlockRefutation, NodeRefutation
from protocol.dispute.leaves import catalog, execute
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.verdict_assert import assert_path, assert_record
from protocol.dispute.play import (
    Challenge,
    Execute,
    Kickoff,
    Move,
    Pick,
    Play,
    Publish,
    Reveal,
    RevealBlock,
    Take,
)
from protocol.dispute.transcript import Transcript
from protocol.errors import DisputeError
from protocol.settlement.dispute.course import EXECUTE, Course
from protocol.settlement.dispute.labels import label_of


@dataclass(frozen=True, slots=True)
class Spend:
    """A move on the chain: transaction ``move`` by ``way``, showing the unsigned ``hints``.

    Of a transaction that one party signs alone, ``move`` is the parent and ``output`` what it
    spends; a pre-signed one has ``output`` None.
    """

    move: str
    way: str
    hints: tuple[int, ...] = ()
    output: int | None = None


def spends_of(course: Course, play: Play, move: Move) -> tuple[Spend, ...]:
    """The transactions that say ``move`` in the state ``play``, in order.

    DisputeError if no leaf is for it. Whether the leaf accepts it is for Bitcoin to say.
    """
    said = play.said
    match move:
        case Publish():
            return (_forward(course, f"INPUT_{len(said.published) + 1}"),)
        case Kickoff():
            return (_forward(course, "KICKOFF"),)
        case Challenge():
            return (_forward(course, "CHALLENGE"),)
        case Reveal():
            return (_forward(course, f"REVEAL_{len(said.rounds) + 1}"),)
        case RevealBlock():
            return (_forward(course, f"REVEAL_{play.premises.log4_steps}"),)
        case Pick():
            return (_forward(course, f"PICK_{len(said.digits) + 1}"),)
        case Execute(fragment):
            name = execute.name_for(fragment)
            if name is None:
                raise DisputeError(f"no EXECUTE leaf is for opcode {fragment.opcode:#x}")
            hints = execute.hints_for(fragment)
            return (Spend(course.name(EXECUTE), course.name(f"{EXECUTE}_{name}"), hints),)
        case Take():
            return (_forward(course, f"TAKE_{_asserted(play).place.turn}"),)
        case Assertion():
            return _assertion(course, move)
        case BlockRefutation() | NodeRefutation():
            assertion = _asserted(play)
            leaf = catalog.leaf_of_refutation(play.premises, assertion, move)
            parent, output, kind = f"ASSERT_{assertion.place.turn}", 1, ""
        case _:
            leaf = catalog.leaf_of(play.premises, said, move, course.published)
            parent, output, kind = EXECUTE, 0, "VERDICT_"
    if leaf is None:
        raise DisputeError(f"no leaf is for this {type(move).__name__}")
    way = course.name(f"{kind}{leaf.template.name}")
    return (Spend(course.name(parent), way, leaf.hints, output),)


def timeout_spend(course: Course, play: Play, parent: str) -> Spend:
    """What ends the wait for the other side: TIMEOUT on ``parent``'s output, or a SETTLE.
    DisputeError where nobody's silence ends the game."""
    asserted = re.fullmatch(rf"{course.prover.value}:ASSERT_(\d+)_path", parent)
    if asserted is not None:
        return _forward(course, f"SETTLE_path_{asserted[1]}")
    outcome = play.expire().outcome
    if outcome is None:
        raise DisputeError("nobody's silence ends the game here")
    if outcome.settle is None:
        return Spend(parent, course.name("TIMEOUT"), output=0)
    stage = outcome.settle
    if play.assertion is not None:
        stage = f"{stage}_{play.assertion.place.turn}"
    return _forward(course, "SETTLE" if stage == "SETTLE_open" else stage)


def signed_by_label(
    course: Course, said: Transcript, assertion: Assertion | None = None
) -> dict[Label, Digits]:
    """Every message of the game so far: what the leaves of the next moves verify."""
    values: dict[Said, Digits] = catalog.spoken(course.premises, said, course.published)
    if assertion is not None:
        values |= catalog.asserted(course.premises, assertion)
    own, prover = course.keys.contract_id, course.prover
    return {label_of(own, prover, place): digits for place, digits in values.items()}


def _assertion(course: Course, assertion: Assertion) -> tuple[Spend, ...]:
    shape = catalog.shape_of(course.premises, assertion)
    if assertion.place.child not in range(3):
        raise DisputeError("an assertion is about child 0, 1 or 2: the last has nothing behind it")
    name = course.name(assert_record(shape, assertion.accusation).name)
    spend = Spend(course.name(f"ASSERT_{shape.turn}"), name)
    lower: Sequence[Spend] = ()
    if assert_path(shape) is not None:
        lower = (_forward(course, f"ASSERT_{shape.turn}_path"),)
    return (*lower, spend)


def _asserted(play: Play) -> Assertion:
    if play.assertion is None:
        raise DisputeError("there is no assertion to take or to refute")
    return play.assertion


def _forward(course: Course, what: str) -> Spend:
    return Spend(course.name(what), course.name(what))
