"""One-time signatures: what verifies, what nobody can make of one, what the guard refuses."""

import copy
import pickle
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.hashes import hash160
from protocol.crypto.winternitz import (
    ELEMENT_BYTES,
    MAX_DIGITS,
    TOP,
    Digits,
    Label,
    OneTimeKey,
    OneTimePublicKey,
    checksum_size,
    digits_number,
    digits_of,
    message_of,
    number_digits,
    require_distinct,
    with_checksum,
)
from protocol.errors import EncodingError, GuardError, SignatureError

SEED = b"\x5e" * 32
LABEL = Label(b"\xc0" * 32, "holder", "prover", 0, "payout", 4)
KEY = OneTimeKey(SEED, LABEL)

messages = st.lists(st.integers(0, TOP), min_size=1, max_size=12).map(tuple)


def key_for(digits: int) -> OneTimeKey:
    return OneTimeKey(SEED, replace(LABEL, digits=digits))


@settings(max_examples=40)
@given(messages)
def test_what_is_signed_is_recovered(message: Digits) -> None:
    key = key_for(len(message))
    signature = key.sign(message, {})
    assert key.public.recover(signature) == message
    assert key.public.verify(message, signature)
    assert len(signature) == len(message) + checksum_size(len(message))
    assert all(len(element) == ELEMENT_BYTES for element in signature)
    again = OneTimePublicKey.decode(len(message), key.public.encode())
    assert again == key.public


def test_a_signature_written_out() -> None:
    """One digit, by hand: 3 steps up one chain, 15 - 3 up the other."""
    key = key_for(1)
    starts = key.sign((0,), {})[0], key.sign((TOP,), {})[1]
    digit, checksum = starts
    for _ in range(3):
        digit = hash160(digit)
    for _ in range(TOP - 3):
        checksum = hash160(checksum)
    assert key.sign((3,), {}) == (digit, checksum)
    for _ in range(TOP - 3):
        digit = hash160(digit)
    assert key.public.ends[0] == digit


def test_known_answer() -> None:
    """The derivation is part of the protocol: a seed must give the same keys after an update."""
    assert hash160(KEY.public.encode()).hex() == "ff9fffe9a14e010e5b00f494e506ed91218311cc"
    assert (
        hash160(b"".join(KEY.sign((1, 2, 3, 4), {}))).hex()
        == "59de03c4ca974e75c3c0abd3b1b571ae162c2fb2"
    )


# The checksum


@pytest.mark.parametrize("digits", [1, 2, 16, 17, 18, 19, 272, 273, 274, 275, MAX_DIGITS])
def test_the_checksum_has_just_enough_digits(digits: int) -> None:
    size = checksum_size(digits)
    assert 16**size > TOP * digits >= 16 ** (size - 1)
    for message in ((0,) * digits, (TOP,) * digits, (0,) * (digits - 1) + (1,)):
        signed = with_checksum(message)
        assert len(signed) == digits + size
        assert sum(message) + digits_number(signed[digits:]) == TOP * digits


def test_sizes_of_the_documentation() -> None:
    sizes = {1: 2, 4: 6, 8: 10, 40: 43, 64: 67, 320: 324}
    assert {digits: digits + checksum_size(digits) for digits in sizes} == sizes


@pytest.mark.parametrize("digits", [1, 2])
def test_no_message_is_within_reach_of_another(digits: int) -> None:
    """Hashing forwards from any signature reaches no other message's signature: exhaustive."""
    everything = [with_checksum(m) for m in product(range(TOP + 1), repeat=digits)]
    for signed in everything:
        within = [
            other
            for other in everything
            if all(to >= at for at, to in zip(signed, other, strict=True))
        ]
        assert within == [signed]


def test_two_signatures_would_give_a_third_message() -> None:
    """Why the guard is there: with what it refuses, a stranger signs (3, 5) in the key's name."""
    key = key_for(2)
    first, second = key.sign((3, 6), {}), key.sign((4, 5), {})
    assert with_checksum((3, 6)) == (3, 6, 1, 5)
    assert with_checksum((3, 5)) == (3, 5, 1, 6)
    forged = (first[0], second[1], first[2], hash160(first[3]))
    assert key.public.recover(forged) == (3, 5)


# What does not verify


@settings(max_examples=60)
@given(messages, st.data())
def test_what_a_stranger_makes_of_a_signature_does_not_verify(
    message: Digits, data: st.DataObject
) -> None:
    key = key_for(len(message))
    signature = list(key.sign(message, {}))
    n = data.draw(st.integers(0, len(signature) - 1))
    how = data.draw(st.sampled_from(["forward", "swap", "flip", "cut", "grow", "drop", "repeat"]))
    match how:
        case "forward":
            for _ in range(data.draw(st.integers(1, 16))):
                signature[n] = hash160(signature[n])
        case "swap":
            signature[n], signature[n - 1] = signature[n - 1], signature[n]
        case "flip":
            bit = data.draw(st.integers(0, 159))
            flipped = int.from_bytes(signature[n]) ^ 1 << bit
            signature[n] = flipped.to_bytes(ELEMENT_BYTES)
        case "cut":
            signature[n] = signature[n][:-1]
        case "grow":
            signature[n] += b"\0"
        case "drop":
            del signature[n]
        case "repeat":
            signature.insert(n, signature[n])
    with pytest.raises(SignatureError):
        key.public.recover(signature)
    assert not key.public.verify(message, signature)


