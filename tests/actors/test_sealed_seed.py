"""A seed under a passphrase: it comes back whole, or not at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.sealed_seed import LOG_N, seal, unseal
from protocol.errors import ConfigError, EncodingError

WORDS = "correct horse battery staple"
FAST = 4
"""log2 of scrypt's n: a test guesses often."""


@given(st.binary(min_size=32, max_size=32), st.text(min_size=12), st.binary(max_size=40))
@settings(max_examples=25, deadline=None)
def test_it_comes_back(seed: bytes, passphrase: str, bound: bytes) -> None:
    sealed = seal(seed, passphrase, bound, FAST)
    assert unseal(sealed, passphrase, bound) == seed
    assert seed not in sealed
    assert sealed != seal(seed, passphrase, bound, FAST)


@pytest.mark.parametrize("place", [1, 17, 40, 49, 80])
def test_one_changed_bit_is_enough(place: int) -> None:
    sealed = bytearray(seal(bytes(32), WORDS, b"terms", FAST))
    sealed[place] ^= 1
    with pytest.raises(ConfigError, match="passphrase: wrong, or the file was changed"):
        unseal(bytes(sealed), WORDS, b"terms")


def test_another_passphrase_or_file_is_refused() -> None:
    sealed = seal(bytes(32), WORDS, b"terms", FAST)
    for passphrase, bound in ((WORDS + " ", b"terms"), (WORDS, b"others")):
        with pytest.raises(ConfigError, match="passphrase: wrong"):
            unseal(sealed, passphrase, bound)


@pytest.mark.parametrize("sealed", [b"", bytes(80), bytes(82), bytes(81), b"\x15" + bytes(80)])
def test_what_is_no_seal_is_named(sealed: bytes) -> None:
    with pytest.raises(EncodingError, match="no sealed seed"):
        unseal(sealed, WORDS, b"")


def test_a_guess_is_dear_and_a_passphrase_long() -> None:
    assert LOG_N >= 17
    with pytest.raises(ConfigError, match="at least 12 characters"):
        seal(bytes(32), "hunter2", b"")
