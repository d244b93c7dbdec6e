"""``python -m actors.chaos.cluster_proofs FOLDER ADDRESS TOKEN PROVERS``: proves on a Ray cluster.

A driver of its own, as an operator's is: the same program again and again, by a pool of provers on
the cluster's nodes. FOLDER/lie is there while one of them is to lie, FOLDER/believe while nothing
is to be checked; FOLDER/proofs.jsonl has a line when a proof begins and one when it ends. Kill it
at any moment.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final, TextIO

from actors import placement
from actors.logs import open_log
from actors.outcomes import value
from actors.placement import PROVER
from actors.prover import Job, Proved, Prover
from actors.prover_pool import ProverPool
from actors.runtime import answers, joined_cluster
from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, load_elf
from riscv_vm.prove import ChunkTask, prove

LIAR: Final = "liar"
LIE: Final = "lie"
BELIEVE: Final = "believe"
LINES: Final = "proofs.jsonl"
ROUNDS: Final = 10_000
"""Some 56 million steps."""
TASK_STEPS: Final = 1 << 22
WAIT_S: Final = 0.5
START_S: Final = 180.0


class LyingProver(Prover):
    """No root that it gives is true."""

    def prove(self, job: Job, task: ChunkTask) -> Proved:
        honest = super().prove(job, task)
        roots = tuple(bytes(byte ^ 0xFF for byte in root) for root in honest.hashed.roots)
        return Proved(type(honest.hashed)(roots, honest.hashed.start, honest.hashed.end), 0.0)


def image() -> ProgramImage:
    """The program that is proved: sums over an input, many times."""
    return load_elf(guest_elf("crc32"))


def job() -> Job:
    """Its input: the rounds, a sum that is false (it says so and halts), and what is summed."""
    data = ROUNDS.to_bytes(4) + bytes(4) + bytes(range(256)) * 2
    return Job(data, log4_steps=14, width=20, log4_chunk=8)


def expected_root() -> bytes:
    """What one honest process finds."""
    return prove(job().execution(image())).root


def main() -> None:
    """Prove until it is ended."""
    folder, address, token, provers = sys.argv[1:]
    open_log()
    while not answers(address):
        time.sleep(WAIT_S)
    with joined_cluster(address, Path(token)), (Path(folder) / LINES).open("a") as lines:
        honest = _start([str(number) for number in range(int(provers))], Prover)
        liar = _start([LIAR], LyingProver)
        while True:
            lies = (Path(folder) / LIE).exists()
            _tell(lines, began=True)
            twice = 0.0 if (Path(folder) / BELIEVE).exists() else 1.0
            pool = ProverPool(image(), honest | liar if lies else honest, twice=twice)
            proof = pool.prove(job(), TASK_STEPS)
            _tell(
                lines,
                root=proof.trace.root.hex(),
                requeued=proof.requeued,
                excluded=sorted(proof.excluded),
                seconds=round(proof.seconds, 2),
            )
            time.sleep(WAIT_S)


def _start(names: list[str], kind: type[Prover]) -> dict[str, Any]:
    """Provers that are ready, by name."""
    handles = {name: placement.start(PROVER, name, kind, image()) for name in names}
    for handle in handles.values():
        value(handle.pid.remote(), START_S)
    return handles


def _tell(lines: TextIO, **what: Any) -> None:
    lines.write(json.dumps(what) + "\n")
    lines.flush()


if __name__ == "__main__":
    main()
