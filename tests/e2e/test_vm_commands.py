"""``oracle-vm vm ...`` against the machine it shows: steps, openings, listings, terms, progress."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba import njit
from rich.console import Console
from typer.testing import CliRunner

from actors import vm_progress
from actors.cli import app
from actors.vm_progress import COMPILING, compilation_told, proof_bar
from protocol.errors import EncodingError
from protocol.settlement.terms import settlement_image, terms_page
from riscv_vm.execution import LOG4_CHUNK_DEFAULT
from riscv_vm.guest import elf_path, guest_elf
from riscv_vm.image import ImageError, load_elf
from riscv_vm.jit import on_compilation
from riscv_vm.machine import UNUSED, trace
from riscv_vm.prove import Execution, prove
from tests.builders.asm import assemble
from tests.builders.claims import C_UNITS, claim_at, patched
from tests.builders.terms import contract_terms

SORT, SETTLE = elf_path("sort"), elf_path("settle")
SORT_INPUT = bytes.fromhex("00000010 00000007")
SORTING = ("--input", SORT_INPUT.hex(), "--log4-steps", "7")


def vm(*arguments: object) -> Any:
    """What the command prints as JSON."""
    done = CliRunner().invoke(app, ["vm", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(error: type[Exception], *arguments: object) -> str:
    done = CliRunner().invoke(app, ["vm", *map(str, arguments)])
    assert isinstance(done.exception, error)
    assert done.stdout == ""
    return str(done.exception)


def test_a_step_is_the_reference_machines_with_pointers_by_brute_force() -> None:
    writers: dict[int, int] = {}
    steps = list(trace(load_elf(guest_elf("sort")), SORT_INPUT))
    chosen = {*range(0, len(steps), 211), len(steps) - 1}
    for index, step in enumerate(steps):
        if index in chosen:
            shown = vm("step", SORT, *SORTING, "--at", index)
            assert (shown["step"], shown["pc"], shown["opcode"]) == (index, step.pc, step.opcode)
            (word,) = assemble(shown["asm"], base=step.pc)
            assert word == step.opcode
            assert shown["record"] == dict(
                zip(("waddr", "wval", "next_pc"), step.record, strict=True)
            )
            assert shown["reads"] == [
                {
                    "slot": slot,
                    "addr": read.address,
                    "value": read.value,
                    "last": writers.get(read.address),
                }
                for slot, read in enumerate(step.reads)
                if read != UNUSED
            ]
        writers[step.record.waddr] = index


def test_a_step_behind_the_end_absorbs() -> None:
    shown = vm("step", SORT, *SORTING, "--at", 4**7 - 1)
    assert (shown["pc"], shown["asm"], shown["reads"]) == (0xFFFF_FFF1, "halt", [])
    assert "4^7" not in refused(EncodingError, "step", SORT, *SORTING, "--at", 4**7)


def test_a_step_reads_well_too() -> None:
    done = CliRunner().invoke(app, ["vm", "step", str(SORT), *SORTING, "--at", "0"])
    assert done.exit_code == 0
    assert "step 0 at 0x10000: jal ra" in done.stdout
    assert "writes ra = 0x00010004" in done.stdout


@pytest.mark.parametrize("width", [20, 32])
def test_an_opening_leads_to_the_root_and_to_no_other(tmp_path: Path, width: int) -> None:
    file = tmp_path / "opening"
    shape = (*SORTING, "--width", width)
    root = vm("run", SORT, *shape)["root"]
    step = vm("step", SORT, *shape, "--at", 777)
    opened = vm("open", SORT, *shape, "--at", 777, "--out", file)
    assert (opened["root"], opened["bytes"]) == (root, file.stat().st_size)
    checked = vm("check", root, "--opening", file)
    assert checked["valid"] is True
    assert checked["record"] == opened["record"] == step["record"]
    other = ("0" if root[0] != "0" else "1") + root[1:]
    assert "does not lead" in refused(EncodingError, "check", other, "--opening", file)
    done = CliRunner().invoke(app, ["vm", "check", other, "--opening", str(file), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["valid"]) == (1, False)
    file.write_bytes(file.read_bytes()[:-1])
    assert "bytes instead of" in refused(ImageError, "check", root, "--opening", file)
    file.write_bytes(b"")
    assert "cut off" in refused(ImageError, "check", root, "--opening", file)


def test_a_root_that_is_not_hex_and_an_opening_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "opening"
    vm("open", SORT, *SORTING, "--at", 5, "--out", file)
    assert "ROOT" in refused(EncodingError, "check", "xyz", "--opening", file)
    assert "cannot be read" in refused(EncodingError, "check", "00", "--opening", tmp_path / "no")
    nowhere = tmp_path / "no" / "opening"
    assert "cannot be written" in refused(
        EncodingError, "open", SORT, *SORTING, "--at", 5, "--out", nowhere
    )


def test_the_listing_assembles_to_the_program() -> None:
    image = load_elf(guest_elf("settle"))
    listed = vm("disasm", SETTLE)
    assert listed["entry"] == image.entry
    assert len(listed["instructions"]) == len(image.text) // 4
    for row in listed["instructions"]:
        assert row["opcode"] == image.opcode(row["pc"])
        assert assemble(row["asm"], base=row["pc"]) == [row["opcode"]]
    shown = CliRunner().invoke(app, ["vm", "disasm", str(SETTLE)]).stdout.splitlines()
    assert sum(": " in line for line in shown) == len(listed["instructions"])
    assert shown[0].split()[0] == "10000:" or shown[0].endswith(":")


TERMS = contract_terms()
CLAIM = claim_at(TERMS).encode()
SETTLING = ("--terms", terms_page(TERMS).hex(), "--log4-steps", "13")


def test_terms_take_their_page() -> None:
    run = vm("run", SETTLE, "--input", CLAIM.hex(), *SETTLING)
    expected = prove(Execution(settlement_image(TERMS), CLAIM, 13))
    assert (run["end"], run["steps"]) == ("HALT", expected.steps)
    assert run["root"] == expected.root.hex()
    lie = patched(CLAIM, C_UNITS, bytes(4))
    assert vm("run", SETTLE, "--input", lie.hex(), *SETTLING)["end"] == "TRAP"
    assert vm("run", SETTLE, "--input", CLAIM.hex())["end"] == "TRAP"


def test_provers_prove_with_terms_too() -> None:
    command = [sys.executable, "-m", "actors.cli", "vm", "prove", str(SETTLE), *SETTLING]
    command += ["--input", CLAIM.hex(), "--provers", "2", "--twice", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    proved = json.loads(done.stdout)
    alone = vm("prove", SETTLE, "--input", CLAIM.hex(), *SETTLING)
    assert alone["workers"] == 1
    assert proved["checked"] == -(-proved["steps"] // 4**LOG4_CHUNK_DEFAULT)
    assert {"prover-0", "prover-1"} <= proved["provers"].keys()
    assert proved["excluded"] == {}
    for same in ("root", "end", "steps"):
        assert proved[same] == alone[same]
    assert proved["steps_per_second"] == pytest.approx(proved["steps"] / proved["seconds"])


def test_terms_that_do_not_fit_are_refused() -> None:
    assert "no symbol `terms`" in refused(ImageError, "run", SORT, "--terms", "00")
    assert "page has" in refused(ImageError, "step", SETTLE, "--at", 0, "--terms", "00" * 4097)
    assert "--terms" in refused(EncodingError, "prove", SETTLE, "--terms", "0")


def test_a_compilation_is_told_once_and_a_loaded_kernel_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heard: list[str] = []
    double = njit(lambda number: 2 * number)
    with on_compilation(lambda: heard.append("once")):
        assert (double(3), double(3.5)) == (6, 7.0)
    assert heard == ["once"]
    with on_compilation(lambda: heard.append("again")):
        assert double(4) == 8
    assert heard == ["once"]
    with compilation_told():
        assert njit(lambda number: 5 * number)(2) == 10
    assert capsys.readouterr() == ("", COMPILING + "\n")


@pytest.mark.parametrize(
    ("patience_s", "terminal", "shown"), [(0, True, True), (3600, True, False), (0, False, False)]
)
def test_a_bar_is_drawn_on_a_terminal_after_a_while(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, terminal: bool, shown: bool
) -> None:
    monkeypatch.setattr(vm_progress, "PATIENCE_S", patience_s)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    with proof_bar(console) as advance:
        advance(1_000_000)
        advance(2_500_000)
    assert ("2,500,000 steps" in screen.getvalue()) == shown
    assert bool(screen.getvalue()) == shown
