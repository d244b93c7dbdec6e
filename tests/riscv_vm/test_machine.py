"""The reference machine against unicorn, and the rules of ours alone: reads, x0, sentinels."""

from random import Random

import pytest

from riscv_vm.image import ImageError
from riscv_vm.isa import (
    HALT,
    INPUT_BASE,
    NOWRITE,
    REGISTER_BASE,
    SENTINELS,
    STACK_TOP,
    TRAP,
    Encoding,
)
from riscv_vm.machine import UNUSED, Machine, Read, run, trace
from riscv_vm.record import Outcome, Record
from tests.builders.asm import TEXT_BASE
from tests.builders.operands import RUNNABLE, operand_cases
from tests.builders.programs import DATA_BASE, EXIT, program, random_program
from tests.riscv_vm.judge import Judge

A7_ADDRESS, A0_ADDRESS, RA, SP = (REGISTER_BASE + 4 * number for number in (17, 10, 1, 2))


@pytest.mark.parametrize("row", RUNNABLE, ids=lambda row: row.name)
def test_every_instruction_agrees_with_unicorn(row: Encoding) -> None:
    image, content, cases = operand_cases(row, Random(row.match))
    judge = Judge(image)
    for pc, registers in cases:
        judge.write(DATA_BASE, content)
        judge.set_registers(registers)
        machine = Machine(image)
        for register in range(1, 32):
            machine.apply(Record(REGISTER_BASE + 4 * register, registers[register], pc))
        machine.step()
        assert judge.execute(pc, 1) == machine.pc
        assert judge.registers()[1:] == [machine.register(register) for register in range(1, 32)]
        memory = b"".join(machine.word(DATA_BASE + 4 * i).to_bytes(4, "little") for i in range(16))
        assert judge.read(DATA_BASE, 64) == memory


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_agree_with_unicorn(seed: int) -> None:
    image = random_program(Random(seed))
    machine = Machine(image)
    while not machine.ended:
        machine.step()
    judge = Judge(image)
    judge.set_registers([0, 0, STACK_TOP, *[0] * 29])
    judge.execute(image.entry, machine.steps - 1)
    assert judge.registers()[1:] == [machine.register(number) for number in range(1, 32)]
    words = [machine.word(DATA_BASE + 4 * i).to_bytes(4, "little") for i in range(128)]
    assert judge.read(DATA_BASE, 512) == b"".join(words)


def last_step(source: str, data: bytes = b"", given: bytes = b""):
    return list(trace(program(source, given), data))[-1]


def step_at(source: str, index: int, data: bytes = b"", given: bytes = b""):
    machine = Machine(program(source, given), data)
    for _ in range(index):
        machine.step()
    return machine.step()


def test_reset_state() -> None:
    machine = Machine(program(EXIT))
    assert machine.pc == TEXT_BASE
    assert [machine.register(number) for number in range(32)] == [0, 0, STACK_TOP, *[0] * 29]


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("add t0, sp, ra", (Read(SP, STACK_TOP), Read(RA, 0), UNUSED)),
        ("add t0, zero, sp", (UNUSED, Read(SP, STACK_TOP), UNUSED)),
        ("add zero, sp, zero", (Read(SP, STACK_TOP), UNUSED, UNUSED)),
        ("addi t0, sp, 7", (Read(SP, STACK_TOP), UNUSED, UNUSED)),
        ("lui t0, 1", (UNUSED, UNUSED, UNUSED)),
        ("auipc t0, 1", (UNUSED, UNUSED, UNUSED)),
        ("jal ra, 0x10004", (UNUSED, UNUSED, UNUSED)),
        ("fence", (UNUSED, UNUSED, UNUSED)),
        ("beq sp, ra, 0x10004", (Read(SP, STACK_TOP), Read(RA, 0), UNUSED)),
        ("lw t0, -4(sp)", (Read(SP, STACK_TOP), Read(STACK_TOP - 4, 0), UNUSED)),
        ("lb zero, -3(sp)", (Read(SP, STACK_TOP), Read(STACK_TOP - 4, 0), UNUSED)),
        ("lw t0, 0(sp)", (Read(SP, STACK_TOP), UNUSED, UNUSED)),
        ("sw ra, -4(sp)", (Read(SP, STACK_TOP), Read(RA, 0), UNUSED)),
        ("sh ra, -4(sp)", (Read(SP, STACK_TOP), Read(RA, 0), Read(STACK_TOP - 4, 0))),
        ("sb zero, -1(sp)", (Read(SP, STACK_TOP), UNUSED, Read(STACK_TOP - 4, 0))),
        ("sb ra, 0(sp)", (Read(SP, STACK_TOP), Read(RA, 0), UNUSED)),
        ("jalr zero, 0(ra)", (Read(RA, 0), UNUSED, UNUSED)),
        ("ecall", (Read(A7_ADDRESS, 0), Read(A0_ADDRESS, 0), UNUSED)),
        ("ebreak", (UNUSED, UNUSED, UNUSED)),
    ],
)
def test_reads_fill_the_slots_of_the_dispute(source: str, reads) -> None:
    step = step_at(source + "\nebreak", 0)
    assert step.reads == reads


