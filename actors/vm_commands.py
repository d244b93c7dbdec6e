"""``oracle-vm vm ...``: the machine by itself. Here: running and proving."""

import time
from typing import Annotated, Any

import typer

from actors import placement, vm_steps
from actors.outcomes import value
from actors.prover import Prover
from actors.prover_pool import Proof, ProverPool
from actors.runtime import local_cluster
from actors.vm_progress import compilation_told, proof_bar
from actors.vm_subject import Elf, Input, Json, Log4Steps, Subject, Terms, Width, show, subject
from riscv_vm.execution import LOG4_CHUNK_DEFAULT
from riscv_vm.isa import LOG4_STEPS_DEFAULT
from riscv_vm.prove import prove, warm_up
from riscv_vm.trace import Trace
from riscv_vm.tree import WIDTH_DEFAULT

POOL_STEPS = 1_000_000
"""Below this many steps a pool costs more than it gains."""
TASK_STEPS = 1 << 22
STARTUP_S = 180.0

vm = typer.Typer(
    no_args_is_help=True,
    help="Run, prove and inspect programs on the RV32IM machine. In JSON every number is an"
    " integer, addresses and instruction words too; roots are lower-case hex; `last` is null for"
    " a word that still has its initial value (INIT).",
)


@vm.command()
def run(
    elf: Elf,
    data: Input = "",
    terms: Terms = None,
    log4_steps: Log4Steps = LOG4_STEPS_DEFAULT,
    width: Width = WIDTH_DEFAULT,
    as_json: Json = False,
) -> None:
    """Run ELF and commit to its trace: how it ended, after how many steps, and the root."""
    execution = subject(elf, data, terms, log4_steps, width).execution
    with compilation_told(), proof_bar() as advance:
        trace = prove(execution, advance)
    show(_result(trace), as_json)


@vm.command("prove")
def prove_command(
    elf: Elf,
    data: Input = "",
    terms: Terms = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Prover processes, for a million steps and more. Without it, and for less, this"
            " process proves alone.",
            min=1,
            max=64,
        ),
    ] = None,
    log4_steps: Log4Steps = LOG4_STEPS_DEFAULT,
    log4_chunk: Annotated[int, typer.Option(help="A chunk is 4^m steps.", min=1, max=10)] = (
        LOG4_CHUNK_DEFAULT
    ),
    width: Width = WIDTH_DEFAULT,
    as_json: Json = False,
) -> None:
    """Prove ELF, alone or with a pool of provers; the root does not depend on their number.

    `seconds` and `steps_per_second` are those of the proof, without the start of the provers.
    """
    it = subject(elf, data, terms, log4_steps, width, log4_chunk)
    execution = it.execution
    with compilation_told():
        warm_up((width,))
        pooled = workers is not None and execution.machine().run(POOL_STEPS) == POOL_STEPS
        proof = _by_pool(it, workers or 1) if pooled else _alone(it)
    trace = proof.trace
    show(
        _result(trace)
        | {
            "workers": max(1, len(proof.shares)),
            "seconds": proof.seconds,
            "steps_per_second": trace.steps / proof.seconds,
        },
        as_json,
    )


vm.command()(vm_steps.step)
vm.command("open")(vm_steps.open_command)
vm.command()(vm_steps.check)
vm.command()(vm_steps.disasm)


def _alone(it: Subject) -> Proof:
    with proof_bar() as advance:
        begin = time.perf_counter()
        trace = prove(it.execution, advance)
        return Proof(trace, time.perf_counter() - begin, {})


def _by_pool(it: Subject, workers: int) -> Proof:
    """Prove with ``workers`` prover processes, all of them started and compiled before."""
    with local_cluster(cpus=workers):
        provers = {
            f"prover-{i}": placement.start(placement.PROVER, str(i), Prover, it.image)
            for i in range(workers)
        }
        for prover in provers.values():
            value(prover.pid.remote(), STARTUP_S)
        with proof_bar() as advance:
            return ProverPool(it.image, provers).prove(it.job, TASK_STEPS, advance)


def _result(trace: Trace) -> dict[str, Any]:
    return {
        "end": trace.outcome.end,
        "steps": trace.steps,
        "root": trace.root.hex(),
        "log4_steps": trace.log4_steps,
        "width": trace.width,
    }
