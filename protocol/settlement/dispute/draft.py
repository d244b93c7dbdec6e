"""Pre-signed transactions of a dispute: several ways in, several inputs, several outputs.

As ``protocol.settlement.move``, whose drafts are the case of one input with one way. The ways of an
input differ in their leaf alone, so whichever is taken the transaction is the same: EXECUTE has one
txid and a leaf for each instruction. A signature commits to its leaf, so each has signatures of its
own; the fee is the dearest way's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.tx import transaction, txin, txout, vsize, with_witness
from protocol.errors import ScriptError
from protocol.settlement.move import ANCHOR_SATS, ANCHOR_SCRIPT, MAX_VSIZE, TRUC, Paid
from protocol.settlement.move import Draft as SimpleDraft
from protocol.settlement.path import Lock, SpendPath
from protocol.settlement.terms import Role

Inputs = tuple[tuple[SpendPath, ...], ...]
"""The ways to spend outputs 0, 1, .. of a parent."""
Amounts = Callable[[int, Paid], tuple[int, ...]]
"""The sats of every output, from what is left of the inputs and what each bond paid."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A pre-signed transaction before its amounts, with the drafts that spend its outputs."""

    name: str
    prover: Role | None
    payer: Role | None
    """Whose bond pays fee and anchor; None where the reserve does."""
    inputs: Inputs
    locks: tuple[Lock, ...]
    """What locks its first outputs."""
    plain: tuple[bytes, ...]
    """The scripts of the outputs behind them; the anchor follows."""
    amounts: Amounts
    then: tuple["Draft", ...] = ()

    @classmethod
    def of(cls, draft: SimpleDraft) -> "Draft":
        """A draft with one way in, and what follows it."""
        then = tuple(map(cls.of, draft.then))
        ways = ((draft.path,),)
        name, plain, amounts = draft.path.name, draft.plain, draft.amounts
        return cls(name, draft.prover, draft.payer, ways, draft.locks, plain, amounts, then)

    def tx(self, amounts: Sequence[int]) -> CTransaction:
        """Without its outpoints."""
        scripts = (*(lock.script_pubkey for lock in self.locks), *self.plain)
        outputs = [txout(sats, code) for sats, code in zip(amounts, scripts, strict=True)]
        inputs = []
        for ways in self.inputs:
            if len({(way.sequence, way.height) for way in ways}) != 1:
                raise ScriptError(f"{self.name}: the ways of an input have one lock")
            inputs.append(txin(COutPoint(), ways[0].sequence))
        return transaction(
            inputs,
            [*outputs, txout(ANCHOR_SATS, ANCHOR_SCRIPT)],
            locktime=max(ways[0].height for ways in self.inputs),
            version=TRUC,
        )

    def vsize(self, locks: Sequence[Lock]) -> int:
        """By the dearest way of each input; ScriptError above what version 3 allows."""
        tx = self.tx((0,) * (len(self.locks) + len(self.plain)))
        size = widest_vsize(tx, locks, self.inputs)
        if size > MAX_VSIZE:
            raise ScriptError(f"{self.name} has {size} virtual bytes, above {MAX_VSIZE}")
        return size


@dataclass(frozen=True, slots=True)
class Move:
    """A pre-signed transaction."""

    name: str
    prover: Role | None
    tx: CTransaction
    spends: str
    """The name of its parent: FUND or a move."""
    spent: tuple[CTxOut, ...]
    """Outputs 0, 1, .. of the parent, which it spends."""
    spent_locks: tuple[Lock, ...]
    inputs: Inputs
    locks: tuple[Lock, ...]
    fee_sats: int

    @property
    def ways(self) -> Iterator[tuple[int, SpendPath]]:
        """Every leaf that it may show, with the number of its input."""
        for number, ways in enumerate(self.inputs):
            for way in ways:
                yield number, way

    @property
    def widest_vsize(self) -> int:
        """The virtual bytes of the signed transaction, at most."""
        return widest_vsize(self.tx, self.spent_locks, self.inputs)

    @property
    def anchor(self) -> int:
        """The index of the output that a child bumps the fee through."""
        return len(self.tx.vout) - 1


def widest_vsize(
    tx: CTransaction, locks: Sequence[Lock], inputs: Sequence[Sequence[SpendPath]]
) -> int:
    """The virtual bytes of ``tx`` by the dearest way of each input."""
    stacks = [
        max((lock.widest_stack(way) for way in ways), key=stack_bytes)
        for lock, ways in zip(locks, inputs, strict=True)
    ]
    return vsize(with_witness(tx, stacks))


def stack_bytes(stack: Sequence[bytes]) -> int:
    """Roughly what a witness weighs: enough to compare two."""
    return sum(map(len, stack)) + len(stack)


def priced(
    draft: Draft,
    spends: str,
    held: Sequence[tuple[Lock, int]],
    feerate_sat_vb: int,
    paid: Paid,
) -> Iterator[Move]:
    """``draft`` and all that follows it, where its parent's outputs are ``held``. They add up: what
    comes out, fee and anchor included, is what goes in."""
    taken = held[: len(draft.inputs)]
    locks = tuple(lock for lock, _ in taken)
    fee = feerate_sat_vb * draft.vsize(locks)
    if draft.payer is not None:
        paid = {**paid, draft.payer: paid[draft.payer] + fee + ANCHOR_SATS}
    left = sum(sats for _, sats in taken) - fee - ANCHOR_SATS
    amounts = draft.amounts(left, paid)
    assert sum(amounts) == left, f"{draft.name} pays {sum(amounts)} of {left} sats"
    yield Move(
        name=draft.name,
        prover=draft.prover,
        tx=draft.tx(amounts),
        spends=spends,
        spent=tuple(txout(sats, lock.script_pubkey) for lock, sats in taken),
        spent_locks=locks,
        inputs=draft.inputs,
        locks=draft.locks,
        fee_sats=fee,
    )
    outputs = list(zip(draft.locks, amounts, strict=False))
    for child in draft.then:
        yield from priced(child, draft.name, outputs, feerate_sat_vb, paid)
