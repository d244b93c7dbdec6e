"""The leaf WORD in Script, judged by Bitcoin Core's interpreter: a page of an opened input.

What is true comes from the reference machine's input and from a tree made of blake3 alone. Then
the pure game's verdict must agree with Script on random changes.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from protocol.bitcoin.tx import weight
from protocol.crypto.winternitz import number_digits
from protocol.dispute.fragment import Slot
from protocol.dispute.leaves import catalog, said
from protocol.dispute.leaves.template import Guard
from protocol.dispute.leaves.verdict_opened import (
    WORDS_DIGITS,
    opened_hints,
    opened_leaves,
    opened_word,
)
from protocol.dispute.lies.premise import with_slot
from protocol.dispute.opened import OpenedLayout
from protocol.dispute.premises import InputLayout, Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import LOADED, WordVerdict
from riscv_vm.isa import INPUT_BASE
from tests.builders.disputes import Run
from tests.builders.leaves import (
    bare_holds,
    carried,
    leaf_holds,
    mutated,
    public_keys,
    signed,
    told,
    word_digits,
)
from tests.builders.opened import PAGE, commitment, loads_of, opened_run, region_of
from tests.builders.scripts import spend

Hints = Sequence[int | bytes]
K = 4
RUNS = {width: opened_run(2500, K, width) for width in (20, 32)}
WIDTHS = pytest.mark.parametrize("width", RUNS)
END = INPUT_BASE + len(region_of(RUNS[20].data))
PLACES = (
    *(INPUT_BASE, INPUT_BASE + 4, INPUT_BASE + 60, INPUT_BASE + 64, INPUT_BASE + PAGE - 4),
    *(INPUT_BASE + PAGE, INPUT_BASE + 2 * PAGE - 4, INPUT_BASE + 2 * PAGE, END - 4),
)
"""The length word, borders of blocks and pages, the last word of the last, partial page."""


def slot_values(address: int, value: int, *, last: int = 0, init: int = 1) -> dict:
    """Slot 1 as the prover signed it."""
    message = list(said.fragment(K).values())[2]
    nibbles = number_digits(last, message.digits - 17)
    return {message: (*word_digits(address, value), *nibbles, init)}


def template(run: Run, address: int):
    """The leaf of the page with a word: the one at that place, named by its addresses."""
    leaves = list(opened_leaves(run.premises))
    return leaves[(address - INPUT_BASE) // PAGE]


def way(run: Run, address: int) -> tuple[int, ...]:
    """The true unsigned digits, from the run's input and blake3."""
    layout = run.premises.layout
    return opened_hints(layout.block(address), layout.siblings(address, run.width))


def true_word(run: Run, address: int) -> int:
    at = address - INPUT_BASE
    return int.from_bytes(region_of(run.data)[at : at + 4], "little")


def convicts(run: Run, address: int, value: int, hints: Hints = (), **slot: int) -> bool:
    """Whether the leaf of the page of ``address`` accepts, with the true way unless another is
    given."""
    leaf = template(run, address)
    return bare_holds(leaf, slot_values(address, value, **slot), hints or way(run, address))


@WIDTHS
@pytest.mark.parametrize("address", PLACES)
def test_a_true_word_convicts_nobody_and_a_false_one_does(width: int, address: int) -> None:
    run, rng = RUNS[width], Random(address)
    true = true_word(run, address)
    assert not convicts(run, address, true)
    for bit in {0, 31, rng.randrange(32)}:
        assert convicts(run, address, true ^ 1 << bit)


@WIDTHS
def test_the_leaf_is_for_a_word_that_nothing_wrote(width: int) -> None:
    run = RUNS[width]
    lie = true_word(run, INPUT_BASE) ^ 8
    assert convicts(run, INPUT_BASE, lie, last=7)
    for init in (0, 2, 9, 15):
        assert not convicts(run, INPUT_BASE, lie, init=init)


