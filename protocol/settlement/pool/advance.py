"""ADVANCE: STATE_n and the deposits into STATE_n+1 and the payments. Three transactions do it.

    ADVANCE        signed when a quorum has re-run the batch       coins of P pay the fee
    ADVANCE_OPEN   pre-signed; spends every game and every seal,   the bonds come back less the fee
                   ``challenge_window`` blocks after the last KICKOFF
    ADVANCE_LATE   pre-signed; spends every seal,                  the seals pay the fee
                   ``late_window`` blocks after the last KICKOFF

Inputs: STATE, the deposits, then what is special. Outputs: STATE, the payments, then what is
special, the anchor. All spend STATE_n, so one of them can be in a chain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.script import check_x_only
from protocol.bitcoin.sighash import LeafSpend, taproot_sighash
from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import (
    SEQUENCE_REPLACEABLE,
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    vsize_with,
    with_witness,
)
from protocol.crypto.keys import verify
from protocol.errors import ScriptError, SignatureError, TermsError
from protocol.settlement.funding import Contribution, widest_witness
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import ANCHOR_SATS, ANCHOR_SCRIPT, MAX_VSIZE, TRUC
from protocol.settlement.party_terms import Role
from protocol.settlement.path import Lock, SpendPath
from protocol.settlement.pool.batch import DUST_SATS, Batch, State, outpoint_of
from protocol.settlement.pool.game import (
    ADVANCE_LATE,
    ADVANCE_OPEN,
    SEAL_OUTPUT,
    GameTerms,
    PlacedGame,
    seal_lock,
)
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms
from protocol.settlement.pool.vault import CommitteeLock, deposit_lock, state_lock

ADVANCE: Final = "ADVANCE"
_NOWHERE: Final = COutPoint()

Signed = Mapping[int, bytes]
"""Signatures by the number of the input that they are for."""


@dataclass(frozen=True, slots=True)
class Played:
    """An input that P and a member spend: which game's, its lock, by which way."""

    member: int
    lock: Lock
    way: SpendPath


@dataclass(frozen=True, slots=True)
class Advance:
    """One of the three, unsigned: ``committee`` locks its first inputs, ``played`` the next ones;
    behind them are coins of P's wallet."""

    name: str
    tx: CTransaction
    spent: tuple[CTxOut, ...]
    committee: tuple[CommitteeLock, ...]
    played: tuple[Played, ...] = ()
    fee_sats: int = field(default=0, compare=False)

    def state(self, batch: Batch) -> State:
        """STATE_n+1."""
        point = outpoint(txid(self.tx), 0)
        return State(outpoint=point, root=batch.new_root, vault_sats=batch.new_vault_sats)

    def sign(self, role: Role, member: int, keys: PartyKeys, aux_rand: bytes) -> dict[int, bytes]:
        """All that ``role`` signs: member ``member`` of the committee its inputs and those of its
        game, the sequencer those of every game."""
        signed: dict[int, bytes] = {}
        if role is MEMBER:
            for number in range(len(self.committee)):
                signed[number] = keys.key.sign(self._digest(number), aux_rand)
        for number, one in self._played(role, member):
            signed[number] = keys.signer(one.way.signers[role]).sign(self._digest(number), aux_rand)
        return signed

    def require(self, role: Role, member: int, key: bytes, signed: Signed) -> None:
        """SignatureError naming the input unless ``signed`` is what ``sign`` gives; ``key`` is the
        member's in the committee."""
        wanted = {number: one.way.signers[role] for number, one in self._played(role, member)}
        if role is MEMBER:
            wanted |= dict.fromkeys(range(len(self.committee)), key)
        if signed.keys() != wanted.keys():
            raise SignatureError(f"{self.name}: signatures of inputs {sorted(wanted)} are wanted")
        for number, public in wanted.items():
            if not verify(public, self._digest(number), signed[number]):
                raise SignatureError(
                    f"{self.name}: the signature of input {number} by {public.hex()} is wrong"
                )

    def finish(
        self,
        members: Mapping[int, Signed],
        sequencer: Signed | None = None,
        wallet: Sequence[Sequence[bytes]] = (),
    ) -> CTransaction:
        """The signed transaction, of checked signatures by member; ``wallet`` are the witnesses of
        P's coins. SignatureError if too few signed."""
        stacks: list[Sequence[bytes]] = []
        for number, lock in enumerate(self.committee):
            own = {lock.keys[j]: signed[number] for j, signed in members.items()}
            stacks.append(lock.stack(own))
        for number, one in enumerate(self.played, start=len(self.committee)):
            both = {
                role: signed[number]
                for role, signed in (
                    (SEQUENCER, sequencer or {}),
                    (MEMBER, members.get(one.member, {})),
                )
                if number in signed
            }
            stacks.append(one.lock.stack(one.way, both, []))
        return with_witness(self.tx, [*stacks, *wallet])

    def _played(self, role: Role, member: int) -> list[tuple[int, Played]]:
        rows = enumerate(self.played, start=len(self.committee))
        return [(n, one) for n, one in rows if role is SEQUENCER or one.member == member]

    def _digest(self, number: int) -> bytes:
        rest = number - len(self.committee)
        leaf = self.committee[number].leaf if rest < 0 else self.played[rest].way.leaf
        return taproot_sighash(self.tx, number, self.spent, leaf=LeafSpend(leaf.hash))


