"""Signature hashes of Taproot: BIP341 (key path, script path) with BIP342's extension."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.taproot import compact_size
from protocol.bitcoin.tx import outpoint_key
from protocol.crypto.hashes import sha256
from protocol.crypto.keys import SecretKey, verify
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ScriptError

DEFAULT = 0x00
ALL = 0x01
NONE = 0x02
SINGLE = 0x03
ANYONECANPAY = 0x80
HASH_TYPES = frozenset({0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83})

NO_CODESEPARATOR = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class LeafSpend:
    """A script path spend as BIP342 hashes it: the leaf and the last executed OP_CODESEPARATOR."""

    leaf_hash: bytes
    codeseparator: int = NO_CODESEPARATOR


def sig_msg(
    tx: CTransaction,
    index: int,
    spent: Sequence[CTxOut],
    hash_type: int = DEFAULT,
    *,
    annex: bytes | None = None,
    leaf: LeafSpend | None = None,
) -> bytes:
    """The bytes that are hashed: epoch 0, SigMsg of BIP341, and BIP342's extension with a leaf.

    ``spent`` holds the output that each input of ``tx`` spends, in order. ScriptError if they do
    not match, or for an undefined hash type, SINGLE without its output, or a malformed annex.
    """
    _check(tx, index, spent, hash_type, annex)
    out_type = ALL if hash_type == DEFAULT else hash_type & 3
    parts = [
        b"\x00",
        bytes([hash_type]),
        (tx.nVersion & 0xFFFFFFFF).to_bytes(4, "little"),
        int(tx.nLockTime).to_bytes(4, "little"),
    ]
    if not hash_type & ANYONECANPAY:
        parts += _all_inputs(tx, spent)
    if out_type == ALL:
        parts.append(sha256(b"".join(_output(out) for out in tx.vout)))
    parts.append(bytes([2 * (leaf is not None) + (annex is not None)]))
    if hash_type & ANYONECANPAY:
        coin = spent[index]
        parts += [outpoint_key(tx.vin[index].prevout), _output(coin), _sequence(tx, index)]
    else:
        parts.append(index.to_bytes(4, "little"))
    if annex is not None:
        parts.append(sha256(compact_size(len(annex)) + annex))
    if out_type == SINGLE:
        parts.append(sha256(_output(tx.vout[index])))
    if leaf is not None:
        parts += [leaf.leaf_hash, b"\x00", leaf.codeseparator.to_bytes(4, "little")]
    return b"".join(parts)


def taproot_sighash(
    tx: CTransaction,
    index: int,
    spent: Sequence[CTxOut],
    hash_type: int = DEFAULT,
    *,
    annex: bytes | None = None,
    leaf: LeafSpend | None = None,
) -> bytes:
    """The 32 bytes that input ``index`` signs; arguments and errors as :func:`sig_msg`."""
    message = sig_msg(tx, index, spent, hash_type, annex=annex, leaf=leaf)
    return tagged_hash("TapSighash", message)


def sign_input(
    tx: CTransaction,
    index: int,
    spent: Sequence[CTxOut],
    key: SecretKey,
    aux_rand: bytes,
    hash_type: int = DEFAULT,
    *,
    leaf: LeafSpend | None = None,
) -> bytes:
    """A signature as the witness holds it: 64 bytes, and the hash type unless it is DEFAULT."""
    digest = taproot_sighash(tx, index, spent, hash_type, leaf=leaf)
    suffix = b"" if hash_type == DEFAULT else bytes([hash_type])
    return key.sign(digest, aux_rand) + suffix


def verify_input(
    tx: CTransaction,
    index: int,
    spent: Sequence[CTxOut],
    public: bytes,
    signature: bytes,
    *,
    leaf: LeafSpend | None = None,
) -> bool:
    """Whether ``signature`` (64 or 65 bytes) by ``public`` (x-only) authorises this input."""
    if len(signature) not in (64, 65):
        return False
    hash_type = signature[64] if len(signature) == 65 else DEFAULT
    if len(signature) == 65 and (hash_type == DEFAULT or hash_type not in HASH_TYPES):
        return False
    if hash_type & 3 == SINGLE and index >= len(tx.vout):
        return False
    digest = taproot_sighash(tx, index, spent, hash_type, leaf=leaf)
    return verify(public, digest, signature[:64])


def _check(
    tx: CTransaction, index: int, spent: Sequence[CTxOut], hash_type: int, annex: bytes | None
) -> None:
    if not 0 <= index < len(tx.vin):
        raise ScriptError(f"the transaction has {len(tx.vin)} inputs, none is number {index}")
    if len(spent) != len(tx.vin):
        raise ScriptError(
            f"Taproot signs every spent output: {len(tx.vin)} inputs, {len(spent)} outputs given"
        )
    if hash_type not in HASH_TYPES:
        raise ScriptError(f"no hash type of BIP341: 0x{hash_type:02x}")
    if hash_type & 3 == SINGLE and index >= len(tx.vout):
        raise ScriptError(f"SIGHASH_SINGLE needs an output number {index}")
    if annex is not None and annex[:1] != b"\x50":
        raise ScriptError("an annex begins with 0x50")


def _all_inputs(tx: CTransaction, spent: Sequence[CTxOut]) -> list[bytes]:
    """sha_prevouts, sha_amounts, sha_scriptpubkeys, sha_sequences."""
    return [
        sha256(b"".join(outpoint_key(i.prevout) for i in tx.vin)),
        sha256(b"".join(int(out.nValue).to_bytes(8, "little") for out in spent)),
        sha256(b"".join(chain.from_iterable(_script(out) for out in spent))),
        sha256(b"".join(_sequence(tx, n) for n in range(len(tx.vin)))),
    ]


def _output(out: CTxOut) -> bytes:
    return int(out.nValue).to_bytes(8, "little") + b"".join(_script(out))


def _script(out: CTxOut) -> tuple[bytes, bytes]:
    return compact_size(len(out.scriptPubKey)), bytes(out.scriptPubKey)


def _sequence(tx: CTransaction, index: int) -> bytes:
    return int(tx.vin[index].nSequence).to_bytes(4, "little")