def test_sub_word_stores_commit_the_merged_word() -> None:
    source = "la s0, 0x20000\nli t0, 0xAABBCCDD\nsb t0, 1(s0)\nsh t0, 2(s0)\n" + EXIT
    content = bytes.fromhex("44332211")
    assert step_at(source, 4, given=content).record[:2] == (DATA_BASE, 0x1122_DD44)
    second = step_at(source, 5, given=content)
    assert second.record[:2] == (DATA_BASE, 0xCCDD_DD44)
    assert second.reads[2] == Read(DATA_BASE, 0x1122_DD44)


def test_writes_to_x0_write_nothing() -> None:
    assert step_at("addi zero, sp, 1\n" + EXIT, 0).record == (NOWRITE, 0, TEXT_BASE + 4)
    assert step_at("jal zero, 0x10004\n" + EXIT, 0).record == (NOWRITE, 0, TEXT_BASE + 4)


def test_input_is_length_then_bytes_then_zeros() -> None:
    source = f"li s0, {INPUT_BASE}\nlw a1, 0(s0)\nlw a2, 4(s0)\nlbu a3, 8(s0)\nlbu a4, 11(s0)\n"
    values = [step_at(source + EXIT, 2 + i, data=b"abcde").record.wval for i in range(4)]
    assert values == [5, int.from_bytes(b"abcd", "little"), ord("e"), 0]


def test_input_too_long_is_refused() -> None:
    with pytest.raises(ImageError, match="16777217 bytes"):
        Machine(program(EXIT), bytes((16 << 20) + 1))


def test_sentinels_absorb() -> None:
    for source, end in (("li a7, 93\necall", HALT), ("ebreak", TRAP)):
        machine = Machine(program(source))
        while not machine.ended:
            machine.step()
        for _ in range(3):
            step = machine.step()
            assert (step.pc, step.opcode) == (end, 0)
            assert step.reads == (UNUSED, UNUSED, UNUSED)
            assert step.record == (NOWRITE, 0, end)


def test_limit_and_the_exact_last_step() -> None:
    fourth_ends = "nop\n" + EXIT  # nop, lui, addi, ecall
    assert run(program(fourth_ends), log4_steps=1) == Outcome("HALT", 4)
    assert run(program("nop\n" + fourth_ends), log4_steps=1) == Outcome("LIMIT", 4)
    assert run(program("loop:\nj loop"), log4_steps=3) == Outcome("LIMIT", 64)


@pytest.mark.parametrize("log4_steps", [0, 16, -1])
def test_impossible_limits_are_refused(log4_steps: int) -> None:
    with pytest.raises(ImageError, match="1 to 15"):
        run(program(EXIT), log4_steps=log4_steps)


@pytest.mark.parametrize(
    "record",
    [
        Record(REGISTER_BASE, 1, TEXT_BASE),
        Record(REGISTER_BASE + 128, 1, TEXT_BASE),
        Record(STACK_TOP, 1, TEXT_BASE),
        Record(STACK_TOP - 3, 1, TEXT_BASE),
        Record(INPUT_BASE, 1, TEXT_BASE),
        Record(NOWRITE, 1 << 32, TEXT_BASE),
        Record(NOWRITE, 0, TEXT_BASE + 2),
        Record(NOWRITE, 0, 0),
    ],
)
def test_apply_refuses_records_that_lead_nowhere(record: Record) -> None:
    with pytest.raises(ImageError):
        Machine(program(EXIT)).apply(record)


def test_sentinels_are_no_addresses() -> None:
    assert all(sentinel % 4 and sentinel > REGISTER_BASE for sentinel in SENTINELS)
