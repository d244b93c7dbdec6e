"""Transactions: typed builders over python-bitcoinlib's immutable structures.

Txids and block hashes are 32 bytes in the order of the wire; ``hash_hex`` gives the reversed
hex that block explorers show.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitcoin.core import (
    COutPoint,
    CTransaction,
    CTxIn,
    CTxInWitness,
    CTxOut,
    CTxWitness,
)
from bitcoin.core.script import CScript, CScriptWitness
from bitcoin.core.serialize import SerializationError

from protocol.crypto.hashes import hash256
from protocol.errors import EncodingError, ScriptError

MAX_MONEY_SATS = 21_000_000 * 10**8
WITNESS_SCALE = 4
_MARKER_AND_FLAG = b"\x00\x01"

SEQUENCE_FINAL = 0xFFFFFFFF
SEQUENCE_LOCKTIME = 0xFFFFFFFE
"""Makes nLockTime count and nothing else."""
SEQUENCE_REPLACEABLE = 0xFFFFFFFD
"""Makes nLockTime count and signals replacement (BIP125)."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that can be spent: where it is and what it is."""

    outpoint: COutPoint
    output: CTxOut

    @property
    def sats(self) -> int:
        return int(self.output.nValue)


def hash_hex(digest: bytes) -> str:
    """A txid or block hash as people write it."""
    return digest[::-1].hex()


def parse_hash(text: str) -> bytes:
    """The inverse of :func:`hash_hex`; EncodingError unless 64 hex digits."""
    try:
        digest = bytes.fromhex(text)
    except ValueError as error:
        raise EncodingError(f"not a txid or block hash: {text!r}") from error
    if len(digest) != 32:
        raise EncodingError(f"a txid or block hash has 64 hex digits: {text!r}")
    return digest[::-1]


def outpoint(txid: bytes, index: int) -> COutPoint:
    """Output ``index`` of the transaction ``txid`` (32 bytes)."""
    if len(txid) != 32 or not 0 <= index <= 0xFFFFFFFF:
        raise ScriptError("an outpoint is a 32-byte txid and a 32-bit index")
    return COutPoint(txid, index)


def txin(spends: COutPoint, sequence: int = SEQUENCE_REPLACEABLE) -> CTxIn:
    """An input with an empty scriptSig, as every witness spend has."""
    if not 0 <= sequence <= 0xFFFFFFFF:
        raise ScriptError(f"a sequence has 32 bits: {sequence}")
    return CTxIn(spends, CScript(), sequence)


def txout(sats: int, script_pubkey: bytes) -> CTxOut:
    """An output of ``sats`` locked by ``script_pubkey``."""
    if not 0 <= sats <= MAX_MONEY_SATS:
        raise ScriptError(f"an output holds 0 to {MAX_MONEY_SATS} sats, not {sats}")
    return CTxOut(sats, CScript(script_pubkey))


def transaction(
    inputs: Sequence[CTxIn], outputs: Sequence[CTxOut], *, locktime: int = 0, version: int = 2
) -> CTransaction:
    """An unsigned transaction of version 2, or 3 (TRUC, BIP431)."""
    if version not in (2, 3):
        raise ScriptError(f"transactions here have version 2 or 3, not {version}")
    if not 0 <= locktime <= 0xFFFFFFFF:
        raise ScriptError(f"a lock time has 32 bits: {locktime}")
    if not inputs or not outputs:
        raise ScriptError("a transaction needs at least one input and one output")
    return CTransaction(inputs, outputs, locktime, version)


def with_witness(tx: CTransaction, stacks: Sequence[Sequence[bytes]]) -> CTransaction:
    """``tx`` with one witness stack per input (an empty one where there is none)."""
    if len(stacks) != len(tx.vin):
        raise ScriptError(f"{len(tx.vin)} inputs need {len(tx.vin)} witness stacks")
    witness = CTxWitness(tuple(CTxInWitness(CScriptWitness(tuple(stack))) for stack in stacks))
    return CTransaction(tx.vin, tx.vout, tx.nLockTime, tx.nVersion, witness)


def witness_stack(tx: CTransaction, index: int) -> tuple[bytes, ...]:
    """The witness of input ``index``, bottom to top; empty if it has none."""
    if index >= len(tx.wit.vtxinwit):
        return ()
    return tuple(bytes(item) for item in tx.wit.vtxinwit[index].scriptWitness.stack)


def without_witness(tx: CTransaction) -> CTransaction:
    """``tx`` stripped of its witnesses; the txid stays."""
    return CTransaction(tx.vin, tx.vout, tx.nLockTime, tx.nVersion)


def serialize(tx: CTransaction) -> bytes:
    """The consensus encoding, with witnesses (BIP144); EncodingError for a number out of range."""
    try:
        raw: bytes = tx.serialize()
    except struct.error as error:
        raise EncodingError(f"a number of the transaction does not fit: {error}") from error
    return raw


def parse_tx(raw: bytes) -> CTransaction:
    """The transaction that ``raw`` encodes in the one canonical way; EncodingError otherwise."""
    try:
        tx = CTransaction.deserialize(raw)
    except (SerializationError, ValueError) as error:
        raise EncodingError(f"not a Bitcoin transaction: {error}") from error
    # bitcoinlib lets overlong counts and a superfluous witness flag pass; Core does not.
    if not tx.vin or not tx.vout or serialize(tx) != raw:
        raise EncodingError("not a canonical Bitcoin transaction with inputs and outputs")
    return tx


def txid(tx: CTransaction) -> bytes:
    """The transaction's id: the hash of its encoding without witnesses."""
    return hash256(serialize(without_witness(tx)))


def wtxid(tx: CTransaction) -> bytes:
    """The hash of the whole encoding (BIP141)."""
    return hash256(serialize(tx))


def weight(tx: CTransaction) -> int:
    """Weight units (BIP141)."""
    return 3 * len(serialize(without_witness(tx))) + len(serialize(tx))


def vsize(tx: CTransaction) -> int:
    """Virtual bytes: weight / 4, rounded up."""
    return vsize_of_weight(weight(tx))


def vsize_with(tx: CTransaction, witnesses: Iterable[int]) -> int:
    """The virtual size of ``tx``, which has no witness, with one of so many bytes for each input,
    its count of items included."""
    bare = WITNESS_SCALE * len(tx.serialize())
    return vsize_of_weight(bare + len(_MARKER_AND_FLAG) + sum(witnesses))


def vsize_of_weight(weight_units: int) -> int:
    """Virtual bytes of a weight, rounded up."""
    return -(-weight_units // WITNESS_SCALE)


def outpoint_key(point: COutPoint) -> bytes:
    """The 36 bytes of an outpoint, to key a table by."""
    return bytes(point.hash) + int(point.n).to_bytes(4, "little")
