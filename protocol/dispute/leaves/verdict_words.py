"""FUTURE, INIT, INPUT, ZERO: a read that no step of the trace explains (dispute.md 3, step 8)."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Item, Operand
from protocol.dispute.fragment import SLOTS
from protocol.dispute.gadgets.lookup import Page, pages_of, require_not_at
from protocol.dispute.gadgets.word import constant, is_zero, less_than, require_equal, within
from protocol.dispute.leaves import said
from protocol.dispute.leaves.evidence import Evidence, SlotWords, head, slot
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.opened import OpenedLayout, input_end
from protocol.dispute.premises import InputDigit, InputLayout, Premises
from riscv_vm.isa import INPUT_BASE
from riscv_vm.record import register_address

MESSAGE_DIGITS = 64
"""Published input is signed in messages of 32 bytes, the last one of a part shorter."""


@lru_cache(maxsize=16)
def future(log4_steps: int, number: int) -> Template:
    """FUTURE: slot ``number``'s INIT digit is over 1, or it is 0 and ``last`` is not before i."""
    evidence = Evidence.begin(log4_steps, (slot(log4_steps, number), head(log4_steps)))
    asm, place = evidence.asm, evidence.slot(number)
    no_digit = asm.op(Op.GREATERTHAN, asm.copy(place.init), 1)
    pointer = asm.op(Op.NOT, place.init)
    early = less_than(asm, place.last, evidence.index)
    late = asm.op(Op.BOOLAND, asm.op(Op.NOT, early), pointer)
    asm.verify(Op.BOOLOR, late, no_digit)
    return evidence.finish(f"FUTURE slot {number}")


@lru_cache(maxsize=512)
def init(log4_steps: int, page: Page, number: int) -> Template:
    """INIT: slot ``number`` was never written, lies in ``page``, and is not what is there."""
    evidence, place = _never_written(log4_steps, number)
    require_not_at(evidence.asm, page, place.address, place.value)
    return evidence.finish(f"INIT {page.name} slot {number}")


@lru_cache(maxsize=64)
def zero(log4_steps: int, ranges: tuple[tuple[int, int], ...], number: int) -> Template:
    """ZERO: slot ``number`` was never written, lies in one of ``ranges``, and is not 0."""
    evidence, place = _never_written(log4_steps, number)
    asm = evidence.asm
    asm.verify(Op.NOT, is_zero(asm, place.value))
    inside: Item | None = None
    for start, end in ranges:
        copied = tuple(asm.copy(n) for n in place.address if isinstance(n, Item))
        one = within(asm, copied, start, end)
        inside = one if inside is None else asm.op(Op.BOOLOR, inside, one)
    assert inside is not None
    asm.verify(Op.VERIFY, inside)
    return evidence.finish(f"ZERO slot {number}")


@lru_cache(maxsize=512)
def published_word(
    log4_steps: int,
    address: int,
    word: tuple[InputDigit, ...],
    messages: tuple[Said, ...],
    number: int,
) -> Template:
    """INPUT: slot ``number`` is the input word at ``address``, and not what was published.

    ``word``: its digits, most significant first; ``messages``: all that publish, in their order.
    """
    wanted = sorted({_source(messages, d.published)[0] for d in word if d.published is not None})
    sources = [messages[n] for n in wanted]
    evidence, place = _never_written(log4_steps, number, sources)
    require_equal(evidence.asm, place.address, constant(address))
    known: list[Operand] = []
    for digit in word:
        if digit.published is None:
            known.append(digit.value)
        else:
            message, at = _source(messages, digit.published)
            known.append(evidence.named[messages[message]][at])
    evidence.require_different(place.value, tuple(reversed(known)))
    return evidence.finish(f"INPUT 0x{address:x} slot {number}")


def _never_written(
    log4_steps: int, number: int, others: Sequence[Said] = ()
) -> tuple[Evidence, SlotWords]:
    """The slot, with its INIT digit at exactly 1."""
    evidence = Evidence.begin(log4_steps, (*others, slot(log4_steps, number)))
    place = evidence.slot(number)
    evidence.asm.verify(Op.NUMEQUAL, place.init, 1)
    return evidence, place


def _source(messages: Sequence[Said], published: int) -> tuple[int, int]:
    """Which message holds a published digit, and where in it."""
    for n, message in enumerate(messages):
        if published < message.digits:
            return n, published
        published -= message.digits
    raise AssertionError("the messages hold every published digit")


def published_messages(layout: InputLayout | OpenedLayout) -> tuple[Said, ...]:
    """The messages that publish the input: each part in pieces of 32 bytes, counted through."""
    sizes = [
        min(MESSAGE_DIGITS, part - at)
        for part in layout.parts
        for at in range(0, part, MESSAGE_DIGITS)
    ]
    return tuple(said.published(n, size) for n, size in enumerate(sizes))


@lru_cache(maxsize=8)
def initial_pages(premises: Premises) -> tuple[Page, ...]:
    """Every word that the leaf INIT knows: data, the input that the terms fix, registers."""
    addresses = [*range(register_address(1), register_address(31) + 1, 4)]
    addresses += _input_words(premises)
    for segment in premises.image.data:
        addresses += range(segment.base, segment.base + len(segment.content), 4)
    known = ((address, premises.constant(address)) for address in sorted(addresses))
    return pages_of((address, value) for address, value in known if value is not None)


def word_leaves(premises: Premises, messages: tuple[Said, ...]) -> Iterator[Template]:
    """All leaves of this file; ``messages`` publish the input's digits, in their order."""
    log4_steps, ranges = premises.log4_steps, tuple(premises.zero_ranges())
    for number in range(SLOTS):
        yield future(log4_steps, number)
        yield zero(log4_steps, ranges, number)
        for page in initial_pages(premises):
            yield init(log4_steps, page, number)
        for address in _input_words(premises):
            if word := premises.published_word(address):
                yield published_word(log4_steps, address, word, messages, number)


def _input_words(premises: Premises) -> range:
    """The address of every word of the input."""
    return range(INPUT_BASE, input_end(premises.layout.fixed), 4)
