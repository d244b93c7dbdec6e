"""One game of the sequencer P against member C about one batch: everything but PLEDGE's outpoint.

    PLEDGE, output j +- CLOSE         both, fresh
                     +- REFUND        both, pre-signed, above ``refund_height``
                     +- KICKOFF -+- game +- CHALLENGE ..     (protocol.settlement.dispute.course)
                                 |       +- ADVANCE_OPEN     ``challenge_window`` blocks on
                                 |       +- SETTLE           ``late_window`` blocks on
                                 +- seal +- with the game's output, to C: P is convicted
                                         +- ADVANCE_OPEN     ``challenge_window`` blocks on
                                         +- ADVANCE_LATE     ``late_window`` blocks on

The claim is fixed, "the image halts on the batch's input", so all that KICKOFF reveals is the root
of the trace. C wins by a leaf that needs its signature alone, as in every dispute, and takes the
seal with it by P's consent: a signature of P for the two inputs and no output (SIGHASH_NONE), one
for each place where C can win. So C chooses its fee, and only who wins can break the seal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import WITNESS_SCALE, txin, vsize_of_weight
from protocol.crypto.tagged import tagged_hash
from protocol.crypto.winternitz import Label, require_distinct
from protocol.dispute.leaves import said
from protocol.dispute.premises import Premises
from protocol.errors import TermsError
from protocol.settlement.dispute.costs import Cost, DisputeCosts, dispute_costs
from protocol.settlement.dispute.course import Course
from protocol.settlement.dispute.labels import (
    challenger_messages,
    label_of,
    prover_messages,
    said_of,
)
from protocol.settlement.dispute.leaf import Keys, lock_of
from protocol.settlement.graph import Tree, placed
from protocol.settlement.move import ANCHOR_SATS, FUND, Beside, Draft, Move, Paid, costs, priced
from protocol.settlement.onetime import OneTimePublics
from protocol.settlement.party_terms import PartyTerms, Role
from protocol.settlement.path import Lock, SpendPath, revealed
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms

CLOSE: Final = "CLOSE"
REFUND: Final = "REFUND"
ADVANCE_OPEN: Final = "ADVANCE_OPEN"
ADVANCE_LATE: Final = "ADVANCE_LATE"
CONVICT: Final = "CONVICT"
"""The seal's leaf for who convicts."""
SEAL_OUTPUT: Final = 1
"""Of KICKOFF; the game goes on at output 0."""

_HASH_TYPE: Final = 1
"""A consent is a byte longer than other signatures."""


@dataclass(frozen=True, slots=True)
class GameTerms:
    """Whose game it is and about what: ``member`` is C's number, ``batch`` the batch's digest."""

    vault: VaultTerms
    member: int
    batch: bytes
    refund_height: int

    @property
    def chain(self) -> VaultTerms:
        return self.vault

    @property
    def id(self) -> bytes:
        """What one-time keys are for: 32 bytes. A second PLEDGE for a batch has another height."""
        place = bytes([self.member]) + self.refund_height.to_bytes(4)
        return tagged_hash("btcfi/vault-game/v1", self.vault.digest + self.batch + place)

    def party(self, role: Role) -> PartyTerms:
        """The sequencer, or the member."""
        return self.vault.sequencer if role is SEQUENCER else self.vault.members[self.member]

    @property
    def players(self) -> dict[Role, bytes]:
        """With which keys both play."""
        prover, challenger = self.party(SEQUENCER), self.party(MEMBER)
        return {SEQUENCER: prover.prover_key, MEMBER: challenger.challenger_key}

    def labels(self, role: Role) -> tuple[Label, ...]:
        """The label of every message that ``role`` may come to sign, in the order of its bundle."""
        shape = (self.vault.log4_steps, self.vault.width)
        places = challenger_messages(*shape)
        if role is SEQUENCER:
            places = (said.root(self.vault.width), *prover_messages(*shape))
        return tuple(label_of(self.id, SEQUENCER, place) for place in places)


