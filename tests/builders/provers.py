"""Provers that lie, and the workload that they are given."""

from dataclasses import replace
from hashlib import sha256

from actors.prover import Job, Proved, Prover
from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, load_elf
from riscv_vm.prove import ChunkTask

LIES = ("root", "start", "end", "missing", "types")


def hash_image() -> ProgramImage:
    """The guest that checks a chain of SHA-256."""
    return load_elf(guest_elf("hash"))


def hash_job(rounds: int, log4_chunk: int = 6) -> Job:
    """A chain of ``rounds`` over 64 bytes: 900 of them take 4.8 million steps."""
    data = digest = bytes(64)
    for _ in range(rounds):
        digest = sha256(digest).digest()
    return Job(rounds.to_bytes(4) + digest + data, 14, 20, log4_chunk)


class LyingProver(Prover):
    """Honest until told which of LIES to tell, and from which chunk on; it can also fail."""

    def __init__(self, image: ProgramImage) -> None:
        super().__init__(image)
        self._lie, self._from = "", 0

    def tell(self, lie: str, from_chunk: int = 0) -> None:
        """Lie from now on."""
        self._lie, self._from = lie, from_chunk

    def prove(self, job: Job, task: ChunkTask) -> Proved:
        if self._lie == "fail":
            raise MemoryError("no memory is left here")
        proved = super().prove(job, task)
        if not self._lie or task.first + task.count <= self._from:
            return proved
        return replace(proved, hashed=self._false(proved))

    def _false(self, proved: Proved):
        true = proved.hashed
        flipped = bytes([true.roots[-1][0] ^ 1]) + true.roots[-1][1:]
        return {
            "root": replace(true, roots=(*true.roots[:-1], flipped)),
            "start": replace(true, start=bytes(32)),
            "end": replace(true, end=bytes(32)),
            "missing": replace(true, roots=true.roots[:-1]),
            "types": replace(true, roots=[[root] for root in true.roots]),
        }[self._lie]
