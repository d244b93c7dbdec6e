"""``oracle-vm vm prove --provers N``: with the provers of a cluster. Takes Ray."""

from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from actors import placement
from actors.files import expanded
from actors.outcomes import Answered, eventually, fetch
from actors.prover import Prover
from actors.prover_pool import ProverPool
from actors.prover_schedule import Proof
from actors.runtime import free, joined_cluster, local_cluster
from actors.vm_progress import proof_bar
from actors.vm_subject import Subject
from protocol.errors import ConfigError
from riscv_vm.image import ProgramImage

TASK_STEPS: Final = 1 << 22
STARTUP_S: Final = 180.0
FREE_S: Final = 5.0
"""For the cluster to notice that provers have ended."""


def the_cluster(provers: int, address: str | None, token: Path) -> AbstractContextManager[None]:
    """The running one at ``address``, or one of this command's own."""
    if address is None:
        return local_cluster(cpus=provers)
    return joined_cluster(address, expanded(token))


def prove_by_pool(
    it: Subject, count: int, cluster: AbstractContextManager[None], twice: float
) -> Proof:
    """Prove with ``count`` prover processes: those that `cluster run` keeps, whatever program they
    have, and new ones, started and compiled before, for the rest."""
    with cluster:
        kept = dict(islice(placement.kept(placement.PROVER).items(), count))
        provers = kept | _started(count - len(kept), len(kept), it.image)
        job = replace(it.job, program=it.image) if kept else it.job
        pool = ProverPool(it.image, provers, twice=twice, find=placement.by_full_name)
        with proof_bar() as advance:
            return pool.prove(job, TASK_STEPS, advance)


def _started(count: int, kept: int, image: ProgramImage) -> dict[str, Any]:
    """New provers beside those that are kept, once they have compiled the machine. ConfigError if
    no node has room for them."""
    kind = placement.PROVER
    try:
        eventually(lambda: free(kind.prefix) >= count, FREE_S)
    except TimeoutError:
        raise ConfigError(
            f"--provers {kept + count}: the cluster keeps {kept} and has room for"
            f" {free(kind.prefix):g} more; ask for fewer, or have more nodes offer `prover`"
        ) from None
    run = token_hex(4)  # process ids of two containers may be equal
    provers = {
        f"prover-{i}": placement.start(kind, f"vm-{run}-{i}", Prover, image) for i in range(count)
    }
    for name, prover in provers.items():
        started = fetch(prover.pid.remote(), STARTUP_S)
        if not isinstance(started, Answered):
            raise TimeoutError(f"{name} did not start ({started.reason}); is a CPU free for it?")
    return provers
