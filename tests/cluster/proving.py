"""A driver in a process of its own: joins a cluster, proves with a prover on each of two nodes, and
stops at the first answer until its parent has broken what it wants to break."""

import json
import sys
import time
from pathlib import Path

from actors import placement
from actors.outcomes import value
from actors.prover import Prover
from actors.prover_pool import ProverPool
from actors.runtime import joined_cluster
from tests.builders.provers import hash_image, hash_job

START_S = 300.0


def say(**fields: object) -> None:
    print(json.dumps(fields), file=sys.__stdout__, flush=True)


def main() -> None:
    address, token, rounds = sys.argv[1:]
    image, job = hash_image(), hash_job(int(rounds), 8)
    with joined_cluster(address, Path(token)):
        provers = {
            f"prover-{i}": placement.start(placement.PROVER, f"proving-{i}", Prover, image)
            for i in range(2)
        }
        say(pids={name: value(prover.pid.remote(), START_S) for name, prover in provers.items()})
        first: list[int] = []

        def progress(steps: int) -> None:
            if not first:
                first.append(steps)
                say(steps=steps)
                sys.stdin.readline()
                first.append(time.monotonic_ns())

        proof = ProverPool(image, provers).prove(job, 1 << 22, progress)
        say(
            root=proof.trace.root.hex(),
            steps=proof.trace.steps,
            ms_after_the_loss=(time.monotonic_ns() - first[1]) // 1_000_000,
            lost={name: share.lost for name, share in proof.shares.items()},
            chunks={name: share.chunks for name, share in proof.shares.items()},
            excluded=proof.excluded,
        )


if __name__ == "__main__":
    main()
