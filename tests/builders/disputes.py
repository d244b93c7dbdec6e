"""Disputes as tables: a program, a liar's plan, two sides, one outcome.

run = Run(premises, data)                 what the reference machine does: an honest trace
plan = Plan(run); plan.forge(step, fragment, record)   what a liar commits to and shows instead
play_out(premises, plan.move, honest_challenger(premises))
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache

from protocol.dispute.claim import Party, base4_number
from protocol.dispute.fragment import Fragment, Slot, fragment_of
from protocol.dispute.play import Execute, Kickoff, Play, Reveal, RevealBlock, Wait
from protocol.dispute.premises import InputLayout, Premises
from protocol.dispute.sides import challenger_move, prover_move
from protocol.errors import DisputeError
from riscv_vm.image import ImageError, ProgramImage
from riscv_vm.isa import HALT, SENTINELS, TRAP, decode
from riscv_vm.machine import Machine, next_step
from riscv_vm.record import Record, absorbing
from riscv_vm.trace import INIT, ReadPointer, TracedStep
from riscv_vm.tree import SparseTree
from tests.builders.programs import DATA_BASE, program

# A claim: payout 4 (published) | limit 4 (terms) | price 4 (published) | 5 digits of the terms, 5
# published and 2 of the terms in two words, the last one padded: every sort of input word.
FIXED = bytes(4) + (7).to_bytes(4, "little") + bytes(4) + b"\x5a\xc3\x90\0\0\0"
LAYOUT = InputLayout(FIXED, ((16, 24), (29, 34), (0, 8)), (10, 11))
PAYOUT, PRICE = 0, 8


def claim_input(payout: int, price: int, rest: tuple[int, ...] = (1, 2, 3, 4, 5)) -> bytes:
    """The guest's input: a claim that the payout is the price."""
    words = [word.to_bytes(4, "little") for word in (price, payout)]
    price_digits, payout_digits = ([n for b in w for n in divmod(b, 16)] for w in words)
    return LAYOUT.data((*price_digits, *rest, *payout_digits))


class Run:
    """An honest trace by the reference machine, as ``rules.History`` wants it."""

    def __init__(self, premises: Premises, data: bytes) -> None:
        self.premises, self.data = premises, data
        self.log4_steps, self.width = premises.log4_steps, premises.width
        self.start = Machine(premises.image, data)
        self._writes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._steps: list[TracedStep] = []
        machine = Machine(premises.image, data)
        while not machine.ended and machine.steps < premises.steps:
            index, step = machine.steps, machine.step()
            first, second, third = (
                ReadPointer(read.address, read.value, self.writer(read.address, index))
                for read in step.reads
            )
            self._steps.append(
                TracedStep(index, step.pc, step.opcode, (first, second, third), step.record)
            )
            self._writes[step.record.waddr].append((index, step.record.wval))
        self.records = [step.record for step in self._steps]
        self.tree = SparseTree(self.records, self.log4_steps, self.width)
        self.root, self.node, self.block = self.tree.root, self.tree.node, self.tree.block

    @property
    def steps(self) -> int:
        """How many steps ran, the one that reached the sentinel included."""
        return len(self._steps)

    @property
    def halts(self) -> bool:
        return self.records[-1].next_pc == HALT

    def step(self, index: int) -> TracedStep:
        if index < self.steps:
            return self._steps[index]
        sentinel = self.records[-1].next_pc
        unused = ReadPointer(0, 0, INIT)
        return TracedStep(index, sentinel, 0, (unused, unused, unused), absorbing(sentinel))

    def writes(self, address: int, before: int) -> list[tuple[int, int]]:
        """(step, value) of every write to a word before a step."""
        written = self._writes.get(address, [])
        return written[: bisect_left(written, (before, -1))]

    def writer(self, address: int, before: int) -> int:
        written = self.writes(address, before)
        return written[-1][0] if written else INIT

    def value(self, address: int, before: int) -> int:
        """The word at an address before a step; ``before`` = 0 for the initial one."""
        written = self.writes(address, before)
        if written:
            return written[-1][1]
        register = (address - 0xF000_0000) // 4
        if 0 < register < 32:
            return self.start.register(register)
        return self.start.word(address) or 0

    def fragment(self, index: int) -> Fragment:
        """The honest fragment."""
        return fragment_of(self.step(index))


@lru_cache(maxsize=64)
def run_of(image: ProgramImage, log4_steps: int, width: int, data: bytes) -> Run:
    return Run(Premises(image, LAYOUT, log4_steps, width), data)


