"""A pre-signed transaction, and its draft before amounts are known."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.script import PAY_TO_ANCHOR
from protocol.bitcoin.taproot import TapLeaf, TaprootOutput
from protocol.bitcoin.tx import transaction, txin, txout
from protocol.crypto.winternitz import Label, OneTimePublicKey
from protocol.errors import ScriptError
from protocol.settlement.path import Lock, SpendPath, widest_vsize
from protocol.settlement.terms import Role

FUND: Final = "FUND"
ANCHOR_SATS: Final = 240
ANCHOR_SCRIPT: Final = PAY_TO_ANCHOR

TRUC: Final = 3
MAX_VSIZE: Final = 10_000
"""Of a version 3 transaction (BIP431)."""

Paid = Mapping[Role, int]
"""What each party's bond has paid on the way, in sats."""


@dataclass(frozen=True, slots=True)
class Move:
    """A transaction that both sign before FUND."""

    name: str
    prover: Role | None
    """In whose direction it lies; None for REFUND."""
    tx: CTransaction
    """Unsigned; in a :class:`Graph` its txid is final."""
    spends: str
    """The name of its parent, whose output 0 it spends: FUND or a move."""
    spent: CTxOut
    lock: Lock
    """What locks ``spent``."""
    path: SpendPath
    """The way that it takes through ``lock``."""
    locks: tuple[Lock, ...]
    """What locks its first outputs; plain outputs and the anchor follow."""
    fee_sats: int

    @property
    def leaf(self) -> TapLeaf:
        return self.path.leaf

    @property
    def output(self) -> TaprootOutput:
        """What it spends."""
        return self.lock.output

    @property
    def signers(self) -> Mapping[Role, bytes]:
        """The x-only keys that sign, by party."""
        return self.path.signers

    @property
    def messages(self) -> dict[Label, OneTimePublicKey]:
        """The one-time messages that its witness reveals, with the keys they verify under."""
        return {message.label: message.key for message in self.path.messages}

    @property
    def widest_vsize(self) -> int:
        """The virtual bytes of the signed transaction, at most: what its fee is counted with."""
        return widest_vsize(self.tx, self.lock, self.path)

    @property
    def anchor(self) -> int:
        """The index of the output that a child bumps the fee through."""
        return len(self.tx.vout) - 1


@dataclass(frozen=True, slots=True)
class Draft:
    """A pre-signed transaction before its amounts, with the drafts that spend its output 0."""

    path: SpendPath
    prover: Role | None
    payer: Role | None
    """Whose bond pays fee and anchor; None where the reserve does."""
    locks: tuple[Lock, ...]
    plain: tuple[bytes, ...]
    """The scripts of the outputs behind them."""
    amounts: Callable[[int, Paid], tuple[int, ...]]
    """The sats of all these outputs, from what is left of the input and what each bond paid."""
    then: tuple["Draft", ...] = ()

    def tx(self, amounts: tuple[int, ...]) -> CTransaction:
        """Without its outpoint."""
        scripts = (*(lock.script_pubkey for lock in self.locks), *self.plain)
        outputs = [txout(sats, code) for sats, code in zip(amounts, scripts, strict=True)]
        return transaction(
            [txin(COutPoint(), self.path.sequence)],
            [*outputs, txout(ANCHOR_SATS, ANCHOR_SCRIPT)],
            locktime=self.path.height,
            version=TRUC,
        )

    def vsize(self, lock: Lock) -> int:
        """Signed, at most, spending ``lock``; ScriptError above what version 3 allows."""
        size = widest_vsize(self.tx((0,) * (len(self.locks) + len(self.plain))), lock, self.path)
        if size > MAX_VSIZE:
            raise ScriptError(f"{self.path.name} has {size} virtual bytes, above {MAX_VSIZE}")
        return size


def priced(
    draft: Draft, spends: str, lock: Lock, sats: int, feerate_sat_vb: int, paid: Paid
) -> Iterator[Move]:
    """``draft`` and all that follows it, where its input holds ``sats``. They add up: what comes
    out, fee and anchor included, is what goes in."""
    fee = feerate_sat_vb * draft.vsize(lock)
    if draft.payer is not None:
        paid = {**paid, draft.payer: paid[draft.payer] + fee + ANCHOR_SATS}
    left = sats - fee - ANCHOR_SATS
    amounts = draft.amounts(left, paid)
    assert sum(amounts) == left, f"{draft.path.name} pays {sum(amounts)} of {left} sats"
    yield Move(
        name=draft.path.name,
        prover=draft.prover,
        tx=draft.tx(amounts),
        spends=spends,
        spent=txout(sats, lock.script_pubkey),
        lock=lock,
        path=draft.path,
        locks=draft.locks,
        fee_sats=fee,
    )
    for child in draft.then:
        yield from priced(child, draft.path.name, draft.locks[0], amounts[0], feerate_sat_vb, paid)


def costs(draft: Draft, lock: Lock, payer: Role | None, feerate_sat_vb: int) -> int:
    """The dearest that ``payer`` pays for on any way down from ``draft``, in sats."""
    own = feerate_sat_vb * draft.vsize(lock) + ANCHOR_SATS if draft.payer is payer else 0
    return own + max(
        (costs(child, draft.locks[0], payer, feerate_sat_vb) for child in draft.then), default=0
    )
