"""The outputs that the committee guards: STATE and deposits.

    STATE      root DROP  key CHECKSIG  key CHECKSIGADD ..  q NUMEQUAL
    deposit    key CHECKSIG  key CHECKSIGADD ..  q NUMEQUAL
               deposit_window CSV DROP  owner CHECKSIG

Nobody has an internal key. STATE's output key commits to the root, so what the vault holds and what
the pool owes are one output; a deposit that no batch takes goes back to its owner.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bitcoin.core import CTransaction

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import after_blocks, script, single_key, threshold
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, TaprootOutput, compact_size, taproot_output
from protocol.bitcoin.tx import transaction, txin, txout, vsize_with, with_witness
from protocol.crypto.keys import SecretKey, is_public
from protocol.errors import ScriptError, SignatureError
from protocol.pool.batch import Deposit
from protocol.settlement.path import SIGNATURE_BYTES
from protocol.settlement.pool.batch import outpoint_of
from protocol.settlement.pool.terms import VaultTerms


@dataclass(frozen=True, slots=True)
class CommitteeLock:
    """An output that ``quorum`` of ``keys`` spend by ``leaf``."""

    output: TaprootOutput
    leaf: TapLeaf
    keys: tuple[bytes, ...]
    quorum: int

    @property
    def script_pubkey(self) -> bytes:
        return self.output.script_pubkey

    def stack(self, signatures: Mapping[bytes, bytes]) -> list[bytes]:
        """The whole witness, of the first ``quorum`` of ``signatures`` by key; SignatureError if
        they are fewer."""
        signing = [key for key in self.keys if key in signatures][: self.quorum]
        if len(signing) < self.quorum:
            raise SignatureError(
                f"{len(signing)} of the committee signed, {self.quorum} are needed: ask the others"
            )
        items = [signatures[key] if key in signing else b"" for key in reversed(self.keys)]
        return [*items, self.leaf.script, self.output.control_block(self.leaf)]

    @property
    def widest_witness(self) -> int:
        """The bytes of the whole witness, its count of items included."""
        sizes = [SIGNATURE_BYTES] * self.quorum + [0] * (len(self.keys) - self.quorum)
        sizes += [self.leaf.size, len(self.output.control_block(self.leaf))]
        return 1 + sum(len(compact_size(size)) + size for size in sizes)


def state_lock(terms: VaultTerms, root: bytes) -> CommitteeLock:
    """What locks STATE where the pool's root is ``root``."""
    leaf = TapLeaf(script(root, Op.DROP) + threshold(terms.quorum, terms.keys))
    return CommitteeLock(taproot_output(NUMS_KEY, leaf), leaf, terms.keys, terms.quorum)


def deposit_lock(terms: VaultTerms, owner: bytes) -> CommitteeLock:
    """What locks a deposit of ``owner``, an x-only key. ScriptError if nobody can have that: what
    is left of the deposit could not be paid back, so no batch could take it."""
    if not is_public(owner):
        raise ScriptError(f"owner {owner.hex()}: no point of the curve, nobody has that key")
    leaf = TapLeaf(threshold(terms.quorum, terms.keys))
    output = taproot_output(NUMS_KEY, (leaf, _refund_leaf(terms, owner)))
    return CommitteeLock(output, leaf, terms.keys, terms.quorum)


def reclaim_tx(
    terms: VaultTerms, deposit: Deposit, key: SecretKey, to: bytes, aux_rand: bytes, feerate: int
) -> CTransaction:
    """The owner takes back a deposit that no batch took, ``deposit_window`` blocks on, to script
    ``to``. ScriptError if it does not pay for that."""
    leaf = _refund_leaf(terms, deposit.owner)
    lock = deposit_lock(terms, deposit.owner)
    control = lock.output.control_block(leaf)
    inputs = [txin(outpoint_of(deposit.outpoint), terms.deposit_window)]
    witness = 1 + 1 + SIGNATURE_BYTES + 1 + leaf.size + 1 + len(control)
    bare = transaction(inputs, [txout(deposit.sats, to)])
    left = deposit.sats - feerate * vsize_with(bare, [witness])
    if left < dust_limit_sats(to):
        raise ScriptError(f"a deposit of {deposit.sats} sats does not pay for its way back")
    tx = transaction(inputs, [txout(left, to)])
    spent = [txout(deposit.sats, lock.script_pubkey)]
    signature = sign_input(tx, 0, spent, key, aux_rand, leaf=LeafSpend(leaf.hash))
    return with_witness(tx, [[signature, leaf.script, control]])


def _refund_leaf(terms: VaultTerms, owner: bytes) -> TapLeaf:
    return TapLeaf(after_blocks(terms.deposit_window, single_key(owner)))
