"""The official instruction tests, when RISCV_TESTS names a folder of them (docs/riscv-tests), and
the header and linker script that they are built with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from riscv_vm import fast, machine
from riscv_vm.guest.build import COMPILER
from riscv_vm.image import load_elf
from riscv_vm.isa import A0

FOLDER = os.environ.get("RISCV_TESTS")
ELSEWHERE = {
    "fence_i": "text cannot be written, and fence.i does not decode",
    "ma_data": "misaligned accesses trap",
}
HERE = Path(__file__).parent / "macro_style"
DOCS = Path(__file__).parents[2] / "docs" / "riscv-tests"
FLAGS = ("-march=rv32im", "-mabi=ilp32", "-static", "-nostdlib", "-nostartfiles")
LOG4_STEPS = 9


def official() -> list[Path]:
    """The ELF files of the folder; none without one."""
    files = sorted(Path(FOLDER).iterdir()) if FOLDER else []
    return [file for file in files if file.is_file() and file.read_bytes()[:4] == b"\x7fELF"]


def ended(elf: bytes) -> tuple[str, int]:
    """How both machines end, and the number of the case that failed or 0."""
    image = load_elf(elf)
    quick = fast.Machine(image)
    quick.run(machine.step_limit(LOG4_STEPS))
    slow = machine.Machine(image)
    while not slow.ended and slow.steps < machine.step_limit(LOG4_STEPS):
        slow.step()
    assert (quick.pc, quick.steps, quick.registers) == (
        slow.pc,
        slow.steps,
        b"".join(slow.register(number).to_bytes(4, "little") for number in range(32)),
    )
    return fast.outcome(quick).end, quick.register(A0) >> 1


@pytest.mark.parametrize("file", official() or [None], ids=lambda file: file and file.name)
def test_official(file: Path | None) -> None:
    if FOLDER is None:
        pytest.skip("RISCV_TESTS names no folder; docs/riscv-tests says how to build one")
    assert file is not None, f"RISCV_TESTS={FOLDER} holds no ELF file"
    for name, reason in ELSEWHERE.items():
        if file.stem.endswith(name):
            pytest.skip(f"cannot exist on this machine: {reason}")
    assert ended(file.read_bytes()) == ("HALT", 0)


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed")
@pytest.mark.parametrize(
    ("name", "end"),
    [("arithmetic", "HALT"), ("memory", "HALT"), ("jumps", "HALT"), ("fails", "TRAP")],
)
def test_our_header_and_linker_script_build_what_runs(tmp_path: Path, name: str, end: str) -> None:
    target = tmp_path / name
    command = [COMPILER, *FLAGS, "-I", DOCS, "-T", DOCS / "link.ld", HERE / f"{name}.S"]
    subprocess.run([*command, "-o", target], check=True, capture_output=True, text=True)
    assert ended(target.read_bytes()) == (end, 3 if end == "TRAP" else 0)
