"""Challengers that are not the honest one: one that sees every charge there is, and ones that lie.

``every_charge`` tries all verdicts of all leaves against a transcript, whatever rules.py would
choose. ``false_charges`` are those of a liar against an honest prover, none of which may hold, and
``false_assertions`` are spendable lies that the prover must refute.
"""

from collections.abc import Iterator
from itertools import product

from protocol.dispute.assertion import (
    Assertion,
    BlockRefutation,
    NodeRefutation,
    signed_levels,
)
from protocol.dispute.claim import FAN, base4
from protocol.dispute.fragment import SLOTS, Fragment
from protocol.dispute.opening import (
    Place,
    climb,
    hash_block,
    levels_below,
    node_above,
    place_of,
    siblings_of,
    steering,
    step_at,
)
from protocol.dispute.play import Challenge, Pick, Play, Take, Wait
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import (
    DIRECT_LEVELS,
    Accusation,
    BlockVerdict,
    EntryVerdict,
    FutureVerdict,
    InitVerdict,
    InputVerdict,
    NearVerdict,
    NodeVerdict,
    NotHaltVerdict,
    OpenVerdict,
    Predicate,
    RecordVerdict,
    RomVerdict,
    ZeroVerdict,
)
from riscv_vm.record import BLOCK_RECORDS, Record
from tests.builders.disputes import Run

ACCUSATIONS = (
    Accusation(Predicate.PC),
    *(Accusation(p, s) for p in (Predicate.POINTED, Predicate.STALE) for s in range(SLOTS)),
)


def plain_verdicts(premises: Premises) -> Iterator[object]:
    """Every verdict that needs no opening, with every selector in range."""
    yield from (RecordVerdict(), RomVerdict(), EntryVerdict(), NotHaltVerdict(), BlockVerdict())
    yield from (NodeVerdict(turn) for turn in range(1, premises.rounds + 1))
    for slot in range(SLOTS):
        yield from (FutureVerdict(slot), InitVerdict(slot), InputVerdict(slot), ZeroVerdict(slot))