def advance(terms: VaultTerms, batch: Batch, fee: Contribution) -> Advance:
    """The cooperative one; ``fee`` are coins of P, which pays the fee and the anchor of them.
    TermsError if they do not suffice."""
    coins = [(coin.outpoint, coin.output) for coin in fee.coins]
    witnesses = [1 + sum(1 + len(i) for i in widest_witness(coin)) for coin in fee.coins]
    change = _Plan(terms, batch, coins, witnesses, [fee.change_script])
    left = fee.sats - change.fee_sats - ANCHOR_SATS
    if left >= dust_limit_sats(fee.change_script):
        return change.made(ADVANCE, [left])
    bare = _Plan(terms, batch, coins, witnesses, [])
    if fee.sats < bare.fee_sats + ANCHOR_SATS:
        raise TermsError(
            f"the fee's coins hold {fee.sats} sats, {ADVANCE} takes {bare.fee_sats + ANCHOR_SATS}:"
            " add one"
        )
    return bare.made(ADVANCE, [])


def advance_open(terms: VaultTerms, batch: Batch, games: Sequence[PlacedGame]) -> Advance:
    """What is due where nobody challenged: C_j has its bond back, P the rest."""
    played, inputs = [], []
    for number, game in enumerate(games):
        kickoff = game.kickoff
        for output, lock in enumerate(kickoff.locks):
            played.append(Played(number, lock, lock.path(ADVANCE_OPEN)))
            inputs.append((outpoint(txid(kickoff.tx), output), kickoff.tx.vout[output]))
    scripts = [terms.sequencer.script, *(member.script for member in terms.members)]
    plan = _Plan(terms, batch, inputs, [], scripts, tuple(played))
    held = sum(int(out.nValue) for _, out in inputs)
    bonds = [terms.bond_sats] * len(games)
    own = held - sum(bonds) - plan.fee_sats - ANCHOR_SATS
    return plan.made(ADVANCE_OPEN, [own, *bonds])


def advance_late(terms: VaultTerms, batch: Batch, games: Sequence[PlacedGame]) -> Advance:
    """What is due where a member challenged in vain; P's and C_j's bonds went their own way."""
    inputs, played = [], []
    for number, game in enumerate(games):
        kickoff = game.kickoff
        lock = kickoff.locks[SEAL_OUTPUT]
        inputs.append((outpoint(txid(kickoff.tx), SEAL_OUTPUT), kickoff.tx.vout[SEAL_OUTPUT]))
        played.append(Played(number, lock, lock.path(ADVANCE_LATE)))
    return _Plan(terms, batch, inputs, [], [], tuple(played)).made(ADVANCE_LATE, [])


