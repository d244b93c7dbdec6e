"""``oracle-vm vm ...``: the machine by itself. Here: running and proving."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from actors import vm_steps
from actors.prover_schedule import HERE, Proof
from actors.vm_progress import compilation_told, proof_bar
from actors.vm_subject import Elf, Input, Json, Log4Steps, Subject, Terms, Width, show, subject
from riscv_vm.execution import LOG4_CHUNK_DEFAULT
from riscv_vm.isa import LOG4_STEPS_DEFAULT
from riscv_vm.prove import prove, warm_up
from riscv_vm.trace import Trace
from riscv_vm.tree import WIDTH_DEFAULT

POOL_STEPS = 1_000_000
"""Below this many steps a pool costs more than it gains."""
TOKEN = Path("~/.ray/auth_token")

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
    provers: Annotated[
        int | None,
        typer.Option(
            "--provers",
            "--workers",
            help="Prover processes, for a million steps and more: those that `cluster run` keeps at"
            " --address, new ones for the rest. Without it, and for less, this process proves"
            " alone.",
            min=1,
            max=1000,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="The head, HOST:PORT, of a running cluster that has this machine."),
    ] = None,
    token: Annotated[Path, typer.Option(help="The file with that cluster's token.")] = TOKEN,
    twice: Annotated[
        float | None,
        typer.Option(
            help="The share of the tasks, drawn at random, that two have to agree on. 1 (the"
            " default with --address): one prover cannot give a false root. 0 (without): the"
            " provers are processes of this machine, as good as this one.",
            min=0.0,
            max=1.0,
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
    `checked` counts the chunks that two agree on, `requeued` the tasks of provers that were lost.
    """
    it = subject(elf, data, terms, log4_steps, width, log4_chunk)
    with compilation_told():
        warm_up((width,))
        if provers is not None and it.execution.machine().run(POOL_STEPS) == POOL_STEPS:
            from actors.vm_pool import prove_by_pool, the_cluster  # takes Ray

            share = twice if twice is not None else float(address is not None)
            proof = prove_by_pool(it, provers, the_cluster(provers, address, token), share)
        else:
            proof = _alone(it)
    trace = proof.trace
    show(
        _result(trace)
        | {
            "workers": max(1, len(proof.shares.keys() - {HERE})),
            "seconds": proof.seconds,
            "steps_per_second": trace.steps / proof.seconds,
            "checked": proof.checked,
            "requeued": proof.requeued,
        }
        | _who_did_what(proof, as_json),
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
        return Proof(trace, time.perf_counter() - begin, {}, 0, {})


def _who_did_what(proof: Proof, as_json: bool) -> dict[str, Any]:
    """In JSON an object a prover; in text a line."""
    if as_json:
        shares = {name: asdict(share) for name, share in proof.shares.items()}
        return {"provers": shares, "excluded": proof.excluded}
    told = {
        name: f"{share.chunks:,} chunks, {share.steps:,} steps in {share.seconds:.3f} s"
        + (f"; {share.lost} tasks lost" if share.lost else "")
        for name, share in proof.shares.items()
    }
    return told | {name: f"excluded: {why}" for name, why in proof.excluded.items()}


def _result(trace: Trace) -> dict[str, Any]:
    return {
        "end": trace.outcome.end,
        "steps": trace.steps,
        "root": trace.root.hex(),
        "log4_steps": trace.log4_steps,
        "width": trace.width,
    }
