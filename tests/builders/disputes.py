"""Disputes as tables: a program, a liar's plan, two sides, one outcome.

run = Run(premises, data)                 what the reference machine does: an honest trace
plan = Plan(run); plan.forge(step, fragment, record)   what a liar commits to and shows instead
play_out(premises, plan.move, honest_challenger(premises))
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache

from protocol.dispute.claim import Party
from protocol.dispute.fragment import Fragment, fragment_of
from protocol.dispute.lies.prover import Liar, Moment
from protocol.dispute.lies.scene import Scene
from protocol.dispute.play import Play
from protocol.dispute.premises import InputLayout, Premises
from protocol.dispute.rules import History
from protocol.dispute.sides import challenger_move
from protocol.errors import DisputeError
from riscv_vm.forge import Forgery
from riscv_vm.image import ProgramImage
from riscv_vm.isa import HALT
from riscv_vm.machine import Machine, Step, next_step
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
    """A trace by the reference machine, as ``Past`` wants it; with ``forgery``, one that lies once
    and goes on from there (ImageError if it cannot)."""

    def __init__(self, premises: Premises, data: bytes, forgery: Forgery | None = None) -> None:
        self.premises, self.data = premises, data
        self.log4_steps, self.width = premises.log4_steps, premises.width
        self.start = Machine(premises.image, data)
        self._writes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._steps: list[Step] = []
        self.records: list[Record] = []
        machine = Machine(premises.image, data)
        while not machine.ended and machine.steps < premises.steps:
            index, step = machine.steps, next_step(machine)
            false = forgery is not None and forgery.step == index
            record = forgery.record if false else step.record
            machine.apply(record)
            self._steps.append(step)
            self.records.append(record)
            self._writes[record.waddr].append((index, record.wval))
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
            step = self._steps[index]
            first, second, third = (
                ReadPointer(read.address, read.value, self.writer(read.address, index))
                for read in step.reads
            )
            reads = first, second, third
            return TracedStep(index, step.pc, step.opcode, reads, step.record)
        sentinel = self.records[-1].next_pc
        unused = ReadPointer(0, 0, INIT)
        return TracedStep(index, sentinel, 0, (unused, unused, unused), absorbing(sentinel))

    def writes(self, address: int, before: int) -> list[tuple[int, int]]:
        """(step, value) of every write to a word before a step."""
        written = self._writes.get(address, [])
        return written[: bisect_left(written, (before, -1))]

    def writer(self, address: int, before: int) -> int:
        written = self._last(address, before)
        return INIT if written is None else written[0]

    def value(self, address: int, before: int) -> int:
        """The word at an address before a step; ``before`` = 0 for the initial one."""
        written = self._last(address, before)
        if written is not None:
            return written[1]
        register = (address - 0xF000_0000) // 4
        if 0 < register < 32:
            return self.start.register(register)
        return self.start.word(address) or 0

    def _last(self, address: int, before: int) -> tuple[int, int] | None:
        """Step and value of the last write to a word before a step."""
        written = self._writes.get(address, [])
        place = bisect_left(written, (before, -1))
        return written[place - 1] if place else None

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


def scene_of(run: Run) -> Scene:
    """What a liar about ``run`` works from; what it claims is the run's, true or not."""

    def trace(data: bytes, forgery: Forgery | None) -> Run:
        return run if data == run.data and forgery is None else Run(run.premises, data, forgery)

    return Scene(run.premises, run.data, run.data, trace)


class Plan:
    """What a prover does about ``run``, honest at first: a ``Liar`` that a test changes.

    ``instead`` is the run of another input, which it commits to and shows for this one;
    ``coherent`` runs on from the first false record.
    """

    def __init__(
        self,
        run: Run,
        *,
        instead: Run | None = None,
        silent: Moment | None = None,
        coherent: bool = False,
    ) -> None:
        self.run = run
        self.liar = Liar(scene_of(run), instead=instead, silent=silent, goes_on=coherent)

    @property
    def premises(self) -> Premises:
        return self.run.premises

    @property
    def true(self) -> bool:
        return self.liar.true

    @property
    def story(self) -> History:
        """What it commits to, as a trace."""
        return self.liar.told

    def forge(self, index: int, fragment: Fragment, record: Record) -> None:
        """Commit ``record`` at a step and show ``fragment`` there."""
        self.liar = self.liar.forged(index, fragment, record)

    def silence(self, moment: Moment) -> None:
        """No answer at this moment."""
        self.liar = replace(self.liar, silent=moment)

    def move(self, play: Play) -> object:
        """Its move; None = silence."""
        return self.liar.move(play)


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
