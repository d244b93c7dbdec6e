"""The fast machine against the reference machine, step by step, and the endings kept as data."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from riscv_vm import fast, machine
from riscv_vm.image import ImageError, ProgramImage, load_elf
from riscv_vm.isa import INPUT_BASE, REGISTER_BASE, SENTINELS, Encoding
from riscv_vm.machine import UNUSED
from riscv_vm.program import load_program
from riscv_vm.record import SENTINEL_OF_END, Outcome, Record, absorbing
from tests.builders.asm import TEXT_BASE, asm
from tests.builders.elf import ElfSegment, R, W, X, write_elf
from tests.builders.operands import RUNNABLE, operand_cases
from tests.builders.programs import DATA_BASE, EXIT, program, random_program

VECTORS = Path(__file__).parents[1] / "vectors" / "riscv_vm"
ENDINGS: list[dict[str, Any]] = json.loads((VECTORS / "traps.json").read_text())


def compare(image: ProgramImage, data: bytes = b"", limit: int = 4096) -> Outcome:
    """Both machines over the same run: every record, the final registers and memory."""
    reference = machine.Machine(image, data)
    records = []
    while not reference.ended and len(records) < limit:
        records.append(reference.step().record)
    twin = fast.Machine(image, data)
    tile = twin.record(len(records))
    planes = np.array(records, dtype=np.uint32).T
    for name, expected, actual in zip(Record._fields, planes, tile, strict=True):
        differ = np.flatnonzero(expected != actual[: len(records)])
        assert not len(differ), f"{name} of step {differ[0]}"
    plain = fast.Machine(image, data)
    assert plain.run(limit) == len(records)
    for other in (twin, plain):
        assert (other.pc, other.steps) == (reference.pc, reference.steps)
        assert [other.register(i) for i in range(32)] == [reference.register(i) for i in range(32)]
        for segment in image.memory:
            for address in range(segment.base, segment.base + min(segment.size, 1024), 4):
                assert other.word(address) == reference.word(address)
    return fast.outcome(plain)


@pytest.mark.parametrize("case", ENDINGS, ids=lambda case: case["name"])
def test_endings(case: dict[str, Any]) -> None:
    image = program("\n".join(case["asm"]), bytes(range(64)))
    data = bytes.fromhex(case.get("input", ""))
    log4_steps = case.get("log4_steps", 4)
    expected = Outcome(case["end"], case["steps"])
    assert machine.run(image, data, log4_steps) == expected
    assert fast.run(image, data, log4_steps) == expected
    *_, last = zip(range(case["steps"]), machine.trace(image, data), strict=False)
    used = [[f"0x{read.address:08x}", f"0x{read.value:08x}"] for read in last[1].reads]
    unused = [f"0x{UNUSED.address:08x}", f"0x{UNUSED.value:08x}"]
    while used and used[-1] == unused:
        used.pop()
    if case["end"] != "LIMIT":
        assert used == case["reads"]
        assert last[1].record == absorbing(SENTINEL_OF_END[case["end"]])
    compare(image, data, 4**log4_steps)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    assert compare(random_program(Random(1000 + seed))).end in ("HALT", "TRAP")


@pytest.mark.parametrize("row", RUNNABLE, ids=lambda row: row.name)
def test_every_instruction_on_corner_operands(row: Encoding) -> None:
    image, _, cases = operand_cases(row, Random(row.match + 1))
    for pc, registers in cases:
        reference, twin = machine.Machine(image), fast.Machine(image)
        for register in range(1, 32):
            record = Record(REGISTER_BASE + 4 * register, registers[register], pc)
            reference.apply(record)
            twin.apply(record)
        step = reference.step()
        assert tuple(int(plane[0]) for plane in twin.record(1)) == step.record


def test_step_of_the_fast_machine_is_the_reference_step() -> None:
    image = random_program(Random(5))
    reference, twin = machine.Machine(image), fast.Machine(image)
    for _ in range(200):
        assert twin.step() == reference.step()


def test_run_stops_exactly_and_goes_on() -> None:
    image = random_program(Random(7))
    whole, parts = fast.Machine(image), fast.Machine(image)
    total = whole.run(10**6)
    for count in (0, 1, 2, 3, 50, 1):
        assert parts.run(count) == count
    assert parts.steps == 57
    assert parts.run(10**6) == total - 57
    assert (parts.pc, parts.registers) == (whole.pc, whole.registers)
    assert parts.run(5) == 0


def test_records_go_on_behind_the_end() -> None:
    twin = fast.Machine(program("ebreak"))
    tile = twin.record(100)
    assert [int(plane[99]) for plane in tile] == list(absorbing(SENTINELS[1]))
    assert twin.steps == 1
    assert fast.Machine(program("nop\n" + EXIT)).record(4).next_pc[3] == SENTINELS[0]


def test_many_data_regions_and_input() -> None:
    """Segments before, between and behind others, adjacent ones too; words at every border."""
    bases = (0x1000, 0x3000, 0x3010, 0x8000_0000, 0xEFFF_FFF0)
    lines = []
    for base in (*bases, INPUT_BASE):
        for offset in (0, 12):
            lines += [f"li s0, {base + offset}", "lw t0, 0(s0)", "lhu t1, 2(s0)", "lb t2, 3(s0)"]
            lines += ["sb t0, 1(s0)", "sh t0, 2(s0)"] if base != INPUT_BASE else []
    text = ElfSegment(TEXT_BASE, asm("\n".join(lines) + "\n" + EXIT), R | X)
    rng = Random(3)
    data = [ElfSegment(base, rng.randbytes(10), R | W, 16) for base in bases]
    image = load_elf(write_elf(TEXT_BASE, [text, *data]))
    assert compare(image, bytes(range(1, 13))).end == "HALT"
    outside = (0xFFC, 0x1010, 0x2FFC, 0x3020, 0x7FFF_FFF0 - (1 << 20), 0x8000_0010, 0xEFFF_FFEC)
    twin = fast.Machine(image)
    assert not any(twin.writable(address) for address in outside)
    assert all(twin.writable(base) and twin.writable(base + 12) for base in bases)


def test_word_and_writable_match_the_reference() -> None:
    image = program(EXIT, bytes(range(40)), 40)
    reference, twin = machine.Machine(image, b"xyz"), fast.Machine(image, b"xyz")
    borders = (0, DATA_BASE, DATA_BASE + 40, INPUT_BASE, INPUT_BASE + 8, 0x7FF0_0000, 0x8000_0000)
    for address in {(border + near) & 0xFFFF_FFFC for border in borders for near in (-4, 0, 4)}:
        assert twin.word(address) == reference.word(address)
        assert twin.writable(address) == reference.writable(address)


def test_apply_and_input_limit_refuse_like_the_reference() -> None:
    with pytest.raises(ImageError, match="no step writes"):
        fast.Machine(program(EXIT)).apply(Record(0x10, 0, TEXT_BASE))
    with pytest.raises(ImageError, match="16777217 bytes"):
        fast.Machine(program(EXIT), bytes((16 << 20) + 1))


def test_an_image_is_predecoded_once() -> None:
    assert load_program(program(EXIT)) is load_program(program(EXIT))
