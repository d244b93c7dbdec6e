"""``oracle-vm vm ...``: the machine by itself."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from actors import placement
from actors.outcomes import value
from actors.prover import Job, Prover
from actors.prover_pool import ProverPool
from actors.runtime import local_cluster
from protocol.errors import EncodingError
from riscv_vm.execution import LOG4_CHUNK_DEFAULT
from riscv_vm.fast import run as run_plain
from riscv_vm.image import ProgramImage, load_elf
from riscv_vm.isa import LOG4_STEPS_DEFAULT
from riscv_vm.prove import prove
from riscv_vm.trace import Trace
from riscv_vm.tree import WIDTH_DEFAULT

POOL_STEPS = 1_000_000
"""Below this many steps a pool costs more than it gains."""
STARTUP_S = 180.0

vm = typer.Typer(no_args_is_help=True, help="Run and prove programs on the RV32IM machine.")

Elf = Annotated[Path, typer.Argument(help="A statically linked RV32IM ELF file.")]
Input = Annotated[str, typer.Option("--input", help="The input bytes in hex.")]
Log4Steps = Annotated[int, typer.Option(help="The trace holds 4^k steps.", min=1, max=15)]
Width = Annotated[int, typer.Option(help="Bytes of a tree node: 20 or 32.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a command works on."""

    elf: bytes
    image: ProgramImage
    data: bytes


def subject(elf: Path, data: str) -> Subject:
    """The program and its input; ImageError or EncodingError in words."""
    try:
        raw = elf.read_bytes()
    except OSError as error:
        raise EncodingError(f"{elf}: cannot be read ({error.strerror})") from None
    try:
        decoded = bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        raise EncodingError("--input: hex digits, two a byte, are needed") from None
    return Subject(raw, load_elf(raw), decoded)


@vm.command()
def run(
    elf: Elf,
    data: Input = "",
    log4_steps: Log4Steps = LOG4_STEPS_DEFAULT,
    width: Width = WIDTH_DEFAULT,
    as_json: Json = False,
) -> None:
    """Run ELF and commit to its trace: how it ended, after how many steps, and the root."""
    it = subject(elf, data)
    trace = prove(Job(it.data, log4_steps, width, LOG4_CHUNK_DEFAULT).execution(it.image))
    _print(_result(trace), as_json)


@vm.command("prove")
def prove_command(
    elf: Elf,
    data: Input = "",
    workers: Annotated[int, typer.Option(help="Prover processes.", min=1, max=64)] = 1,
    log4_steps: Log4Steps = LOG4_STEPS_DEFAULT,
    log4_chunk: Annotated[int, typer.Option(help="A chunk is 4^m steps.", min=1, max=10)] = (
        LOG4_CHUNK_DEFAULT
    ),
    width: Width = WIDTH_DEFAULT,
    as_json: Json = False,
) -> None:
    """Prove ELF with a pool of provers; the root does not depend on their number."""
    it = subject(elf, data)
    job = Job(it.data, log4_steps, width, log4_chunk)
    execution = job.execution(it.image)
    steps = run_plain(it.image, it.data, log4_steps).steps
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("proving", total=steps)
        if workers == 1 or steps < POOL_STEPS:
            begin = time.perf_counter()
            trace = prove(execution, lambda done: progress.update(bar, completed=done))
            seconds = time.perf_counter() - begin
        else:
            with local_cluster(cpus=workers):
                provers = {
                    f"prover-{i}": placement.start(placement.PROVER, str(i), Prover, it.elf)
                    for i in range(workers)
                }
                for prover in provers.values():
                    value(prover.pid.remote(), STARTUP_S)
                proof = ProverPool(it.elf, provers).prove(
                    job, 1 << 22, lambda done: progress.update(bar, completed=done)
                )
            trace, seconds = proof.trace, proof.seconds
    result = _result(trace)
    result |= {"workers": workers, "seconds": seconds, "steps_per_second": steps / seconds}
    _print(result, as_json)


def _result(trace: Trace) -> dict[str, Any]:
    return {
        "end": trace.outcome.end,
        "steps": trace.steps,
        "root": trace.root.hex(),
        "log4_steps": trace.log4_steps,
        "width": trace.width,
    }


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for name, item in result.items():
        print(f"{name:>18}  {item:,}" if isinstance(item, int | float) else f"{name:>18}  {item}")
