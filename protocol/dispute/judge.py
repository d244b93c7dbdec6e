"""The verdict on one step: what the reference machine says against what the prover committed."""

from dataclasses import replace

from protocol.dispute.game import Fault, Game, Party, Verdict
from protocol.errors import DisputeError
from riscv_vm.isa import HALT, NOWRITE, REGISTER_BASE, REGISTER_NAMES, TRAP, disassemble
from riscv_vm.machine import Step
from riscv_vm.record import Record


def judge(game: Game, honest: Step) -> Game:
    """The ended game, judged by ``honest``: the disputed step as the reference machine takes it.

    The prover's record must be the machine's, and the last step of the trace must be in HALT.
    """
    if game.step is None:
        raise DisputeError("only a game that is down to one step can be judged")
    claimed, last = game.disputed, game.step == 4**game.claim.log4_steps - 1
    if claimed != honest.record:
        fault, reason = (
            Fault.EXECUTE,
            f"committed `{describe(claimed)}`, not `{describe(honest.record)}`",
        )
    elif last and honest.record.next_pc != HALT:
        fault, reason = (
            Fault.NOT_HALT,
            f"the trace does not end in HALT but in {describe(honest.record)}",
        )
    else:
        fault, reason = Fault.NONE, "the record is what the machine computes"
    winner = Party.PROVER if fault is Fault.NONE else Party.CHALLENGER
    instruction = disassemble(honest.opcode, honest.pc) if honest.opcode else "absorb"
    verdict = Verdict(winner, fault, reason, len(game.digits), game.step, instruction)
    return replace(game, verdict=verdict)


def describe(record: Record) -> str:
    """A record as a person reads it."""
    next_pc = {HALT: "HALT", TRAP: "TRAP"}.get(record.next_pc, f"pc {record.next_pc:#x}")
    return f"{_write(record)}, then {next_pc}"


def _write(record: Record) -> str:
    if record.waddr == NOWRITE:
        return "no write"
    register = (record.waddr - REGISTER_BASE) // 4
    place = REGISTER_NAMES[register] if 0 < register < 32 else f"[{record.waddr:#x}]"
    return f"{place} = {record.wval:#x}"
