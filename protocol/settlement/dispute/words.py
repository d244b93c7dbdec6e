"""Values of a trace in words, and what each verdict says with its numbers."""

from collections.abc import Iterator
from typing import Final

from protocol.dispute import verdicts
from protocol.dispute.assertion import Assertion, BlockRefutation, NodeRefutation, Refutation
from protocol.dispute.claim import FAN
from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.opened import word_in_block
from protocol.dispute.opening import (
    climb,
    hash_block,
    levels_below,
    steering,
    step_at,
)
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import Accusation, Predicate, Verdict
from riscv_vm.isa import HALT, INPUT_BASE, NOWRITE, REGISTER_NAMES, TRAP, disassemble
from riscv_vm.record import Block, Record, register_address
from riscv_vm.tree import subtree

_NAMES: Final = {HALT: "HALT", TRAP: "TRAP", NOWRITE: "nowhere"}
_REGISTERS: Final = {
    register_address(number): name for number, name in enumerate(REGISTER_NAMES) if number
}
_INPUT_END: Final = INPUT_BASE + (1 << 28)


def address_words(address: int) -> str:
    """A word's address: a register's name, the place in the input, or the address itself."""
    if address in _REGISTERS:
        return f"{_REGISTERS[address]} (0x{address:08x})"
    if INPUT_BASE <= address < _INPUT_END:
        at = address - INPUT_BASE - 4
        what = "the input's length" if at < 0 else f"input bytes {at}..{at + 3}"
        return f"{what} (0x{address:08x})"
    return _NAMES.get(address, f"0x{address:08x}")


def pc_words(pc: int) -> str:
    """A program counter, a sentinel by its name."""
    return _NAMES.get(pc, f"0x{pc:x}")


def value_words(value: int) -> str:
    """A 32-bit word in hexadecimal and decimal."""
    return f"0x{value:08x} ({value:,})"


def record_words(record: Record) -> str:
    """What a step writes, and where it goes."""
    go_on = f"next pc {pc_words(record.next_pc)}"
    if record.waddr == NOWRITE:
        return f"writes nothing; {go_on}"
    return f"writes {value_words(record.wval)} to {address_words(record.waddr)}; {go_on}"


def slot_words(slot: Slot) -> str:
    """What a read slot says."""
    if slot == UNUSED:
        return "unused"
    return f"{address_words(slot.address)} = {value_words(slot.value)}, {pointer_words(slot)}"


def pointer_words(slot: Slot) -> str:
    """Who a slot says wrote its word last."""
    if slot.init == 0:
        return f"written by step {slot.last:,}"
    said = "" if (slot.init, slot.last) == (1, 0) else f" (init {slot.init}, last {slot.last})"
    return f"never written{said}"


def instruction_words(fragment: Fragment) -> str:
    """The instruction that a fragment shows."""
    if fragment.pc in (HALT, TRAP):
        return f"none: the program has ended in {pc_words(fragment.pc)}"
    return disassemble(fragment.opcode, fragment.pc)


def span_words(premises: Premises, level: int, index: int) -> str:
    """The steps below node ``index`` of ``level``."""
    steps = FAN << level
    first = index * steps
    return f"steps {first:,} to {first + steps - 1:,}"


def verdict_words(premises: Premises, said: Transcript, verdict: Verdict) -> str:
    """What ``verdict`` says about what the prover said, with its numbers."""
    claimed, image = said.executed, premises.image
    match verdict:
        case verdicts.NodeVerdict(turn):
            parent = said.parent(premises, turn)
            found = subtree(said.rounds[turn - 1])
            above = "the root" if turn == 1 else f"the node picked in round {turn - 1}"
            return (
                f"The four nodes of round {turn} hash to {found.hex()}, not to {above},"
                f" {parent.hex()}."
            )
        case verdicts.BlockVerdict():
            found = hash_block(said.block, premises.width)
            parent = said.parent(premises, premises.rounds + 1)
            return f"The four records hash to {found.hex()}, not to their node, {parent.hex()}."
        case verdicts.RecordVerdict():
            return (
                f"EXECUTE of step {claimed.index:,} {record_words(claimed.write)}; the record"
                f" revealed for that step {record_words(said.record(premises))}."
            )
        case verdicts.RomVerdict():
            opcode = image.opcode(claimed.pc)
            return (
                f"The program has {disassemble(opcode, claimed.pc)} (0x{opcode:08x}) at"
                f" {pc_words(claimed.pc)}, not {instruction_words(claimed)}"
                f" (0x{claimed.opcode:08x})."
            )
        case verdicts.EntryVerdict():
            return (
                f"Step 0 is at the entry point {pc_words(image.entry)}, not at"
                f" {pc_words(claimed.pc)}."
            )
        case verdicts.NotHaltVerdict():
            return (
                f"Step {claimed.index:,} is the last, and goes on at"
                f" {pc_words(claimed.write.next_pc)} instead of HALT."
            )
        case verdicts.NearVerdict(accusation, child):
            near = claimed.index - claimed.index % FAN + child
            return accusation_words(accusation, claimed, near, said.block[child])
        case verdicts.OpenVerdict(accusation, place, block, siblings):
            step = step_at(premises, claimed.index, place)
            assert step is not None, "the leaf has checked the place"
            words = accusation_words(accusation, claimed, step, block[place.below[-1]])
            top = climb(hash_block(block, premises.width), siblings, steering(place.below))
            return (
                f"{words} Its block and {len(siblings)} siblings lead to {top.hex()}, which is node"
                f" {place.child} of round {place.turn}."
            )
        case _:
            return _slot_verdict(premises, said, verdict)


