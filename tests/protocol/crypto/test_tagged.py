"""Many tagged hashes at once are those of hashlib, whatever their number and length."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.sha256_lanes import LANES, hash_rows
from protocol.crypto.tagged import tagged_hash, tagged_hashes, tagged_rows

TAG = "btcfi/test/v1"
BLOCK = bytes(range(64))


def rows_of(count: int, size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size), dtype=np.uint8)


def hashes_in(matrix: np.ndarray) -> list[bytes]:
    assert matrix.dtype == np.uint8 and matrix.shape[1:] == (32,) and matrix.flags.c_contiguous
    return [row.tobytes() for row in matrix]


@pytest.mark.parametrize("size", range(257))
def test_every_length_over_several_blocks_is_padded_as_hashlib_pads(size: int) -> None:
    rows = rows_of(LANES + 3, size)
    expected = [sha256(BLOCK + row.tobytes()).digest() for row in rows]
    assert hashes_in(hash_rows(BLOCK, rows)) == expected


@pytest.mark.parametrize("count", [*range(1, 2 * LANES + 2), 500, 1000])
def test_every_number_of_messages(count: int) -> None:
    rows = rows_of(count, 168)
    messages = [row.tobytes() for row in rows]
    expected = [sha256(BLOCK + message).digest() for message in messages]
    assert hashes_in(hash_rows(BLOCK, rows)) == expected
    assert hashes_in(tagged_rows(TAG, rows)) == tagged_hashes(TAG, messages)


@settings(max_examples=50)
@given(st.binary(min_size=64, max_size=64), st.integers(1, 300), st.sampled_from([0, 0xFF, 0x80]))
def test_no_bits_are_special(block: bytes, size: int, byte: int) -> None:
    rows = np.full((LANES, size), byte, dtype=np.uint8)
    rows[1::2] ^= 1
    expected = [sha256(block + row.tobytes()).digest() for row in rows]
    assert hashes_in(hash_rows(block, rows)) == expected


def test_a_view_with_gaps_is_read_as_what_it_shows() -> None:
    wide = rows_of(100, 152)
    for view in (wide[:, 4:68], wide[::2], wide[::-1, :32], np.asfortranarray(wide)):
        expected = [tagged_hash(TAG, row.tobytes()) for row in view]
        assert hashes_in(tagged_rows(TAG, view)) == expected


def test_nothing_gives_nothing() -> None:
    assert tagged_rows(TAG, np.empty((0, 32), dtype=np.uint8)).shape == (0, 32)
    assert tagged_hashes(TAG, []) == []


def test_the_tag_is_in_the_hash() -> None:
    rows = rows_of(64, 32)
    others = {*hashes_in(tagged_rows("btcfi/test/v2", rows))}
    assert others.isdisjoint(hashes_in(tagged_rows(TAG, rows)))
