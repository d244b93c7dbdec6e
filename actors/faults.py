"""Faults on purpose, chosen by configuration: how a prover lies about a trace."""

from dataclasses import replace
from enum import StrEnum

from protocol.errors import DisputeError
from riscv_vm.execution import Execution
from riscv_vm.fast import Machine
from riscv_vm.forge import Forgery
from riscv_vm.isa import HALT
from riscv_vm.record import Record

LAST_STEPS = 64
"""How many steps at the end of a run a liar looks at."""


class Lie(StrEnum):
    """What a prover does wrong."""

    PAYOUT = "payout"  # claims too much and commits to the trace that traps
    STEP = "step"  # claims too much and forges one write, so that the guest seems to halt
    ROOT = "root"  # commits to random bytes
    STALL = "stall"  # commits to random bytes and never answers


def forge(execution: Execution, steps: int) -> Execution:
    """A trapping ``execution`` of ``steps`` steps with one wrong write, so that it ends in HALT.

    The liar sets one written value to zero and computes on honestly from the wrong state: the last
    write for which that works (for a failed check of the guest, its exit code).
    """
    first = max(0, steps - LAST_STEPS)
    honest = Machine(execution.image, execution.data)
    honest.run(first)
    records = [honest.step().record for _ in range(first, steps)]
    for index in range(steps - 1, first - 1, -1):
        record = records[index - first]
        if record.wval:
            wrong = Forgery(index, Record(record.waddr, 0, record.next_pc))
            if _halts(execution, wrong):
                return replace(execution, forgery=wrong)
    raise DisputeError("no single write near the end turns this run into one that halts")


def _halts(execution: Execution, wrong: Forgery) -> bool:
    machine = Machine(execution.image, execution.data)
    machine.run(wrong.step)
    machine.apply(wrong.record)
    machine.run(execution.limit - machine.steps)
    return machine.pc == HALT