def claimed_run(play: Play) -> Run:
    """What a challenger computes from the input that the prover published."""
    premises = play.premises
    data = premises.layout.data(play.said.input_digits)
    return run_of(premises.image, premises.log4_steps, premises.width, data)


@dataclass
class Lying:
    """The machine's state before a step, with another pc, opcode or words than the true ones."""

    run: Run
    index: int
    pc: int
    image: ProgramImage
    words: dict[int, int]

    def register(self, index: int) -> int:
        return self._value(0xF000_0000 + 4 * index)

    def word(self, address: int) -> int | None:
        return self._value(address) if self.run.premises.readable(address) else None

    def writable(self, address: int) -> bool:
        return self.run.premises.writable(address)

    def _value(self, address: int) -> int:
        return self.words.get(address, self.run.value(address, self.index))


def justify(
    run: Run,
    index: int,
    *,
    pc: int | None = None,
    opcode: int | None = None,
    words: dict[int, int] | None = None,
    pointers: dict[int, tuple[int, int]] | None = None,
) -> Fragment | None:
    """A fragment that EXECUTE accepts, from false premises: another pc, opcode or words.

    ``pointers``: address -> (last, init), else the honest pointer. None if there is no leaf for it.
    """
    honest, image = run.step(index), run.premises.image
    pc = honest.pc if pc is None else pc
    if pc not in SENTINELS and not image.in_text(pc):
        return None
    if opcode is None:
        opcode = 0 if pc in SENTINELS else image.opcode(pc)
    if pc not in SENTINELS and decode(opcode) is None:
        return None
    if pc not in SENTINELS:
        at = pc - image.text_base
        text = image.text[:at] + opcode.to_bytes(4, "little") + image.text[at + 4 :]
        image = replace(image, text=text)
    step = next_step(Lying(run, index, pc, image, words or {}))
    slots = []
    for read in step.reads:
        last = run.writer(read.address, index) if read.address else INIT
        honest_pointer = (0, 1) if last == INIT else (last, 0)
        slots.append(Slot(read.address, read.value, *honest_pointer))
    for place, slot in enumerate(slots):
        if slot.address and pointers and slot.address in pointers:
            last, init = pointers[slot.address]
            slots[place] = replace(slot, last=last, init=init)
    return Fragment(index, pc, opcode, (slots[0], slots[1], slots[2]), step.record)


@dataclass
class Plan:
    """What a prover does: honest, but for what is forged or tampered with.

    ``records`` and ``fragments`` by step; ``coherent`` runs on from the first false record;
    ``nodes`` and ``block`` change what a round reveals; ``silent`` says where it falls silent
    (NODES in round 2 is ``(Wait.NODES, 1)``); ``instead`` is the run of another input, which it
    commits to and shows for this one.
    """

    run: Run
    data: bytes = b""
    records: dict[int, Record] = field(default_factory=dict)
    fragments: dict[int, Fragment] = field(default_factory=dict)
    nodes: dict[int, object] = field(default_factory=dict)
    block: object = None
    root: bytes | None = None
    silent: tuple[Wait, int] | None = None
    coherent: bool = False
    instead: Run | None = None

    def __post_init__(self) -> None:
        self.data = self.data or self.run.data
        self._tree: SparseTree | None = None

    @property
    def premises(self) -> Premises:
        return self.run.premises

    @property
    def tree(self) -> SparseTree:
        """What it commits to."""
        if self._tree is None:
            self._tree = SparseTree(self._committed(), self.run.log4_steps, self.run.width)
        return self._tree

    def _committed(self) -> list[Record]:
        """The run's records with the forged ones; after the first the machine may go on from it."""
        limit = self.premises.steps
        if self.coherent and self.records:
            first = min(self.records)
            records = _go_on(self.run, first, self.records[first])
        else:
            records = list((self.instead or self.run).records)
        tail = absorbing(records[-1].next_pc if records[-1].next_pc in SENTINELS else TRAP)
        records += [tail] * (max(self.records, default=0) + 2 - len(records))
        for index, record in self.records.items():
            records[index] = record
        return records[:limit]

    @property
    def true(self) -> bool:
        """Is the claim after all true?"""
        return self.run.halts and (self.root or self.tree.root) == self.run.root

    def forge(self, index: int, fragment: Fragment, record: Record) -> None:
        """Commit ``record`` at a step and show ``fragment`` there."""
        self.records[index], self.fragments[index] = record, fragment
        self._tree = None

    @property
    def story(self) -> "Story":
        return Story(self)

    def move(self, play: Play) -> object:
        """The move of ``play.turn`` = prover; None = silence."""
        if self.silent == (play.wait, len(play.said.digits)):
            return None
        if play.wait is Wait.EXECUTE:
            index = base4_number(play.said.digits)
            told = self.instead or self.run
            return Execute(self.fragments.get(index) or told.fragment(index))
        move = prover_move(play, self.story, self.data)
        if isinstance(move, Kickoff) and self.root is not None:
            return replace(move, root=self.root)
        if isinstance(move, Reveal) and len(play.said.digits) + 1 in self.nodes:
            return Reveal(self.nodes[len(play.said.digits) + 1](play, move.nodes))
        if isinstance(move, RevealBlock) and self.block is not None:
            return RevealBlock(self.block(play, move.records))
        return move


