"""Labels, bundles and one-time signatures of a claim."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.winternitz import Digits, Label
from protocol.errors import EncodingError, GuardError, SignatureError
from protocol.settlement.keys import PartyKeys
from protocol.settlement.onetime import (
    OneTimePublics,
    Published,
    claim_digits,
    claim_labels,
    labels_of,
    payout_label,
    published_claim,
)
from protocol.settlement.terms import Role, claim_published_from, claim_size
from tests.builders.contracts import KEYS, claim_of_bits, contract_terms

TERMS = contract_terms()
SIZE = claim_size(TERMS.claim.quorum)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**16 - 1),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([20, 32]),
    st.data(),
)
def test_a_claim_and_its_messages(
    units: int, quorum: int, american: bool, width: int, data: st.DataObject
) -> None:
    claim_terms = claim_of_bits(16, quorum=quorum, is_american=american)
    terms = contract_terms(claim_terms, width=width, log4_steps=13, bond_sats=200_000)
    size = claim_size(quorum) - 4
    claim = units.to_bytes(4) + data.draw(st.binary(min_size=size, max_size=size))
    root = data.draw(st.binary(min_size=width, max_size=width))
    messages = claim_digits(terms, Role.WRITER, claim, root)
    labels = claim_labels(terms, Role.WRITER)
    assert tuple(messages) == labels == labels_of(terms, Role.WRITER)[: len(labels)]
    assert all(label.digits == len(digits) for label, digits in messages.items())
    published = claim[claim_published_from(terms) :]
    assert published_claim(terms, Role.WRITER, messages) == Published(published, root, units)


def test_claims_that_are_not_of_these_terms() -> None:
    with pytest.raises(EncodingError, match=f"these terms want {SIZE} and 20"):
        claim_digits(TERMS, Role.HOLDER, bytes(SIZE - 1), bytes(20))
    with pytest.raises(EncodingError, match="a root of 32"):
        claim_digits(TERMS, Role.HOLDER, bytes(SIZE), bytes(32))
    with pytest.raises(EncodingError, match="does not fit 2 base-16 digits"):
        claim_digits(TERMS, Role.HOLDER, b"\0\0\1\0" + bytes(SIZE - 4), bytes(20))
    some = claim_digits(TERMS, Role.HOLDER, bytes(SIZE), bytes(20))
    del some[labels_of(TERMS, Role.HOLDER)[6]]
    with pytest.raises(EncodingError, match="the holder has not revealed input 6"):
        published_claim(TERMS, Role.HOLDER, some)


def test_no_two_labels_are_alike() -> None:
    other = contract_terms(premium_sats=6_000)
    labels = [label for t in (TERMS, other) for role in Role for label in labels_of(t, role)]
    assert len({label.encode() for label in labels}) == len(labels)
    assert payout_label(TERMS, Role.HOLDER).field == "payout"


def test_a_bundle_travels() -> None:
    public = KEYS[Role.HOLDER].one_time(TERMS, Role.HOLDER).public
    data = public.encode()
    assert OneTimePublics.decode(TERMS, Role.HOLDER, data) == public
    for wrong in (data[:-20], data + bytes(20), data[:-1], b""):
        with pytest.raises(EncodingError):
            OneTimePublics.decode(TERMS, Role.HOLDER, wrong)


def test_a_label_signs_once() -> None:
    keys = KEYS[Role.HOLDER].one_time(TERMS, Role.HOLDER)
    guard: dict[Label, Digits] = {}
    messages = claim_digits(TERMS, Role.HOLDER, bytes(SIZE), bytes(20))
    signed = keys.sign(messages, guard)
    assert keys.sign(messages, guard) == signed
    for label, message in signed.items():
        assert keys.public.keys[label].verify(messages[label], message.signature)
    changed = claim_digits(TERMS, Role.HOLDER, bytes(SIZE), b"\1" + bytes(19))
    with pytest.raises(GuardError, match="root"):
        keys.sign(changed, guard)
    theirs = claim_digits(TERMS, Role.WRITER, bytes(SIZE), bytes(20))
    with pytest.raises(EncodingError, match="do not sign input of writer"):
        keys.sign(theirs, guard)


def test_secrets_stay_where_they_are() -> None:
    keys = PartyKeys(b"\x05" * 32)
    one_time = keys.one_time(TERMS, Role.HOLDER)
    for secret in (keys, one_time):
        with pytest.raises((SignatureError, EncodingError), match="do not travel"):
            pickle.dumps(secret)
    assert "05" * 8 not in repr(keys) and repr(one_time) == f"OneTimeKeys({9 + 53 + 26} labels)"
    with pytest.raises(SignatureError, match="32 bytes"):
        PartyKeys(b"short")


def test_the_keys_of_a_party() -> None:
    keys = PartyKeys(b"\x05" * 32)
    points = [keys.key.point, keys.prover_key.point, keys.challenger_key.point]
    assert len(set(points)) == 3 and all(point[0] == 2 for point in points)
    assert keys.signer(keys.prover_key.public) is keys.prover_key
    with pytest.raises(SignatureError, match="no key of this party"):
        keys.signer(PartyKeys(b"\x06" * 32).key.public)
