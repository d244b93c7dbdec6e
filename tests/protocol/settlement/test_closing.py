"""CLOSE by MuSig2 and by its leaf: one transaction, two ways to sign it, none alone."""

import secrets

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.sighash import verify_input
from protocol.bitcoin.tx import txid, txout, vsize, witness_stack
from protocol.crypto.musig2 import SecretNonce, Session
from protocol.errors import SignatureError, TermsError
from protocol.settlement.closing import (
    assemble_close,
    close_nonce,
    close_session,
    close_tx,
    finish_close,
    require_partial,
    sign_close,
)
from protocol.settlement.terms import Role
from tests.builders.contracts import (
    AUX,
    KEYS,
    NOWHERE,
    STRANGER,
    contract_of,
    contract_terms,
    received,
)

CONTRACT = contract_of(contract_terms())
SPENT = [txout(CONTRACT.value_sats, CONTRACT.script_pubkey)]
ANCHOR = b"\xac" * 32
CLOSE = close_tx(CONTRACT, NOWHERE, 100_000, ANCHOR)


def rounds() -> tuple[Session, dict[Role, SecretNonce]]:
    nonces = {
        role: close_nonce(CONTRACT, CLOSE, KEYS[role].key, secrets.token_bytes) for role in Role
    }
    publics = {role: nonce.public for role, nonce in nonces.items()}
    return close_session(CONTRACT, CLOSE, publics), nonces


@pytest.mark.parametrize("payout", [0, 1, 100_000, 255_123])
@pytest.mark.parametrize("anchor", [None, ANCHOR])
def test_the_split_adds_up(payout: int, anchor: bytes | None) -> None:
    close = close_tx(CONTRACT, NOWHERE, payout, anchor)
    assert close.nVersion == 2 and len(close.vout) == 2 + (anchor is not None)
    holder, writer = (received(role, CONTRACT.terms, close) for role in Role)
    assert holder + writer == CONTRACT.value_sats - CONTRACT.close_fee_sats
    assert writer - holder - (255_123 - 2 * payout) in (0, 1)
    if anchor is not None:
        carrier = close.vout[2]
        assert (carrier.nValue, bytes(carrier.scriptPubKey)) == (0, bytes([Op.RETURN, 32]) + ANCHOR)


def test_two_ways_to_sign_one_transaction() -> None:
    session, nonces = rounds()
    partials = {role: session.sign(nonces[role], KEYS[role].key) for role in Role}
    by_key = finish_close(CONTRACT, CLOSE, session, partials)
    (signature,) = witness_stack(by_key, 0)
    assert verify_input(by_key, 0, SPENT, CONTRACT.lock.output.output_key, signature)
    signatures = {role: sign_close(CONTRACT, CLOSE, KEYS[role].key, AUX) for role in Role}
    by_leaf = assemble_close(CONTRACT, CLOSE, signatures)
    assert txid(by_key) == txid(by_leaf) == txid(CLOSE)
    rate = CONTRACT.terms.chain.feerate_sat_vb
    assert rate * vsize(by_key) < rate * vsize(by_leaf) == CONTRACT.close_fee_sats


def test_a_wrong_partial_names_its_signer() -> None:
    session, nonces = rounds()
    partials = {role: session.sign(nonces[role], KEYS[role].key) for role in Role}
    for role in Role:
        require_partial(CONTRACT, session, role, partials[role])
        crossed = {**partials, role: partials[role.other]}
        for wrong in (crossed, {**partials, role: bytes(32)}):
            with pytest.raises(SignatureError, match=f"the {role.value}'s partial signature"):
                finish_close(CONTRACT, CLOSE, session, wrong)
    other = close_tx(CONTRACT, NOWHERE, 100_001, ANCHOR)
    with pytest.raises(SignatureError, match="signs another CLOSE"):
        finish_close(CONTRACT, other, session, partials)


def test_a_nonce_signs_once() -> None:
    session, nonces = rounds()
    key = KEYS[Role.HOLDER].key
    session.sign(nonces[Role.HOLDER], key)
    with pytest.raises(SignatureError, match="this nonce has signed"):
        session.sign(nonces[Role.HOLDER], key)
    with pytest.raises(SignatureError, match="another key"):
        session.sign(nonces[Role.WRITER], key)


def test_the_leaf_wants_both() -> None:
    signatures = {role: sign_close(CONTRACT, CLOSE, KEYS[role].key, AUX) for role in Role}
    for role in Role:
        for wrong in (bytes(64), signatures[role.other], signatures[role] + b"\x01", b""):
            with pytest.raises(SignatureError, match=f"the {role.value}'s signature"):
                assemble_close(CONTRACT, CLOSE, {**signatures, role: wrong})
        with pytest.raises(SignatureError, match=f"the {role.other.value}'s signature"):
            assemble_close(CONTRACT, CLOSE, {role: signatures[role]})
    for key in (STRANGER.key, KEYS[Role.HOLDER].prover_key):
        with pytest.raises(SignatureError, match="neither"):
            sign_close(CONTRACT, CLOSE, key, AUX)


def test_payouts_and_anchors_outside_the_terms() -> None:
    for payout in (-1, 255_124):
        with pytest.raises(TermsError, match=f"payout_sats {payout}"):
            close_tx(CONTRACT, NOWHERE, payout)
    with pytest.raises(TermsError, match="32 bytes, not 31"):
        close_tx(CONTRACT, NOWHERE, 0, ANCHOR[1:])
    with pytest.raises(TermsError, match="anchored is off"):
        close_tx(contract_of(contract_terms(anchored=False)), NOWHERE, 0, ANCHOR)
