"""A dozen and more programs that check themselves, over every instruction of RV32I and M.

The expected results are constants from the manual's semantics, no machine's. They cover what the
official rv32ui and rv32um programs cover (docs/riscv-tests), which need a compiler and a download.
"""

import pytest

from riscv_vm import fast, machine
from riscv_vm.image import ProgramImage
from riscv_vm.isa import A0, ENCODINGS, HALT, STACK_TOP, TRAP, decode
from tests.builders.checks import Case, branch, checking, failed_case, immediate, operation
from tests.builders.programs import DATA_BASE
from tests.riscv_vm.judge import Judge

MIN, MAX, ONES = 0x8000_0000, 0x7FFF_FFFF, 0xFFFF_FFFF
BYTES = bytes.fromhex("ff00f00f 0ff000ff 80ff7f01 efbeadde") + bytes(48)

PROGRAMS: dict[str, list[Case]] = {
    "add and sub": [
        operation("add", 0, 0, 0),
        operation("add", 3, 7, 10),
        operation("add", MAX, 1, MIN),
        operation("add", MIN, MIN, 0),
        operation("add", ONES, 1, 0),
        operation("add", 0, 0xFFFF_8000, 0xFFFF_8000),
        operation("sub", 0, 1, ONES),
        operation("sub", MIN, 1, MAX),
        operation("sub", 3, 7, 0xFFFF_FFFC),
        operation("sub", MAX, ONES, MIN),
        Case("li a1, 21\nadd a1, a1, a1", "a1", 42),
        Case("li a1, 21\nsub a1, a1, a1", "a1", 0),
        Case("li a1, 21\nadd a4, zero, a1", "a4", 21),
        Case("li a1, 21\nsub a4, zero, a1", "a4", 0xFFFF_FFEB),
    ],
    "logic": [
        operation("and", 0xFF00_FF00, 0x0F0F_0F0F, 0x0F00_0F00),
        operation("and", 0x00FF_00FF, 0xF0F0_F0F0, 0x00F0_00F0),
        operation("or", 0xFF00_FF00, 0x0F0F_0F0F, 0xFF0F_FF0F),
        operation("or", 0x0FF0_0FF0, 0xF0F0_F0F0, 0xFFF0_FFF0),
        operation("xor", 0xFF00_FF00, 0x0F0F_0F0F, 0xF00F_F00F),
        operation("xor", 0x00FF_00FF, 0xF0F0_F0F0, 0xF00F_F00F),
        immediate("andi", 0xFF00_FF00, -241, 0xFF00_FF00),
        immediate("andi", 0x0FF0_0FF0, 0xF0, 0xF0),
        immediate("ori", 0xFF00_FF00, -241, 0xFFFF_FF0F),
        immediate("ori", 0x0FF0_0FF0, 0xF0, 0x0FF0_0FF0),
        immediate("xori", 0x00FF_0F00, -241, 0xFF00_F00F),
        immediate("xori", 0x00FF_08FF, 0x70F, 0x00FF_0FF0),
        Case("li a1, 0x1234\nxor a1, a1, a1", "a1", 0),
    ],
    "comparisons": [
        operation("slt", 0, 0, 0),
        operation("slt", MIN, MAX, 1),
        operation("slt", MAX, MIN, 0),
        operation("slt", ONES, 0, 1),
        operation("slt", 7, 3, 0),
        operation("sltu", MIN, MAX, 0),
        operation("sltu", MAX, MIN, 1),
        operation("sltu", 0, ONES, 1),
        operation("sltu", ONES, ONES, 0),
        immediate("slti", MIN, -2048, 1),
        immediate("slti", ONES, -1, 0),
        immediate("slti", -2049, -2048, 1),
        immediate("slti", 2047, -1, 0),
        immediate("sltiu", MAX, -2048, 1),
        immediate("sltiu", ONES, -1, 0),
        immediate("sltiu", 0, 1, 1),
        immediate("sltiu", 2047, 2047, 0),
    ],
    "shifts": [
        operation("sll", 1, 31, MIN),
        operation("sll", 0x2121_2121, 14, 0x4848_4000),
        operation("sll", 0x2121_2121, 0xFFFF_FFE0, 0x2121_2121),
        operation("sll", ONES, 33, 0xFFFF_FFFE),
        operation("srl", MIN, 31, 1),
        operation("srl", 0x2121_2121, 14, 0x8484),
        operation("srl", ONES, 0xFFFF_FFE7, 0x01FF_FFFF),
        operation("sra", MIN, 31, ONES),
        operation("sra", MIN, 7, 0xFF00_0000),
        operation("sra", MAX, 7, 0x00FF_FFFF),
        operation("sra", 0x8181_8181, 0xFFFF_FFEE, 0xFFFE_0606),
        immediate("slli", 0x2121_2121, 7, 0x9090_9080),
        immediate("slli", 1, 0, 1),
        immediate("srli", MIN, 7, 0x0100_0000),
        immediate("srli", ONES, 31, 1),
        immediate("srai", MIN, 14, 0xFFFE_0000),
        immediate("srai", MAX, 31, 0),
    ],
    "addi": [
        immediate("addi", 0, 0, 0),
        immediate("addi", MIN, -2048, 0x7FFF_F800),
        immediate("addi", MAX, 2047, 0x8000_07FE),
        immediate("addi", ONES, 1, 0),
        immediate("addi", 0, -1, ONES),
        Case("li a1, 13\naddi a1, a1, 11", "a1", 24),
        Case("addi a4, zero, 32", "a4", 32),
    ],
    "lui and auipc": [
        Case("lui a4, 0", "a4", 0),
        Case("lui a4, 0xfffff", "a4", 0xFFFF_F000),
        Case("lui a4, 0x7ffff\nsrai a4, a4, 20", "a4", 0x7FF),
        Case("lui a4, 0x80000\nsrai a4, a4, 20", "a4", 0xFFFF_F800),
        Case("here@:\nauipc a4, 0\nla a1, here@\nsub a4, a4, a1", "a4", 0),
        Case("here@:\nauipc a4, 0xfffff\nla a1, here@\nsub a4, a4, a1", "a4", 0xFFFF_F000),
        Case("here@:\nauipc a4, 0x80000\nla a1, here@\nsub a4, a4, a1", "a4", MIN),
    ],
    "x0 stays 0": [
        Case("addi zero, zero, 5", "zero", 0),
        Case("lui zero, 0xabcde", "zero", 0),
        Case("auipc zero, 1", "zero", 0),
        Case("li a1, 3\nmul zero, a1, a1", "zero", 0),
        Case(f"la a1, {DATA_BASE}\nlw zero, 0(a1)", "zero", 0),
        Case("jal zero, next@\nnext@:", "zero", 0),
        Case("la a1, next@\njalr zero, 0(a1)\nnext@:", "zero", 0),
        Case("addi zero, zero, 5\nadd a4, zero, zero", "a4", 0),
    ],
    "signed branches": [
        branch("beq", 0, 0, True),
        branch("beq", 1, 0, False),
        branch("beq", ONES, ONES, True),
        branch("bne", 1, 0, True),
        branch("bne", ONES, ONES, False),
        branch("blt", ONES, 0, True),
        branch("blt", 0, ONES, False),
        branch("blt", MIN, MAX, True),
        branch("blt", 5, 5, False),
        branch("bge", 0, ONES, True),
        branch("bge", MIN, MAX, False),
        branch("bge", 5, 5, True),
    ],
    "unsigned branches": [
        branch("bltu", 0, ONES, True),
        branch("bltu", MAX, MIN, True),
        branch("bltu", MIN, MAX, False),
        branch("bltu", 5, 5, False),
        branch("bgeu", ONES, 0, True),
        branch("bgeu", MIN, MAX, True),
        branch("bgeu", 0, ONES, False),
        branch("bgeu", 5, 5, True),
    ],
    "jumps": [
        Case("from@:\njal a4, to@\nj fail\nto@:\nla a1, from@\nsub a4, a4, a1", "a4", 4),
        Case(
            "la a1, to@\nfrom@:\njalr a4, 0(a1)\nj fail\nto@:\nla a1, from@\nsub a4, a4, a1",
            "a4",
            4,
        ),
        Case("li a4, 1\nla a1, to@\njalr zero, -4(a1)\nj fail\naddi a4, a4, 1\nto@:", "a4", 2),
        Case("li a4, 1\nla a1, to@\njalr zero, 1(a1)\nj fail\nto@:", "a4", 1),
        Case(
            "la a4, to@\njalr a4, 0(a4)\nfrom@:\nj fail\nto@:\nla a1, from@\nsub a4, a4, a1",
            "a4",
            0,
        ),
        Case("li a4, 3\nloop@:\naddi a4, a4, 1\nli a1, 9\nbne a4, a1, loop@", "a4", 9),
        Case(
            "j go@\ntwice@:\nadd a0, a0, a0\nret\ngo@:\nli a0, 21\njal ra, twice@\nmv a4, a0",
            "a4",
            42,
        ),
    ],
    "loads": [
        Case(f"la a1, {DATA_BASE}\nlb a4, 0(a1)", "a4", ONES),
        Case(f"la a1, {DATA_BASE}\nlb a4, 1(a1)", "a4", 0),
        Case(f"la a1, {DATA_BASE}\nlb a4, 2(a1)", "a4", 0xFFFF_FFF0),
        Case(f"la a1, {DATA_BASE}\nlb a4, 3(a1)", "a4", 0x0F),
        Case(f"la a1, {DATA_BASE + 3}\nlbu a4, -1(a1)", "a4", 0xF0),
        Case(f"la a1, {DATA_BASE}\nlbu a4, 0(a1)", "a4", 0xFF),
        Case(f"la a1, {DATA_BASE}\nlh a4, 0(a1)", "a4", 0x00FF),
        Case(f"la a1, {DATA_BASE}\nlh a4, 4(a1)", "a4", 0xFFFF_F00F),
        Case(f"la a1, {DATA_BASE}\nlhu a4, 4(a1)", "a4", 0xF00F),
        Case(f"la a1, {DATA_BASE + 8}\nlh a4, -2(a1)", "a4", 0xFFFF_FF00),
        Case(f"la a1, {DATA_BASE}\nlw a4, 12(a1)", "a4", 0xDEAD_BEEF),
        Case(f"la a1, {DATA_BASE + 32}\nlw a4, -24(a1)", "a4", 0x017F_FF80),
        Case(f"la a1, {DATA_BASE}\nlw a1, 12(a1)", "a1", 0xDEAD_BEEF),
    ],
    "stores": [
        Case(f"la a1, {DATA_BASE}\nli a2, 0xaa\nsb a2, 17(a1)\nlw a4, 16(a1)", "a4", 0xAA00),
        Case(f"la a1, {DATA_BASE}\nli a2, -1\nsb a2, 19(a1)\nlw a4, 16(a1)", "a4", 0xFF00_AA00),
        Case(
            f"la a1, {DATA_BASE}\nli a2, 0x1beef\nsh a2, 16(a1)\nlw a4, 16(a1)", "a4", 0xFF00_BEEF
        ),
        Case(f"la a1, {DATA_BASE}\nli a2, 0x7001\nsh a2, 18(a1)\nlw a4, 16(a1)", "a4", 0x7001_BEEF),
        Case(
            f"la a1, {DATA_BASE}\nli a2, 0x12345678\nsw a2, 16(a1)\nlw a4, 16(a1)",
            "a4",
            0x1234_5678,
        ),
        Case(f"la a1, {DATA_BASE + 32}\nli a2, 7\nsw a2, -12(a1)\nlw a4, -12(a1)", "a4", 7),
        Case(f"la a1, {DATA_BASE}\nsw a1, 24(a1)\nlw a4, 24(a1)", "a4", DATA_BASE),
        Case(f"la a1, {DATA_BASE}\nsb zero, 12(a1)\nlw a4, 12(a1)", "a4", 0xDEAD_BE00),
        Case("li a2, 99\nsw a2, -4(sp)\nlbu a4, -4(sp)", "a4", 99),
    ],
    "load, change, store": [
        Case(
            f"""
                la a1, {DATA_BASE + 64}
                li a2, 0
            fill@:
                sb a2, 0(a1)
                addi a1, a1, 1
                addi a2, a2, 1
                li a3, 16
                bne a2, a3, fill@
                la a1, {DATA_BASE + 64}
                li a4, 0
            sum@:
                lw a3, 0(a1)
                add a4, a4, a3
                addi a1, a1, 4
                li a3, {DATA_BASE + 80}
                bne a1, a3, sum@
            """,
            "a4",
            0x2420_1C18,
        ),
        Case(f"la a1, {DATA_BASE + 64}\nlhu a4, 14(a1)", "a4", 0x0F0E),
    ],
    "multiplication": [
        operation("mul", 7, 6, 42),
        operation("mul", MIN, MIN, 0),
        operation("mul", ONES, ONES, 1),
        operation("mul", 0xAAAA_AAAB, 0x2_FE7D & ONES, 0xFF7F),
        operation("mulh", MIN, MIN, 0x4000_0000),
        operation("mulh", ONES, ONES, 0),
        operation("mulh", MIN, 1, ONES),
        operation("mulh", 0x0100_0000, 0x0100_0000, 0x0001_0000),
        operation("mulhu", ONES, ONES, 0xFFFF_FFFE),
        operation("mulhu", MIN, MIN, 0x4000_0000),
        operation("mulhu", MIN, 2, 1),
        operation("mulhsu", ONES, ONES, ONES),
        operation("mulhsu", MIN, ONES, MIN),
        operation("mulhsu", 1, ONES, 0),
        operation("mulhsu", MAX, 2, 0),
    ],
    "division": [
        operation("div", 20, 6, 3),
        operation("div", -20 & ONES, 6, 0xFFFF_FFFD),
        operation("div", 20, -6 & ONES, 0xFFFF_FFFD),
        operation("div", -20 & ONES, -6 & ONES, 3),
        operation("div", MIN, ONES, MIN),
        operation("div", MIN, 0, ONES),
        operation("div", 0, 0, ONES),
        operation("divu", -20 & ONES, 6, 0x2AAA_AAA7),
        operation("divu", MIN, ONES, 0),
        operation("divu", MIN, 1, MIN),
        operation("divu", 5, 0, ONES),
        operation("rem", 20, 6, 2),
        operation("rem", -20 & ONES, 6, 0xFFFF_FFFE),
        operation("rem", 20, -6 & ONES, 2),
        operation("rem", MIN, ONES, 0),
        operation("rem", MIN, 0, MIN),
        operation("remu", -20 & ONES, 6, 2),
        operation("remu", MIN, ONES, MIN),
        operation("remu", 5, 0, 5),
    ],
    "fence": [
        Case("li a4, 5\nfence\naddi a4, a4, 1", "a4", 6),
        Case(f"la a1, {DATA_BASE}\nli a2, 8\nsw a2, 40(a1)\nfence\nlw a4, 40(a1)", "a4", 8),
    ],
}