@dataclass(frozen=True, slots=True)
class Won:
    """SETTLE after a challenge that failed: all of it is P's."""

    scripts: tuple[bytes, ...]
    locks: tuple[Lock, ...] = ()

    def amounts(self, left: int, _paid: Paid) -> tuple[int, ...]:
        """The sats of its output."""
        return (left,)


def seal_lock(terms: GameTerms) -> Lock:
    """What locks the seal."""
    vault, players = terms.vault, terms.players
    return Lock.of(
        (
            SpendPath(CONVICT, players, blocks=1),
            SpendPath(ADVANCE_OPEN, players, blocks=vault.challenge_window),
            SpendPath(ADVANCE_LATE, players, blocks=vault.late_window),
        )
    )


@dataclass(frozen=True, slots=True)
class MemberGame:
    """What both players build for themselves. TermsError where bonds do not pay for a dispute or a
    bundle is not of these terms; ScriptError if a transaction does not fit its limits."""

    terms: GameTerms
    premises: Premises
    one_time: Mapping[Role, OneTimePublics] = field(repr=False)
    seal_sats: int
    course: Course = field(init=False, compare=False, repr=False)
    lock: Lock = field(init=False, compare=False, repr=False)
    """PLEDGE's output."""
    seal: Lock = field(init=False, compare=False, repr=False)
    costs: DisputeCosts = field(init=False, compare=False, repr=False)
    sats: int = field(init=False, compare=False)
    """What PLEDGE's output holds: both bonds, and from P what KICKOFF, the seal and an end cost."""
    moves: Mapping[str, Move] = field(init=False, compare=False, repr=False)
    """Every pre-signed transaction by name, parents first, without outpoints."""
    close: Move = field(init=False, compare=False, repr=False)
    """CLOSE: what REFUND pays, at once and signed fresh."""

    def __post_init__(self) -> None:
        terms, vault = self.terms, self.terms.vault
        self._require_bundles()
        self._set(seal=seal_lock(terms))
        self._set(course=self._course())
        kickoff, refund = self._kickoff(), self._refund()
        signers = {role: terms.party(role).key for role in (SEQUENCER, MEMBER)}
        lock = lock_of([SpendPath(CLOSE, signers), refund.inputs[0][0], kickoff.inputs[0][0]])
        sizes = {draft.name: draft.vsize(held) for draft, held in kickoff.walk([lock])}
        self._set(lock=lock, costs=dispute_costs(self.course, sizes))
        self._require_bond()
        rate, bond = vault.feerate_sat_vb, vault.bond_sats
        ends = costs(kickoff, [lock], None, rate)
        own = rate * sizes[kickoff.name] + ANCHOR_SATS
        self._set(sats=2 * bond + ends + own + self.seal_sats)
        paid = dict.fromkeys(Role, 0)
        drafts = (refund, kickoff)
        moves = [m for d in drafts for m in priced(d, FUND, [(lock, self.sats)], rate, paid)]
        self._set(moves=MappingProxyType({move.name: move for move in moves}))
        close = self._back(SpendPath(CLOSE, signers))
        self._set(close=next(priced(close, FUND, [(lock, self.sats)], rate, paid)))

    def stake_sats(self, role: Role) -> int:
        """What ``role`` brings of it: C its bond, P its own and all that the way costs."""
        bond = self.terms.vault.bond_sats
        return bond if role is MEMBER else self.sats - bond

    @property
    def kicked_off(self) -> str:
        """The name of KICKOFF."""
        return self.course.name("KICKOFF")

    def _course(self) -> Course:
        keys = {
            said_of(label, SEQUENCER): key
            for bundle in self.one_time.values()
            for label, key in bundle.keys.items()
        }
        terms = self.terms
        seal = Beside(
            f"{SEQUENCER.value}:KICKOFF",
            SEAL_OUTPUT,
            self.seal,
            self.seal_sats,
            self.seal.path(CONVICT),
        )
        won = Won((terms.party(SEQUENCER).script,))
        own = Keys(terms.id, SEQUENCER, keys)
        return Course(terms, SEQUENCER, won, self.premises, own, (), (seal,))

    def _kickoff(self) -> Draft:
        """KICKOFF, with the game and the seal behind it."""
        terms, players, name = self.terms, self.terms.players, self.course.name
        vault = terms.vault
        opened = SpendPath(ADVANCE_OPEN, players, blocks=vault.challenge_window)
        late = SpendPath(name("SETTLE"), players, blocks=vault.late_window)
        settle = Draft(
            late.name, SEQUENCER, None, ((late,),), (), self._scripts, self._back_amounts
        )
        then = (self.course.challenge, settle)
        game = lock_of([opened, *(draft.inputs[0][0] for draft in then)])
        root = said.root(vault.width)
        shown = revealed(label_of(terms.id, SEQUENCER, root), self.course.keys.one_time[root])
        path = SpendPath(name("KICKOFF"), players, messages=(shown,), blocks=1)

        def amounts(left: int, _paid: Paid) -> tuple[int, ...]:
            return left - self.seal_sats, self.seal_sats

        locks = (game, self.seal)
        return Draft(path.name, SEQUENCER, SEQUENCER, ((path,),), locks, (), amounts, then)

    def _refund(self) -> Draft:
        """REFUND: what PLEDGE took comes back."""
        signers = {role: self.terms.party(role).key for role in (SEQUENCER, MEMBER)}
        return self._back(SpendPath(REFUND, signers, height=self.terms.refund_height))

    def _back(self, path: SpendPath) -> Draft:
        return Draft(path.name, None, None, ((path,),), (), self._scripts, self._back_amounts)

    @property
    def _scripts(self) -> tuple[bytes, bytes]:
        return self.terms.party(SEQUENCER).script, self.terms.party(MEMBER).script

    def _back_amounts(self, left: int, _paid: Paid) -> tuple[int, ...]:
        """C has its bond back, P the rest."""
        bond = self.terms.vault.bond_sats
        return left - bond, bond

    def _require_bundles(self) -> None:
        for role in (SEQUENCER, MEMBER):
            if tuple(self.one_time[role].keys) != self.terms.labels(role):
                raise TermsError(f"one-time keys of game {self.terms.member}: they are another's")
        require_distinct(key for role in Role for key in self.one_time[role].keys.values())

    def _require_bond(self) -> None:
        vault = self.terms.vault
        dust = max(self.terms.party(role).dust_sats for role in Role)
        sealed = txin(COutPoint()).serialize()
        witness = self.seal.widest_witness(self.seal.path(CONVICT)) + _HASH_TYPE
        seal_vbytes = vsize_of_weight(WITNESS_SCALE * len(sealed) + witness)
        dearest = self.costs.dearest.plus(Cost(0, seal_vbytes, 0))
        least = dearest.sats(vault.max_feerate_sat_vb) + dust
        if vault.bond_sats < least:
            raise TermsError(
                f"bond_sats {vault.bond_sats}: a dispute costs up to {least} sats at"
                f" max_feerate_sat_vb {vault.max_feerate_sat_vb}: post at least that"
            )

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class PlacedGame(Tree):
    """A game below its output of PLEDGE: every pre-signed transaction with its outpoints."""

    game: MemberGame

    @classmethod
    def of(cls, game: MemberGame, fund: COutPoint) -> Self:
        """Equal arguments give equal bytes."""
        return cls(game.lock, fund, placed(game.moves, fund), game)

    @property
    def kickoff(self) -> Move:
        return self.moves[self.game.kicked_off]

    @property
    def lent(self) -> Tree:
        """What C signs for P: all but CHALLENGE, which shows nothing that C alone can make. With
        C's signature P would challenge its own true claim, and win C's bond."""
        challenge = self.game.course.challenge.name
        moves = {name: move for name, move in self.moves.items() if name != challenge}
        return Tree(self.game.lock, self.fund, moves)

    @property
    def closing(self) -> Tree:
        """CLOSE alone: both sign it when nobody needs the game any more."""
        moves = placed({CLOSE: self.game.close}, self.fund)
        return Tree(self.game.lock, self.fund, moves)
