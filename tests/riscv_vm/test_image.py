"""The loader: what it accepts, what it refuses and how, and that hostile files cost little."""

import pickle
import resource
import struct
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riscv_vm import fast
from riscv_vm.image import ImageError, ProgramImage, Segment, Symbol, load_elf
from riscv_vm.record import Outcome
from tests.builders.asm import TEXT_BASE, asm, encode
from tests.builders.elf import ElfSegment, R, W, X, write_elf
from tests.builders.programs import DATA_BASE, EXIT

CODE = asm(EXIT)
TEXT = ElfSegment(TEXT_BASE, CODE, R | X)
DATA = ElfSegment(DATA_BASE, b"data", R | W, 64)


def elf(*segments: ElfSegment, **changes: Any) -> bytes:
    return write_elf(changes.pop("entry", TEXT_BASE), [TEXT, *segments], **changes)


def text_elf(*words: int, entry: int = TEXT_BASE) -> bytes:
    code = b"".join(word.to_bytes(4, "little") for word in words)
    return write_elf(entry, [ElfSegment(TEXT_BASE, code, R | X)])


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    size = struct.calcsize(layout)
    return data[:offset] + struct.pack(layout, value) + data[offset + size :]


NOP, ECALL, JUMP = encode("addi"), encode("ecall"), "jal"
GOOD = elf(DATA, symbols={"_start": (TEXT_BASE, 0), "terms": (DATA_BASE, 64)})
REFUSED = {
    "empty": (b"", "not an ELF file"),
    "text file": (b"#!/bin/sh\n" * 20, "not an ELF file"),
    "half a header": (GOOD[:40], "cut off within its header"),
    "64-bit": (elf(elf_class=2), "32-bit little-endian"),
    "big-endian": (elf(endian=2), "32-bit little-endian"),
    "x86": (elf(machine=3), "machine 3, not RISC-V"),
    "relocatable": (elf(kind=1), "not a static executable"),
    "shared": (elf(kind=3), "not a static executable"),
    "compressed": (elf(flags=1), "-march=rv32im"),
    "no program headers": (write_elf(TEXT_BASE, []), "program headers"),
    "65535 program headers": (patched(GOOD, 44, "<H", 0xFFFF), "program headers"),
    "program headers of 56 bytes": (patched(GOOD, 42, "<H", 56), "program headers"),
    "program headers far away": (
        patched(GOOD, 28, "<I", 0xFFFF_FFF0),
        "its program headers",
    ),
    "section headers of 64 bytes": (patched(GOOD, 46, "<H", 64), "section headers are not 40"),
    "section headers far away": (
        patched(GOOD, 32, "<I", 0xFFFF_FFF0),
        "its section headers",
    ),
    "cut off in a segment": (elf(DATA)[:-4], "cut off within segment 0x20000"),
    "segment offset far away": (patched(elf(DATA), 52 + 4, "<I", 0xFFFF_FF00), "cut off within"),
    "dynamic": (elf(ElfSegment(0x3_0000, b"/lib/ld.so", R, kind=3)), "dynamic linker"),
    "more in the file than in memory": (elf(ElfSegment(0x3_0000, b"12345678", R, 4)), "more bytes"),
    "writable text": (
        write_elf(TEXT_BASE, [ElfSegment(TEXT_BASE, CODE, R | W | X)]),
        "writable and executable",
    ),
    "no text": (write_elf(TEXT_BASE, [DATA]), "no executable segment"),
    "data overlap": (elf(DATA, ElfSegment(DATA_BASE + 60, b"more")), "overlap at 0x2003c"),
    "data share a word": (elf(DATA, ElfSegment(DATA_BASE + 62, b"x", R | W, 9)), "overlap"),
    "data on text": (elf(ElfSegment(TEXT_BASE + 4, b"data")), "overlap at 0x10004"),
    "twice the same": (elf(DATA, DATA), "overlap"),
    "in the stack": (elf(ElfSegment(0x7FFF_0000, b"data")), "overlaps the stack"),
    "around the stack": (elf(ElfSegment(0x7FE0_0000, b"", R | W, 0x30_0000)), "the stack"),
    "in the input": (elf(ElfSegment(0x4FFF_FFFC, b"data")), "overlaps the input region"),
    "in the registers": (elf(ElfSegment(0xF000_0000, b"data")), "overlaps the registers"),
    "at the last byte": (elf(ElfSegment(0xFFFF_FFFF, b"d", R, 1)), "overlaps the registers"),
    "around the address space": (
        elf(ElfSegment(0x9000_0000, b"", R | W, 0xFFFF_FFFF)),
        "overlaps the registers",
    ),
    "text in the registers": (
        write_elf(0xF000_0000, [ElfSegment(0xF000_0000, CODE, R | X)]),
        "overlaps the registers",
    ),
    "data below 0x1000": (elf(ElfSegment(0xFFC, b"data")), "below 0x1000"),
    "2 GiB bss": (elf(ElfSegment(0x8000_0000, b"", R | W, 0x6FFF_0000)), "64 MiB"),
    "65 MiB in two": (
        elf(*(ElfSegment(base, b"", R | W, 0x208_0000) for base in (0x9000_0000, 0xA000_0000))),
        "64 MiB",
    ),
    "5 MiB text": (
        write_elf(TEXT_BASE, [ElfSegment(TEXT_BASE, CODE, R | X, 5 << 20)]),
        "larger than 4 MiB",
    ),
    "text far apart": (elf(ElfSegment(0x6000_0000, CODE, R | X)), "larger than 4 MiB"),
    "gap in the text": (elf(ElfSegment(TEXT_BASE + 64, CODE, R | X)), "gap at 0x1000c"),
    "entry outside": (elf(entry=TEXT_BASE + len(CODE)), "entry point 0x1000c"),
    "entry misaligned": (elf(entry=TEXT_BASE + 2), "entry point 0x10002"),
    "entry in data": (elf(DATA, entry=DATA_BASE), "entry point 0x20000"),
    "data in the text": (text_elf(NOP, 0xDEAD_BEE0, ECALL), "0xdeadbee0 at 0x10004"),
    "fence.i": (text_elf(0x0000_100F, ECALL), "0x0000100f at 0x10000"),
    "falls off the end": (text_elf(ECALL, NOP), "at 0x10004, can run off"),
    "branch off the end": (
        text_elf(ECALL, encode("beq", imm=4)),
        "0x10004 leads to no",
    ),
    "call that returns off the end": (
        text_elf(NOP, encode("jal", imm=8)),
        "leads to no",
    ),
    "jump below the text": (text_elf(encode("jal", imm=-4)), "0x10000 leads to no"),
    "branch to half a word": (
        text_elf(encode("beq", imm=2), ECALL),
        "0x10000 leads to no",
    ),
    "text ends in half a word": (
        write_elf(TEXT_BASE, [ElfSegment(TEXT_BASE, CODE + b"\x13\x00", R | X)]),
        "run off the end",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_with_a_reason(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(ImageError) as error:
        load_elf(data)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_every_truncation_is_refused() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(ImageError):
            load_elf(GOOD[:size])


def test_what_a_good_file_gives() -> None:
    image = load_elf(GOOD)
    assert (image.entry, image.text_base, image.text) == (TEXT_BASE, TEXT_BASE, CODE)
    assert image.data == (Segment(DATA_BASE, 64, b"data"),)
    assert dict(image.symbols) == {"_start": Symbol(TEXT_BASE, 0), "terms": Symbol(DATA_BASE, 64)}
    assert image.initial_word(DATA_BASE) == int.from_bytes(b"data", "little")
    assert image.initial_word(DATA_BASE + 60) == 0
    assert image.initial_word(DATA_BASE + 64) is None
    assert image.initial_word(TEXT_BASE) is None
    assert image.initial_word(0x7FFF_FFFC) == 0


def test_segments_are_padded_to_words() -> None:
    image = load_elf(elf(ElfSegment(DATA_BASE + 3, b"abc", R, 3)))
    assert image.data == (Segment(DATA_BASE, 8, b"\0\0\0abc\0\0"),)


def test_text_may_be_split_without_a_gap() -> None:
    half = [
        ElfSegment(TEXT_BASE + 4, CODE[4:], R | X),
        ElfSegment(TEXT_BASE, CODE[:4], R | X),
    ]
    assert load_elf(write_elf(TEXT_BASE, half)) == load_elf(elf())


def test_headers_that_load_nothing_are_ignored() -> None:
    attributes = ElfSegment(0, b"riscv", R, kind=0x7000_0003)
    empty = ElfSegment(0x4000_0000, b"", R | W, 0)
    assert load_elf(elf(attributes, empty)) == load_elf(elf())


def test_the_text_may_lie_at_address_zero() -> None:
    image = load_elf(write_elf(0, [ElfSegment(0, CODE, R | X)]))
    assert fast.run(image) == Outcome("HALT", 3)


def test_large_text_loads() -> None:
    words = encode("addi").to_bytes(4, "little") * ((4 << 18) - 3)
    image = load_elf(write_elf(TEXT_BASE, [ElfSegment(TEXT_BASE, words + CODE, R | X)]))
    assert len(image.text) == 4 << 20
    assert fast.run(image, log4_steps=12) == Outcome("HALT", 1 << 20)


def test_the_hash_covers_what_decides_the_trace() -> None:
    variants = [
        elf(),
        elf(DATA),
        elf(ElfSegment(DATA_BASE, b"datb", R | W, 64)),
        elf(ElfSegment(DATA_BASE, b"data", R | W, 68)),
        elf(ElfSegment(DATA_BASE + 4, b"data", R | W, 64)),
        elf(entry=TEXT_BASE + 8),
    ]
    assert len({load_elf(variant).hash for variant in variants}) == len(variants)
    assert load_elf(GOOD).hash == load_elf(elf(DATA)).hash


def test_an_image_travels_by_pickle() -> None:
    image = load_elf(GOOD)
    again = pickle.loads(pickle.dumps(image))
    assert again == image
    assert dict(again.symbols) == dict(image.symbols)
    assert again.hash == image.hash


def test_data_can_be_replaced() -> None:
    image = load_elf(elf(DATA, ElfSegment(0x3_0000, b"other")))
    patched_image = image.with_data(DATA_BASE + 2, b"TERMS")
    assert patched_image.data[0] == Segment(DATA_BASE, 64, b"daTERMS\0")
    assert patched_image.data[1:] == image.data[1:]
    assert patched_image.with_data(DATA_BASE + 2, b"ta\0\0\0").initial_word(DATA_BASE) == (
        image.initial_word(DATA_BASE)
    )
    for address, content in ((TEXT_BASE, b"x"), (DATA_BASE + 60, b"12345"), (DATA_BASE - 1, b"ab")):
        with pytest.raises(ImageError, match="do not lie in one data segment"):
            image.with_data(address, content)


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [(4, "<I", 11), (16, "<I", 0xFFFF_FF00), (20, "<I", 0xFFFF_FFF0), (24, "<I", 7), (36, "<I", 8)],
)
def test_a_damaged_symbol_table_is_refused(offset: int, layout: str, value: int) -> None:
    section = len(GOOD) - 80  # the symbol table's header; the string table's is the last
    damaged = patched(GOOD, section + offset, layout, value)
    if offset == 4:  # no longer a symbol table: a file without symbols
        assert not load_elf(damaged).symbols
        return
    with pytest.raises(ImageError, match="symbol"):
        load_elf(damaged)


def test_hostile_sizes_cost_no_memory_and_no_time() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    for name in REFUSED:
        with pytest.raises(ImageError):
            load_elf(REFUSED[name][0])
    assert time.process_time() - start < 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


def accepted(data: bytes) -> ProgramImage | None:
    try:
        return load_elf(data)
    except ImageError:
        return None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6))
def test_damaged_files_are_refused_or_run(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for offset, value in changes:
        data[offset] = value
    image = accepted(bytes(data))
    if image is not None:
        assert fast.run(image, b"input", log4_steps=4).steps <= 256


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0x1000, 0x1_0000, 0x2_0000, 0x4000_0000, 0x7FF0_0000, 0xEFFF_FFFC]),
            st.integers(-8, 64),
            st.binary(max_size=16),
            st.integers(0, 0xFFFF_FFFF) | st.integers(0, 64),
            st.integers(0, 7),
        ),
        max_size=5,
    ),
    st.integers(0, 0xFFFF_FFFF) | st.just(TEXT_BASE),
)
def test_random_segments_are_refused_or_run(
    segments: list[tuple[int, int, bytes, int, int]], entry: int
) -> None:
    parts = [
        ElfSegment((base + shift) & 0xFFFF_FFFF, content, flags, size)
        for base, shift, content, size, flags in segments
    ]
    image = accepted(write_elf(entry, [TEXT, *parts]))
    if image is not None:
        assert fast.run(image, log4_steps=4).end in ("HALT", "TRAP", "LIMIT")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert accepted(b"\x7fELF\x01\x01\x01" + data) is None