def images() -> list[ProgramImage]:
    return [checking(cases, BYTES) for cases in PROGRAMS.values()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_machines_and_unicorn_find_every_result(name: str) -> None:
    image = checking(PROGRAMS[name], BYTES)
    reference, quick = machine.Machine(image), fast.Machine(image)
    while not reference.ended:
        reference.step()
    quick.run(machine.step_limit(12))
    for ours in (reference, quick):
        assert (ours.pc, failed_case(ours.register(A0))) == (HALT, 0)
    assert quick.steps == reference.steps
    judge = Judge(image)
    judge.set_registers([0, 0, STACK_TOP, *[0] * 29])
    judge.execute(image.entry, reference.steps - 1)
    assert judge.registers()[1:] == [quick.register(number) for number in range(1, 32)]


def test_a_wrong_result_is_noticed_and_named() -> None:
    for cases in PROGRAMS.values():
        last = cases[-1]
        wrong = last._replace(expected=last.expected ^ 1)
        quick = fast.Machine(checking([*cases[:-1], wrong], BYTES))
        quick.run(machine.step_limit(12))
        assert (quick.pc, failed_case(quick.register(A0))) == (TRAP, len(cases))


def test_every_instruction_is_executed() -> None:
    executed = {"ebreak"}  # only ever traps: tests/vectors/riscv_vm/traps.json
    for image in images():
        for step in machine.trace(image):
            instruction = decode(step.opcode)
            executed |= {instruction.name} if instruction else set()
    assert executed == {row.name for row in ENCODINGS}
