"""An opened input: its tree, which words are opened, and the game about one of them."""

from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.dispute import rules
from protocol.dispute.claim import Fault, Party
from protocol.dispute.execute import executes
from protocol.dispute.fragment import Slot
from protocol.dispute.lies.accusations import word_opening
from protocol.dispute.lies.catalog import catalogue
from protocol.dispute.lies.premise import with_slot
from protocol.dispute.lies.rehearsal import Sides, rehearse
from protocol.dispute.opened import OpenedLayout, word_in_block
from protocol.dispute.premises import InputLayout, Premises
from protocol.dispute.rules import charges
from protocol.dispute.sides import HONEST
from protocol.dispute.verdicts import LOADED, WordVerdict
from protocol.errors import DisputeError
from riscv_vm.image import ImageError
from riscv_vm.isa import ENCODINGS, INPUT_BASE
from riscv_vm.machine import Machine, next_step
from tests.builders.asm import encode
from tests.builders.disputes import scene_of
from tests.builders.leaves import told
from tests.builders.opened import (
    PAGE,
    commitment,
    data_of,
    loads_of,
    opened_run,
    region_of,
)
from tests.builders.programs import EXIT, program
from tests.builders.steps import IMAGE, LOG4, PC, State, image_with

BORDERS = (0, 1, 4, 59, 60, 61, 1019, 1020, 1021, 2044, 3000)
"""Sizes about a block, a page, two pages, and one that ends within a word of a later block."""
K = 4
RUN = opened_run(3000, K)


# The tree


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("size", BORDERS)
def test_roots_and_digest_are_what_the_specification_says(size, width):
    layout = OpenedLayout(data_of(size))
    roots, digest = commitment(layout.fixed, width)
    pages = layout.pages(width)
    assert [page.root for page in pages] == roots
    assert layout.digest(width) == digest
    ends = [page.end for page in pages]
    assert [page.start for page in pages] == [INPUT_BASE + PAGE * n for n in range(len(pages))]
    assert ends[:-1] == [page.start for page in pages[1:]]
    assert ends[-1] == layout.end == INPUT_BASE + len(region_of(layout.fixed))


