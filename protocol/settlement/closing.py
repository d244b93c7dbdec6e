"""CLOSE: both parties split the contract as they agree, by one MuSig2 signature or by a leaf.

    tx      = close_tx(contract, fund, payout_sats)           both build the same
    nonce   = close_nonce(contract, tx, keys.key, entropy)    each sends nonce.public
    session = close_session(contract, tx, both_nonces)
    partial = session.sign(nonce, keys.key)                   each sends its partial signature
    close   = finish_close(contract, tx, session, both_partials)

A nonce signs once: who starts again makes another one. Without nonces, ``sign_close`` and
``assemble_close`` use the leaf; the transaction and its id are the same.
"""

from collections.abc import Callable, Mapping

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.script import null_data
from protocol.bitcoin.sighash import LeafSpend, taproot_sighash
from protocol.bitcoin.taproot import tap_tweak
from protocol.bitcoin.tx import transaction, txin, txout, with_witness
from protocol.crypto.keys import SecretKey, verify
from protocol.crypto.musig2 import AggregateKey, SecretNonce, Session
from protocol.errors import SignatureError, TermsError
from protocol.settlement.contract import ANCHOR_BYTES, CLOSE, Contract
from protocol.settlement.terms import Role


def close_tx(
    contract: Contract, fund: COutPoint, payout_sats: int, anchor: bytes | None = None
) -> CTransaction:
    """CLOSE, unsigned: to the holder its bond and the payout, to the writer its bond and the rest
    of the collateral, to each half of what the fee leaves of the reserve (an odd satoshi to the
    writer); then ``anchor`` in an OP_RETURN.

    TermsError for a payout or an anchor that the terms do not allow.
    """
    terms = contract.terms
    collateral, bond = terms.claim.collateral_sats, terms.chain.bond_sats
    if not 0 <= payout_sats <= collateral:
        raise TermsError(f"payout_sats {payout_sats}: it lies between 0 and {collateral}")
    spare = contract.reserve_sats - contract.close_fee_sats
    holder = bond + payout_sats + spare // 2
    writer = bond + collateral - payout_sats + spare - spare // 2
    outputs = [
        txout(holder, terms.party(Role.HOLDER).script),
        txout(writer, terms.party(Role.WRITER).script),
    ]
    if anchor is not None:
        if not terms.chain.anchored:
            raise TermsError("anchored is off in these terms: close without an anchor")
        if len(anchor) != ANCHOR_BYTES:
            raise TermsError(f"an anchor has {ANCHOR_BYTES} bytes, not {len(anchor)}")
        outputs.append(txout(0, null_data(anchor)))
    return transaction([txin(fund)], outputs)


def close_nonce(
    contract: Contract, tx: CTransaction, key: SecretKey, entropy: Callable[[int], bytes]
) -> SecretNonce:
    """This party's nonce for one signature of ``tx``; ``.public`` (66 bytes) is what it sends."""
    return SecretNonce(key, _output_key(contract), entropy, _digest(contract, tx))


def close_session(contract: Contract, tx: CTransaction, nonces: Mapping[Role, bytes]) -> Session:
    """The session of both public nonces, whose ``sign(nonce, key)`` is a partial signature.

    SignatureError if a nonce is no pair of curve points.
    """
    ordered = [nonces[role] for role in _signing_order(contract)]
    return Session(_output_key(contract), ordered, _digest(contract, tx))


def require_partial(contract: Contract, session: Session, role: Role, partial: bytes) -> None:
    """SignatureError unless ``partial`` is what ``role`` owes the session."""
    if not session.verify(_signing_order(contract).index(role), partial):
        raise SignatureError(f"the {role.value}'s partial signature of CLOSE is wrong")


def finish_close(
    contract: Contract, tx: CTransaction, session: Session, partials: Mapping[Role, bytes]
) -> CTransaction:
    """CLOSE by key path from both partial signatures; SignatureError naming the wrong one."""
    for role in Role:
        require_partial(contract, session, role, partials[role])
    signature = session.aggregate([partials[role] for role in _signing_order(contract)])
    if session.message != _digest(contract, tx):
        raise SignatureError("this session signs another CLOSE")
    return with_witness(tx, [[signature]])


def sign_close(contract: Contract, tx: CTransaction, key: SecretKey, aux_rand: bytes) -> bytes:
    """A 64-byte signature for the CLOSE leaf. SignatureError if ``key`` is neither party's."""
    if key.public not in contract.lock.path(CLOSE).signers.values():
        raise SignatureError("this key is neither the holder's nor the writer's")
    return key.sign(_leaf_digest(contract, tx), aux_rand)


def assemble_close(
    contract: Contract, tx: CTransaction, signatures: Mapping[Role, bytes]
) -> CTransaction:
    """CLOSE by its leaf; SignatureError naming the side whose signature is missing or wrong."""
    path, digest = contract.lock.path(CLOSE), _leaf_digest(contract, tx)
    for role, key in path.signers.items():
        if not verify(key, digest, signatures.get(role, b"")):
            raise SignatureError(f"the {role.value}'s signature does not fit this CLOSE")
    return with_witness(tx, [contract.lock.stack(path, signatures, [])])


def _signing_order(contract: Contract) -> list[Role]:
    """Whose each of the aggregate's points is."""
    owners = {b"\x02" + contract.terms.party(role).key: role for role in Role}
    return [owners[point] for point in contract.aggregate.points]


def _output_key(contract: Contract) -> AggregateKey:
    output = contract.lock.output
    return contract.aggregate.tweaked(tap_tweak(output.internal_key, output.merkle_root))


def _digest(contract: Contract, tx: CTransaction) -> bytes:
    return taproot_sighash(tx, 0, _spent(contract))


def _leaf_digest(contract: Contract, tx: CTransaction) -> bytes:
    leaf = contract.lock.path(CLOSE).leaf
    return taproot_sighash(tx, 0, _spent(contract), leaf=LeafSpend(leaf.hash))


def _spent(contract: Contract) -> list[CTxOut]:
    return [txout(contract.value_sats, contract.script_pubkey)]