def _slot_verdict(
    premises: Premises,
    said: Transcript,
    verdict: verdicts.SlotVerdict,
) -> str:
    """A verdict about one read slot."""
    claimed = said.executed
    slot = claimed.slots[verdict.slot]
    read = (
        f"Slot {verdict.slot} of step {claimed.index:,} reads {value_words(slot.value)} at"
        f" {address_words(slot.address)}"
    )
    match verdict:
        case verdicts.FutureVerdict():
            return f"{read}, {pointer_words(slot)}, which is no earlier step."
        case verdicts.InitVerdict():
            began = premises.constant(slot.address)
            assert began is not None, "the leaf knows the word"
            return f"{read} and says that nobody wrote it; it began as {value_words(began)}."
        case verdicts.InputVerdict():
            published = premises.input_word(slot.address, said.input_digits)
            assert published is not None, "the leaf is for an input word"
            return f"{read}; the prover has published {value_words(published)} there."
        case verdicts.WordVerdict(block, siblings):
            shown = block[word_in_block(slot.address)]
            return (
                f"{read}; the input that both sides know has {value_words(shown)} there: the word's"
                f" block and {len(siblings)} siblings lead to the root of its page."
            )
        case verdicts.ZeroVerdict():
            return f"{read} and says that nobody wrote it; such a word is zero."


def accusation_words(accusation: Accusation, fragment: Fragment, step: int, record: Record) -> str:
    """What an earlier record contradicts."""
    wrote = f"Step {step:,} {record_words(record)}"
    slot = fragment.slots[accusation.slot]
    match accusation.predicate:
        case Predicate.PC:
            return f"{wrote}; step {fragment.index:,} claims pc {pc_words(fragment.pc)}."
        case Predicate.POINTED:
            return (
                f"{wrote}; slot {accusation.slot} of step {fragment.index:,} claims that it wrote"
                f" {value_words(slot.value)} to {address_words(slot.address)}."
            )
        case Predicate.STALE:
            return (
                f"{wrote}; slot {accusation.slot} of step {fragment.index:,} claims that"
                f" {address_words(slot.address)} was {pointer_words(slot)}."
            )


def assertion_words(premises: Premises, said: Transcript, assertion: Assertion) -> str:
    """What the challenger asserts about an earlier step."""
    step = step_at(premises, said.executed.index, assertion.place)
    assert step is not None, "the leaf has checked the place"
    words = accusation_words(assertion.accusation, said.executed, step, assertion.record)
    levels = levels_below(premises, assertion.place.turn)
    return (
        f"{words} The challenger signs {len(assertion.nodes)} nodes on its way, {levels} levels up"
        f" to node {assertion.place.child} of round {assertion.place.turn}."
    )


def refutation_words(premises: Premises, assertion: Assertion, refutation: Refutation) -> str:
    """Why an assertion is false."""
    match refutation:
        case BlockRefutation(block):
            place = assertion.place.below[-1]
            return (
                f"The lowest signed node is that of a block whose record {place}"
                f" {record_words(block[place])}; the challenger's record"
                f" {record_words(assertion.record)}."
            )
        case NodeRefutation(number, node):
            return (
                f"Signed node {number + 1} is reached from {node.hex()}, not from the challenger's"
                f" signed node {number}, {assertion.nodes[number].hex()}."
            )


def block_words(first: int, block: Block) -> Iterator[tuple[str, str]]:
    """Each record of a block that begins with step ``first``."""
    for number, record in enumerate(block):
        yield f"step {first + number:,}", record_words(record)
