"""The forward moves, ASSERT and REFUTE in Script: a true assertion stands, a false one falls."""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from random import Random

import pytest

from protocol.dispute.assertion import Assertion, BlockRefutation, NodeRefutation, signed_levels
from protocol.dispute.leaves import catalog, verdict_assert
from protocol.dispute.opening import levels_below, node_above, place_of, siblings_of
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import Accusation, Predicate
from riscv_vm.record import encode_block
from riscv_vm.tree import block_node, join
from tests.builders.disputes import LAYOUT, Run, claim_input
from tests.builders.leaves import bare_holds, leaf_holds, told
from tests.builders.programs import program

K = 6
SOURCE = """
    addi s1, zero, 1000
again:
    addi s1, s1, -1
    bne s1, zero, again
    addi a0, zero, 0
    addi a7, zero, 93
    ecall
"""
DISPUTED = 0b01_00_00_00_00_00
PC = Accusation(Predicate.PC)
RNG = Random(77)
WIDTHS = pytest.mark.parametrize("width", [20, 32])


@lru_cache
def run_of(width: int) -> Run:
    return Run(Premises(program(SOURCE), LAYOUT, K, width), claim_input(1, 1))


def assertion(run: Run, disputed: int, step: int, accusation: Accusation) -> Assertion:
    """The honest one: block, digits and nodes of ``step``."""
    place = place_of(run.premises, disputed, step)
    levels = signed_levels(levels_below(run.premises, place.turn))
    nodes = tuple(node_above(run.tree, step, level) for level in levels)
    return Assertion(accusation, place, run.records[step], nodes)


def accepted(run: Run, transcript: Transcript, claim: Assertion) -> bool:
    """Whether the assertion's last leaf accepts it."""
    template = verdict_assert.assert_record(catalog.shape_of(run.premises, claim), claim.accusation)
    values = catalog.spoken(run.premises, transcript) | catalog.asserted(run.premises, claim)
    return bare_holds(template, values)


def refuted(run: Run, claim: Assertion, by: BlockRefutation | NodeRefutation) -> bool:
    chosen = catalog.leaf_of_refutation(run.premises, claim, by)
    assert chosen is not None
    values = catalog.asserted(run.premises, claim)
    return bare_holds(chosen.template, values, chosen.hints)


def liar(run: Run) -> Transcript:
    """A prover whose pc at the disputed step does not follow from the step before."""
    honest = told(run, DISPUTED)
    return replace(honest, fragment=replace(honest.executed, pc=run.premises.image.entry))


