"""What a lying challenger would like to spend against an honest prover.

``false_verdicts`` are those of every leaf: none may hold. ``false_assertions`` are spendable lies
that the prover must refute.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Final

from protocol.dispute import verdicts
from protocol.dispute.assertion import Assertion, signed_levels
from protocol.dispute.claim import FAN, Fault, base4
from protocol.dispute.fragment import SLOTS, Fragment
from protocol.dispute.lies.scene import Chance
from protocol.dispute.opened import OpenedLayout, word_in_block
from protocol.dispute.opening import (
    Place,
    climb,
    hash_block,
    levels_below,
    node_above,
    place_of,
    siblings_of,
    steering,
)
from protocol.dispute.premises import Premises
from protocol.dispute.rules import History
from protocol.dispute.verdicts import DIRECT_LEVELS, LOADED, Accusation, Predicate, Verdict
from riscv_vm.isa import INPUT_BASE, NOWRITE
from riscv_vm.record import BLOCK_RECORDS, Block, Record

ACCUSATIONS: Final = (
    Accusation(Predicate.PC),
    *(Accusation(p, s) for p in (Predicate.POINTED, Predicate.STALE) for s in range(SLOTS)),
)
_DISTANCES: Final = (1, 2, 3, 4, 5, 9, 16, 30)
_TRIES: Final = 20
_STRANGE: Final = (-1, FAN, 7, 1 << 40, True)
"""Base-4 digits that are none."""


Accusing = Callable[[Chance, Premises, Fragment, History], Verdict | None]
"""A verdict about the honest fragment of a step, which is false; None if it has no leaf there."""


def accusations(log4_steps: int, *, opened: bool = False) -> Mapping[str, Accusing]:
    """One a leaf, by its name; ``opened``: the input's words are opened instead of published."""
    plain: Mapping[str, Verdict] = {
        "record": verdicts.RecordVerdict(),
        "rom": verdicts.RomVerdict(),
        "entry": verdicts.EntryVerdict(),
        "not-halt": verdicts.NotHaltVerdict(),
        **{f"node-{turn}": verdicts.NodeVerdict(turn) for turn in range(1, log4_steps)},
        "block": verdicts.BlockVerdict(),
    }
    published = partial(_of_origin, Fault.INPUT, verdicts.InputVerdict)
    return {
        **{name: _always(verdict) for name, verdict in plain.items()},
        "future": lambda rng, *_: verdicts.FutureVerdict(rng.randrange(0, SLOTS)),
        "zero": lambda rng, *_: verdicts.ZeroVerdict(rng.randrange(0, SLOTS)),
        "init": partial(_of_origin, Fault.INIT, verdicts.InitVerdict),
        **({"word": word_opening} if opened else {"input": published}),
        "near": near_opening,
        "open": direct_opening,
    }


def plain_verdicts(premises: Premises) -> Iterator[Verdict]:
    """Every verdict that needs no opening, with every selector in range."""
    yield from (kind() for kind in verdicts.PLAIN)
    yield from (verdicts.NodeVerdict(turn) for turn in range(1, premises.rounds + 1))
    yield from (kind(slot) for slot in range(SLOTS) for kind in verdicts.OF_SLOT)


def strange_verdicts(premises: Premises) -> Iterator[Verdict]:
    """Verdicts with selectors out of range, and in-block openings of every record."""
    yield from (verdicts.NodeVerdict(turn) for turn in (-1, 0, premises.rounds + 1))
    yield from (kind(slot) for slot in (-1, SLOTS, 15) for kind in verdicts.OF_SLOT)
    for accusation, child in product(ACCUSATIONS, range(-1, FAN + 1)):
        yield verdicts.NearVerdict(accusation, child)


def false_verdicts(
    rng: Chance, premises: Premises, fragment: Fragment, history: History, tries: int = 60
) -> Iterator[Verdict]:
    """True openings, false blocks, selectors out of range: against an honest prover."""
    yield from plain_verdicts(premises)
    yield from strange_verdicts(premises)
    for _ in range(tries):
        yield false_opening(rng, premises, fragment, history)
        if word := word_opening(rng, premises, fragment, history):
            yield word