def _go_on(run: Run, index: int, record: Record) -> list[Record]:
    """The records of a machine that lies once, at step ``index``; the run's own if it cannot."""
    machine = Machine(run.premises.image, run.data)
    for honest in run.records[:index]:
        machine.apply(honest)
    try:
        machine.apply(record)
    except ImageError:
        return list(run.records)
    records = [*run.records[:index], record]
    while not machine.ended and len(records) < run.premises.steps:
        records.append(machine.step().record)
    return records


class Story:
    """A plan's commitment as a trace."""

    def __init__(self, plan: Plan) -> None:
        self.log4_steps, self.width = plan.run.log4_steps, plan.run.width
        self.root, self.node, self.block = plan.tree.root, plan.tree.node, plan.tree.block
        self.step = plan.run.step


def honest_challenger(play: Play) -> object:
    """C's honest move from its own run of what was published."""
    return challenger_move(play, claimed_run(play))


def play_out(premises: Premises, prover: object, challenger: object) -> Play:
    """The game to its end. A move that no leaf accepts is none, and its side times out."""
    play = Play(premises)
    while play.turn is not None:
        move = prover(play) if play.turn is Party.PROVER else challenger(play)
        try:
            play = play.expire() if move is None else play.apply(move)
        except DisputeError:
            play = play.expire()
    return play


# Programs: they read every sort of word there is, and HALT if the payout is the price.

_PROLOGUE = ("lui s2, 0x40000", f"la s0, {DATA_BASE}")
_ENDING = """
    lw t0, 4(s2)
    lw t1, 12(s2)
    bne t0, t1, wrong
    addi a0, zero, 0
    addi a7, zero, 93
    ecall
wrong:
    addi a0, zero, 1
    addi a7, zero, 93
    ecall
"""
_REGISTERS = ("zero", "gp", "t2", "a1", "a2", "a3", "a4", "t5")
_OPERATIONS = ("add", "sub", "xor", "and", "or", "sltu", "mul", "mulhu", "div", "rem", "sll", "sra")
_ACCESSES = (
    *("lw {r}, 0(s2)", "lw {r}, 8(s2)", "lh {r}, 16(s2)", "lbu {r}, 13(s2)", "lw {r}, 20(s2)"),
    *("lw {r}, 4(s0)", "lb {r}, 7(s0)", "lhu {r}, 66(s0)", "lw {r}, 64(s0)", "lw {r}, -8(sp)"),
    *("sw {r}, 4(s0)", "sb {r}, 65(s0)", "sh {r}, 6(s0)", "sw {r}, -8(sp)", "sb {r}, -6(sp)"),
)


def settling_program(rng: object, size: int, turns: int = 1) -> ProgramImage:
    """``size`` random statements, ``turns`` times, then the check of the claim.

    About 6 + turns * (size + 2) + 6 steps.
    """
    lines = [*_PROLOGUE, f"addi s1, zero, {turns}", "again:"]
    for number in range(size):
        kind, r = rng.random(), rng.choice(_REGISTERS)
        if kind < 0.5:
            lines.append(rng.choice(_ACCESSES).format(r=r))
        elif kind < 0.8:
            a, b = rng.choice(_REGISTERS), rng.choice(_REGISTERS)
            lines.append(f"{rng.choice(_OPERATIONS)} {r}, {a}, {b}")
        elif kind < 0.9:
            lines.append(f"addi {r}, {rng.choice(('sp', 'a1', 's0'))}, {rng.randint(-2048, 2047)}")
        elif kind < 0.95:
            lines += [f"jal ra, over{number}", f"over{number}:"]
        else:
            lines += [f"blt {r}, gp, over{number}", f"addi gp, {r}, 1", f"over{number}:"]
    lines += ["addi s1, s1, -1", "bne s1, zero, again"] if turns > 1 else []
    return program("\n".join(lines) + _ENDING, bytes(range(1, 65)), 128)