def open_at(premises: Premises, run: Run, disputed: int, step: int, accusation: Accusation):
    """The OPEN or ASSERT of a step, with the blocks and nodes of ``run``."""
    place = place_of(premises, disputed, step)
    if place.turn > premises.rounds:
        return NearVerdict(accusation, place.child)
    levels = levels_below(premises, place.turn)
    block = run.block(step // BLOCK_RECORDS)
    if levels <= DIRECT_LEVELS:
        return OpenVerdict(accusation, place, block, siblings_of(run, step, 0, levels))
    nodes = tuple(node_above(run, step, level) for level in signed_levels(levels))
    return Assertion(accusation, place, block[step % BLOCK_RECORDS], nodes)


def every_charge(premises: Premises, said: Transcript, run: Run) -> list[object]:
    """Every charge of every leaf that holds, with the openings of the honest ``run``."""
    disputed = said.executed.index
    found = [verdict for verdict in plain_verdicts(premises) if verdict.holds(premises, said)]
    for step, accusation in product(range(disputed), ACCUSATIONS):
        record = run.block(step // BLOCK_RECORDS)[step % BLOCK_RECORDS]
        if accusation.holds(said.executed, step, record):
            charge = open_at(premises, run, disputed, step, accusation)
            if charge.holds(premises, said):
                found.append(charge)
    return found


def wanted_record(rng, fragment: Fragment, step: int, accusation: Accusation) -> Record | None:
    """A record of ``step`` that would convict, whatever was truly written there."""
    slot = fragment.slots[accusation.slot]
    match accusation.predicate:
        case Predicate.PC if step == fragment.index - 1:
            return Record(0xFFFF_FFFF, 0, fragment.pc ^ 4)
        case Predicate.POINTED if step == slot.pointer:
            return Record(slot.address, slot.value ^ 1 << rng.randrange(32), 0)
        case Predicate.STALE if slot.pointer < step and slot.address:
            return Record(slot.address, rng.getrandbits(32), 0)
    return None


def false_charges(rng, premises: Premises, said: Transcript, run: Run, tries: int = 60):
    """What a liar would like to spend: true openings, false blocks, selectors out of range."""
    yield from plain_verdicts(premises)
    yield from (NodeVerdict(turn) for turn in (-1, 0, premises.rounds + 1))
    for slot in (-1, 3, 15):
        yield from (FutureVerdict(slot), InitVerdict(slot), InputVerdict(slot), ZeroVerdict(slot))
    for accusation, child in product(ACCUSATIONS, range(-1, FAN + 1)):
        yield NearVerdict(accusation, child)
    for _ in range(tries):
        yield _false_open(rng, premises, said, run)


def _false_open(rng, premises: Premises, said: Transcript, run: Run):
    """An OPEN of any place, left or right of the disputed step, with a block that would convict."""
    k, fragment = premises.log4_steps, said.executed
    accusation = rng.choice(ACCUSATIONS)
    step = rng.choice([rng.randrange(premises.steps), *_tempting(fragment, accusation)])
    turn = rng.randint(1, max(1, premises.rounds))
    digits = base4(step % premises.steps, k)
    place = Place(turn, digits[turn - 1], digits[turn:])
    if rng.random() < 0.15:
        strange = rng.choice((-1, 4, 7, 1 << 40, True))
        place = Place(turn, place.child, (*place.below[:-1], strange))
    block = list(run.block(step % premises.steps // BLOCK_RECORDS))
    if rng.random() < 0.7:
        record = wanted_record(rng, fragment, step, accusation)
        block[step % BLOCK_RECORDS] = record or block[step % BLOCK_RECORDS]
    levels = levels_below(premises, turn)
    siblings = siblings_of(run, step % premises.steps, 0, levels)
    if rng.random() < 0.1:
        siblings = (*siblings, bytes(premises.width))
    return OpenVerdict(accusation, place, tuple(block), siblings)


def _tempting(fragment: Fragment, accusation: Accusation) -> list[int]:
    slot = fragment.slots[accusation.slot]
    near = [fragment.index - 1, fragment.index, fragment.index + 1, slot.pointer]
    return [max(0, step) for step in near]


def false_assertions(rng, premises: Premises, said: Transcript, run: Run) -> Iterator[Assertion]:
    """Assertions that their leaf accepts against an honest prover: a false block, and a way that
    is false up to some signed node and true from there on."""
    disputed = said.executed.index
    for step, accusation in product(_deep_steps(rng, premises, disputed), ACCUSATIONS):
        record = wanted_record(rng, said.executed, step, accusation)
        place = place_of(premises, disputed, step)
        if record is None or levels_below(premises, place.turn) <= DIRECT_LEVELS:
            continue
        block = list(run.block(step // BLOCK_RECORDS))
        block[step % BLOCK_RECORDS] = record
        levels = signed_levels(levels_below(premises, place.turn))
        true = [node_above(run, step, level) for level in levels]
        for honest_from in range(len(levels)):
            false = _false_way(rng, run, step, place, tuple(block), levels[:honest_from])
            yield Assertion(accusation, place, record, (*false, *true[honest_from:]))


def _false_way(rng, run: Run, step: int, place: Place, block, levels) -> tuple[bytes, ...]:
    """The nodes of ``levels``: those above the false block, or random ones."""
    if rng.random() < 0.3:
        return tuple(rng.randbytes(run.width) for _ in levels)
    node, nodes, lower = hash_block(block, run.width), [], 0
    for upper in levels:
        siblings = siblings_of(run, step, lower, upper)
        node = climb(node, siblings, steering(place.below)[lower:upper])
        nodes.append(node)
        lower = upper
    return tuple(nodes)


def false_refutations(rng, play: Play, runs) -> Iterator[object]:
    """Refutations of an honest assertion: other blocks and nodes, and those that C signed."""
    assertion, premises = play.assertion, play.premises
    place = assertion.place
    step = step_at(premises, play.said.executed.index, place)
    levels = signed_levels(levels_below(premises, place.turn))
    for run in runs:
        siblings = siblings_of(run, step, 0, levels[0])
        yield BlockRefutation(run.block(step // BLOCK_RECORDS), siblings)
        yield BlockRefutation(run.block(step // BLOCK_RECORDS ^ 1), siblings)
        for number in range(-1, len(levels)):
            lower, upper = (
                (levels[0], levels[0]) if number < 0 else (*levels, levels[-1])[number:][:2]
            )
            siblings = siblings_of(run, step, lower, upper)
            for node in (node_above(run, step, lower), rng.randbytes(play.premises.width)):
                yield NodeRefutation(number, node, siblings)
                yield NodeRefutation(number, node, siblings[:-1])


def _deep_steps(rng, premises: Premises, disputed: int) -> list[int]:
    """Some steps before the disputed one, those that a charge may point at among them."""
    if disputed == 0:
        return []
    return [disputed - 1, *(rng.randrange(disputed) for _ in range(6))]


class LyingChallenger:
    """Challenges a true claim, steers to ``target`` and plays the first charge that is accepted."""

    def __init__(self, rng, run: Run, target: int) -> None:
        self.rng, self.run, self.target = rng, run, target
        self.tried: dict[str, int] = {"verdicts": 0, "assertions": 0}

    def move(self, play: Play) -> object:
        if play.wait is Wait.WINDOW:
            return Challenge()
        if play.wait is Wait.DIGIT:
            return Pick(base4(self.target, play.premises.log4_steps)[len(play.said.digits)])
        if play.wait is Wait.TAKE:
            return Take()
        return self._charge(play)

    def _charge(self, play: Play) -> object:
        for charge in false_charges(self.rng, play.premises, play.said, self.run):
            self.tried["verdicts"] += 1
            if charge.holds(play.premises, play.said):
                return charge
        assertions = list(false_assertions(self.rng, play.premises, play.said, self.run))
        self.tried["assertions"] += bool(assertions)
        return self.rng.choice(assertions) if assertions else None
