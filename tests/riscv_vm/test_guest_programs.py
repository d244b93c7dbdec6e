"""The other guests on unicorn: each agrees with a library function, and refuses a wrong answer."""

import hashlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riscv_vm.guest import guest_elf
from tests.builders.unicorn_guest import UnicornGuest


def run(name: str, *parts: int | bytes) -> int | None:
    """The exit code on an input of big-endian u32 numbers and bytes."""
    data = b"".join(p if isinstance(p, bytes) else struct.pack(">I", p) for p in parts)
    ended = UnicornGuest(guest_elf(name), strict=len(data) < 2000).run(data)
    assert not ended.fault
    return ended.code


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 500])
def test_sort_orders_any_count(count: int) -> None:
    assert run("sort", count, 2463534242) == 0


def test_sort_refuses_what_it_cannot_hold() -> None:
    assert run("sort", 65537, 1) == 2
    assert run("sort", 5, 0) == 2
    assert run("sort", 5) == 1


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3))
def test_crc32_is_zlibs(data: bytes, rounds: int) -> None:
    crc = zlib.crc32(data * rounds)
    assert run("crc32", rounds, crc, data) == 0
    assert run("crc32", rounds, crc ^ 1, data) == 2


def test_crc32_refuses_a_short_input() -> None:
    assert run("crc32", 1, b"abc") == 1


@pytest.mark.parametrize("size", [0, 1, 31, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000])
def test_hash_is_hashlibs_at_every_block_border(size: int) -> None:
    data = bytes(range(256)) * 4
    digest = hashlib.sha256(data[:size]).digest()
    assert run("hash", 1, digest, data[:size]) == 0
    assert run("hash", 1, digest[:31] + b"\x00", data[:size]) == 2
    assert (
        run("hash", 3, hashlib.sha256(hashlib.sha256(digest).digest()).digest(), data[:size]) == 0
    )


def test_hash_refuses_no_rounds_and_a_short_input() -> None:
    assert run("hash", 0, bytes(32)) == 1
    assert run("hash", 1, bytes(31)) == 1


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 64), st.integers(0, 4))
def test_bigmul_is_pythons(data: st.DataObject, words: int, rounds: int) -> None:
    modulus = 2 ** (32 * words) - 1
    numbers = st.integers(0, modulus) | st.sampled_from([0, 1, modulus - 1, modulus])
    a, b = data.draw(numbers), data.draw(numbers)
    result = a * pow(b, rounds, modulus) % modulus

    def code(expected: int) -> int | None:
        sides = [number.to_bytes(4 * words) for number in (a, b, expected)]
        return run("bigmul", rounds, words, *sides)

    assert code(result) == 0
    assert code(result ^ 1) == 2


@pytest.mark.parametrize("words", [0, 65, 2**32 - 1, 0x1555_5556])
def test_bigmul_refuses_sizes_that_do_not_fit(words: int) -> None:
    assert run("bigmul", 1, words) == 1
    assert run("bigmul", 1, words, bytes(12 * 65)) == 1
