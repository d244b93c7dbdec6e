"""Known answers of the machine: single steps of every instruction, and whole programs."""

from itertools import islice
from random import Random
from typing import Any

from protocol.dispute.fragment import Fragment
from riscv_vm.image import ProgramImage
from riscv_vm.isa import ENCODINGS, disassemble
from riscv_vm.machine import trace
from tests.builders.programs import program, random_program
from tests.builders.steps import DATA, IMAGE, INPUT, cases

CASES = 8

COUNTING = """
    li t0, 5
    li t1, 0
again:
    add t1, t1, t0
    addi t0, t0, -1
    bne t0, zero, again
    li a0, 0
    li a7, 93
    ecall
"""
SUMMING = """
    lui s2, 0x40000
    lw t0, 0(s2)
    addi s2, s2, 4
    li t1, 0
again:
    beq t0, zero, done
    lbu t2, 0(s2)
    add t1, t1, t2
    addi s2, s2, 1
    addi t0, t0, -1
    jal zero, again
done:
    la s0, 0x20000
    sh t1, 2(s0)
    lw a0, 4(s0)
    li a7, 93
    ecall
"""
TRAPPING = """
    li t0, 0x1002
    lw t1, 0(t0)
    ecall
"""


def answers() -> dict[str, Any]:
    return {
        "about": "docs/spec/machine.md",
        "image": {
            "text_base": IMAGE.text_base,
            "text_end": IMAGE.text_end,
            "data": DATA.hex(),
            "data_base": IMAGE.data[0].base,
            "data_end": IMAGE.data[0].end,
            "input": INPUT.hex(),
        },
        "steps": [_step(fragment) for fragment in _fragments()],
        "programs": [_program(*one) for one in programs()],
    }


def programs() -> list[tuple[str, ProgramImage, bytes]]:
    """Name, image and input."""
    return [
        ("counting", program(COUNTING), b""),
        ("summing", program(SUMMING, bytes(range(8)), 16), bytes(range(1, 8))),
        ("trapping", program(TRAPPING), b""),
        ("every class", random_program(Random(11), 4), b""),
    ]


def _fragments() -> list[Fragment]:
    rows = (row.name for row in ENCODINGS)
    return [f for name in rows for f in islice(cases(name, Random(name)), CASES)]


def _step(fragment: Fragment) -> dict[str, Any]:
    return {
        "asm": disassemble(fragment.opcode, fragment.pc),
        "pc": word(fragment.pc),
        "opcode": word(fragment.opcode),
        "reads": [[word(slot.address), word(slot.value)] for slot in fragment.slots],
        "record": [word(value) for value in fragment.write],
    }


def _program(name: str, image: ProgramImage, data: bytes) -> dict[str, Any]:
    steps = list(trace(image, data))
    return {
        "name": name,
        "entry": image.entry,
        "text_base": image.text_base,
        "text": image.text.hex(),
        "data": [[segment.base, segment.size, segment.content.hex()] for segment in image.data],
        "image_hash": image.hash.hex(),
        "input": data.hex(),
        "steps": len(steps),
        "end": word(steps[-1].record.next_pc),
        "records": b"".join(step.record.encode() for step in steps).hex(),
    }


def word(value: int) -> str:
    """A 32-bit word in hexadecimal."""
    return f"{value:08x}"
