"""Leaves attacked: an honest prover is never convicted, a false result never accepted.

Whatever a spender may choose freely is drawn here: leaf, unsigned digits and how they are encoded,
true openings of other steps, forged blocks; and for EXECUTE false results with hints made for them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from random import Random

import pytest

from protocol.dispute.claim import base4
from protocol.dispute.gadgets.divide import hint_digits
from protocol.dispute.leaves import catalog, execute, verdict_assert, verdict_open
from protocol.dispute.leaves.verdict_open import Shape, open_hints
from protocol.dispute.opening import Place, siblings_of
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from riscv_vm.isa import Format
from riscv_vm.machine import signed as as_signed
from riscv_vm.record import Block, Record, encode_block
from riscv_vm.tree import block_node, join
from tests.builders.disputes import LAYOUT, Run, claim_input, settling_program
from tests.builders.leaves import (
    Shown,
    bare_holds,
    carried,
    fragment_values,
    mutated,
    told,
    word_digits,
)
from tests.builders.steps import LOG4, PREMISES, ROWS, cases, honest, lawful

K = 4
N = 4**K
BORDERS = execute.Borders.of(PREMISES)
MASK = 0xFFFF_FFFF
SLOW = [pytest.mark.slow, pytest.mark.timeout(600)]


@lru_cache
def run_of(width: int) -> Run:
    return Run(Premises(settling_program(Random(5), 40, 4), LAYOUT, K, width), claim_input(9, 9))


def some_step(rng: Random, run: Run, disputed: int) -> int:
    """A step to open: any, the one before, a later one, or one that a read depends on."""
    slots = run.fragment(disputed).slots
    writers = [s for slot in slots if slot.address for s, _ in run.writes(slot.address, N)]
    near = [disputed, max(disputed - 1, 0), min(disputed + 1, N - 1), rng.randrange(N)]
    return rng.choice([*near, *writers[-4:], *(slot.last for slot in slots)])


def forged(rng: Random, transcript: Transcript, block: Block) -> Block:
    """The block, or one with a record that would accuse the prover."""
    if rng.random() < 0.7:
        return block
    slot = rng.choice(transcript.executed.slots)
    records = list(block)
    records[rng.randrange(4)] = Record(slot.address, slot.value ^ 1, rng.choice([0, MASK]))
    first, second, third, fourth = records
    return first, second, third, fourth


def attack(rng: Random, run: Run, disputed: int) -> bool:
    """Whether some OPEN convicts the honest prover, with digits as a liar may choose them."""
    transcript = told(run, disputed)
    turn, child = rng.randrange(1, K), rng.randrange(3)
    shape = Shape(K, run.premises.width, turn, child)
    step = some_step(rng, run, disputed)
    digits = base4(step, K)
    if rng.random() < 0.5:  # a step that lies where the leaf looks
        digits = (*base4(disputed, K)[: turn - 1], child, *digits[turn:])
        step = int("".join(map(str, digits)), 4)
    siblings = siblings_of(run.tree, step, 0, shape.levels)
    block = forged(rng, transcript, run.block(step // 4))
    hints: tuple[int | bytes, ...] = open_hints(block, siblings, Place(turn, child, digits[turn:]))
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        hints = mutated(hints, rng)
    template = verdict_open.opening(shape, rng.choice(verdict_open.ACCUSATIONS))
    return bare_holds(template, catalog.spoken(run.premises, transcript), hints)


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=SLOW)])
@pytest.mark.parametrize("width", [20, 32])
def test_no_opening_convicts_an_honest_prover(width: int, count: int) -> None:
    rng, run = Random(width + count), run_of(width)
    for number in range(count):
        disputed = rng.randrange(1, run.steps + 4)
        assert not attack(rng, run, disputed), (number, disputed)


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("every", [29, pytest.param(1, marks=SLOW)])
def test_no_leaf_convicts_an_honest_prover(width: int, every: int) -> None:
    """All leaves of the catalogue without unsigned digits, at steps all over the run."""
    run = run_of(width)
    leaves = [leaf for leaf in catalog.verdict_leaves(run.premises) if not leaf.hints]
    for disputed in (*range(0, run.steps + 4, every), N - 1):
        values = catalog.spoken(run.premises, told(run, disputed))
        for leaf in leaves:
            assert not bare_holds(leaf, values), (disputed, leaf.name)


@pytest.mark.parametrize("count", [60, pytest.param(2_000, marks=SLOW)])
@pytest.mark.parametrize("width", [20, 32])
def test_nothing_refutes_a_true_assertion(width: int, count: int) -> None:
    """The true way itself, with other digits and in other encodings."""
    rng = Random(width)
    shape = Shape(6, width, 1, 0)
    lower, upper = verdict_assert.path(shape)
    below = tuple(rng.randrange(4) for _ in range(shape.below))
    block = [Record(*(rng.getrandbits(32) for _ in range(3))) for _ in range(4)]
    siblings = [rng.randbytes(width) for _ in range(shape.levels)]
    nodes = [block_node(encode_block(block), width)]
    for level, sibling in enumerate(siblings):
        bit = int("".join(map(str, below[:-1])), 4) >> level & 1
        nodes.append(join(sibling, nodes[-1]) if bit else join(nodes[-1], sibling))
    values = {
        catalog.said.record(6): word_digits(*block[below[-1]]),
        catalog.said.below(6, 1): below,
        lower: nibbles_of(nodes[4]),
        upper: nibbles_of(nodes[8]),
    }
    whole = [digit for record in block for digit in word_digits(*record)]
    by_block = (*whole, *(d for s in siblings[:4] for d in nibbles_of(s)))
    by_node = tuple(d for node in (nodes[4], *siblings[4:]) for d in nibbles_of(node))
    for template, true in [
        (verdict_assert.refute_block(shape), by_block),
        (verdict_assert.refute_node(shape, 0), by_node),
    ]:
        for number in range(count):
            hints: tuple[int | bytes, ...] = true
            for _ in range(number % 3):
                hints = mutated(hints, rng)
            assert not Shown(values, hints).accepted(template), (number, hints)
    for hints in carried(by_block, len(whole)):
        assert not Shown(values, hints).accepted(verdict_assert.refute_block(shape))
    for hints in carried(by_node, 2 * width):
        assert not Shown(values, hints).accepted(verdict_assert.refute_node(shape, 0))


def nibbles_of(data: bytes) -> tuple[int, ...]:
    return tuple(int(digit, 16) for digit in data.hex())


def hints_of(quotient: int, remainder: int) -> tuple[int, ...]:
    return hint_digits(quotient & MASK, 1)[:8] + hint_digits(remainder & MASK, 1)[:8]


def false_divisions(a: int, b: int, rng: Random) -> list[tuple[int, int]]:
    """Pairs that a careless check of a = q b + r would take: modulo 2^32, r >= b, wrong signs."""
    x, y = abs(as_signed(a)), abs(as_signed(b))
    found = []
    for dividend, divisor in ((a, b), (x, y)):
        q, r = divmod(dividend, divisor) if divisor else (MASK, dividend)
        inverse = pow(divisor, -1, 1 << 32) if divisor % 2 else rng.getrandbits(32)
        wraps = dividend * inverse & MASK
        any_q = rng.getrandbits(32)
        found += [(q, r), (q - 1, r + divisor), (q + 1, r - divisor), (wraps, 0), (-q, r), (q, -r)]
        found += [(any_q, dividend - any_q * divisor), (0, dividend), (MASK, dividend), (r, q)]
    return [(q & MASK, r & MASK) for q, r in found]


@pytest.mark.parametrize("name", ["div", "divu", "rem", "remu"])
def test_no_hint_makes_a_false_quotient(name: str) -> None:
    """Each false pair as the result that it would make, also with digits that carry over."""
    rng = Random(name)
    template = execute.template(name, BORDERS)
    for fragment in islice(cases(name, rng), 60):
        digits = base4(fragment.index, LOG4)
        a, b = (slot.value for slot in fragment.slots[:2])
        for q, r in false_divisions(a, b, rng):
            result = rng.choice([q, r, -q & MASK, -r & MASK])
            shown = replace(fragment, write=fragment.write._replace(wval=result))
            hints: Sequence[int | bytes] = hints_of(q, r)
            if rng.random() < 0.3:
                hints = mutated(tuple(hints), rng)
            if bare_holds(template, fragment_values(shown, LOG4, digits), hints):
                assert lawful(shown, digits), (shown, hints)


TWINS = {
    layout: [row.name for row in ROWS.values() if row.format is layout]
    for layout in (Format.R, Format.I, Format.SHIFT, Format.LOAD, Format.S, Format.B, Format.U)
}


@pytest.mark.parametrize("name", [name for names in TWINS.values() for name in names])
def test_the_result_of_another_instruction(name: str) -> None:
    """sra is no srl, mulhu no mulh, lbu no lb, bltu no blt: not where their results differ."""
    rng, row = Random(name), ROWS[name]
    different = 0
    for fragment in islice(cases(name, rng), 60):
        leaf = execute.name_for(fragment)
        digits = base4(fragment.index, LOG4)
        other = rng.choice(TWINS[row.format])
        word = fragment.opcode & ~row.mask | ROWS[other].match
        registers = [0] * 32
        for slot, register in zip(fragment.slots, (word >> 15 & 31, word >> 20 & 31), strict=False):
            registers[register] = slot.value if slot.address >> 28 == 15 else 0
        twin = honest(word, registers, rng, fragment.pc)
        shown = replace(fragment, write=twin.write)
        assert leaf is not None
        template = execute.template(leaf, BORDERS)
        hints = execute.hints_for(fragment)
        taken = bare_holds(template, fragment_values(shown, LOG4, digits), hints)
        assert taken == (shown == fragment)
        different += shown != fragment
    assert different > 5
