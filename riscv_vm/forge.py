"""A machine that lies once, for rehearsing disputes: one forged record, then honest steps."""

from dataclasses import dataclass
from typing import Final

from riscv_vm.chunk import Chunk
from riscv_vm.fast import I64, Kernel, Machine
from riscv_vm.image import ProgramImage
from riscv_vm.interpreter import WATCHED, Tile, run_record, run_watch
from riscv_vm.isa import HALT, NOWRITE, REGISTER_BASE
from riscv_vm.record import Record, register_address

_LATE_STEPS: Final = 64


@dataclass(frozen=True, slots=True)
class Forgery:
    """The wrong ``record`` of step ``step``; it must lead to a state of the machine."""

    step: int
    record: Record


class ForgingMachine(Machine):
    """The fast machine, except for one step. A forgery behind the end never happens."""

    def __init__(self, image: ProgramImage, data: bytes, forgery: Forgery) -> None:
        super().__init__(image, data)
        self.forgery = forgery

    def commit(
        self, chunks: int, chunk_steps: int, width: int, lanes: int | None = None
    ) -> list[bytes]:
        roots: list[bytes] = []
        for _ in range(chunks):
            if self.steps <= self.forgery.step < self.steps + chunk_steps:
                roots.append(Chunk(self.record(chunk_steps), chunk_steps, width, lanes).root)
            else:
                roots += super().commit(1, chunk_steps, width, lanes)
        return roots

    def _advance(
        self, kernel: Kernel, start: int, stop: int, tile: Tile, last: I64, watched: int
    ) -> int:
        forged = start + self.forgery.step - self.steps
        if not start <= forged < stop:
            return super()._advance(kernel, start, stop, tile, last, watched)
        done = super()._advance(kernel, start, forged, tile, last, watched)
        if self.ended:
            return done
        record = self.forgery.record
        self.apply(record)
        if kernel is run_record:
            tile.waddr[forged], tile.wval[forged], tile.next_pc[forged] = record
        if kernel is run_watch and record.waddr == watched:
            last[WATCHED] = forged
        elif kernel is run_watch and register_address(1) <= record.waddr < NOWRITE:
            last[(record.waddr - REGISTER_BASE) // 4] = forged
        return done + 1 + super()._advance(kernel, forged + 1, stop, tile, last, watched)


def halting_forgery(image: ProgramImage, data: bytes, steps: int, limit: int) -> Forgery | None:
    """The last write of a run of ``steps`` steps that makes it halt within ``limit`` if it is zero
    instead: of a program that refuses its input, the exit code. None if no late one does."""
    first = max(0, steps - _LATE_STEPS)
    honest = Machine(image, data)
    honest.run(first)
    records = [honest.step().record for _ in range(first, steps)]
    for step in reversed(range(first, steps)):
        record = records[step - first]
        forgery = Forgery(step, record._replace(wval=0))
        if record.wval and _halts(image, data, forgery, limit):
            return forgery
    return None


def _halts(image: ProgramImage, data: bytes, forgery: Forgery, limit: int) -> bool:
    machine = ForgingMachine(image, data, forgery)
    machine.run(limit)
    return machine.pc == HALT
