"""CLOSE and REFUND: build, verify, sign and assemble the two spends of the contract output.

Each is signed by both sides. The order of work: one side builds, both verify and sign, whoever
holds both signatures assembles. REFUND is signed before FUND is.
"""

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.script import null_data
from protocol.bitcoin.sighash import LeafSpend, sign_input, verify_input
from protocol.bitcoin.tx import SEQUENCE_LOCKTIME, transaction, txin, txout, with_witness
from protocol.crypto.keys import SecretKey
from protocol.errors import SignatureError, TermsError
from protocol.settlement.compare import require_same
from protocol.settlement.contract import ANCHOR_BYTES, Contract, Role, SpendPath


def close_tx(
    contract: Contract, fund: COutPoint, payout_sats: int, anchor: bytes | None = None
) -> CTransaction:
    """CLOSE: the payout to the holder, the rest to the writer, the anchor in an OP_RETURN.

    Shares below dust follow :meth:`Contract.payouts`. TermsError for a payout or anchor that the
    terms do not allow.
    """
    outputs = [
        txout(sats, contract.terms.script_of(role))
        for role, sats in zip(Role, contract.payouts(payout_sats), strict=True)
        if sats
    ]
    if anchor is not None:
        if not contract.terms.anchored:
            raise TermsError("these terms have no anchor")
        if len(anchor) != ANCHOR_BYTES:
            raise TermsError(f"an anchor has {ANCHOR_BYTES} bytes, not {len(anchor)}")
        outputs.append(txout(0, null_data(anchor)))
    return transaction([txin(fund)], outputs)


def refund_tx(contract: Contract, fund: COutPoint) -> CTransaction:
    """REFUND: the collateral back to the writer, in a block above ``refund_height``."""
    terms = contract.terms
    return transaction(
        [txin(fund, SEQUENCE_LOCKTIME)],
        [txout(terms.collateral_sats, terms.writer_script)],
        locktime=terms.refund_height,
    )


def verify_close(
    contract: Contract,
    tx: CTransaction,
    fund: COutPoint,
    payout_sats: int,
    anchor: bytes | None = None,
) -> None:
    """TermsError naming the difference unless ``tx`` is exactly this CLOSE."""
    require_same("CLOSE", close_tx(contract, fund, payout_sats, anchor), tx)


def verify_refund(contract: Contract, tx: CTransaction, fund: COutPoint) -> None:
    """TermsError naming the difference unless ``tx`` is exactly this REFUND."""
    require_same("REFUND", refund_tx(contract, fund), tx)


def sign_close(
    contract: Contract,
    tx: CTransaction,
    fund: COutPoint,
    payout_sats: int,
    key: SecretKey,
    aux_rand: bytes,
    anchor: bytes | None = None,
) -> bytes:
    """The 64-byte signature of a CLOSE that was verified first.

    TermsError if it is another one, SignatureError if ``key`` belongs to neither side.
    """
    verify_close(contract, tx, fund, payout_sats, anchor)
    return _sign(contract, SpendPath.CLOSE, tx, key, aux_rand)


def sign_refund(
    contract: Contract, tx: CTransaction, fund: COutPoint, key: SecretKey, aux_rand: bytes
) -> bytes:
    """The 64-byte signature of a REFUND that was verified first; errors as ``sign_close``."""
    verify_refund(contract, tx, fund)
    return _sign(contract, SpendPath.REFUND, tx, key, aux_rand)


def verify_signature(
    contract: Contract, path: SpendPath, tx: CTransaction, role: Role, signature: bytes
) -> bool:
    """Whether ``role`` signed this spend, for every input and output (64 bytes, DEFAULT)."""
    return len(signature) == 64 and verify_input(
        tx, 0, _spent(contract), contract.keys.of(role), signature, leaf=_leaf(contract, path)
    )


def assemble(
    contract: Contract, path: SpendPath, tx: CTransaction, holder_sig: bytes, writer_sig: bytes
) -> CTransaction:
    """The finished transaction; SignatureError naming the side whose signature is wrong."""
    for role, signature in ((Role.HOLDER, holder_sig), (Role.WRITER, writer_sig)):
        if not verify_signature(contract, path, tx, role, signature):
            raise SignatureError(f"the {role.value}'s signature does not fit this {path.name}")
    leaf = contract.leaf(path)
    control = contract.output.control_block(leaf)
    return with_witness(tx, [[writer_sig, holder_sig, leaf.script, control]])


def _sign(
    contract: Contract, path: SpendPath, tx: CTransaction, key: SecretKey, aux_rand: bytes
) -> bytes:
    if key.public not in (contract.keys.holder, contract.keys.writer):
        raise SignatureError("this key is neither the holder's nor the writer's")
    return sign_input(tx, 0, _spent(contract), key, aux_rand, leaf=_leaf(contract, path))


def _leaf(contract: Contract, path: SpendPath) -> LeafSpend:
    return LeafSpend(contract.leaf(path).hash)


def _spent(contract: Contract) -> tuple[CTxOut, ...]:
    return (txout(contract.value_sats, contract.script_pubkey),)
