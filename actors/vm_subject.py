"""What a ``vm`` command works on: its options, read and checked, and how it prints its answer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.prover import Job
from protocol.errors import EncodingError
from riscv_vm.execution import LOG4_CHUNK_DEFAULT, Execution
from riscv_vm.image import ProgramImage, load_elf, with_terms
from riscv_vm.record import Record

Elf = Annotated[Path, typer.Argument(help="A statically linked RV32IM ELF file.")]
Input = Annotated[str, typer.Option("--input", help="The input bytes in hex.")]
Terms = Annotated[
    str | None,
    typer.Option(help="Bytes in hex that replace the page at symbol `terms`, zeros behind them."),
]
Log4Steps = Annotated[int, typer.Option(help="The trace holds 4^k steps.", min=1, max=15)]
Width = Annotated[int, typer.Option(help="Bytes of a tree node: 20 or 32.")]
At = Annotated[int, typer.Option(help="The number of the step; the first is 0.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@dataclass(frozen=True, slots=True)
class Subject:
    """A program with its terms in place, its input and the shape of its commitment."""

    image: ProgramImage
    job: Job

    @property
    def execution(self) -> Execution:
        """Both as one."""
        return self.job.execution(self.image)


def subject(
    elf: Path,
    data: str,
    terms: str | None,
    log4_steps: int,
    width: int,
    log4_chunk: int = LOG4_CHUNK_DEFAULT,
) -> Subject:
    """The options as one; ImageError or EncodingError in words."""
    image = load_elf(read(elf))
    if terms is not None:
        image = with_terms(image, from_hex("--terms", terms))
    return Subject(image, Job(from_hex("--input", data), log4_steps, width, log4_chunk))


def read(file: Path) -> bytes:
    """The bytes of ``file``; EncodingError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise EncodingError(f"{file}: cannot be read ({error.strerror})") from None


def from_hex(option: str, text: str) -> bytes:
    """The bytes that ``option`` gives in hex, with or without 0x; EncodingError otherwise."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise EncodingError(f"{option}: hex digits, two a byte, are needed") from None


def record_fields(record: Record) -> dict[str, int]:
    """A record for JSON, by the names of its fields."""
    return record._asdict()


def show(answer: dict[str, Any], as_json: bool) -> None:
    """Print ``answer`` as a JSON object or a line a field."""
    if as_json:
        print(json.dumps(answer))
        return
    for name, item in answer.items():
        print(f"{name:>18}  {item:,}" if isinstance(item, int | float) else f"{name:>18}  {item}")
