"""The sequencer: it makes batches final, with a quorum or against its silence.

settle       a quorum has signed: ADVANCE
offer .. advance     otherwise it pledges a bond to every member, kicks off every game, and
             advances if nobody convicts it
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bitcoin.core import CTransaction

from protocol.crypto.winternitz import digits_of
from protocol.dispute.leaves import said
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import SignatureError, TermsError
from protocol.settlement.dispute.labels import label_of
from protocol.settlement.funding import Contribution
from protocol.settlement.keys import PartyKeys
from protocol.settlement.onetime import OneTimeKeys
from protocol.settlement.pool.advance import Advance, Signed, advance
from protocol.settlement.pool.batch import Batch
from protocol.settlement.pool.conviction import SignedGame, consents
from protocol.settlement.pool.game import GameTerms, PlacedGame
from protocol.settlement.pool.graph import BatchGraph, Plan, batch_premises, game_terms
from protocol.settlement.pool.member import refund_due, still_open
from protocol.settlement.pool.player import Player, Retrace
from protocol.settlement.pool.record import Memory
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms
from protocol.settlement.presign import (
    assemble,
    decode_signatures,
    encode_signatures,
    presign,
    require_signatures,
)
from protocol.settlement.view import View
from riscv_vm.image import ProgramImage


@dataclass(slots=True)
class Sequencer:
    """P. Whatever is wrong with what members send is a TermsError or a SignatureError. It goes on
    where ``memory`` ends, whose plans are of the program ``image``."""

    vault: VaultTerms
    keys: PartyKeys
    retrace: Retrace
    strategy: Strategy = HONEST
    memory: Memory = field(default_factory=Memory)
    image: ProgramImage | None = None
    depth: int = 1
    """Confirmations of the moves that it answers."""
    plan: Plan | None = None
    players: dict[int, Player] = field(default_factory=dict)
    """By member, once both have signed its game."""
    _older: list[Player] = field(default_factory=list)
    """In games of earlier plans that are not over."""
    _plans: dict[tuple[bytes, int], Plan] = field(default_factory=dict)
    """What it has proposed, by the batch's digest and the refund height."""
    _lent: dict[int, tuple[Signed, Signed]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """EncodingError if a plan that was kept is not of ``image``, TermsError without one."""
        if self.memory.plans and self.image is None:
            raise TermsError("image: plans were kept, name the program that they are of")
        for plan in self.memory.plans_of(self.image) if self.image else ():
            self._resume(plan)

    # With a quorum

    def settle(self, batch: Batch, fee: Contribution, members: Mapping[int, Signed]) -> Advance:
        """ADVANCE, if every signature that came is right; ``finish`` and sign the fee's coins."""
        made = advance(self.vault, batch, fee)
        for number, signed in members.items():
            made.require(MEMBER, number, self.vault.members[number].key, signed)
        return made

    # Without

    def offer(self, batch: Batch, refund_height: int) -> tuple[bytes, ...]:
        """Its one-time keys for each member's game about ``batch``."""
        terms = game_terms(self.vault, batch, refund_height)
        return tuple(self._keys_of(own).public.encode() for own in terms)

    def propose(
        self,
        batch: Batch,
        refund_height: int,
        answers: Sequence[bytes],
        own: Contribution,
        members: Sequence[Contribution],
    ) -> Plan:
        """The plan that everybody builds the graph of; ``answers`` are the members' keys."""
        mine = self.offer(batch, refund_height)
        if not len(mine) == len(answers) == len(members) == len(self.vault.members):
            raise TermsError("answers: every member joins a plan with its keys and coins")
        bundles = tuple(zip(mine, answers, strict=True))
        plan = Plan(batch, refund_height, bundles, own, tuple(members))
        if self._plans.setdefault((batch.digest, refund_height), plan) != plan:
            raise TermsError(
                f"refund_height {refund_height}: another plan for this batch has these one-time"
                " keys; offer it for another height"
            )
        self.memory.keep_plan(plan)
        self._turn_to(plan)
        return plan

    def sign_games(self, aux_rand: bytes) -> tuple[SignedGame, ...]:
        """For each member what it needs before it signs PLEDGE."""
        made = []
        for game in self.graph.games:
            key = game.game.terms.id, SEQUENCER
            if key not in self.memory.signed:
                own = presign(game, SEQUENCER, self.keys, aux_rand)
                given = consents(game, self.keys, aux_rand)
                self.memory.keep_signed(*key, SignedGame(encode_signatures(game, own), given))
            made.append(self.memory.signed[key])
        return tuple(made)

    def accept(self, number: int, theirs: SignedGame) -> None:
        """A member's signatures of its game, after ``sign_games``."""
        game = self.graph.games[number]
        if (game.game.terms.id, SEQUENCER) not in self.memory.signed:
            raise TermsError("the sequencer has not signed the games: sign_games comes first")
        require_signatures(game.lent, MEMBER, decode_signatures(game.lent, theirs.signatures))
        self.memory.keep_signed(game.game.terms.id, MEMBER, theirs)
        self.players[number] = self._player(game)

    def lent(self, number: int, signed: tuple[Signed, Signed]) -> None:
        """A member's signatures of ADVANCE_OPEN and ADVANCE_LATE."""
        if len(signed) != len(self.graph.advances):
            raise SignatureError("a member lends its signatures of both ADVANCEs")
        for one, own in zip(self.graph.advances, signed, strict=True):
            one.require(MEMBER, number, self.vault.members[number].key, own)
        self.memory.keep_lent(self.graph.games[number].game.terms.id, signed)
        self._lent[number] = signed

    def kickoffs(self) -> Iterator[CTransaction]:
        """KICKOFF of every game. TermsError unless every member has signed everything."""
        if len(self._lent) != len(self.vault.members):
            raise TermsError("a member has not lent its signature: nothing could be advanced")
        premises = batch_premises(self.vault, self.graph.about.batch)
        data = self.graph.about.batch.data
        root = self.strategy.root(data, self.retrace(premises).root)
        place = said.root(self.vault.width)
        for player in self.players.values():
            label = label_of(player.placed.game.terms.id, SEQUENCER, place)
            messages = player.one_time.sign({label: digits_of(root)}, player.guard)
            yield assemble(player.placed.kickoff, player.signatures, messages)

    def advance(self, late: bool, aux_rand: bytes) -> CTransaction:
        """ADVANCE_OPEN, or ADVANCE_LATE."""
        made = self.graph.advances[late]
        own = made.sign(SEQUENCER, 0, self.keys, aux_rand)
        return made.finish({n: signed[late] for n, signed in self._lent.items()}, own)

    def due(self, view: View, aux_rand: bytes) -> Iterator[tuple[str, CTransaction]]:
        """What the next block may hold of P in its games, by name."""
        self._older = still_open(self._older, self.memory, view)
        for player in (*self._older, *self.players.values()):
            yield from player.due(view, aux_rand)
            yield from refund_due(player, view)

    def _turn_to(self, plan: Plan) -> None:
        """Leaves the games of the plan before to ``due``."""
        if plan != self.plan:
            self._older += self.players.values()
            self.plan, self.players, self._lent = plan, {}, {}

    def _resume(self, plan: Plan) -> None:
        """Knows the plan again, and plays on in the games that both have signed."""
        terms = game_terms(self.vault, plan.batch, plan.refund_height)
        self._turn_to(plan)
        self._plans[plan.batch.digest, plan.refund_height] = plan
        for number, own in enumerate(terms):
            if own.id in self.memory.lent:
                self._lent[number] = self.memory.lent[own.id]
            if self.memory.plays(own.id):
                self.players[number] = self._player(self.graph.games[number])

    def _keys_of(self, terms: GameTerms) -> OneTimeKeys:
        """One-time ones, of its seed and the game's id."""
        return self.keys.one_time_over(terms.labels(SEQUENCER), proving=True)

    def _player(self, game: PlacedGame) -> Player:
        """In a game of which both sides' signatures are kept."""
        terms = game.game.terms
        own, theirs = (self.memory.signed[terms.id, role] for role in (SEQUENCER, MEMBER))
        both = {
            SEQUENCER: decode_signatures(game, own.signatures),
            MEMBER: decode_signatures(game.lent, theirs.signatures),
        }
        return Player(
            game,
            SEQUENCER,
            self.keys,
            self._keys_of(terms),
            both,
            own.consents,
            self.retrace,
            self.strategy,
            self.memory,
            self.depth,
        )

    @property
    def graph(self) -> BatchGraph:
        """Of the plan; TermsError before there is one."""
        if self.plan is None:
            raise TermsError("propose a batch first")
        return self.plan.graph(self.vault)
