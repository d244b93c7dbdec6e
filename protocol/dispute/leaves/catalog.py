"""Which leaf says what: the leaf of a verdict, what it reads, and all leaves of one output."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocol.crypto.winternitz import Digits, digits_of
from protocol.dispute import verdicts
from protocol.dispute.assertion import Assertion, BlockRefutation, Refutation
from protocol.dispute.claim import FAN
from protocol.dispute.fragment import record_digits
from protocol.dispute.gadgets.lookup import page_with
from protocol.dispute.leaves import said
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_assert import refute_block, refute_node
from protocol.dispute.leaves.verdict_open import Shape, near, open_hints, open_leaves, opening
from protocol.dispute.leaves.verdict_opened import opened_hints, opened_leaves, opened_word
from protocol.dispute.leaves.verdict_program import (
    entry,
    not_halt,
    program_leaves,
    rom,
    text_pages,
)
from protocol.dispute.leaves.verdict_tree import block, node, record, tree_leaves
from protocol.dispute.leaves.verdict_words import (
    future,
    init,
    initial_pages,
    published_messages,
    published_word,
    word_leaves,
    zero,
)
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import Verdict, picked


@dataclass(frozen=True, slots=True)
class Chosen:
    """A leaf to spend, and the unsigned numbers of its witness, bottom to top."""

    template: Template
    hints: tuple[int, ...] = ()


def verdict_leaves(
    premises: Premises, published: Sequence[Said] | None = None
) -> Iterator[Template]:
    """Every leaf of the challenger on EXECUTE's output, in a fixed order.

    ``published``: the messages that publish the input, where a contract names them otherwise than
    :func:`published_messages` does.
    """
    messages = published_messages(premises.layout) if published is None else tuple(published)
    yield from tree_leaves(premises.log4_steps, premises.width)
    yield from program_leaves(premises.log4_steps, premises.image)
    yield from word_leaves(premises, messages)
    yield from opened_leaves(premises)
    yield from open_leaves(premises.log4_steps, premises.width)


def leaf_of(
    premises: Premises,
    transcript: Transcript,
    verdict: Verdict,
    published: Sequence[Said] | None = None,
) -> Chosen | None:
    """The leaf of ``verdict`` about what was said; None if there is none for it."""
    k, width = premises.log4_steps, premises.width
    places = transcript.places(premises)
    messages = published_messages(premises.layout) if published is None else tuple(published)
    match verdict:
        case verdicts.NodeVerdict(turn):
            if not 1 <= turn < k:
                return None
            return Chosen(node(k, width, turn, places[turn - 2] if turn > 1 else 0))
        case verdicts.BlockVerdict():
            return Chosen(block(k, width, places[k - 2] if k > 1 else 0))
        case verdicts.RecordVerdict():
            return Chosen(record(k, places[-1]))
        case verdicts.EntryVerdict():
            return Chosen(entry(k, premises.image.entry))
        case verdicts.NotHaltVerdict():
            return Chosen(not_halt(k))
        case verdicts.RomVerdict():
            page = page_with(text_pages(premises.image), transcript.executed.pc)
            return Chosen(rom(k, page)) if page else None
        case verdicts.NearVerdict(accusation, child):
            if child not in range(FAN - 1):
                return None
            return Chosen(near(Shape(k, width, k, child), accusation))
        case verdicts.OpenVerdict(accusation, place, opened, siblings):
            shape = Shape(k, width, place.turn, place.child)
            if not shape.direct:
                return None
            return Chosen(opening(shape, accusation), open_hints(opened, siblings, place))
        case _:
            return _word_leaf(premises, transcript, verdict, messages)


def _word_leaf(
    premises: Premises,
    transcript: Transcript,
    verdict: verdicts.SlotVerdict,
    messages: tuple[Said, ...],
) -> Chosen | None:
    """The leaf about one slot."""
    k, number = premises.log4_steps, verdict.slot
    slot = picked(transcript.executed, number)
    if slot is None:
        return None
    match verdict:
        case verdicts.FutureVerdict():
            return Chosen(future(k, number))
        case verdicts.ZeroVerdict():
            return Chosen(zero(k, tuple(premises.zero_ranges()), number))
        case verdicts.InitVerdict():
            page = page_with(initial_pages(premises), slot.address)
            return Chosen(init(k, page, number)) if page else None
        case verdicts.InputVerdict():
            word = premises.published_word(slot.address)
            return Chosen(published_word(k, slot.address, word, messages, number)) if word else None
        case verdicts.WordVerdict(block, siblings):
            opened = premises.input_page(slot.address)
            return Chosen(opened_word(k, opened), opened_hints(block, siblings)) if opened else None


def spoken(
    premises: Premises, transcript: Transcript, published: Sequence[Said] | None = None
) -> dict[Said, Digits]:
    """Every message of ``transcript`` by its place: what leaves verify."""
    k, width = premises.log4_steps, premises.width
    messages = published_messages(premises.layout) if published is None else tuple(published)
    values: dict[Said, Digits] = {}
    at = 0
    for message in messages:
        values[message] = transcript.input_digits[at : at + message.digits]
        at += message.digits
    if transcript.root is not None:
        values[said.root(width)] = digits_of(transcript.root)
    for turn, nodes in enumerate(transcript.rounds, 1):
        values |= zip(said.nodes(turn, width), map(digits_of, nodes), strict=True)
    if transcript.records is not None:
        values |= zip(said.records(k), map(record_digits, transcript.records), strict=True)
    values |= {said.digit(t): (digit,) for t, digit in enumerate(transcript.digits, 1)}
    if transcript.fragment is not None:
        digits = transcript.fragment.digits(k)
        values |= {message: digits[m] for m, message in said.fragment(k).items()}
    return values


def asserted(premises: Premises, assertion: Assertion) -> dict[Said, Digits]:
    """Every message of the challenger's assertion by its place."""
    k, place = premises.log4_steps, assertion.place
    nodes = said.path(k, premises.width, len(assertion.nodes))
    return {
        **dict(zip(nodes, map(digits_of, assertion.nodes), strict=True)),
        said.record(k): record_digits(assertion.record),
        said.below(k, place.turn): place.below,
    }


def shape_of(premises: Premises, assertion: Assertion) -> Shape:
    """The shape of an assertion's leaves."""
    place = assertion.place
    return Shape(premises.log4_steps, premises.width, place.turn, place.child)


def leaf_of_refutation(
    premises: Premises, assertion: Assertion, refutation: Refutation
) -> Chosen | None:
    """The leaf that refutes ``assertion``; None where there is no such segment."""
    shape = shape_of(premises, assertion)
    siblings = tuple(digit for node in refutation.siblings for digit in digits_of(node))
    if isinstance(refutation, BlockRefutation):
        records = tuple(digit for r in refutation.block for digit in record_digits(r))
        return Chosen(refute_block(shape), (*records, *siblings))
    if not 0 <= refutation.number < len(assertion.nodes) - 1:
        return None
    hints = (*digits_of(refutation.node), *siblings)
    return Chosen(refute_node(shape, refutation.number), hints)