@pytest.mark.parametrize(
    "other",
    [
        replace(LABEL, contract_id=b"\xc1" * 32),
        replace(LABEL, direction="writer"),
        replace(LABEL, role="challenger"),
        replace(LABEL, round=1),
        replace(LABEL, field="root"),
        replace(LABEL, direction="holderp", role="rover"),
        replace(LABEL, field="payou", round=ord("t") << 8),
    ],
    ids=lambda label: f"{label.direction}-{label.role}-{label.round}-{label.field}",
)
def test_every_label_is_a_key_of_its_own(other: Label) -> None:
    key = OneTimeKey(SEED, other)
    require_distinct([KEY.public, key.public])
    with pytest.raises(SignatureError, match="does not lie on its chain"):
        KEY.public.recover(key.sign((1, 2, 3, 4), {}))


def test_a_length_is_a_key_of_its_own() -> None:
    """A four-digit signature holds no element of the five-digit key."""
    four, five = key_for(4), key_for(5)
    require_distinct([four.public, five.public])


def test_a_seed_is_a_contracts_own() -> None:
    require_distinct([KEY.public, OneTimeKey(b"\x5f" * 32, LABEL).public])
    assert OneTimeKey(SEED, LABEL).public == KEY.public


def test_copied_chain_ends_are_refused() -> None:
    mine, theirs = KEY.public, OneTimeKey(b"\x5f" * 32, LABEL).public
    copied = OneTimePublicKey(4, (*theirs.ends[:5], mine.ends[2]))
    twice = OneTimePublicKey(4, (*theirs.ends[:5], theirs.ends[0]))
    require_distinct([mine, theirs])
    for keys in ([mine, copied], [twice], [mine, mine]):
        with pytest.raises(SignatureError, match="end alike"):
            require_distinct(keys)


# The guard


class Disk:
    """A guard that forgets nothing, and can be asked what it was told and when."""

    def __init__(self) -> None:
        self.signed: dict[Label, Digits] = {}
        self.broken = False

    def setdefault(self, label: Label, digits: Digits, /) -> Digits:
        if self.broken:
            raise OSError("no space left on device")
        return self.signed.setdefault(label, digits)


def test_one_message_per_label_for_ever() -> None:
    disk = Disk()
    signature = KEY.sign((1, 2, 3, 4), disk)
    assert KEY.sign([1, 2, 3, 4], disk) == signature
    with pytest.raises(GuardError, match="payout in round 0 has signed another message"):
        KEY.sign((1, 2, 3, 5), disk)
    with pytest.raises(GuardError):
        OneTimeKey(SEED, LABEL).sign((0, 0, 0, 0), disk)
    assert KEY.sign((1, 2, 3, 4), disk) == signature
    other = OneTimeKey(SEED, replace(LABEL, round=1))
    assert other.public.verify((9, 9, 9, 9), other.sign((9, 9, 9, 9), disk))
    assert disk.signed == {LABEL: (1, 2, 3, 4), other.label: (9, 9, 9, 9)}


def test_no_signature_without_its_record() -> None:
    disk = Disk()
    disk.broken = True
    with pytest.raises(OSError, match="no space"):
        KEY.sign((1, 2, 3, 4), disk)


def test_what_cannot_be_signed_is_not_recorded() -> None:
    disk = Disk()
    for message in ((), (1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 16), (1, 2, 3, -1)):
        with pytest.raises(EncodingError):
            KEY.sign(message, disk)
    assert not disk.signed


# Forms


@settings(max_examples=30)
@given(st.binary(max_size=40))
def test_bytes_are_digits(message: bytes) -> None:
    assert "".join(f"{digit:x}" for digit in digits_of(message)) == message.hex()
    assert message_of(digits_of(message)) == message


@settings(max_examples=30)
@given(st.integers(1, 8), st.data())
def test_numbers_are_digits(count: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 16**count - 1))
    assert digits_number(number_digits(number, count)) == number
    assert len(number_digits(number, count)) == count
    for wrong in (16**count, -1):
        with pytest.raises(EncodingError, match="does not fit"):
            number_digits(wrong, count)


def test_refusals() -> None:
    with pytest.raises(EncodingError, match="whole number"):
        message_of((1, 2, 3))
    for change in (
        {"contract_id": b""},
        {"round": 0x1_0000},
        {"round": -1},
        {"field": ""},
        {"field": "x" * 65},
        {"role": "prüfer"},
        {"digits": 0},
        {"digits": MAX_DIGITS + 1},
    ):
        with pytest.raises(EncodingError):
            replace(LABEL, **change)  # type: ignore[arg-type]
    for digits, ends in ((4, ()), (4, KEY.public.ends[:5]), (3, KEY.public.ends), (0, ())):
        with pytest.raises(EncodingError):
            OneTimePublicKey(digits, ends)
    with pytest.raises(EncodingError, match="20 bytes"):
        OneTimePublicKey(4, (*KEY.public.ends[:5], b"\0" * 19))
    with pytest.raises(EncodingError, match="elements of 20"):
        OneTimePublicKey.decode(4, KEY.public.encode() + b"\0")
    with pytest.raises(SignatureError, match="32 bytes"):
        OneTimeKey(b"\x01" * 31, LABEL)


def test_a_key_neither_prints_nor_travels() -> None:
    secrets = {element.hex() for element in key_for(4).sign((0, 0, 0, 0), {})}
    assert not any(secret in repr(KEY) for secret in secrets)
    assert SEED.hex() not in repr(KEY)
    for travel in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(SignatureError, match="derive it"):
            travel(KEY)