def test_every_digit_of_the_way_counts() -> None:
    """Against a false word each change makes the leaf refuse; none makes it accept a true one."""
    run, rng = RUNS[20], Random(2)
    address = INPUT_BASE + 2 * PAGE + 4 * 77
    true, hints = true_word(run, address), way(run, address)
    assert convicts(run, address, true ^ 1, hints)
    for place in range(0, len(hints), 5):
        wrong = (*hints[:place], hints[place] ^ 1 << rng.randrange(4), *hints[place + 1 :])
        assert not convicts(run, address, true ^ 1, wrong), place
        assert not convicts(run, address, true, wrong), place


@WIDTHS
def test_unsigned_numbers_out_of_range_are_refused(width: int) -> None:
    """Other digits for the same sums, other encodings, other orders."""
    run, rng = RUNS[width], Random(width)
    address = INPUT_BASE + PAGE + 4 * 200
    true, hints = true_word(run, address), way(run, address)
    for wrong in rng.sample(list(carried(hints, len(hints))), 12):
        assert not convicts(run, address, true ^ 2, wrong)
    accepted = 0
    for _ in range(30):
        wrong = mutated(hints, rng)
        accepted += convicts(run, address, true ^ 2, wrong)
        assert not convicts(run, address, true, wrong)
    assert accepted < 15  # another encoding of a number is the same number


def test_the_signed_address_picks_word_block_and_page() -> None:
    """The true way of one word says nothing about another: not of its block, its page, the next
    page, nor of what is no word."""
    run = RUNS[20]
    here = INPUT_BASE + PAGE + 4 * 37
    leaf, hints = template(run, here), way(run, here)
    lie = true_word(run, here) ^ 1
    assert bare_holds(leaf, slot_values(here, lie), hints)
    for other in (
        here ^ 64,
        here ^ 128,
        here ^ 256,
        here ^ 512,
        here ^ 1024,
        here ^ 2048,
        here ^ 1,
    ):
        assert not bare_holds(leaf, slot_values(other, lie), hints), hex(other)
    for bit in range(12, 32):
        assert not bare_holds(leaf, slot_values(here ^ 1 << bit, lie), hints), bit
    for bit in (2, 3, 4, 5):  # of the same block: the word there decides
        other = here ^ 1 << bit
        assert not bare_holds(leaf, slot_values(other, true_word(run, other)), hints)
        assert bare_holds(leaf, slot_values(other, true_word(run, other) ^ 4), hints)


@WIDTHS
def test_a_page_has_borders(width: int) -> None:
    """What lies beyond the input's end is a zero of the tree and no word of the machine."""
    run = RUNS[width]
    layout = run.premises.layout
    leaf = template(run, END - 4)
    for beyond in (END, END + 4, INPUT_BASE + 3 * PAGE - 4):
        hints = way(run, beyond)
        assert not bare_holds(leaf, slot_values(beyond, 7), hints)
    first, second, _ = layout.pages(width)
    for page, outside in ((first, second.start), (second, first.end - 4), (first, INPUT_BASE - 4)):
        hints = way(run, page.start + outside % PAGE)  # the true way of that place in this page
        assert not bare_holds(opened_word(K, page), slot_values(outside, 7), hints)
        inside = page.start + outside % PAGE
        assert bare_holds(opened_word(K, page), slot_values(inside, 7), hints)


def test_a_way_into_another_page_convicts_nobody() -> None:
    """The same place of the neighbour page: its block, its siblings, or both."""
    run = RUNS[20]
    here, there = INPUT_BASE + 4 * 9, INPUT_BASE + PAGE + 4 * 9
    for block in (here, there):
        for siblings in (here, there):
            hints = (*way(run, block)[:WORDS_DIGITS], *way(run, siblings)[WORDS_DIGITS:])
            assert not convicts(run, here, true_word(run, here), hints)


# The game and Script


def said_of(run: Run, step: int, slot: Slot) -> Transcript:
    honest = told(run, step)
    slots = with_slot(honest.executed, LOADED, slot)
    return replace(honest, fragment=replace(honest.executed, slots=slots))