@settings(max_examples=25)
@given(st.binary(max_size=2100), st.integers(0, 20_000), st.sampled_from([20, 32]))
def test_the_digest_commits_to_every_bit_and_to_the_length(data, bit, width):
    digest = OpenedLayout(data).digest(width)
    assert OpenedLayout(data + b"\0").digest(width) != digest
    if data:
        changed = bytearray(data)
        changed[bit // 8 % len(data)] ^= 1 << bit % 8
        assert OpenedLayout(bytes(changed)).digest(width) != digest
        assert OpenedLayout(data[:-1]).digest(width) != digest
    assert OpenedLayout(data).digest(52 - width) != digest


@pytest.mark.parametrize("size", BORDERS)
def test_the_words_are_those_that_the_machine_reads(size):
    layout = OpenedLayout(data_of(size))
    premises = Premises(program(EXIT), layout, 2, 20)
    machine = Machine(premises.image, layout.fixed)
    for address in range(INPUT_BASE - 8, INPUT_BASE + PAGE * 4, 4):
        value = machine.word(address)
        assert premises.input_word(address, ()) == value
        assert premises.readable(address) == (value is not None)
        assert premises.origin(address) == (None if value is None else Fault.WORD)
        assert premises.constant(address) is premises.published_word(address) is None
        page = premises.input_page(address)
        assert (page is None) == (value is None)
        if page is not None:
            assert page.holds(address)
            assert [p for p in layout.pages(20) if p.holds(address)] == [page]
            assert premises.input_page(address + 1) is premises.input_page(address + 2) is None


def test_nothing_of_it_is_published():
    layout = OpenedLayout(b"known to both")
    assert layout.published(b"known to both") == ((),)
    assert (layout.parts, layout.size) == ((0,), 0)
    assert layout.data(()) == b"known to both"
    with pytest.raises(DisputeError, match="digest"):
        layout.published(b"known to one")
    with pytest.raises(DisputeError, match="published"):
        layout.data((1,))
    with pytest.raises(ImageError, match="width"):
        layout.digest(21)
    other = Premises(program(EXIT), InputLayout(bytes(8)), 2, 20)
    assert other.input_page(INPUT_BASE) is None


# Which slot


def test_only_slot_1_can_hold_a_word_of_the_input():
    """Every instruction, with all registers pointing into the input or to its borders."""
    rng, loaded = Random(5), set()
    premises = Premises(IMAGE, InputLayout.whole(30), LOG4, 20)
    for row in ENCODINGS:
        for base in (-4, 0, 1, 2, 4, 16, 28, 32, 36):
            registers = [0, *[INPUT_BASE + base + rng.choice((0, 0, 4)) for _ in range(31)]]
            fields = {
                "rd": rng.randrange(32),
                "rs1": rng.randrange(1, 32),
                "rs2": rng.randrange(32),
            }
            word = encode(row.name, **fields, imm=rng.choice((0, 4)))
            step = next_step(State(image_with(word, PC), PC, registers))
            for number, read in enumerate(step.reads):
                if premises.in_input(read.address):
                    assert number == LOADED
                    loaded.add(row.name)
    assert loaded == {"lb", "lh", "lw", "lbu", "lhu"}


@pytest.mark.parametrize("number", [0, 2])
def test_execute_refuses_a_word_of_the_input_in_another_slot(number):
    """So no verdict about it is needed."""
    rng = Random(6)
    for step in range(RUN.steps):
        fragment = RUN.fragment(step)
        digits = tuple(step >> 2 * place & 3 for place in reversed(range(K)))
        assert executes(RUN.premises, digits, fragment)
        address = rng.randrange(INPUT_BASE, RUN.premises.layout.end, 4)
        slot = Slot(address, RUN.premises.layout.word(address), 0, 1)
        moved = replace(fragment, slots=with_slot(fragment, number, slot))
        assert not executes(RUN.premises, digits, moved)


# The verdict


def true_word(run, address):
    layout = run.premises.layout
    return WordVerdict(layout.block(address), layout.siblings(address, run.premises.width))


def said_at(run, address, value, **changes):
    """What a prover said that loads ``value`` from an address which nothing wrote."""
    honest = told(run, loads_of(run)[0])
    slot = replace(Slot(address, value, 0, 1), **changes)
    fragment = honest.executed
    return replace(honest, fragment=replace(fragment, slots=with_slot(fragment, LOADED, slot)))


SIZES = st.sampled_from([3, 60, 1020, 1021, 2044, 3000])


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_true_word_is_never_convicted(data):
    """Whatever block and siblings the challenger shows: they are of no page, or of another word."""
    run = opened_run(data.draw(SIZES), K, data.draw(st.sampled_from([20, 32])))
    premises, layout, width = run.premises, run.premises.layout, run.premises.width
    addresses = range(INPUT_BASE, layout.end, 4)
    address, elsewhere = (data.draw(st.sampled_from(addresses)) for _ in range(2))
    said = said_at(run, address, layout.word(address))
    node, word = st.binary(min_size=width, max_size=width), st.integers(0, 2**32 - 1)
    block = data.draw(
        st.one_of(
            st.just(layout.block(address)),
            st.just(layout.block(elsewhere)),
            st.tuples(*[word] * 16),
            st.tuples(st.integers(0, 15), word).map(lambda c: changed(layout.block(address), *c)),
        )
    )
    own = layout.siblings(address, width)
    siblings = data.draw(
        st.one_of(
            st.just(own),
            st.just(layout.siblings(elsewhere, width)),
            st.permutations(own).map(tuple),
            st.tuples(st.integers(0, 3), node).map(lambda c: changed(own, *c)),
            st.tuples(*[node] * 4),
        )
    )
    assert not WordVerdict(block, siblings).holds(premises, said)


def changed(items, place, item):
    return (*items[:place], item, *items[place + 1 :])


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_false_word_is_always_convicted(data):
    run = opened_run(data.draw(SIZES), K, data.draw(st.sampled_from([20, 32])))
    layout = run.premises.layout
    places = (INPUT_BASE, layout.end - 4, *range(INPUT_BASE + PAGE, layout.end, PAGE))
    anywhere = st.integers(0, (layout.end - INPUT_BASE) // 4 - 1).map(lambda n: INPUT_BASE + 4 * n)
    address = data.draw(st.one_of(st.sampled_from(places), anywhere))
    true = layout.word(address)
    other = data.draw(st.integers(0, 2**32 - 1).filter(lambda value: value != true))
    value = data.draw(st.one_of(st.just(other), st.integers(0, 31).map(lambda n: true ^ 1 << n)))
    said = said_at(run, address, value)
    verdict = true_word(run, address)
    assert verdict.holds(run.premises, said)
    assert verdict in charges(run.premises, said, run)


def test_what_is_no_word_of_the_input_is_not_judged():
    """Beyond the end, below the start, misaligned, written by a step, INIT in another form."""
    layout = RUN.premises.layout
    end, next_page = layout.end, INPUT_BASE + 3 * PAGE
    for address in (end, end + 4, next_page, INPUT_BASE - 4, INPUT_BASE + 2, 0, 1 << 31):
        near = min(max(INPUT_BASE, address), end - 4) & ~3
        assert not true_word(RUN, near).holds(RUN.premises, said_at(RUN, address, 0xBAD))
    lie = layout.word(INPUT_BASE) ^ 1
    for init in (0, 2, 15):
        said = said_at(RUN, INPUT_BASE, lie, init=init)
        assert not true_word(RUN, INPUT_BASE).holds(RUN.premises, said)
    published = replace(RUN.premises, layout=InputLayout.whole(3000))
    assert not true_word(RUN, INPUT_BASE).holds(published, said_at(RUN, INPUT_BASE, lie))


@pytest.mark.parametrize(
    "shown",
    [
        *({"block": b} for b in ((), (0,) * 15, (0,) * 17, [0] * 16, (True,) * 16)),
        {"block": (-1, *[0] * 15)},
        *({"siblings": s} for s in ((), (bytes(20),) * 3, (bytes(20),) * 5, (bytes(19),) * 4)),
    ],
)
def test_strange_blocks_and_siblings_are_refused(shown):
    said = said_at(RUN, INPUT_BASE, 7)
    assert true_word(RUN, INPUT_BASE).holds(RUN.premises, said)
    assert not replace(true_word(RUN, INPUT_BASE), **shown).holds(RUN.premises, said)


# The game


LIES = catalogue(K, opened=True)
SHORT = opened_run(1021, K)


def dice(name):
    return lambda purpose: Random(f"{name} {purpose}")


@cache
def ended(name, run, step):
    scene = scene_of(run)
    sides = LIES[name].sides(scene, dice(name), step)
    return None if sides is None else rehearse(scene, sides)


@pytest.mark.parametrize("name", LIES)
def test_who_lies_loses_on_the_leaf_that_the_catalogue_names(name):
    met = False
    for run, seed in ((RUN, 1), (SHORT, 2)):
        for step in (loads_of(run)[seed], run.steps - 1):
            play = ended(name, run, step)
            if play is not None:
                met = True
                assert play.outcome.winner is LIES[name].winner
                assert play.outcome.fault in LIES[name].ends
    assert met, "this lie cannot be told"


def test_a_random_liar_loses_at_any_step():
    rng, games = Random(11), 0
    for _ in range(150):
        name = rng.choice([*LIES, "wrong-input", "wrong-value", "verdict-word"])
        run = opened_run(rng.choice([3, 1021, 3000]), K, rng.choice([20, 32]), rng.randrange(3))
        play = ended(name, run, rng.randrange(run.premises.steps))
        if play is not None:
            games += 1
            assert play.outcome.winner is LIES[name].winner, name
            assert play.outcome.fault in LIES[name].ends, name
    assert games > 100


def test_lies_about_words_end_on_word():
    for step in loads_of(RUN):
        assert ended("wrong-input", RUN, step).outcome.fault is Fault.WORD
    assert Fault.WORD in LIES["wrong-value"].ends
    assert not any(Fault.INPUT in lie.ends for lie in LIES.values())
    assert {"wrong-input", "verdict-word"} == LIES.keys() - catalogue(K).keys()


def test_lies_about_a_published_input_stay_as_they_are():
    plain = catalogue(K)
    gone = {"payout", "step", "root", "stall", "other-input", "silent-input", "verdict-input"}
    assert plain.keys() - LIES.keys() == gone
    assert not any(Fault.WORD in lie.ends for lie in plain.values())


def test_honest_sides_settle():
    assert rehearse(scene_of(RUN), Sides(HONEST, HONEST)).outcome.settle == "SETTLE_open"


def test_without_the_rule_a_liar_wins(monkeypatch):
    scene, step = scene_of(RUN), loads_of(RUN)[3]
    sides = LIES["wrong-input"].sides(scene, dice("w"), step)
    assert rehearse(scene, sides).outcome.winner is Party.CHALLENGER
    kept = tuple(rule for rule in rules.RULES if rule is not rules.word_rule)
    assert len(kept) == len(rules.RULES) - 1
    monkeypatch.setattr(rules, "RULES", kept)
    assert rehearse(scene, sides).outcome.winner is Party.PROVER


def test_a_false_accusation_is_about_a_word_that_is_read():
    rng = Random(9)
    for step in range(RUN.steps):
        found = word_opening(rng, RUN.premises, RUN.fragment(step), RUN)
        assert (found is not None) == (step in loads_of(RUN))
        if found is not None:
            slot = RUN.fragment(step).slots[LOADED]
            assert found.block[word_in_block(slot.address)] != slot.value
            assert not found.holds(RUN.premises, told(RUN, step))
