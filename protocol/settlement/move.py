"""Pre-signed transactions, and their drafts before amounts are known.

A transaction spends outputs 0, 1, .. of its parent, each by one of several ways. The ways of an
input differ in their leaf alone, so whichever is taken the transaction is the same: EXECUTE has one
txid and a leaf for each instruction. A signature commits to its leaf, so each has signatures of its
own; the fee is the dearest way's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.script import PAY_TO_ANCHOR
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
Inputs = tuple[tuple[SpendPath, ...], ...]
"""The ways to spend outputs 0, 1, .. of a parent."""
Amounts = Callable[[int, Paid], tuple[int, ...]]
"""The sats of every output, from what is left of the inputs and what each bond paid."""


def all_of_it(left: int, _paid: Paid) -> tuple[int, ...]:
    """The amounts of a move with one output."""
    return (left,)


@dataclass(frozen=True, slots=True)
class Beside:
    """An output of an earlier move that a draft spends beside its parent's: ``output`` of ``move``,
    which holds ``sats`` and is locked by ``lock``, by one ``way``."""

    move: str
    output: int
    lock: Lock
    sats: int
    way: SpendPath


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
    beside: tuple[Beside, ...] = ()
    """Inputs behind those of its parent."""

    @property
    def every_input(self) -> Inputs:
        """The ways of its inputs, those ``beside`` too."""
        return (*self.inputs, *((other.way,) for other in self.beside))

    def tx(self, amounts: Sequence[int]) -> CTransaction:
        """Without its outpoints."""
        scripts = (*(lock.script_pubkey for lock in self.locks), *self.plain)
        outputs = [txout(sats, code) for sats, code in zip(amounts, scripts, strict=True)]
        inputs = []
        for ways in self.every_input:
            if len({(way.sequence, way.height) for way in ways}) != 1:
                raise ScriptError(f"{self.name}: the ways of an input have one lock")
            inputs.append(txin(COutPoint(), ways[0].sequence))
        return transaction(
            inputs,
            [*outputs, txout(ANCHOR_SATS, ANCHOR_SCRIPT)],
            locktime=max(ways[0].height for ways in self.every_input),
            version=TRUC,
        )

    def walk(self, held: Sequence[Lock]) -> Iterator[tuple["Draft", Sequence[Lock]]]:
        """Itself and everything that follows it, each with the locks that it spends."""
        yield self, held[: len(self.inputs)]
        for child in self.then:
            yield from child.walk(self.locks)

    def vsize(self, locks: Sequence[Lock]) -> int:
        """By the dearest way of each input; ScriptError above what version 3 allows."""
        tx = self.tx((0,) * (len(self.locks) + len(self.plain)))
        every_lock = [*locks, *(other.lock for other in self.beside)]
        size = widest_vsize(tx, every_lock, self.every_input)
        if size > MAX_VSIZE:
            raise ScriptError(f"{self.name} has {size} virtual bytes, above {MAX_VSIZE}")
        return size


@dataclass(frozen=True, slots=True)
class Move:
    """A transaction that both sign before FUND."""

    name: str
    prover: Role | None
    """In whose direction it lies; None for REFUND."""
    payer: Role | None
    """Who makes it and pays for it from its bond; None where the reserve pays, and either may."""
    tx: CTransaction
    """Unsigned; in a :class:`Graph` its txid is final."""
    spends: str
    """The name of its parent: FUND or a move."""
    spent: tuple[CTxOut, ...]
    """Outputs 0, 1, .. of the parent, which it spends."""
    spent_locks: tuple[Lock, ...]
    """What locks them."""
    inputs: Inputs
    """Each by one of these ways."""
    locks: tuple[Lock, ...]
    """What locks its first outputs; plain outputs and the anchor follow."""
    fee_sats: int
    beside: tuple[tuple[str, int], ...] = ()
    """What its last inputs spend instead of the parent's outputs: a move, and which output."""

    def way(self, name: str | None = None) -> tuple[int, SpendPath]:
        """The way of that name, or the only one there is, with the number of its input;
        ScriptError if there is none."""
        ways = list(self.ways)
        if name is None and len(ways) == 1:
            return ways[0]
        for number, way in ways:
            if way.name == name:
                return number, way
        raise ScriptError(f"{self.name} is not reached by {name}")

    @property
    def messages(self) -> dict[Label, OneTimePublicKey]:
        """The one-time messages that its witness may show, with the keys they verify under."""
        return {message.label: message.key for _, way in self.ways for message in way.messages}

    @property
    def ways(self) -> Iterator[tuple[int, SpendPath]]:
        """Every leaf that it may show, with the number of its input."""
        for number, ways in enumerate(self.inputs):
            for way in ways:
                yield number, way

    @property
    def widest_vsize(self) -> int:
        """The virtual bytes of the signed transaction, at most: what its fee is counted with."""
        return widest_vsize(self.tx, self.spent_locks, self.inputs)

    @property
    def anchor(self) -> int:
        """The index of the output that a child bumps the fee through."""
        return len(self.tx.vout) - 1


def priced(
    draft: Draft,
    spends: str,
    held: Sequence[tuple[Lock, int]],
    feerate_sat_vb: int,
    paid: Paid,
) -> Iterator[Move]:
    """``draft`` and all that follows it, where its parent's outputs are ``held``. They add up: what
    comes out, fee and anchor included, is what goes in."""
    own = held[: len(draft.inputs)]
    fee = feerate_sat_vb * draft.vsize([lock for lock, _ in own])
    taken = (*own, *((other.lock, other.sats) for other in draft.beside))
    if draft.payer is not None:
        paid = {**paid, draft.payer: paid[draft.payer] + fee + ANCHOR_SATS}
    left = sum(sats for _, sats in taken) - fee - ANCHOR_SATS
    amounts = draft.amounts(left, paid)
    assert sum(amounts) == left, f"{draft.name} pays {sum(amounts)} of {left} sats"
    yield Move(
        name=draft.name,
        prover=draft.prover,
        payer=draft.payer,
        tx=draft.tx(amounts),
        spends=spends,
        spent=tuple(txout(sats, lock.script_pubkey) for lock, sats in taken),
        spent_locks=tuple(lock for lock, _ in taken),
        inputs=draft.every_input,
        locks=draft.locks,
        fee_sats=fee,
        beside=tuple((other.move, other.output) for other in draft.beside),
    )
    outputs = list(zip(draft.locks, amounts, strict=False))
    for child in draft.then:
        yield from priced(child, draft.name, outputs, feerate_sat_vb, paid)


def costs(draft: Draft, held: Sequence[Lock], payer: Role | None, feerate_sat_vb: int) -> int:
    """The dearest that ``payer`` pays for on any way down from ``draft``, in sats, where its
    parent's outputs are ``held``."""
    own = 0
    if draft.payer is payer:
        own = feerate_sat_vb * draft.vsize(held[: len(draft.inputs)]) + ANCHOR_SATS
    then = (costs(child, draft.locks, payer, feerate_sat_vb) for child in draft.then)
    return own + max(then, default=0)
