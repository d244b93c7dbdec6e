"""Deterministic blocks for regtest: coinbase, template, proof of work.

The same inputs give the same hashes: block times come from the chain, nonces count from zero.
"""

import struct
from collections.abc import Sequence
from typing import Final

from bitcoin.core import COutPoint, CTransaction, CTxIn, CTxOut
from bitcoin.core.script import CScript

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import operations, push_number, script
from protocol.bitcoin.taproot import compact_size
from protocol.bitcoin.tx import (
    WITNESS_SCALE,
    serialize,
    transaction,
    txid,
    txout,
    with_witness,
    witness_stack,
    wtxid,
)
from protocol.crypto.hashes import hash256
from protocol.errors import ScriptError

GENESIS_TIME: Final = 1_296_688_602
BLOCK_INTERVAL_S: Final = 600
BLOCK_VERSION: Final = 0x20000000
REGTEST_BITS: Final = 0x207FFFFF
MAX_BLOCK_WEIGHT: Final = 4_000_000
COINBASE_RESERVE_WEIGHT: Final = 1_000
MAX_BLOCK_SIGOPS_COST: Final = 80_000
HALVING_INTERVAL: Final = 150

_TARGET: Final = 0x7FFFFF << 8 * (0x20 - 3)
_COMMITMENT_HEADER: Final = bytes.fromhex("aa21a9ed")
_WITNESS_NONCE: Final = bytes(32)


def subsidy_sats(height: int) -> int:
    """What a block of ``height`` creates: 50 BTC, halved every 150 blocks on regtest."""
    halvings = height // HALVING_INTERVAL
    return 0 if halvings >= 64 else 50 * 10**8 >> halvings


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Bitcoin's Merkle root: the last node of an odd level is paired with itself."""
    level = list(leaves)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [hash256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def coinbase(
    height: int, pay_to: bytes, sats: int, txs: Sequence[CTransaction], extra: int = 0
) -> CTransaction:
    """The first transaction of a block with ``txs``; ``extra`` tells siblings apart."""
    witness_root = merkle_root([_WITNESS_NONCE, *(wtxid(tx) for tx in txs)])
    commitment = _COMMITMENT_HEADER + hash256(witness_root + _WITNESS_NONCE)
    unlocking = push_number(height) + push_number(extra)
    tx = transaction(
        [CTxIn(COutPoint(), CScript(unlocking))],
        [txout(sats, pay_to), txout(0, script(Op.RETURN, commitment))],
    )
    return with_witness(tx, [[_WITNESS_NONCE]])


def mined_block(
    parent: bytes, height: int, time: int, txs: Sequence[CTransaction], first: CTransaction
) -> tuple[bytes, bytes]:
    """Serialized block with ``first`` as coinbase, and its hash: the least nonce that works."""
    root = merkle_root([txid(tx) for tx in (first, *txs)])
    prefix = struct.pack("<i32s32sII", BLOCK_VERSION, parent, root, time, REGTEST_BITS)
    nonce = 0
    while True:
        header = prefix + struct.pack("<I", nonce)
        block_hash = hash256(header)
        if int.from_bytes(block_hash, "little") <= _TARGET:
            break
        nonce += 1
    body = b"".join(serialize(tx) for tx in (first, *txs))
    return header + compact_size(1 + len(txs)) + body, block_hash


def sigops_cost(tx: CTransaction, spent: Sequence[CTxOut]) -> int:
    """An upper bound of BIP141's sigop cost: every multisig counts 20, every spent script hash
    counts what its script could hold. Tapscript pays for signatures by its own weight."""
    legacy = [bytes(spend.scriptSig) for spend in tx.vin] + [bytes(o.scriptPubKey) for o in tx.vout]
    cost = WITNESS_SCALE * sum(map(_sigops, legacy))
    for index, coin in enumerate(spent):
        if bytes(coin.scriptPubKey[:2]) == bytes([Op.TRUE, 32]):
            continue
        pushes = [data for _, data in operations(bytes(tx.vin[index].scriptSig)) if data]
        hidden = [*pushes[-1:], *witness_stack(tx, index)[-1:]]
        cost += WITNESS_SCALE * sum(map(_sigops, hidden)) + 1
    return cost


def _sigops(code: bytes) -> int:
    count = 0
    try:
        for opcode, _ in operations(code):
            if opcode in (Op.CHECKSIG, Op.CHECKSIGVERIFY):
                count += 1
            elif opcode in (Op.CHECKMULTISIG, Op.CHECKMULTISIGVERIFY):
                count += 20
    except ScriptError:
        pass  # Core, too, counts up to the malformed push
    return count
