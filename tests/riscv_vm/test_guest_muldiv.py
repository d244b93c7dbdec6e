"""The guest's wide arithmetic against Python's integers."""

from random import Random
from struct import Struct

import pytest

from protocol.errors import ProtocolError
from protocol.pool.muldiv import mul_div, mul_div_up
from riscv_vm import fast
from riscv_vm.guest import guest_elf
from riscv_vm.image import load_elf
from riscv_vm.isa import A0

U64 = 2**64
ROW = Struct("<7Q")
IMAGE = load_elf(guest_elf("muldiv"))
FLOOR, CEILING, PRODUCT, SUM, DIFFERENCE, QUOTIENT = range(6)
EDGES = (0, 1, 2, 2**32 - 1, 2**32, 2**63 - 1, 2**63, U64 - 1)


def row(which: int, a: int, b: int, d: int) -> bytes:
    """The question and Python's answer."""
    value = answer(which, a, b, d)
    holds = value is not None
    number = (value or 0) % 2**128
    return ROW.pack(which, a, b, d, holds, number % U64, number >> 64)


def answer(which: int, a: int, b: int, d: int) -> int | None:
    if which in (FLOOR, CEILING):
        try:
            return (mul_div, mul_div_up)[which](a, b, d)
        except ProtocolError:
            return None
    product, other = a * signed(b), b * signed(a)
    if which == QUOTIENT:
        return abs(product) // d if d and abs(product) // d < U64 else None
    value = {PRODUCT: product, SUM: product + other, DIFFERENCE: product - other}[which]
    return value if -(2**127) <= value < 2**127 else None


def signed(number: int) -> int:
    return number - U64 if number >> 63 else number


def first_wrong(rows: list[bytes]) -> int:
    run = fast.Machine(IMAGE, b"".join(rows))
    run.run(4**15)
    assert run.ended
    return run.register(A0)


@pytest.mark.parametrize("which", range(6))
def test_the_edges(which: int) -> None:
    rows = [row(which, a, b, d) for a in EDGES for b in EDGES for d in EDGES]
    assert first_wrong(rows) == 0


def test_random_numbers() -> None:
    random = Random(5)

    def number() -> int:
        return random.getrandbits(random.randint(1, 64))

    rows = [row(random.randrange(6), number(), number(), number()) for _ in range(20_000)]
    assert first_wrong(rows) == 0


def test_a_wrong_answer_is_found() -> None:
    rows = [row(FLOOR, 7, 5, 3), row(FLOOR, 7, 5, 3)]
    rows[1] = ROW.pack(FLOOR, 7, 5, 3, 1, 12, 0)
    assert first_wrong(rows) == 2


@pytest.mark.parametrize(
    ("a", "b", "d", "most"), [(10**9, 10**10, 10**8, 400), (2**60, 9, 7, 1300)]
)
def test_what_a_division_costs(a: int, b: int, d: int, most: int) -> None:
    empty = fast.Machine(IMAGE)
    empty.run(4**12)
    run = fast.Machine(IMAGE, row(FLOOR, a, b, d))
    run.run(4**12)
    assert run.steps - empty.steps < most + 300  # the row itself
