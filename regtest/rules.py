"""What consensus asks of a transaction in the next block, apart from its scripts.

Each function raises ConsensusError with Bitcoin Core's word for the rule that is broken. Tests
hold them against the kernel's own verdict.
"""

from collections.abc import Callable, Sequence

from bitcoin.core import CTransaction

from protocol.bitcoin.script import LOCKTIME_THRESHOLD
from protocol.bitcoin.tx import (
    MAX_MONEY_SATS,
    SEQUENCE_FINAL,
    WITNESS_SCALE,
    serialize,
    without_witness,
)
from protocol.errors import ConsensusError
from regtest.blocks import MAX_BLOCK_WEIGHT
from regtest.chain import Utxo
from regtest.index import spent_keys

_SEQUENCE_DISABLED = 1 << 31
_SEQUENCE_TIME = 1 << 22
_SEQUENCE_MASK = 0xFFFF
_SEQUENCE_TIME_UNIT_S = 512
_NULL_KEY = bytes(32) + b"\xff" * 4
_NOT_RIPE = "bad-txns-nonfinal, contains a non-BIP68-final transaction"


def check_shape(tx: CTransaction) -> None:
    """Counts, size, amounts and outpoints by themselves (Core's CheckTransaction)."""
    if not tx.vin:
        raise ConsensusError("bad-txns-vin-empty")
    if not tx.vout:
        raise ConsensusError("bad-txns-vout-empty")
    if len(serialize(without_witness(tx))) * WITNESS_SCALE > MAX_BLOCK_WEIGHT:
        raise ConsensusError("bad-txns-oversize")
    total = 0
    for out in tx.vout:
        if out.nValue < 0:
            raise ConsensusError("bad-txns-vout-negative")
        if out.nValue > MAX_MONEY_SATS:
            raise ConsensusError("bad-txns-vout-toolarge")
        total += out.nValue
    if total > MAX_MONEY_SATS:
        raise ConsensusError("bad-txns-txouttotal-toolarge")
    keys = spent_keys(tx)
    if len(set(keys)) != len(keys):
        raise ConsensusError("bad-txns-inputs-duplicate")
    if keys == (_NULL_KEY,):
        raise ConsensusError("coinbase")
    if _NULL_KEY in keys:
        raise ConsensusError("bad-txns-prevout-null")


def fee_of(tx: CTransaction, coins: Sequence[Utxo]) -> int:
    """What ``tx`` leaves of ``coins``, the outputs it spends, in sats."""
    fee = sum(coin.sats for coin in coins) - sum(int(out.nValue) for out in tx.vout)
    if fee < 0:
        raise ConsensusError("bad-txns-in-belowout")
    return fee


def check_final(tx: CTransaction, next_height: int, median_time: int) -> None:
    """The lock time, in a block of ``next_height`` after ``median_time`` (BIP113)."""
    now = next_height if tx.nLockTime < LOCKTIME_THRESHOLD else median_time
    if tx.nLockTime >= now and any(spend.nSequence != SEQUENCE_FINAL for spend in tx.vin):
        raise ConsensusError("bad-txns-nonfinal")


def check_ripe(
    tx: CTransaction,
    coins: Sequence[Utxo],
    next_height: int,
    median_time: int,
    median_time_before: Callable[[int], int],
) -> None:
    """Coinbase maturity and relative locks (BIP68).

    ``median_time_before(height)`` is the median time past that a block of ``height`` was mined
    after: where a relative lock in time begins.
    """
    if not all(coin.mature_at(next_height) for coin in coins):
        raise ConsensusError("bad-txns-premature-spend-of-coinbase")
    if tx.nVersion & 0xFFFFFFFF < 2:
        return
    for spend, coin in zip(tx.vin, coins, strict=True):
        if spend.nSequence & _SEQUENCE_DISABLED:
            continue
        since = next_height if coin.height is None else coin.height
        span = spend.nSequence & _SEQUENCE_MASK
        if spend.nSequence & _SEQUENCE_TIME:
            ripe = median_time_before(since) + span * _SEQUENCE_TIME_UNIT_S <= median_time
        else:
            ripe = since + span <= next_height
        if not ripe:
            raise ConsensusError(_NOT_RIPE)