def seal_sats(terms: VaultTerms, batch: Batch, games: Sequence[GameTerms]) -> int:
    """What each seal holds: its share of ADVANCE_LATE's fee and anchor, no dust."""
    locks = [seal_lock(game) for game in games]
    inputs = [(_NOWHERE, txout(0, lock.script_pubkey)) for lock in locks]
    played = [Played(number, lock, lock.path(ADVANCE_LATE)) for number, lock in enumerate(locks)]
    plan = _Plan(terms, batch, inputs, [], [], tuple(played))
    return max(DUST_SATS, -(-(plan.fee_sats + ANCHOR_SATS) // len(games)))


@dataclass(frozen=True, slots=True)
class _Plan:
    """An ADVANCE before its last amounts."""

    terms: VaultTerms
    batch: Batch
    inputs: Sequence[tuple[COutPoint, CTxOut]]
    """Behind STATE and the deposits."""
    witnesses: Sequence[int]
    """The bytes of P's coins' witnesses."""
    scripts: Sequence[bytes]
    """Of the outputs behind the payments."""
    played: tuple[Played, ...] = ()

    @property
    def committee(self) -> tuple[CommitteeLock, ...]:
        deposits = (deposit_lock(self.terms, one.owner) for one in self.batch.deposits)
        return (state_lock(self.terms, self.batch.old.root), *deposits)

    @property
    def fee_sats(self) -> int:
        """At the terms' rate; ScriptError above what version 3 allows."""
        widest = [lock.widest_witness for lock in self.committee]
        widest += [one.lock.widest_witness(one.way) for one in self.played]
        size = vsize_with(self._tx([0] * len(self.scripts)), [*widest, *self.witnesses])
        if size > MAX_VSIZE:
            raise ScriptError(
                f"a batch of {len(self.batch.deposits)} deposits and {len(self.batch.outputs)}"
                f" payments takes {size} virtual bytes, above {MAX_VSIZE}: split it"
            )
        return self.terms.feerate_sat_vb * size

    def made(self, name: str, amounts: Sequence[int]) -> Advance:
        tx, batch = self._tx(amounts), self.batch
        held = [batch.old.sats, *(one.sats for one in batch.deposits)]
        own = [txout(s, c.script_pubkey) for s, c in zip(held, self.committee, strict=True)]
        spent = (*own, *(out for _, out in self.inputs))
        fee = sum(int(o.nValue) for o in spent) - sum(int(o.nValue) for o in tx.vout)
        return Advance(name, tx, spent, self.committee, self.played, fee)

    def _tx(self, amounts: Sequence[int]) -> CTransaction:
        batch = self.batch
        points = [batch.old.outpoint, *(outpoint_of(one.outpoint) for one in batch.deposits)]
        inputs = [txin(point) for point in points]
        played = [one.way.sequence for one in self.played]
        sequences = played or [SEQUENCE_REPLACEABLE] * len(self.inputs)
        for (point, _), sequence in zip(self.inputs, sequences, strict=True):
            inputs.append(txin(point, sequence))
        new = State(outpoint=_NOWHERE, root=batch.new_root, vault_sats=batch.new_vault_sats)
        outputs = [txout(new.sats, state_lock(self.terms, new.root).script_pubkey)]
        outputs += [txout(p.sats, key_path_script(check_x_only(p.owner))) for p in batch.outputs]
        outputs += [txout(s, code) for s, code in zip(amounts, self.scripts, strict=True)]
        outputs.append(txout(ANCHOR_SATS, ANCHOR_SCRIPT))
        return transaction(inputs, outputs, version=TRUC)
