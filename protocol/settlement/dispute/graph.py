"""The contract with its disputes on the chain: every pre-signed transaction below FUND's output.

It is ``protocol.settlement.graph`` with a second way to spend each KICKOFF: CHALLENGE.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import outpoint, transaction, txid, txin
from protocol.crypto.winternitz import require_distinct
from protocol.dispute.premises import Premises
from protocol.errors import TermsError
from protocol.settlement.contract import REFUND, Contract
from protocol.settlement.direction import direction
from protocol.settlement.dispute.costs import DisputeCosts, dispute_costs, require_bond
from protocol.settlement.dispute.course import Course
from protocol.settlement.dispute.draft import Draft, Move, priced
from protocol.settlement.dispute.labels import dispute_labels, keys_by_place
from protocol.settlement.dispute.leaf import Keys, lock_of
from protocol.settlement.graph import Graph
from protocol.settlement.move import FUND
from protocol.settlement.onetime import OneTimePublics
from protocol.settlement.path import Lock
from protocol.settlement.terms import Role


@dataclass(frozen=True, slots=True)
class DisputeContract:
    """A contract whose claims can be challenged: scripts and amounts, without FUND's outpoint."""

    contract: Contract
    courses: Mapping[Role, Course]
    """By prover."""
    moves: Mapping[str, Move]
    """Parents first, their inputs without outpoints."""

    @classmethod
    def of(
        cls,
        contract: Contract,
        premises: Mapping[Role, Premises],
        one_time: Mapping[Role, OneTimePublics],
    ) -> Self:
        """``premises`` by prover; ``one_time`` holds both parties' keys of ``dispute_labels``.

        TermsError if a bundle is of other terms or a bond too small, SignatureError if two chains
        of one-time keys end alike,
        ScriptError if a transaction does not fit its limits.
        """
        _require_bundles(contract, one_time)
        courses = {role: _course(contract, role, premises[role], one_time) for role in Role}
        drafts = [_forward(contract, course) for course in courses.values()]
        refund = contract.moves[REFUND]
        moves = {
            REFUND: Move(
                name=REFUND,
                prover=None,
                tx=refund.tx,
                spends=FUND,
                spent=(refund.spent,),
                spent_locks=(refund.lock,),
                inputs=((refund.path,),),
                locks=(),
                fee_sats=refund.fee_sats,
            )
        }
        held = [(contract.lock, contract.value_sats)]
        rate, paid = contract.terms.chain.feerate_sat_vb, dict.fromkeys(Role, 0)
        for draft in drafts:
            moves |= {move.name: move for move in priced(draft, FUND, held, rate, paid)}
        made = cls(contract, MappingProxyType(courses), MappingProxyType(moves))
        for prover in Role:
            require_bond(contract.terms, courses[prover], made.costs(prover))
        return made

    def costs(self, prover: Role) -> DisputeCosts:
        """What a dispute about a claim of ``prover`` costs each side."""
        return dispute_costs(self.courses[prover], self.moves)


@dataclass(frozen=True, slots=True)
class DisputeGraph:
    """Every pre-signed transaction of one contract, its disputes included."""

    contract: DisputeContract
    fund: COutPoint
    moves: Mapping[str, Move]

    @classmethod
    def of(cls, contract: DisputeContract, fund: COutPoint) -> Self:
        """The graph below output ``fund``; equal arguments give equal bytes."""
        ids: dict[str, bytes] = {}
        moves: dict[str, Move] = {}
        for move in contract.moves.values():
            old = move.tx
            points = [
                fund if move.spends == FUND else outpoint(ids[move.spends], index)
                for index in range(len(old.vin))
            ]
            inputs = [
                txin(point, spend.nSequence) for point, spend in zip(points, old.vin, strict=True)
            ]
            tx = transaction(inputs, old.vout, locktime=old.nLockTime, version=old.nVersion)
            ids[move.name] = txid(tx)
            moves[move.name] = replace(move, tx=tx)
        return cls(contract, fund, MappingProxyType(moves))

    def move(self, name: str) -> Move:
        """TermsError if the contract has no such transaction."""
        if name not in self.moves:
            raise TermsError(f"{name}: this contract has no such transaction")
        return self.moves[name]

    @property
    def plain(self) -> Graph:
        """The contract and FUND alone, for ``fresh_tx``, which asks for the terms."""
        return Graph(self.contract.contract, self.fund, MappingProxyType({}))

    def locked(self) -> Iterator[tuple[COutPoint, Move, int, Lock]]:
        """Every locked output of the graph: where it is, whose it is, its number and its lock."""
        for move in self.moves.values():
            for index, lock in enumerate(move.locks):
                yield outpoint(txid(move.tx), index), move, index, lock


def _course(
    contract: Contract,
    prover: Role,
    premises: Premises,
    one_time: Mapping[Role, OneTimePublics],
) -> Course:
    bundles = (*contract.one_time.values(), *one_time.values())
    keys = Keys(contract.id, prover, keys_by_place(contract.terms, prover, bundles))
    return Course(contract.terms, contract.splits[prover], premises, keys)


def _forward(contract: Contract, course: Course) -> Draft:
    """INPUT_1 .. KICKOFF with SETTLE and CHALLENGE behind it."""
    split = course.split
    first = direction(contract.terms, contract.one_time[split.prover], split)
    return _challenged(Draft.of(first), course.challenge)


def _challenged(draft: Draft, challenge: Draft) -> Draft:
    """``draft`` where the last move before SETTLE may be challenged."""
    (child,) = draft.then
    if child.then:
        return replace(draft, then=(_challenged(child, challenge),))
    lock = lock_of([child.inputs[0][0], challenge.inputs[0][0]])
    return replace(draft, locks=(lock,), then=(child, challenge))


def _require_bundles(contract: Contract, one_time: Mapping[Role, OneTimePublics]) -> None:
    for role in Role:
        if tuple(one_time[role].keys) != dispute_labels(contract.terms, role):
            raise TermsError(f"the {role.value}'s keys for disputes are not for these terms")
    bundles = (*contract.one_time.values(), *one_time.values())
    require_distinct(key for bundle in bundles for key in bundle.keys.values())