def refutations(run: Run, step: int, claim: Assertion) -> list[BlockRefutation | NodeRefutation]:
    """One for each segment, of the true block or node and its siblings."""
    levels = (0, *signed_levels(levels_below(run.premises, claim.place.turn)))
    ways = [siblings_of(run.tree, step, *pair) for pair in pairwise(levels)]
    nodes = [node_above(run.tree, step, level) for level in levels[1:-1]]
    by_node = [
        NodeRefutation(n, node, way)
        for n, (node, way) in enumerate(zip(nodes, ways[1:], strict=True))
    ]
    return [BlockRefutation(run.block(step // 4), ways[0]), *by_node]


@WIDTHS
def test_a_true_assertion_is_accepted_and_cannot_be_refuted(width: int) -> None:
    run = run_of(width)
    claim = assertion(run, DISPUTED, DISPUTED - 1, PC)
    assert accepted(run, liar(run), claim)
    assert not accepted(run, told(run, DISPUTED), claim)
    by_block, *by_node = refutations(run, DISPUTED - 1, claim)
    assert isinstance(by_block, BlockRefutation)
    *others, last = by_block.block
    forged = (*others, last._replace(next_pc=last.next_pc ^ 8))
    for refutation in (by_block, replace(by_block, block=forged)):
        assert not refuted(run, claim, refutation)
    for refutation in by_node:
        assert isinstance(refutation, NodeRefutation)
        other = bytes([refutation.node[0] ^ 1]) + refutation.node[1:]
        for attempt in (refutation, replace(refutation, node=other)):
            assert not refuted(run, claim, attempt)


@WIDTHS
def test_a_false_path_is_refuted_in_its_segment(width: int) -> None:
    """C invents a record that accuses an honest prover: one segment of its way must be false."""
    run = run_of(width)
    true = assertion(run, DISPUTED, DISPUTED - 1, PC)
    levels = signed_levels(levels_below(run.premises, true.place.turn))
    false_record = true.record._replace(next_pc=true.record.next_pc ^ 8)
    *others, _ = run.block((DISPUTED - 1) // 4)
    honest = told(run, DISPUTED)
    for number, refutation in enumerate(refutations(run, DISPUTED - 1, true)):
        # Hashed rightly up to the segment, where the lie joins the true way.
        nodes, at = list(true.nodes), block_node(encode_block([*others, false_record]), width)
        for level in range(levels[-1]):
            if level in levels[:number]:
                nodes[levels.index(level)] = at
            at = join_at(run, at, DISPUTED - 1, level)
        claim = replace(true, record=false_record, nodes=tuple(nodes))
        assert accepted(run, honest, claim)
        for attempt in refutations(run, DISPUTED - 1, true):
            assert refuted(run, claim, attempt) == (attempt == refutation)
            assert attempt.holds(run.premises, claim) == (attempt == refutation)


def test_unsigned_digits_of_a_refutation_are_checked() -> None:
    run = run_of(20)
    true = assertion(run, DISPUTED, DISPUTED - 1, PC)
    claim = replace(true, record=true.record._replace(wval=true.record.wval ^ 1))
    refutation = refutations(run, DISPUTED - 1, true)[0]
    chosen = catalog.leaf_of_refutation(run.premises, claim, refutation)
    assert chosen is not None
    values = catalog.asserted(run.premises, claim)
    assert bare_holds(chosen.template, values, chosen.hints)
    for place in (0, 95, 96, len(chosen.hints) - 1, *RNG.sample(range(len(chosen.hints)), 4)):
        for wrong in (chosen.hints[place] ^ 1, chosen.hints[place] + 16, -1):
            hints = (*chosen.hints[:place], wrong, *chosen.hints[place + 1 :])
            assert not bare_holds(chosen.template, values, hints)


@WIDTHS
def test_whole_leaves_with_their_signatures(width: int) -> None:
    """ASSERT, what comes before it at this depth, and REFUTE, signed."""
    run = run_of(width)
    claim = assertion(run, DISPUTED, DISPUTED - 1, PC)
    shape = catalog.shape_of(run.premises, claim)
    ended = verdict_assert.assert_record(shape, PC)
    for transcript in (liar(run), told(run, DISPUTED)):
        spoken = catalog.spoken(run.premises, transcript)
        values = spoken | catalog.asserted(run.premises, claim)
        assert leaf_holds(ended, values) == (transcript != told(run, DISPUTED))
    deep = verdict_assert.Shape(12, width, 1, 0)
    path = verdict_assert.assert_path(deep)
    assert (path is None) == (width == 20)
    if path is not None:
        nodes = {message: tuple(RNG.randrange(16) for _ in range(64)) for message in path.messages}
        assert leaf_holds(path, nodes)
    false = replace(claim, record=claim.record._replace(wval=claim.record.wval ^ 1))
    for asserted in (false, claim):
        for refutation in refutations(run, DISPUTED - 1, claim)[:1]:
            chosen = catalog.leaf_of_refutation(run.premises, asserted, refutation)
            assert chosen is not None
            values = catalog.asserted(run.premises, asserted)
            assert leaf_holds(chosen.template, values, chosen.hints) == (asserted == false)


def join_at(run: Run, node: bytes, step: int, level: int) -> bytes:
    """The parent of ``node`` in place of the true one on the way of ``step``."""
    place = step // 4 >> level
    sibling = run.node(level, place ^ 1)
    return join(sibling, node) if place & 1 else join(node, sibling)


def test_an_assertion_that_does_not_reach_the_revealed_child() -> None:
    run = run_of(20)
    claim = assertion(run, DISPUTED, DISPUTED - 1, PC)
    *way, top = claim.nodes
    false = replace(claim, nodes=(*way, bytes([top[0] ^ 1]) + top[1:]))
    assert not accepted(run, liar(run), false)
    for place in range(len(claim.place.below)):
        below = list(claim.place.below)
        below[place] ^= 1
        elsewhere = replace(claim, place=replace(claim.place, below=tuple(below)))
        assert accepted(run, liar(run), elsewhere) == elsewhere.holds(run.premises, liar(run))
        below[place] = 4 + claim.place.below[place]
        beyond = replace(claim, place=replace(claim.place, below=tuple(below)))
        assert not accepted(run, liar(run), beyond)


@pytest.mark.parametrize("predicate", [Predicate.POINTED, Predicate.STALE])
def test_accusations_about_slots(predicate: Predicate) -> None:
    """s1 is read by every second step: the last write, and one that came later."""
    run = run_of(20)
    honest = told(run, DISPUTED)
    read = next(n for n, s in enumerate(honest.executed.slots) if s.address)
    slot = honest.executed.slots[read]
    later = DISPUTED - 1 if run.records[DISPUTED - 1].waddr == slot.address else DISPUTED - 2
    claim = assertion(run, DISPUTED, later, Accusation(predicate, read))
    assert not accepted(run, honest, claim)
    changes = {"value": slot.value ^ 64} if predicate is Predicate.POINTED else {"last": later - 2}
    slots = list(honest.executed.slots)
    slots[read] = replace(slot, **changes)
    first, second, third = slots
    lying = replace(honest, fragment=replace(honest.executed, slots=(first, second, third)))
    assert accepted(run, lying, claim)
