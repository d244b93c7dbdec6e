"""Who lied, and which leaf proves it: small rules over the honest trace (dispute.md 3).

A rule yields the verdicts of its row that may hold against the prover. A challenger plays the one
whose leaf costs least. For a false claim there always is one that holds:

    w_0 .. w_(i-1) are agreed and w_i is not, or everything is and the trace does not halt, or two
    revealed messages do not fit together; and some rule pins each input of EXECUTE.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.dispute import verdicts
from protocol.dispute.assertion import (
    Assertion,
    BlockRefutation,
    NodeRefutation,
    Refutation,
    signed_levels,
)
from protocol.dispute.fragment import NEVER, SLOTS, Fragment, Stepped, fragment_of
from protocol.dispute.opened import OpenedLayout
from protocol.dispute.opening import (
    levels_below,
    node_above,
    place_of,
    siblings_of,
    step_at,
)
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import DIRECT_LEVELS, LOADED, Accusation, Predicate, Verdict, hashes
from riscv_vm.record import BLOCK_RECORDS
from riscv_vm.tree import Tree


class History(Tree, Protocol):
    """An honest trace: its tree and its steps (``riscv_vm.trace.Trace``)."""

    def step(self, index: int) -> Stepped: ...


@dataclass(frozen=True, slots=True)
class Case:
    """What the challenger knows before VERDICT; ``honest`` is the fragment P should have signed."""

    premises: Premises
    said: Transcript
    history: History
    honest: Fragment

    @property
    def claimed(self) -> Fragment:
        return self.said.executed


Charge = Verdict | Assertion
MOST_HASHES: Final = 1 << 8
Rule = Callable[[Case], Iterator[Charge]]


def charges(premises: Premises, said: Transcript, history: History) -> list[Charge]:
    """Everything that convicts the prover, the cheapest leaf first; nothing for an honest one.

    ``history`` is the honest trace of the published input; the prover has executed.
    """
    honest = fragment_of(history.step(said.executed.index))
    case = Case(premises, said, history, honest)
    found = [charge for rule in RULES for charge in rule(case) if charge.holds(premises, said)]
    return sorted(found, key=_cost)


def _cost(charge: Charge) -> int:
    """Compressions; an assertion waits another window, so it comes last."""
    return MOST_HASHES if isinstance(charge, Assertion) else hashes(charge)


def record_rule(case: Case) -> Iterator[Charge]:
    """P executed another record than the one it revealed, so the tree holds no result."""
    yield verdicts.RecordVerdict()


def rom_rule(case: Case) -> Iterator[Charge]:
    """Another opcode than the text's makes another result from true operands."""
    yield verdicts.RomVerdict()


def entry_rule(case: Case) -> Iterator[Charge]:
    """No record comes before step 0, so the entry point pins its pc."""
    yield verdicts.EntryVerdict()


def not_halt_rule(case: Case) -> Iterator[Charge]:
    """With nothing else to dispute C came to step N - 1, whose true record shows no HALT."""
    yield verdicts.NotHaltVerdict()


def future_rule(case: Case) -> Iterator[Charge]:
    """A pointer to no earlier step could not be opened."""
    yield from (verdicts.FutureVerdict(slot) for slot in range(SLOTS))


def initial_rule(case: Case) -> Iterator[Charge]:
    """A word that nobody wrote has the value it began with; one of these leaves knows it."""
    for slot in range(SLOTS):
        yield from (
            verdicts.InitVerdict(slot),
            verdicts.InputVerdict(slot),
            verdicts.ZeroVerdict(slot),
        )


def word_rule(case: Case) -> Iterator[Charge]:
    """A word of an opened input is what its page's root commits to; the way there opens it."""
    layout, address = case.premises.layout, case.claimed.slots[LOADED].address
    if isinstance(layout, OpenedLayout) and case.premises.in_input(address):
        siblings = layout.siblings(address, case.premises.width)
        yield verdicts.WordVerdict(layout.block(address), siblings)


def pc_rule(case: Case) -> Iterator[Charge]:
    """pc is where the step before went."""
    if case.claimed.index > 0:
        yield _open(case, case.claimed.index - 1, Accusation(Predicate.PC))


def pointed_rule(case: Case) -> Iterator[Charge]:
    """The record at ``last`` wrote this value to this address, or the pointer is a lie."""
    for slot, claimed in enumerate(case.claimed.slots):
        if 0 <= claimed.pointer < case.claimed.index:
            yield _open(case, claimed.pointer, Accusation(Predicate.POINTED, slot))


def stale_rule(case: Case) -> Iterator[Charge]:
    """The honest last write of the same word comes after the step that P points to.

    If P reads another address than the honest step, then pc, opcode or slot 0 is a lie as well.
    """
    for slot, (claimed, honest) in enumerate(
        zip(case.claimed.slots, case.honest.slots, strict=True)
    ):
        if claimed.address == honest.address and claimed.pointer < honest.pointer != NEVER:
            yield _open(case, honest.pointer, Accusation(Predicate.STALE, slot))


def block_rule(case: Case) -> Iterator[Charge]:
    """Records that are not below the block node are not in the tree."""
    yield verdicts.BlockVerdict()


def node_rule(case: Case) -> Iterator[Charge]:
    """Nodes that do not hash to their parent are not in the tree."""
    yield from (verdicts.NodeVerdict(turn) for turn in range(1, case.premises.rounds + 1))


RULES: Final[tuple[Rule, ...]] = (
    record_rule,
    rom_rule,
    entry_rule,
    not_halt_rule,
    future_rule,
    initial_rule,
    word_rule,
    pc_rule,
    pointed_rule,
    stale_rule,
    block_rule,
    node_rule,
)


def _open(case: Case, step: int, accusation: Accusation) -> Charge:
    """The leaf that opens ``step`` < i: within the block, directly, or by an assertion."""
    premises, history = case.premises, case.history
    place = place_of(premises, case.claimed.index, step)
    if place.turn > premises.rounds:
        return verdicts.NearVerdict(accusation, place.child)
    levels = levels_below(premises, place.turn)
    block = history.block(step // BLOCK_RECORDS)
    if levels <= DIRECT_LEVELS:
        return verdicts.OpenVerdict(accusation, place, block, siblings_of(history, step, 0, levels))
    nodes = tuple(node_above(history, step, level) for level in signed_levels(levels))
    return Assertion(accusation, place, block[step % BLOCK_RECORDS], nodes)


def refutation(
    premises: Premises, said: Transcript, assertion: Assertion, history: History
) -> Refutation | None:
    """The lowest segment of ``assertion`` that leads from a false value up to a true one.

    ``history`` is the prover's own trace. None if it does not lead to the asserted top at all; of a
    true assertion the result does not hold.
    """
    step = step_at(premises, said.executed.index, assertion.place)
    assert step is not None, "the leaf of ASSERT has checked the place"
    levels = signed_levels(levels_below(premises, assertion.place.turn))
    nodes = [node_above(history, step, level) for level in levels]
    true = [ours == theirs for ours, theirs in zip(nodes, assertion.nodes, strict=True)]
    if true[0]:
        siblings = siblings_of(history, step, 0, levels[0])
        return BlockRefutation(history.block(step // BLOCK_RECORDS), siblings)
    number = next((n for n, above in enumerate(true[1:]) if above), None)
    if number is None:
        return None
    siblings = siblings_of(history, step, levels[number], levels[number + 1])
    return NodeRefutation(number, nodes[number], siblings)