def false_opening(
    rng: Chance, premises: Premises, fragment: Fragment, history: History
) -> verdicts.OpenVerdict:
    """An OPEN of any place, left or right of the disputed step, with a block that would convict."""
    k = premises.log4_steps
    accusation = rng.choice(ACCUSATIONS)
    step = rng.choice([rng.randrange(0, premises.steps), *_tempting(fragment, accusation)])
    step %= premises.steps
    turn, digits = rng.randrange(1, max(1, premises.rounds) + 1), base4(step, k)
    place = Place(turn, digits[turn - 1], digits[turn:])
    if rng.random() < 0.15:
        place = Place(turn, place.child, (*place.below[:-1], rng.choice(_STRANGE)))
    block = history.block(step // BLOCK_RECORDS)
    if rng.random() < 0.7:
        wanted = wanted_record(rng, fragment, step, accusation)
        block = _replaced(block, step % BLOCK_RECORDS, wanted or block[step % BLOCK_RECORDS])
    siblings = siblings_of(history, step, 0, levels_below(premises, turn))
    if rng.random() < 0.1:
        siblings = (*siblings, bytes(premises.width))
    return verdicts.OpenVerdict(accusation, place, block, siblings)


def near_opening(
    rng: Chance, _premises: Premises, fragment: Fragment, _history: History
) -> verdicts.NearVerdict | None:
    """An OPEN within the block of the disputed step; None where nothing is before it there."""
    before = fragment.index % BLOCK_RECORDS
    if not before:
        return None
    return verdicts.NearVerdict(rng.choice(ACCUSATIONS), rng.randrange(0, before))


def direct_opening(
    rng: Chance, premises: Premises, fragment: Fragment, history: History
) -> verdicts.OpenVerdict | None:
    """A well-formed OPEN of a step not too far before the disputed one, of a block that would
    convict but is in no tree; None where no such step is."""
    disputed = fragment.index
    for accusation, distance in rng.sample(list(product(ACCUSATIONS, _DISTANCES)), _TRIES):
        step = disputed - distance
        if step < 0:
            continue
        place = place_of(premises, disputed, step)
        levels = levels_below(premises, place.turn)
        wanted = wanted_record(rng, fragment, step, accusation)
        if wanted is None or place.turn > premises.rounds or levels > DIRECT_LEVELS:
            continue
        block = _replaced(history.block(step // BLOCK_RECORDS), step % BLOCK_RECORDS, wanted)
        return verdicts.OpenVerdict(accusation, place, block, siblings_of(history, step, 0, levels))
    return None


def word_opening(
    rng: Chance, premises: Premises, fragment: Fragment, _history: History
) -> verdicts.WordVerdict | None:
    """A WORD that would convict: the true way of another block, or a block that is in no page. None
    where no word of an opened input is loaded."""
    layout, width, address = premises.layout, premises.width, fragment.slots[LOADED].address
    if not isinstance(layout, OpenedLayout) or not premises.in_input(address):
        return None
    other = INPUT_BASE + 4 * rng.randrange(0, (layout.end - INPUT_BASE) // 4)
    wrong = layout.block(other)[word_in_block(address)] != layout.word(address)
    if wrong and rng.random() < 0.5:
        return verdicts.WordVerdict(layout.block(other), layout.siblings(other, width))
    block = list(layout.block(address))
    block[word_in_block(address)] ^= 1 << rng.randrange(0, 32)
    return verdicts.WordVerdict(tuple(block), layout.siblings(address, width))


def false_assertions(
    rng: Chance, premises: Premises, fragment: Fragment, history: History
) -> Iterator[Assertion]:
    """Assertions that their leaf accepts against an honest prover: a false record, and a way that
    is false up to some signed node and true from there on."""
    disputed = fragment.index
    for step, accusation in product(_deep_steps(rng, fragment), ACCUSATIONS):
        record = wanted_record(rng, fragment, step, accusation)
        place = place_of(premises, disputed, step)
        if record is None or levels_below(premises, place.turn) <= DIRECT_LEVELS:
            continue
        block = history.block(step // BLOCK_RECORDS)
        wrong = _replaced(block, step % BLOCK_RECORDS, record)
        levels = signed_levels(levels_below(premises, place.turn))
        true = [node_above(history, step, level) for level in levels]
        for honest_from in range(len(levels)):
            false = _false_way(rng, history, step, place, wrong, levels[:honest_from])
            yield Assertion(accusation, place, record, (*false, *true[honest_from:]))


def wanted_record(
    rng: Chance, fragment: Fragment, step: int, accusation: Accusation
) -> Record | None:
    """A record of ``step`` that would convict, whatever was truly written there."""
    slot = fragment.slots[accusation.slot]
    match accusation.predicate:
        case Predicate.PC if step == fragment.index - 1:
            return Record(NOWRITE, 0, fragment.pc ^ 4)
        case Predicate.POINTED if step == slot.pointer:
            return Record(slot.address, slot.value ^ 1 << rng.randrange(0, 32), 0)
        case Predicate.STALE if slot.pointer < step and slot.address:
            return Record(slot.address, rng.getrandbits(32), 0)
    return None


def _always(verdict: Verdict) -> Accusing:
    return lambda *_: verdict


def _of_origin(
    origin: Fault,
    verdict: Callable[[int], Verdict],
    _rng: Chance,
    premises: Premises,
    fragment: Fragment,
    _history: History,
) -> Verdict | None:
    """About the first slot whose initial value the leaf ``origin`` knows."""
    slots = enumerate(fragment.slots)
    place = next((n for n, slot in slots if premises.origin(slot.address) is origin), None)
    return None if place is None else verdict(place)


def _tempting(fragment: Fragment, accusation: Accusation) -> list[int]:
    slot = fragment.slots[accusation.slot]
    near = (fragment.index - 1, fragment.index, fragment.index + 1, slot.pointer)
    return [max(0, step) for step in near]


def _deep_steps(rng: Chance, fragment: Fragment) -> list[int]:
    """Some steps before the disputed one, those that a charge may point at among them."""
    disputed = fragment.index
    if disputed == 0:
        return []
    pointed = [slot.pointer for slot in fragment.slots if 0 <= slot.pointer < disputed]
    return [disputed - 1, *pointed, *(rng.randrange(0, disputed) for _ in range(6))]


def _false_way(
    rng: Chance, history: History, step: int, place: Place, block: Block, levels: Sequence[int]
) -> tuple[bytes, ...]:
    """The nodes of ``levels``: those above the false block, or random ones."""
    if rng.random() < 0.3:
        return tuple(rng.randbytes(history.width) for _ in levels)
    node, nodes, lower = hash_block(block, history.width), [], 0
    for upper in levels:
        siblings = siblings_of(history, step, lower, upper)
        node = climb(node, siblings, steering(place.below)[lower:upper])
        nodes.append(node)
        lower = upper
    return tuple(nodes)


def _replaced(block: Block, place: int, record: Record) -> Block:
    a, b, c, d = (record if n == place else own for n, own in enumerate(block))
    return a, b, c, d
