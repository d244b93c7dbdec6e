"""A member of the committee: it re-runs batches, signs them, and convicts who lies about them.

    cooperate    it has re-run the batch, and it is right: a fresh signature
    join .. lend it lends its signature to a batch that it need not have re-run yet: its game is
                 signed, PLEDGE is in a block, and it can challenge
    due          what it broadcasts: CHALLENGE if the batch is wrong, then its moves

It trusts nobody: the batch is checked against the chain and against its own input, the graph is
built here, and every signature that it may need is verified before it signs for STATE.
"""

from collections.abc import Iterable, Iterator

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
from protocol.settlement.pool.conviction import SignedGame, require_consents
from protocol.settlement.pool.game import REFUND, GameTerms, PlacedGame
from protocol.settlement.pool.graph import BatchGraph, Plan, batch_premises, game_terms
from protocol.settlement.pool.player import Player, Retrace
from protocol.settlement.pool.record import Memory
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms
from protocol.settlement.pool.vault import state_lock
from protocol.settlement.presign import (
    assemble,
    decode_signatures,
    encode_signatures,
    presign,
    require_signatures,
)
from protocol.settlement.view import View, confirmations


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
        memory: Memory | None = None,
    ) -> None:
        """``retrace`` runs the guest; ``first`` is the pool's first STATE, whose root the member
        knows to be an empty pool's; ``depth`` are the blocks that PLEDGE needs, and every
        move that it answers. It goes on where ``memory`` ends."""
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
        self._memory = memory or Memory()
        self._plan: Plan | None = None
        self._plans: dict[bytes, Plan] = {}
        """What it has signed, by the id of its game: one-time keys are for one game."""
        self.player: Player | None = None
        """In the game of the newest plan, once both have signed it."""
        self._players: list[Player] = []
        """In every game that is not over: an older plan may still be kicked off."""
        for plan in self._memory.plans_of(judge.image):
            self._resume(plan)

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
        return self._one_time(terms).public.encode()

    def sign_game(self, view: View, plan: Plan, own: Contribution, aux_rand: bytes) -> SignedGame:
        """Its signatures of its game, if the plan is of the batch that it joined with these keys
        and coins."""
        self._require(view, plan.batch, plan.refund_height)
        terms = self._terms(plan.batch, plan.refund_height)
        given = plan.bundles[self.number : self.number + 1]
        if [theirs for _, theirs in given] != [self._one_time(terms).public.encode()]:
            raise TermsError("the plan is not of a batch and keys that this member joined with")
        if plan.members[self.number : self.number + 1] != (own,):
            raise TermsError("the plan spends other coins than this member offered")
        if self._plans.get(terms.id, plan) != plan:
            raise TermsError(
                f"refund_height {plan.refund_height}: another plan for this batch was signed with"
                " these one-time keys; propose another height"
            )
        game = plan.graph(self.vault).games[self.number]
        self._memory.keep_plan(plan)
        self._plan, self._plans[terms.id], self.player = plan, plan, None
        if (terms.id, MEMBER) not in self._memory.signed:
            made = encode_signatures(game, presign(game, MEMBER, self._keys, aux_rand))
            self._memory.keep_signed(terms.id, MEMBER, SignedGame(made, {}))
        signed = decode_signatures(game, self._memory.signed[terms.id, MEMBER].signatures)
        return SignedGame(encode_signatures(game.lent, signed), {})

    def accept(self, signed: SignedGame) -> None:
        """The sequencer's signatures of this member's game: from then on it may sign PLEDGE."""
        game = self._graph.games[self.number]
        id_ = game.game.terms.id
        if (id_, MEMBER) not in self._memory.signed:
            raise TermsError("this member has not signed its game: send the plan to sign_game")
        require_signatures(game, SEQUENCER, decode_signatures(game, signed.signatures))
        require_consents(game, signed.consents)
        known = [player for player in self._players if player.id == id_]
        if known:
            (self.player,) = known
            return
        self._memory.keep_signed(id_, SEQUENCER, signed)
        self._play(game)

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
        if self.player.id not in self._memory.lent:
            opened, late = (
                one.sign(MEMBER, self.number, self._keys, aux_rand) for one in self._graph.advances
            )
            self._memory.keep_lent(self.player.id, (opened, late))
        return self._memory.lent[self.player.id]

    def due(self, view: View, aux_rand: bytes) -> Iterator[tuple[str, CTransaction]]:
        """What the next block may hold of this member, by name."""
        self._players = still_open(self._players, self._memory, view)
        for player in self._players:
            yield from player.due(view, aux_rand)
            yield from refund_due(player, view)

    def _resume(self, plan: Plan) -> None:
        """Knows the plan again, and plays on if both have signed its game."""
        terms = self._terms(plan.batch, plan.refund_height)
        self._plan, self._plans[terms.id], self.player = plan, plan, None
        if self._memory.plays(terms.id):
            self._play(self._graph.games[self.number])

    def _play(self, game: PlacedGame) -> None:
        """In a game of which both sides' signatures are kept."""
        terms, known = game.game.terms, self._memory.signed
        theirs = known[terms.id, SEQUENCER]
        both = {
            role: decode_signatures(game, known[terms.id, role].signatures)
            for role in (SEQUENCER, MEMBER)
        }
        self.player = Player(
            game,
            MEMBER,
            self._keys,
            self._one_time(terms),
            both,
            theirs.consents,
            self._retrace,
            self._strategy,
            self._memory,
            self._depth,
        )
        self._players.append(self.player)

    def _one_time(self, terms: GameTerms) -> OneTimeKeys:
        """Of its seed and the game's id."""
        return self._keys.one_time_over(terms.labels(MEMBER), proving=False)

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


def still_open(players: Iterable[Player], memory: Memory, view: View) -> list[Player]:
    """Those whose game is not over; the others are not played on after a restart either."""
    left = []
    for player in players:
        if player.over(view):
            memory.keep_over(player.id)
        else:
            left.append(player)
    return left


def refund_due(player: Player, view: View) -> Iterator[tuple[str, CTransaction]]:
    """REFUND, where nobody has kicked off in time."""
    placed: PlacedGame = player.placed
    open_ = view.height >= placed.game.terms.refund_height
    if open_ and view.utxo(placed.fund) is not None:
        yield REFUND, assemble(placed.move(REFUND), player.signatures)
