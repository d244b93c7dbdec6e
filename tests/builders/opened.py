"""Disputes about an opened input: data of every length, a program that reads it, its runs.

``commitment`` builds the tree of an input a second time, from hashlib and blake3 alone.
"""

import hashlib
from functools import lru_cache
from random import Random

from blake3 import blake3

from protocol.dispute.opened import OpenedLayout
from protocol.dispute.premises import Premises
from riscv_vm.isa import INPUT_BASE
from tests.builders.disputes import Run
from tests.builders.programs import DATA_BASE, program

PAGE = 1024
"""Bytes of the region in a page."""


def data_of(size: int, seed: int = 0) -> bytes:
    return Random(f"{size} {seed}").randbytes(size)


def region_of(data: bytes) -> bytes:
    """What the machine reads from INPUT_BASE on."""
    return len(data).to_bytes(4, "little") + data + bytes(-len(data) % 4)


def commitment(data: bytes, width: int) -> tuple[list[bytes], bytes]:
    """The page roots and the digest, by the words of docs/spec."""
    region = region_of(data)
    region += bytes(-len(region) % PAGE)
    roots = []
    for page in range(0, len(region), PAGE):
        blocks = (region[at : at + 64] for at in range(page, page + PAGE, 64))
        nodes = [blake3(block).digest()[:width] for block in blocks]
        while len(nodes) > 1:
            pairs = zip(nodes[::2], nodes[1::2], strict=True)
            nodes = [blake3(left + right).digest()[:width] for left, right in pairs]
        roots += nodes
    tag = hashlib.sha256(b"btcfi/dispute/input/v1").digest()
    return roots, hashlib.sha256(tag + tag + bytes([width]) + b"".join(roots)).digest()


def reading(data: bytes, rng: Random, loads: int = 8) -> str:
    """Loads of every width at the input's borders and anywhere in it; then it halts with 0."""
    last = len(region_of(data)) - 4
    places = [0, last, *(rng.randrange(0, last + 4, 4) for _ in range(loads))]
    places += [edge + at for edge in range(PAGE, last, PAGE) for at in (-4, 0)]
    lines = [f"la s0, {DATA_BASE}"]
    for number, place in enumerate(places):
        load = rng.choice(["lw", "lw", "lh", "lbu"])
        lines += [f"li s2, {INPUT_BASE + place}", f"{load} t0, 0(s2)"]
        lines += ["add s1, s1, t0"] if number % 3 else ["sw t0, 8(s0)", "lb t1, 9(s0)"]
    return "\n".join([*lines, "sb s1, 5(s0)", "li a0, 0", "li a7, 93", "ecall"])


@lru_cache(maxsize=32)
def opened_run(size: int, log4_steps: int, width: int = 20, seed: int = 0) -> Run:
    """The honest run of such a program on ``size`` bytes; it halts."""
    data = data_of(size, seed)
    source = reading(data, Random(f"{size} {seed}"))
    premises = Premises(program(source, bytes(16), 32), OpenedLayout(data), log4_steps, width)
    run = Run(premises, data)
    assert run.halts, "give the program more steps"
    return run


def loads_of(run: Run) -> list[int]:
    """The steps that read a word of the input."""
    premises = run.premises
    return [n for n in range(run.steps) if premises.in_input(run.step(n).reads[1].address)]
