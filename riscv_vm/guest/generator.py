"""Writes ``generator.c``, odd multiples of G: ``python -m riscv_vm.guest.generator > generator.c``.

After it, rebuild with ``python -m riscv_vm.guest.build --update``.
"""

import sys
from collections.abc import Iterator
from typing import Final

PRIME: Final = 2**256 - 2**32 - 977
G: Final = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)
ENTRIES: Final = 64

Point = tuple[int, int]


def add(p: Point, q: Point) -> Point:
    """The sum of two points of secp256k1 that are not each other's negative."""
    if p == q:
        slope = 3 * p[0] ** 2 * pow(2 * p[1], -1, PRIME) % PRIME
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, PRIME) % PRIME
    x = (slope**2 - p[0] - q[0]) % PRIME
    return x, (slope * (p[0] - x) - p[1]) % PRIME


def odd_multiples(count: int) -> Iterator[Point]:
    """G, 3 G, 5 G, ..."""
    point, step = G, add(G, G)
    for _ in range(count):
        yield point
        point = add(point, step)


def source() -> str:
    """The C file."""
    lines = [
        "/* G, 3 G, 5 G, ... of secp256k1, written by generator.py. */",
        '#include "point.h"',
        "",
        "const Affine GENERATOR_MULTIPLES[GENERATOR_ENTRIES] = {",
    ]
    for x, y in odd_multiples(ENTRIES):
        lines += [f"{{{{{{{_words(x)}}}}},", f"{{{{{_words(y)}}}}}}},"]
    return "\n".join([*lines, "};", ""])


def _words(coordinate: int) -> str:
    return ", ".join(f"0x{coordinate >> 32 * i & 0xFFFFFFFF:08x}" for i in range(8))


if __name__ == "__main__":
    sys.stdout.write(source())
