"""The witnesses of FUND's inputs, whatever wallet made them, and the way back from FUND."""

from collections.abc import Sequence
from typing import Final

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.address import witness_program
from protocol.bitcoin.fees import OVERHEAD_WEIGHT, dust_limit_sats, fee_sats, output_weight
from protocol.bitcoin.sighash import verify_input
from protocol.bitcoin.tx import transaction, txin, txout, with_witness, witness_stack
from protocol.errors import SignatureError
from protocol.settlement.funding import Contribution

_ALL: Final = b"\x01"
"""SIGHASH_ALL; of a Taproot signature without a type the same."""


def require_witnesses(tx: CTransaction, spent: Sequence[CTxOut], inputs: range) -> None:
    """SignatureError naming the first of ``inputs`` whose witness is missing, or no signature of
    all of the transaction. An ECDSA signature (P2WPKH) is for the node to judge."""
    for number in inputs:
        stack = witness_stack(tx, number)
        version, program = witness_program(bytes(spent[number].scriptPubKey)) or (-1, b"")
        if not (_signs_all_v0(stack) if version == 0 else _signs_all(stack)):
            raise SignatureError(f"input {number} of FUND is not signed for all of it")
        if version and not verify_input(tx, number, spent, program, stack[0]):
            raise SignatureError(f"the signature of input {number} of FUND is wrong")


def _signs_all_v0(stack: Sequence[bytes]) -> bool:
    """A P2WPKH witness: signature and key, the hash type behind the signature."""
    return len(stack) == 2 and stack[0][-1:] == _ALL


def _signs_all(stack: Sequence[bytes]) -> bool:
    """A Taproot key path witness: a signature, and a hash type unless it is the default one."""
    return len(stack) == 1 and stack[0][64:] in (b"", _ALL)


def only_witnesses(tx: CTransaction, inputs: range) -> CTransaction:
    """``tx`` with the witnesses of ``inputs`` alone."""
    stacks = [witness_stack(tx, n) if n in inputs else () for n in range(len(tx.vin))]
    return with_witness(tx, stacks)


def reclaim_tx(own: Contribution, feerate_sat_vb: int) -> CTransaction | None:
    """All of a party's coins back to it, unsigned; None if that is worth less than its fee."""
    weight = OVERHEAD_WEIGHT + own.weight + output_weight(own.change_script)
    left = own.sats - fee_sats(weight, feerate_sat_vb)
    if left < dust_limit_sats(own.change_script):
        return None
    return transaction(
        [txin(coin.outpoint) for coin in own.coins], [txout(left, own.change_script)]
    )
