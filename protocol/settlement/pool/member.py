"""A member of the committee: it re-runs batches, signs them, and convicts who lies about them.

    cooperate    it has re-run the batch, and it is right: a fresh signature
    join .. lend it lends its signature to a batch that it need not have re-run yet: its game is
                 signed, PLEDGE is in a block, and it can challenge
    due          what it broadcasts: CHALLENGE if the batch is wrong, then its moves

It trusts nobody: the batch is checked against the chain and against its own input, the graph is
built here, and every signature that it may need is verified before it signs for STATE.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import txid, txout
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import TermsError
from protocol.settlement.funding import Contribution
from protocol.settlement.keys import PartyKeys
from protocol.settlement.onetime import OneTimeKeys
from protocol.settlement.pool.advance import Signed, advance
from protocol.settlement.pool.batch import Batch, State
from protocol.settlement.pool.checks import Judge, is_right, newest_state, require_batch
from protocol.settlement.pool.conviction import Consents, require_consents
from protocol.settlement.pool.game import REFUND, GameTerms, PlacedGame
from protocol.settlement.pool.graph import BatchGraph, Plan, batch_premises, game_terms
from protocol.settlement.pool.player import Player, Retrace
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms
from protocol.settlement.pool.vault import state_lock
from protocol.settlement.presign import (
    Signatures,
    assemble,
    decode_signatures,
    encode_signatures,
    presign,
    require_signatures,
)
from protocol.settlement.view import View, confirmations


@dataclass(frozen=True, slots=True)
class SignedGame:
    """What one player sends the other: every signature of the game, and of P its consents."""

    signatures: bytes
    consents: Consents


class CommitteeMember:
    """Member ``number`` (from 0). Whatever it refuses is a TermsError or a SignatureError."""

    def __init__(
        self,
        vault: VaultTerms,
        number: int,
        keys: PartyKeys,
        judge: Judge,
        retrace: Retrace,
        first: State,
        strategy: Strategy = HONEST,
        depth: int = 1,
    ) -> None:
        """``retrace`` runs the guest; ``first`` is the pool's first STATE, whose root the member
        knows to be an empty pool's; ``depth`` are the blocks that PLEDGE needs."""
        self.vault = vault
        self.number = number
        self._keys = keys
        self._judge = judge
        self._retrace = retrace
        self._first = first
        self._state = first.outpoint
        """The newest STATE that a block held when it was last asked for."""
        self._strategy = strategy
        self._depth = depth
        self._one_time: dict[bytes, OneTimeKeys] = {}
        self._plan: Plan | None = None
        self._plans: dict[bytes, Plan] = {}
        """What it has signed, by the id of its game: one-time keys are for one game."""
        self._own: Signatures = {}
        self.player: Player | None = None
        """In the game of the newest plan, once both have signed it."""
        self._players: list[Player] = []
        """In every game that is not over: an older plan may still be kicked off."""

    # With a quorum

    def cooperate(self, view: View, batch: Batch, fee: Contribution, aux_rand: bytes) -> Signed:
        """Its signature for ADVANCE, after it has re-run the batch."""
        self._require(view, batch)
        if not is_right(self._retrace(batch_premises(self.vault, batch)), self.vault):
            raise TermsError("the batch is wrong: its program does not halt on its input")
        return advance(self.vault, batch, fee).sign(MEMBER, self.number, self._keys, aux_rand)

    # Without

    def join(self, view: View, batch: Batch, refund_height: int) -> bytes:
        """Its one-time keys for a game about ``batch``."""
        self._require(view, batch, refund_height)
        terms = self._terms(batch, refund_height)
        if terms.id not in self._one_time:
            keys = self._keys.one_time_over(terms.labels(MEMBER), proving=False)
            self._one_time[terms.id] = keys
        return self._one_time[terms.id].public.encode()

    def sign_game(self, view: View, plan: Plan, own: Contribution, aux_rand: bytes) -> SignedGame:
        """Its signatures of its game, if the plan is of the batch that it joined with these keys
        and coins."""
        self._require(view, plan.batch, plan.refund_height)
        id_ = self._terms(plan.batch, plan.refund_height).id
        keys, given = self._one_time.get(id_), plan.bundles[self.number : self.number + 1]
        if keys is None or [theirs for _, theirs in given] != [keys.public.encode()]:
            raise TermsError("the plan is not of a batch and keys that this member joined with")
        if plan.members[self.number : self.number + 1] != (own,):
            raise TermsError("the plan spends other coins than this member offered")
        if self._plans.get(id_, plan) != plan:
            raise TermsError(
                f"refund_height {plan.refund_height}: another plan for this batch was signed with"
                " these one-time keys; propose another height"
            )
        graph = plan.graph(self.vault)
        self._plan, self._plans[id_], self.player = plan, plan, None
        game = graph.games[self.number]
        self._own = presign(game, MEMBER, self._keys, aux_rand)
        return SignedGame(encode_signatures(game.lent, self._own), {})

    def accept(self, signed: SignedGame) -> None:
        """The sequencer's signatures of this member's game: from then on it may sign PLEDGE."""
        plan, game = self._planned, self._graph.games[self.number]
        theirs = decode_signatures(game, signed.signatures)
        require_signatures(game, SEQUENCER, theirs)
        require_consents(game, signed.consents)
        known = [player for player in self._players if player.placed.fund == game.fund]
        if known:
            (self.player,) = known
            return
        both = {SEQUENCER: theirs, MEMBER: self._own}
        keys = self._one_time[self._terms(plan.batch, plan.refund_height).id]
        self.player = Player(
            game, MEMBER, self._keys, keys, both, signed.consents, self._retrace, self._strategy
        )
        self._players.append(self.player)

    def lend(self, view: View, aux_rand: bytes) -> tuple[Signed, Signed]:
        """Its signatures of ADVANCE_OPEN and ADVANCE_LATE, once PLEDGE is in the chain."""
        plan = self._planned
        if self.player is None:
            raise TermsError("the sequencer has not signed this member's game: send that first")
        self._require(view, plan.batch, plan.refund_height)
        pledge = view.tx(txid(plan.pledge(self.vault)))
        if confirmations(pledge, view) < self._depth:
            raise TermsError(
                f"PLEDGE is not confirmed: {self._depth} blocks must hold or follow it"
            )
        if view.utxo(self.player.placed.fund) is None:
            raise TermsError("this member's game has been kicked off: its window may be over")
        opened, late = (
            one.sign(MEMBER, self.number, self._keys, aux_rand) for one in self._graph.advances
        )
        return opened, late

    def due(self, view: View, aux_rand: bytes) -> Iterator[tuple[str, CTransaction]]:
        """What the next block may hold of this member, by name."""
        self._players = [player for player in self._players if not player.over(view)]
        for player in self._players:
            yield from player.due(view, aux_rand)
            yield from refund_due(player, view)

    def _require(self, view: View, batch: Batch, refund_height: int = 0) -> None:
        """TermsError unless the batch is in order, and on the pool's own STATE."""
        require_batch(view, self.vault, self._judge, batch, refund_height)
        if batch.old.outpoint != self._newest(view):
            raise TermsError("old: this STATE does not come from the pool's first one")

    def _newest(self, view: View) -> COutPoint:
        """Where the pool's STATE is."""
        made = view.tx(bytes(self._first.outpoint.hash))
        lock, place = state_lock(self.vault, self._first.root), self._first.outpoint.n
        first = txout(self._first.sats, lock.script_pubkey)
        if made is None or list(made.tx.vout[place : place + 1]) != [first]:
            raise TermsError("first: the chain has no such STATE")
        if view.tx(bytes(self._state.hash)) is None:  # after a reorganisation
            self._state = self._first.outpoint
        newest = self._state
        for point, in_block in newest_state(view, newest):
            newest, self._state = point, point if in_block else self._state
        return newest

    @property
    def _planned(self) -> Plan:
        if self._plan is None:
            raise TermsError("no plan was signed: the sequencer sends it to sign_game")
        return self._plan

    @property
    def _graph(self) -> BatchGraph:
        return self._planned.graph(self.vault)

    def _terms(self, batch: Batch, refund_height: int) -> GameTerms:
        return game_terms(self.vault, batch, refund_height)[self.number]


def refund_due(player: Player, view: View) -> Iterator[tuple[str, CTransaction]]:
    """REFUND, where nobody has kicked off in time."""
    placed: PlacedGame = player.placed
    open_ = view.height >= placed.game.terms.refund_height
    if open_ and view.utxo(placed.fund) is not None:
        yield REFUND, assemble(placed.move(REFUND), player.signatures)
