"""The move of the game that a transaction in a block says."""

from collections.abc import Mapping

from protocol.crypto.winternitz import Digits, Label, message_of
from protocol.dispute.assertion import Assertion
from protocol.dispute.claim import Fault
from protocol.dispute.fragment import Fragment, record_of
from protocol.dispute.leaves import said
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.verdict_assert import assert_record, path, shapes
from protocol.dispute.leaves.verdict_open import ACCUSATIONS
from protocol.dispute.opening import Place
from protocol.dispute.play import (
    Challenge,
    Execute,
    Kickoff,
    Move,
    Pick,
    Publish,
    Reveal,
    RevealBlock,
    Take,
)
from protocol.settlement.dispute.course import EXECUTE, Course
from protocol.settlement.dispute.labels import said_of
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.reading import Seen


def move_of(course: Course, seen: Seen) -> Move | None:
    """The move of the game that a pre-signed transaction says; None for one that says none: a
    SETTLE, or the nodes that come before an assertion."""
    prover = course.prover
    digits = {said_of(label, prover): shown.digits for label, shown in seen.messages.items()}
    what = (seen.move or "").removeprefix(f"{prover.value}:")
    k, width = course.premises.log4_steps, course.premises.width
    if what.startswith("INPUT") or what == "KICKOFF":
        told = (message for message in course.published if message in digits)
        shown = tuple(digit for message in told for digit in digits[message])
        if what != "KICKOFF":
            return Publish(shown)
        return Kickoff(shown, message_of(digits[said.root(width)]))
    if what == "CHALLENGE":
        return Challenge()
    kind, _, number = what.partition("_")
    if kind == "REVEAL" and int(number) == k:
        first, *others = (record_of(digits[place]) for place in said.records(k))
        return RevealBlock((first, others[0], others[1], others[2]))
    if kind == "REVEAL":
        a, b, c, d = (message_of(digits[place]) for place in said.nodes(int(number), width))
        return Reveal((a, b, c, d))
    if kind == "PICK":
        return Pick(digits[said.digit(int(number))][0])
    if kind == EXECUTE:
        messages = {message: digits[place] for message, place in said.fragment(k).items()}
        return Execute(Fragment.of_digits(k, messages))
    return Take() if kind == "TAKE" else None


def assertion_of(
    course: Course, seen: Seen, before: Mapping[Label, SignedMessage]
) -> Assertion | None:
    """The assertion of ASSERT_t, where ``before`` holds the messages of its path, if it has one."""
    prover, premises = course.prover, course.premises
    k, width = premises.log4_steps, premises.width
    shown: dict[Said, Digits] = {
        said_of(label, prover): message.digits
        for label, message in {**before, **seen.messages}.items()
    }
    for shape in shapes(k, width):
        for accusation in ACCUSATIONS:
            if course.name(assert_record(shape, accusation).name) == seen.way.name:
                place = Place(shape.turn, shape.child, shown[said.below(k, shape.turn)])
                nodes = tuple(message_of(shown[node]) for node in path(shape))
                return Assertion(accusation, place, record_of(shown[said.record(k)]), nodes)
    return None


def fault_of(seen: Seen) -> Fault:
    """What the game ended on, where ``seen`` is what one party took alone."""
    if not isinstance(seen.way, LeafPath):
        return Fault.TIMEOUT
    kind = seen.way.template.name.split()[0]
    return Fault.REFUTED if kind == "REFUTE" else Fault(kind)