@WIDTHS
def test_script_and_the_pure_game_agree(width: int) -> None:
    run, rng, held = RUNS[width], Random(width), 0
    layout, premises = run.premises.layout, run.premises
    step = loads_of(run)[0]
    for _ in range(40):
        address = rng.choice([*PLACES, rng.randrange(INPUT_BASE, END, 4)])
        shown = address if rng.random() < 0.8 else rng.randrange(INPUT_BASE, END, 4)
        claimed = rng.choice([address] * 9 + [address ^ 4, address ^ 64, address ^ 2, END, 0])
        value = true_word(run, address) ^ rng.choice([0, 1, 2, 1 << rng.randrange(32)])
        said = said_of(run, step, Slot(claimed, value, 0, rng.choice([1] * 9 + [0, 2])))
        block, siblings = layout.block(shown), list(layout.siblings(shown, width))
        if rng.random() < 0.1:
            siblings[rng.randrange(4)] = rng.randbytes(width)
        verdict = WordVerdict(block, tuple(siblings))
        expected = verdict.holds(premises, said)
        held += expected
        chosen = catalog.leaf_of(premises, said, verdict)
        accepted = chosen is not None and bare_holds(
            chosen.template, catalog.spoken(premises, said), chosen.hints
        )
        assert accepted == expected, (hex(address), hex(claimed), hex(shown))
    assert held > 6


@WIDTHS
def test_a_whole_leaf_with_its_signatures_is_relayed(width: int) -> None:
    run = RUNS[width]
    address = END - 4
    leaf, hints = template(run, address), way(run, address)
    for value, expected in ((true_word(run, address), False), (true_word(run, address) ^ 1, True)):
        values = slot_values(address, value)
        assert leaf_holds(leaf, values, hints) == expected
    items = leaf.witness((bytes(64),), signed(values), hints)
    code = leaf.script(Guard((bytes([1]) * 32,)), public_keys(leaf))
    assert weight(spend(code, items)) < 330_000
    assert leaf.witness_items == len(items) - 1 < 500


def test_one_leaf_a_page_and_no_other_for_the_input() -> None:
    run = RUNS[20]
    pages = commitment(run.data, 20)[0]
    names = [leaf.name for leaf in catalog.verdict_leaves(run.premises)]
    assert len(set(names)) == len(names)
    words = [name for name in names if name.startswith("WORD")]
    assert words == [
        "WORD 0x40000000..0x40000400", "WORD 0x40000400..0x40000800", f"WORD 0x40000800..0x{END:x}"
    ]  # fmt: skip
    assert len(words) == len(pages)
    assert not any(name.startswith("INPUT") for name in names)
    plain = Premises(run.premises.image, InputLayout(b""), K, 20)
    rest = [leaf for leaf in catalog.verdict_leaves(plain) if not leaf.name.startswith("INIT")]
    others = [name for name in names if not name.startswith(("WORD", "INIT"))]
    assert others == [leaf.name for leaf in rest]
    assert len({leaf.body for leaf in opened_leaves(run.premises)}) == len(words)


def test_leaves_share_all_but_borders_and_root() -> None:
    first, second, third = opened_leaves(RUNS[32].premises)
    assert first.parts[1] is second.parts[1] is third.parts[1]
    assert len(first.parts[1]) > 250_000
    assert all(len(leaf.body) - len(leaf.parts[1]) < 500 for leaf in (first, second, third))


@pytest.mark.parametrize("log4_steps", [1, 7, 12, 15])
def test_the_stack_suffices_for_every_length_of_trace(log4_steps: int) -> None:
    for width in (20, 32):
        (page,) = OpenedLayout(b"few").pages(width)
        leaf = opened_word(log4_steps, page)
        code = leaf.script(Guard((bytes([1]) * 32,), 144), public_keys(leaf))
        assert len(code) < 320_000
