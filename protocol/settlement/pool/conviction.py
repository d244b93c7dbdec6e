"""Convicting the sequencer: the game's output and the seal in one transaction, by C.

The game's output goes by a leaf that C signs alone (VERDICT, TIMEOUT), the seal by C and by P's
consent: SIGHASH_NONE over exactly these two inputs. Who has not won has no first input to give.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.sighash import NONE, LeafSpend, sign_input, verify_input
from protocol.bitcoin.tx import (
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    vsize_with,
    with_witness,
)
from protocol.crypto.winternitz import Label
from protocol.errors import ScriptError, SignatureError
from protocol.settlement.dispute.spends import Spend
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import Move
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.pool.game import CONVICT, SEAL_OUTPUT, PlacedGame
from protocol.settlement.pool.terms import MEMBER, SEQUENCER
from protocol.settlement.spending import Taken

Consents = Mapping[str, bytes]
"""P's signatures of 65 bytes, by the move whose output C takes."""


@dataclass(frozen=True, slots=True)
class SignedGame:
    """What one player sends the other: every signature of the game, and of P its consents."""

    signatures: bytes
    consents: Consents


def consents(game: PlacedGame, keys: PartyKeys, aux_rand: bytes) -> dict[str, bytes]:
    """P's consent to every conviction: C alone finishes them, and only where it has won."""
    way = game.game.seal.path(CONVICT)
    key, leaf = keys.signer(way.signers[SEQUENCER]), LeafSpend(way.leaf.hash)
    return {
        move.name: sign_input(*_convicting(game, move, blocks), key, aux_rand, NONE, leaf=leaf)
        for move, blocks in _won(game)
    }


def require_consents(game: PlacedGame, given: Consents) -> None:
    """SignatureError unless P has consented to every conviction, and to nothing else."""
    way = game.game.seal.path(CONVICT)
    leaf, left = LeafSpend(way.leaf.hash), dict(given)
    for move, blocks in _won(game):
        signature = left.pop(move.name, b"")
        tx, number, spent = _convicting(game, move, blocks)
        key = way.signers[SEQUENCER]
        if signature[64:] != bytes([NONE]) or not verify_input(
            tx, number, spent, key, signature, leaf=leaf
        ):
            raise SignatureError(f"the sequencer's consent after {move.name} is wrong: do not sign")
    if left:
        raise SignatureError(f"{min(left)}: no conviction follows it")


def conviction_tx(
    game: PlacedGame,
    spend: Spend,
    keys: PartyKeys,
    aux_rand: bytes,
    given: Consents,
    messages: Mapping[Label, SignedMessage] | None = None,
    *,
    feerate_sat_vb: int | None = None,
) -> CTransaction:
    """C takes the pot and the seal to its script, at the terms' fee rate unless given.

    SignatureError if a message or a consent is missing, ScriptError if it does not pay for itself
    or the sequencer has not lost there.
    """
    vault = game.game.terms.vault
    if spend.output != 0 or spend.move not in given:
        raise ScriptError(f"{spend.way} after {spend.move} convicts nobody")
    move = game.move(spend.move)
    taken = Taken.of(move, 0, spend.way, messages or {}, spend.hints)
    seal, way = game.game.seal, game.game.seal.path(CONVICT)
    bare, number, spent = _convicting(game, move, taken.path.blocks)
    script = vault.members[game.game.terms.member].script
    held = sum(int(out.nValue) for out in spent)
    rate = vault.feerate_sat_vb if feerate_sat_vb is None else feerate_sat_vb
    widest = [taken.lock.widest_witness(taken.path), seal.widest_witness(way) + 1]
    fee = rate * vsize_with(transaction(bare.vin, [txout(held, script)]), widest)
    if held - fee < dust_limit_sats(script):
        raise ScriptError(f"{spend.way}: a fee of {fee} sats leaves nothing: lower the fee rate")
    tx = transaction(bare.vin, [txout(held - fee, script)])
    key = keys.signer(way.signers[MEMBER])
    own, sealed = (
        sign_input(tx, n, spent, key, aux_rand, leaf=LeafSpend(path.leaf.hash))
        for n, path in enumerate((taken.path, way))
    )
    both = {SEQUENCER: given[move.name], MEMBER: sealed}
    stacks = [
        taken.lock.stack(taken.path, {MEMBER: own}, taken.items),
        seal.stack(way, both, []),
    ]
    assert number == len(stacks) - 1, "the seal is the last input"
    return with_witness(tx, stacks)


def _won(game: PlacedGame) -> Iterator[tuple[Move, int]]:
    """The moves whose output C may take alone, with the blocks that it waits."""
    for move in game.moves.values():
        for lock in move.locks[:1]:
            waits = {path.blocks for path in lock.paths if tuple(path.signers) == (MEMBER,)}
            assert len(waits) <= 1, "all verdicts wait a block, a time-out its window"
            for blocks in waits:
                yield move, blocks


def _convicting(
    game: PlacedGame, move: Move, blocks: int
) -> tuple[CTransaction, int, tuple[CTxOut, ...]]:
    """A conviction's inputs, the number of the seal's, and what they spend. Its output is C's."""
    kickoff = game.kickoff
    seal = kickoff.tx.vout[SEAL_OUTPUT]
    inputs = [
        txin(outpoint(txid(move.tx), 0), blocks),
        txin(outpoint(txid(kickoff.tx), SEAL_OUTPUT), game.game.seal.path(CONVICT).sequence),
    ]
    return transaction(inputs, [seal]), 1, (move.tx.vout[0], seal)
