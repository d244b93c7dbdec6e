"""A certificate of what oracles answer: one liar or one dead oracle of three changes nothing."""

import pytest

from protocol.errors import QuorumError
from protocol.oracle.expiry import assemble
from tests.builders.claims import AUX, KEYS, expiry_at
from tests.builders.terms import CONFIG, ROUND, contract_terms

TERMS = contract_terms()
SLOT = TERMS.expiry_slot()
EXPIRY = expiry_at(TERMS)
OTHER = expiry_at(TERMS, EXPIRY.price_e8 + 1)
FOREIGN = expiry_at(contract_terms(start_round=ROUND - 8))


def answer(oracle, expiry=EXPIRY):
    return expiry.encode(), KEYS[oracle].sign(expiry.hash, AUX)


LIES = [
    None,
    7,
    (b"", b""),
    (EXPIRY.encode(), b"", b""),
    (EXPIRY.encode(), bytes(64)),
    (EXPIRY.encode(), bytes(63)),
    (EXPIRY.encode()[:-1], bytes(64)),
    ("text", "text"),
    answer(1),
]


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
@pytest.mark.parametrize("liar", [0, 2])
def test_a_liar_does_not_stop_the_others(liar, lie):
    honest = [index for index in range(3) if index != liar]
    answers = {index: answer(index) for index in honest} | {liar: lie}
    certificate = assemble(CONFIG, SLOT, answers)
    certificate.check(CONFIG)
    assert certificate.expiry == EXPIRY
    assert certificate.signers == tuple(honest)


@pytest.mark.parametrize("expiry", [OTHER, FOREIGN])
def test_another_expiry_is_no_vote_for_this_one(expiry):
    certificate = assemble(CONFIG, SLOT, {0: answer(0, expiry), 1: answer(1), 2: answer(2)})
    assert (certificate.expiry, certificate.signers) == (EXPIRY, (1, 2))
    with pytest.raises(QuorumError, match=r"[12] valid"):
        assemble(CONFIG, SLOT, {0: answer(0, expiry), 1: answer(1)})


def test_a_quorum_on_another_slot_is_refused():
    with pytest.raises(QuorumError, match="another slot"):
        assemble(CONFIG, SLOT, {0: answer(0, FOREIGN), 1: answer(1, FOREIGN)})


def test_too_few_are_named():
    with pytest.raises(QuorumError, match="0 valid signatures"):
        assemble(CONFIG, SLOT, {})
