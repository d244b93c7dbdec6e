"""BIP340 verification in C: the BIP's vectors, coincurve, and its arithmetic against Python's."""

import csv
from pathlib import Path

import pytest
from coincurve import PrivateKey, PublicKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import CURVE_ORDER as N
from protocol.crypto.keys import SecretKey, verify
from riscv_vm.guest import FOLDER, generator, guest_elf
from riscv_vm.guest.generator import PRIME as P
from tests.builders.unicorn_guest import UnicornGuest

SCHNORR = UnicornGuest(guest_elf("schnorr"))
CURVE = UnicornGuest(guest_elf("curve"))
STEPS_MAX = 3_000_000
VALID, TOO_SHORT, INVALID = 0, 1, 2

with (Path(__file__).parents[1] / "vectors" / "bip340" / "test-vectors.csv").open() as file:
    VECTORS = list(csv.DictReader(file))


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["index"])
def test_vector_of_the_bip(row: dict[str, str]) -> None:
    key, message, signature = (
        bytes.fromhex(row[column]) for column in ("public key", "message", "signature")
    )
    ended = SCHNORR.run(key + signature + message)
    assert not ended.fault
    assert ended.code == (VALID if row["verification result"] == "TRUE" else INVALID)
    assert ended.steps <= STEPS_MAX


SECRETS = st.integers(1, N - 1).map(lambda secret: secret.to_bytes(32))


@settings(max_examples=25, deadline=None)
@given(SECRETS, st.binary(min_size=32, max_size=32), st.integers(0, 8 * 128 - 1))
def test_it_agrees_with_libsecp256k1(secret: bytes, message: bytes, flipped_bit: int) -> None:
    key = SecretKey(secret)
    data = key.public + key.sign(message, bytes(32)) + message
    assert SCHNORR.run(data).code == VALID
    corrupted = bytearray(data)
    corrupted[flipped_bit // 8] ^= 1 << flipped_bit % 8
    data = bytes(corrupted)
    assert not verify(data[:32], data[96:], data[32:96])
    assert SCHNORR.run(data).code == INVALID


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200))
def test_any_input_is_memory_safe_and_refused(data: bytes) -> None:
    ended = SCHNORR.run(data, limit=STEPS_MAX)
    assert not ended.fault
    assert ended.code == (INVALID if len(data) >= 96 else TOO_SHORT)


def test_every_access_is_aligned_and_inside_the_segments() -> None:
    row = VECTORS[1]
    data = bytes.fromhex(row["public key"] + row["signature"] + row["message"])
    ended = UnicornGuest(guest_elf("schnorr"), strict=True).run(data)
    assert (ended.code, ended.fault) == (VALID, "")


# Residues at every border of the representation: 0, p, 2^256 and single words of ones.
EDGES = [0, 1, 2, 976, 977, 978, 2**32, 2**32 + 976, 2**32 + 977, P - 2, P - 1, P, P + 1, P + 977]
EDGES += [2**256 - 1, 2**256 - 2, 2**256 - 2**32, 2**256 - 977, 2**255, (P - 1) // 2, (P + 1) // 2]
EDGES += [2**256 - 1 - (0xFFFFFFFF << 32 * word) for word in range(8)]
RESIDUES = st.sampled_from(EDGES) | st.integers(0, 2**256 - 1)


def carries_twice(top: int) -> int:
    """b for which the reduction of (2^256 - 1) b passes 2^256 once more after its second fold."""
    return top * 2**256 // (2**32 + 976) + 1


@settings(max_examples=150, deadline=None)
@given(RESIDUES, RESIDUES)
@example(2**256 - 1, 2**256 - 1)
@example(0, 2**256 - 1)
@example(P, P)
@example(2**256 - 1, carries_twice(1))
@example(2**256 - 1, carries_twice(2**31))
def test_field_arithmetic_is_pythons(a: int, b: int) -> None:
    results = [a + b, a - b, a * pow(2, -1, P), a * b, a * a, pow(a, P - 2, P)]
    data = b"".join(number.to_bytes(32) for number in (a, b, *(r % P for r in results)))
    assert CURVE.run(data).code == 0


@pytest.mark.parametrize("index", range(2, 8))
def test_a_wrong_field_result_is_noticed(index: int) -> None:
    a, b = 3, 5
    results = [a, b, 8, P - 2, 3 * (P + 1) // 2 % P, 15, 9, pow(3, -1, P)]
    results[index] += 1
    assert CURVE.run(b"".join(number.to_bytes(32) for number in results)).code == index


LAMBDA = 0x5363AD4C_C05C30E0_A5261C02_8812645A_122E22EA_20816678_DF02967C_1B23BD72
CORNERS = [0, 1, 2, 3, N - 1, N - 2, LAMBDA, N - LAMBDA, N - LAMBDA - 1, 2**127, 2**128 - 1, 2**128]
CORNERS += [2**255, (N - 1) // 2, (N + 1) // 2, int("55" * 32, 16), int("AA" * 32, 16) % N]
SCALARS = st.integers(0, N - 1) | st.sampled_from(CORNERS)


def even_point(secret: int) -> tuple[int, int]:
    """A point as (x, secret) with the secret of the even y."""
    point = PrivateKey(secret.to_bytes(32)).public_key
    x, y = point.point()
    return x, secret if y % 2 == 0 else N - secret


@settings(max_examples=60, deadline=None)
@given(SCALARS, SCALARS, st.sampled_from([1, 2, 3, LAMBDA, N - 1]) | st.integers(1, N - 1))
@example(0, 0, 1)
@example(1, 1, 1)  # the same point twice: an addition that must double
@example(1, N - 1, 1)
@example(LAMBDA, 1, 1)
@example(5, N - 1, 5)
def test_the_sum_of_two_multiples_is_libsecp256k1s(a: int, b: int, secret: int) -> None:
    x, even_secret = even_point(secret)
    total = (a + b * even_secret) % N
    expected = PublicKey.from_secret(total.to_bytes(32)).point() if total else (0, 0)
    data = b"".join(number.to_bytes(32) for number in (a, b, x, *expected))
    assert CURVE.run(data).code == 0
    wrong = b"".join(number.to_bytes(32) for number in (a, b, x, expected[0], expected[1] ^ 1))
    assert CURVE.run(wrong).code in (2, 4)


def test_the_generator_table_is_what_its_script_writes() -> None:
    assert (FOLDER / "generator.c").read_text() == generator.source()
    points = list(generator.odd_multiples(generator.ENTRIES))
    for index in (0, 1, 2, 63):
        secret = (2 * index + 1).to_bytes(32)
        assert PublicKey.from_secret(secret).point() == points[index]
