"""What is signed about a batch before it is needed: games, ADVANCE_OPEN and ADVANCE_LATE.

    STATE_n, deposits ------------------------------+-- ADVANCE     (a quorum signs: no game)
                                                    +-- ADVANCE_OPEN
    PLEDGE -+- KICKOFF_1 -+- game ------------------+-- ADVANCE_LATE
            |             +- seal ------------------+
            +- KICKOFF_2 -+- game ------------------+
            ..            +- seal ------------------+

It follows from (terms, batch, refund height, all bundles of one-time keys, PLEDGE's id): who has
these has every byte that the others will sign.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import outpoint, txid
from protocol.dispute.opened import OpenedLayout
from protocol.dispute.premises import Premises
from protocol.errors import EncodingError, TermsError
from protocol.settlement.funding import Contribution
from protocol.settlement.onetime import OneTimePublics
from protocol.settlement.party_terms import Role
from protocol.settlement.pool.advance import Advance, advance_late, advance_open, seal_sats
from protocol.settlement.pool.batch import Batch
from protocol.settlement.pool.game import GameTerms, MemberGame, PlacedGame
from protocol.settlement.pool.pledge import pledge_tx
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms
from protocol.settlement.record import (
    decode_contribution,
    encode_contribution,
    pack_parts,
    unpack_parts,
)
from riscv_vm.image import ProgramImage

_PLAN_PARTS: Final = 4


def game_terms(vault: VaultTerms, batch: Batch, refund_height: int) -> tuple[GameTerms, ...]:
    """Of every member's game about ``batch``."""
    digest = batch.digest
    numbers = range(len(vault.members))
    return tuple(GameTerms(vault, number, digest, refund_height) for number in numbers)


def batch_premises(vault: VaultTerms, batch: Batch) -> Premises:
    """What the games are about: the guest on the batch's input, whose words are opened."""
    return Premises(batch.image, OpenedLayout(batch.data), vault.log4_steps, vault.width)


@dataclass(frozen=True, slots=True)
class BatchGames:
    """The games about a batch, before PLEDGE. TermsError as ``MemberGame``, or for another number
    of bundles than members."""

    vault: VaultTerms
    batch: Batch
    refund_height: int
    bundles: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """By member: the sequencer's one-time keys of its game, then its own."""
    games: tuple[MemberGame, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        terms = game_terms(self.vault, self.batch, self.refund_height)
        if len(self.bundles) != len(terms):
            raise TermsError(f"bundles: {len(terms)} members play, {len(self.bundles)} are given")
        premises = batch_premises(self.vault, self.batch)
        sats = seal_sats(self.vault, self.batch, terms)
        games = tuple(
            MemberGame(own, premises, _publics(own, bundles), sats)
            for own, bundles in zip(terms, self.bundles, strict=True)
        )
        object.__setattr__(self, "games", games)


@dataclass(frozen=True, slots=True)
class BatchGraph:
    """The same below PLEDGE: every transaction with its outpoints."""

    about: BatchGames
    games: tuple[PlacedGame, ...] = field(repr=False)
    open: Advance = field(repr=False)
    late: Advance = field(repr=False)

    @classmethod
    def of(cls, about: BatchGames, pledge_id: bytes) -> Self:
        """The graph below PLEDGE, whose txid is given; equal arguments give equal bytes."""
        games = tuple(
            PlacedGame.of(game, outpoint(pledge_id, number))
            for number, game in enumerate(about.games)
        )
        vault, batch = about.vault, about.batch
        opened, late = advance_open(vault, batch, games), advance_late(vault, batch, games)
        return cls(about, games, opened, late)

    @property
    def advances(self) -> tuple[Advance, Advance]:
        """Both that are pre-signed."""
        return self.open, self.late


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a graph follows from, as the sequencer sends it to everybody: the batch, above which
    height PLEDGE can be refunded, every bundle, and the coins of everybody."""

    batch: Batch
    refund_height: int
    bundles: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    sequencer: Contribution
    members: tuple[Contribution, ...]

    def encode(self) -> bytes:
        """batch | refund_height u32 | bundles | contributions, each with its length, u32."""
        bundles = pack_parts(bundle for pair in self.bundles for bundle in pair)
        coins = pack_parts(encode_contribution(one) for one in (self.sequencer, *self.members))
        height = self.refund_height.to_bytes(4)
        return pack_parts((self.batch.encode(), height, bundles, coins))

    @classmethod
    def decode(cls, data: bytes, image: ProgramImage) -> Self:
        """The inverse of ``encode`` about a batch of the program ``image``; EncodingError or
        TermsError for other bytes."""
        parts = unpack_parts("plan", data)
        if len(parts) != _PLAN_PARTS:
            raise EncodingError(f"plan: {len(parts)} parts, it has {_PLAN_PARTS}")
        batch, height, bundles, coins = parts
        halves = unpack_parts("bundles", bundles)
        given = [decode_contribution(one) for one in unpack_parts("contributions", coins)]
        if len(halves) % 2 or not given:
            raise EncodingError("plan: every game has two bundles, and its sequencer coins")
        return cls(
            Batch.decode(batch, image),
            int.from_bytes(height),
            tuple(zip(halves[::2], halves[1::2], strict=True)),
            given[0],
            tuple(given[1:]),
        )

    def games(self, vault: VaultTerms) -> BatchGames:
        """The games before PLEDGE."""
        return _games(vault, self.batch, self.refund_height, self.bundles)

    def pledge(self, vault: VaultTerms) -> CTransaction:
        """PLEDGE without witnesses."""
        return pledge_tx(self.games(vault).games, self.sequencer, self.members)

    def graph(self, vault: VaultTerms) -> BatchGraph:
        """Everything, below PLEDGE."""
        return _graph(self.games(vault), txid(self.pledge(vault)))


def _publics(terms: GameTerms, bundles: tuple[bytes, bytes]) -> dict[Role, OneTimePublics]:
    return {
        role: OneTimePublics.over(terms.labels(role), data)
        for role, data in zip((SEQUENCER, MEMBER), bundles, strict=True)
    }


@lru_cache(maxsize=2)
def _games(
    vault: VaultTerms, batch: Batch, refund_height: int, bundles: tuple[tuple[bytes, bytes], ...]
) -> BatchGames:
    """Equal arguments give equal games: roles in one process build them once."""
    return BatchGames(vault, batch, refund_height, bundles)


@lru_cache(maxsize=2)
def _graph(games: BatchGames, pledge_id: bytes) -> BatchGraph:
    return BatchGraph.of(games, pledge_id)
