"""Terms in the image: the page at symbol ``terms`` of any program."""

import pytest

from riscv_vm import fast
from riscv_vm.image import ImageError, ProgramImage, load_elf, with_terms
from riscv_vm.isa import A0
from tests.builders.asm import asm
from tests.builders.elf import ElfSegment, R, W, X, write_elf

DATA = 0x10_0000
# Exits with the second word of the page.
CODE = asm("""
    li a1, 0x100000
    lw a0, 4(a1)
    li a7, 93
    ecall
loop:
    j loop
""")


def program(
    symbols: dict[str, tuple[int, int]], content: bytes = b"", size: int = 8192
) -> ProgramImage:
    return load_elf(
        write_elf(
            0x1_0000,
            [ElfSegment(0x1_0000, CODE, R | X), ElfSegment(DATA, content, R | W, size)],
            symbols=symbols,
        )
    )


def words(image: ProgramImage, count: int) -> list[int | None]:
    return [image.initial_word(DATA + 4 * i) for i in range(count)]


@pytest.mark.parametrize("content", [b"", b"\xaa" * 8192], ids=["bss", "data"])
def test_the_page_is_replaced_whole(content: bytes) -> None:
    image = program({"terms": (DATA, 4096)}, content)
    with_page = with_terms(image, b"\x01\x00\x00\x00\x2a\x00\x00\x00\x07")
    assert words(with_page, 1024) == [1, 42, 7] + [0] * 1021
    assert words(with_page, 2048)[1024:] == words(image, 2048)[1024:]
    assert with_page.symbols == image.symbols
    run = fast.Machine(with_page)
    run.run(100)
    assert run.register(A0) == 42


def test_a_symbol_without_a_size_is_a_page() -> None:
    image = program({"terms": (DATA, 0)})
    assert with_terms(image, b"\x2a" * 4096).initial_word(DATA + 4092) == 0x2A2A2A2A
    with pytest.raises(ImageError, match="the terms have 4097 bytes; the program's page has 4096"):
        with_terms(image, bytes(4097))


def test_a_program_without_the_symbol_takes_no_terms() -> None:
    for symbols in ({}, {"term": (DATA, 4096)}):
        with pytest.raises(ImageError, match="no symbol `terms`: link it with a page of that name"):
            with_terms(program(symbols), b"")


def test_terms_longer_than_the_page_are_refused() -> None:
    with pytest.raises(ImageError, match="17 bytes; the program's page has 16"):
        with_terms(program({"terms": (DATA, 16)}), bytes(17))


def test_a_symbol_outside_the_data_is_refused() -> None:
    for place in (0x1_0000, DATA + 8192 - 16, 0xFFFF_FFF0):
        with pytest.raises(ImageError, match="do not lie in one data segment"):
            with_terms(program({"terms": (place, 4096)}), b"\x01")
