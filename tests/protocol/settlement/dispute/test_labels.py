"""Whose one-time key is for what: labels, and the way from a leaf's place to a key."""

import pytest

from protocol.dispute.claim import Party
from protocol.dispute.leaves import said
from protocol.errors import EncodingError, GuardError
from protocol.settlement.dispute.labels import (
    challenger_messages,
    dispute_labels,
    label_of,
    prover_messages,
    said_of,
)
from protocol.settlement.dispute.leaf import Keys
from protocol.settlement.dispute.premises import premises_of, published_messages
from protocol.settlement.onetime import labels_of
from protocol.settlement.terms import (
    Role,
    claim_published_from,
    claim_size,
    contract_id,
    settlement_image,
)
from tests.builders.contracts import claim_of_bits, contract_terms, one_time_of
from tests.builders.dispute_chain import small_terms

SHAPES = [(1, 20), (2, 20), (3, 32), (5, 20), (12, 32)]


@pytest.mark.parametrize("log4_steps, width", SHAPES)
def test_no_two_messages_share_a_label(log4_steps: int, width: int) -> None:
    terms = small_terms(log4_steps, width)
    every = [label for role in Role for label in labels_of(terms, role)]
    assert len({label.encode() for label in every}) == len(every)
    assert {label.role for label in dispute_labels(terms, Role.WRITER)} == {"writer"}


@pytest.mark.parametrize("log4_steps, width", SHAPES)
def test_places_and_labels(log4_steps: int, width: int) -> None:
    own = contract_id(small_terms(log4_steps, width))
    places = (*prover_messages(log4_steps, width), *challenger_messages(log4_steps, width))
    for prover in Role:
        for place in places:
            assert said_of(label_of(own, prover, place), prover) == place
    assert len(set(places)) == len(places)


def test_what_each_side_signs() -> None:
    """4 nodes a round, 4 records, 5 parts of F_i; k digits and an assertion."""
    assert len(prover_messages(12, 20)) == 4 * 11 + 4 + 5
    assert len(challenger_messages(12, 20)) == 12 + 8 + 1 + 5
    assert challenger_messages(4, 20) == said.digits(4)


def test_keys_by_place_hold_what_leaves_verify() -> None:
    terms = small_terms(3)
    bundles = {role: keys.public for role, keys in one_time_of(terms).items()}
    for prover in Role:
        keys = Keys.of(terms, prover, bundles)
        wanted = {*prover_messages(3, 20), *challenger_messages(3, 20), said.root(20)}
        wanted |= set(published_messages(terms, prover))
        assert keys.one_time.keys() == keys.messages.keys() == wanted
        assert all(key.digits == place.digits for place, key in keys.one_time.items())


def test_a_digit_is_signed_once_by_who_is_asked_for_it() -> None:
    terms = small_terms(3)
    keys = one_time_of(terms)[Role.HOLDER]
    label = label_of(contract_id(terms), Role.WRITER, said.digit(1))
    guard: dict = {}
    signed = keys.sign({label: (2,)}, guard)
    assert keys.sign({label: (2,)}, guard) == signed
    assert keys.public.keys[label].verify((2,), signed[label].signature)
    with pytest.raises(GuardError, match="digit in round 1"):
        keys.sign({label: (3,)}, guard)
    other = label_of(contract_id(terms), Role.HOLDER, said.digit(1))
    with pytest.raises(EncodingError, match="do not sign digit"):
        keys.sign({other: (2,)}, guard)


@pytest.mark.parametrize("changes", [{}, {"quorum": 3, "is_american": True}])
def test_the_premises_of_a_contract(changes: dict) -> None:
    """What the terms fix of a claim is constant, what is published comes in INPUT and KICKOFF."""
    terms = contract_terms(claim_of_bits(**changes))
    size, start = claim_size(terms.claim.quorum), claim_published_from(terms)
    for prover in Role:
        premises = premises_of(terms, prover)
        layout = premises.layout
        assert premises.image == settlement_image(terms)
        assert (premises.log4_steps, premises.width) == (12, 20)
        assert len(layout.fixed) == size
        assert layout.fixed[8:40] == terms.claim.slot.config_digest
        assert layout.size == 2 * (size - start) + 2
        assert layout.fixed[start:] == bytes(size - start)
        digits = sum(place.digits for place in published_messages(terms, prover))
        assert digits == layout.size
        assert layout.parts[0] <= 2 * 160
        data = layout.data((*[1] * (layout.size - 2), 5, 10))
        assert data[:4] == bytes([0, 0, 0, 0x5A]) and data[start:] == b"\x11" * (size - start)
        assert {place.party for place in published_messages(terms, prover)} == {Party.PROVER}
