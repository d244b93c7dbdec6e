"""Where a contract stands: a stage, decided from the chain and from what the party has kept.

    draft -> signed -> funded -> claimed -> settled
      |        |          |         `-> disputed -> settled
      `--------`-> cancelled  `-----------------> settled (CLOSE) | refunded

A transaction counts once enough blocks hold and follow it; a reorganisation takes a stage back.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import outpoint, txid
from protocol.settlement.contract import REFUND
from protocol.settlement.graph import Tree
from protocol.settlement.move import FUND
from protocol.settlement.reading import name_of
from protocol.settlement.terms import Role
from protocol.settlement.view import View, confirmations

_CLAIM: Final = re.compile(r"INPUT_\d+|KICKOFF")
_DISPUTE: Final = re.compile(r"CHALLENGE|(REVEAL|PICK)_\d+|EXECUTE|ASSERT_\d+(_path)?")
_SETTLE: Final = re.compile(r"SETTLE(_\w+)?")


class Stage(StrEnum):
    """Where a contract stands."""

    DRAFT = "draft"
    SIGNED = "signed"
    """This party has signed FUND."""
    FUNDED = "funded"
    CLAIMED = "claimed"
    """One side has begun to reveal its claim."""
    DISPUTED = "disputed"
    """The claim has been challenged."""
    SETTLED = "settled"
    """CLOSE, a SETTLE, TAKE, a verdict or a time-out: who gets what is decided."""
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    """FUND will never confirm, and this party signs nothing more."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A transaction of the contract that the node shows; ``height`` is None in the mempool."""

    name: str
    """As ``reading.name_of`` says; empty for one that is not the contract's."""
    tx: CTransaction
    height: int | None
    confirmations: int

    @property
    def confirmed(self) -> bool:
        """Whether a block holds it."""
        return self.height is not None

    def opens(self, blocks: int, view: View) -> bool:
        """Whether the next block may spend it under a relative lock of ``blocks``."""
        return self.height is not None and self.height + blocks <= view.height + 1


@dataclass(frozen=True, slots=True)
class Position:
    """The run of transactions from FUND to the last that the node shows."""

    path: tuple[Placed, ...]

    @property
    def fund(self) -> Placed | None:
        return self.path[0] if self.path else None

    @property
    def last(self) -> Placed | None:
        """What spends FUND, or what spends that, and so on; None while FUND is unspent."""
        return self.path[-1] if len(self.path) > 1 else None

    @property
    def in_blocks(self) -> "Position":
        """The same as far as blocks hold it."""
        return Position(tuple(placed for placed in self.path if placed.confirmed))

    def funded(self, depth: int) -> bool:
        """Whether FUND counts and nothing spends it."""
        fund = self.fund
        return fund is not None and fund.confirmations >= depth and self.last is None

    def counted(self, depth: int) -> Placed | None:
        """The last transaction that counts."""
        counting = [placed for placed in self.path if placed.confirmations >= depth]
        return counting[-1] if counting else None

    def placed(self, name: str) -> Placed | None:
        """The transaction of that name."""
        return next((placed for placed in self.path if placed.name == name), None)


def position_of(graph: Tree, view: View) -> Position:
    """What ``view`` shows of the contract, FUND first."""
    seen = view.tx(bytes(graph.fund.hash))
    if seen is None:
        return Position(())
    height = None if seen.block is None else seen.block.height
    fund = Placed(FUND, seen.tx, height, confirmations(seen, view))
    return Position((fund, *_spenders(graph, graph.fund, view)))


def stage_of(position: Position, depth: int) -> Stage | None:
    """The stage that the chain shows; None before FUND counts."""
    placed = position.counted(depth)
    if placed is None:
        return None
    if placed.name == FUND:
        return Stage.FUNDED
    if placed.name == REFUND:
        return Stage.REFUNDED
    if _CLAIM.fullmatch(field_of(placed.name)):
        return Stage.CLAIMED
    return Stage.DISPUTED if _DISPUTE.fullmatch(field_of(placed.name)) else Stage.SETTLED


def prover_of(position: Position) -> Role | None:
    """Whose claim spent FUND."""
    if len(position.path) < 2:
        return None
    side = position.path[1].name.partition(":")[0]
    return next((role for role in Role if role.value == side), None)


def field_of(name: str) -> str:
    """What a name says behind its direction: KICKOFF of ``holder:KICKOFF``."""
    return name.rpartition(":")[2]


def is_settle(name: str) -> bool:
    """Whether this is a SETTLE of any stage."""
    return _SETTLE.fullmatch(field_of(name)) is not None


def _spenders(graph: Tree, point: COutPoint, view: View) -> Iterator[Placed]:
    """What spends ``point``, then what spends output 0 of that, as far as moves lead on."""
    followed = {move.spends for move in graph.moves.values()}
    while (seen := view.spender(point)) is not None:
        name = name_of(graph, seen.tx) or ""
        height = None if seen.block is None else seen.block.height
        yield Placed(name, seen.tx, height, confirmations(seen, view))
        if name not in followed:
            return
        point = outpoint(txid(seen.tx), 0)
