"""Child of the machine's benchmark: the fastest of several proofs by a pool, in wall seconds."""

import argparse
import json
import os

from actors import placement
from actors.outcomes import value
from actors.prover import Job, Prover
from actors.prover_pool import ProverPool
from actors.runtime import local_cluster
from riscv_vm.fast import run
from tests.bench._workload import ROUNDS_100_M, chain_image, chain_input

REPEATS = 12
TASK_STEPS = 1 << 22
STARTUP_S = 180.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--core", type=int, help="pin the driver and every worker to it")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    image, data = chain_image(), chain_input(ROUNDS_100_M)
    steps = run(image, data, 14).steps  # loads the pre-pass's kernel, too
    with local_cluster(cpus=options.workers):
        provers = {
            f"prover-{i}": placement.start(placement.PROVER, str(i), Prover, image)
            for i in range(options.workers)
        }
        for prover in provers.values():
            value(prover.pid.remote(), STARTUP_S)
        pool = ProverPool(image, provers, twice=0)
        proofs = [pool.prove(Job(data, 14, 20, 8), TASK_STEPS) for _ in range(REPEATS)]
    found = {
        "steps": steps,
        "seconds": min(proof.seconds for proof in proofs),
        "root": proofs[0].trace.root.hex(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
