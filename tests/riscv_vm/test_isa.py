"""Encodings and disassembly, judged by a second decoder and by the assembler of the tests."""

from random import Random

import numpy as np
import pytest

from riscv_vm.isa import ENCODINGS, REGISTER_NAMES, Format, decode, disassemble
from riscv_vm.text import UNDECODABLE, decode_text
from tests.builders.asm import assemble, encode


def random_words(rng: Random) -> list[int]:
    """Random words, and words that are an instruction up to random operand bits."""
    operands = [row.match | rng.getrandbits(32) & ~row.mask for row in ENCODINGS for _ in range(40)]
    return [rng.getrandbits(32) for _ in range(2000)] + operands


def test_the_two_decoders_agree() -> None:
    words = random_words(Random(1))
    text = decode_text(np.array(words, dtype=np.uint32))
    for index, word in enumerate(words):
        instruction = decode(word)
        if instruction is None:
            assert text.row[index] == UNDECODABLE
            continue
        fields = (instruction.name, instruction.rd, instruction.rs1, instruction.rs2)
        row = ENCODINGS[text.row[index]]
        assert (row.name, text.rd[index], text.rs1[index], text.rs2[index]) == fields
        assert text.imm[index] == instruction.imm


def test_no_word_matches_two_rows() -> None:
    for word in random_words(Random(2)):
        assert sum(word & row.mask == row.match for row in ENCODINGS) <= 1


@pytest.mark.parametrize("row", ENCODINGS, ids=lambda row: row.name)
def test_disassembly_assembles_to_the_same_word(row) -> None:
    rng = Random(row.match)
    for _ in range(50):
        word = row.match | rng.getrandbits(32) & ~row.mask
        text = disassemble(word, pc=0x1_0000)
        (again,) = assemble(text, base=0x1_0000)
        assert decode(again) == decode(word) if row.format is not Format.NONE else text == row.name
        assert disassemble(again, pc=0x1_0000) == text


@pytest.mark.parametrize(
    ("word", "what"),
    [
        (0x0000_100F, "fence.i"),
        (0x3002_9073, "csrrw"),
        (0x3020_0073, "mret"),
        (0x1050_0073, "wfi"),
        (0x0000_0000, "zeros"),
        (0xFFFF_FFFF, "ones"),
        (0x0000_4501, "a compressed pair"),
        (0x0220_1013, "slli with a funct7"),
        (0x4000_1013, "slli with srai's funct7"),
        (0x4000_7033, "and with sub's funct7"),
        (0x0000_3003, "ld"),
        (0x0000_3023, "sd"),
        (0x0000_2063, "branch funct3 2"),
        (0x0000_1067, "jalr funct3 1"),
        (0x0000_01F3, "ecall with rd"),
        (0x1000_202F, "lr.w"),
        (0x0000_0007, "flw"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value:08x}",
)
def test_what_is_not_rv32im_does_not_decode(word: int, what: str) -> None:
    assert decode(word) is None
    assert disassemble(word, 0) == f".word 0x{word:08x}"
    assert decode_text(np.array([word], dtype=np.uint32)).row[0] == UNDECODABLE


@pytest.mark.parametrize(
    ("word", "pc", "text"),
    [
        (0x0015_0513, 0, "addi a0, a0, 1"),
        (0xFFF0_0093, 0, "addi ra, zero, -1"),
        (0x1234_52B7, 0, "lui t0, 0x12345"),
        (0xFE05_1EE3, 0x1000, "bne a0, zero, 0xffc"),
        (0xFF9F_F0EF, 0x1_0008, "jal ra, 0x10000"),
        (0x0000_8067, 0, "jalr zero, 0(ra)"),
        (0x0081_2503, 0, "lw a0, 8(sp)"),
        (0xFEA1_2E23, 0, "sw a0, -4(sp)"),
        (0x40F5_5513, 0, "srai a0, a0, 15"),
        (0x02B5_4533, 0, "div a0, a0, a1"),
        (0x0FF0_000F, 0, "fence"),
        (0x0000_0073, 0, "ecall"),
    ],
)
def test_known_disassembly(word: int, pc: int, text: str) -> None:
    assert disassemble(word, pc) == text


def test_register_names_follow_the_abi() -> None:
    numbers = {
        "zero": 0,
        "ra": 1,
        "sp": 2,
        "s0": 8,
        "a0": 10,
        "a7": 17,
        "s2": 18,
        "s11": 27,
        "t6": 31,
    }
    assert {name: REGISTER_NAMES.index(name) for name in numbers} == numbers
    assert len(set(REGISTER_NAMES)) == 32


def test_encode_refuses_immediates_that_do_not_fit() -> None:
    with pytest.raises(AssertionError):
        encode("addi", imm=2048)
