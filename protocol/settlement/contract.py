"""The contract of two parties as scripts and amounts: everything but FUND's outpoint.

FUND's output holds the collateral, a bond of each party and a reserve for the dearest of the ends
CLOSE, REFUND and SETTLE, after a dispute or without. It is spent

    by key path    by both together (MuSig2): CLOSE, which then looks like any other payment
    CLOSE          by both, where no nonces can be exchanged
    REFUND         by both, pre-signed, above ``refund_height``
    first moves    of the holder and of the writer as provers, pre-signed   (direction.py)

A pre-signed transaction has version 3, pays ``feerate_sat_vb`` and ends in an anchor, through which
either side can pay more. A move is paid from the bond of who makes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from bitcoin.core import COutPoint

from protocol.bitcoin.script import null_data
from protocol.bitcoin.tx import MAX_MONEY_SATS, transaction, txin, txout
from protocol.crypto.musig2 import AggregateKey, key_sort
from protocol.crypto.winternitz import require_distinct
from protocol.errors import TermsError
from protocol.settlement.direction import direction
from protocol.settlement.dispute.costs import DisputeCosts, dispute_costs, require_bond
from protocol.settlement.dispute.course import Course
from protocol.settlement.dispute.forfeit import Forfeit
from protocol.settlement.dispute.leaf import Keys
from protocol.settlement.dispute.premises import premises_of, published_messages
from protocol.settlement.move import FUND, Draft, Move, Paid, costs, priced
from protocol.settlement.onetime import OneTimePublics, labels_of
from protocol.settlement.path import Lock, SpendPath, widest_vsize
from protocol.settlement.settle import Split, split_of
from protocol.settlement.terms import ContractTerms, Role, contract_id
from riscv_vm.image import ProgramImage

CLOSE: Final = "CLOSE"
REFUND: Final = "REFUND"
ANCHOR_BYTES: Final = 32
"""What CLOSE may carry in an OP_RETURN."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What both parties build for themselves from the terms and both bundles of one-time keys.

    TermsError, naming the field, where the amounts cannot pay for the graph or a bundle is not of
    these terms; SignatureError if two one-time keys share a chain; ScriptError if a transaction
    does not fit its limits.
    """

    terms: ContractTerms
    one_time: Mapping[Role, OneTimePublics]
    judge: ProgramImage | None = field(default=None, repr=False)
    """The program that finds a claim right; the settlement guest where none is given."""
    id: bytes = field(init=False, compare=False, repr=False)
    aggregate: AggregateKey = field(init=False, compare=False, repr=False)
    """Of both ``key``s: the internal key of FUND's output."""
    lock: Lock = field(init=False, compare=False, repr=False)
    """FUND's output."""
    splits: Mapping[Role, Split] = field(init=False, compare=False, repr=False)
    """SETTLE in each prover's direction."""
    courses: Mapping[Role, Course] = field(init=False, compare=False, repr=False)
    """The dispute in each prover's direction."""
    reserve_sats: int = field(init=False, compare=False, repr=False)
    close_fee_sats: int = field(init=False, compare=False, repr=False)
    _costs: Mapping[Role, DisputeCosts] = field(init=False, compare=False, repr=False)
    moves: Mapping[str, Move] = field(init=False, compare=False, repr=False)
    """Every pre-signed transaction by name, parents first, their inputs without outpoints."""

    def __post_init__(self) -> None:
        terms = self.terms
        self._require_bundles()
        splits = {role: split_of(terms, role, self.one_time[role]) for role in Role}
        courses = {role: self._course(splits[role]) for role in Role}
        claims = {
            role: direction(terms, self.one_time[role], splits[role], courses[role].challenge)
            for role in Role
        }
        drafts = (self._refund(), *claims.values())
        ways = [SpendPath(CLOSE, self._signers()), *(draft.inputs[0][0] for draft in drafts)]
        points = key_sort(b"\x02" + key for key in self._signers().values())
        aggregate = AggregateKey(points)
        lock = Lock.of(ways, aggregate.public)
        rate = terms.chain.feerate_sat_vb
        close_fee = rate * self._close_vsize(lock)
        ends = [costs(draft, [lock], None, rate) for draft in drafts]
        self._set(id=contract_id(terms), aggregate=aggregate, lock=lock, close_fee_sats=close_fee)
        self._set(splits=MappingProxyType(splits), courses=MappingProxyType(courses))
        self._set(reserve_sats=max(close_fee, *ends), _costs=_costs_of(courses, claims, lock))
        require_bond(terms, self._costs)
        if self.value_sats > MAX_MONEY_SATS:
            raise TermsError(f"collateral_sats and bond_sats exceed all money: {self.value_sats}")
        paid = dict.fromkeys(Role, 0)
        moves = [
            move
            for draft in drafts
            for move in priced(draft, FUND, [(lock, self.value_sats)], rate, paid)
        ]
        self._set(moves=MappingProxyType({move.name: move for move in moves}))

    @property
    def script_pubkey(self) -> bytes:
        return self.lock.script_pubkey

    @property
    def value_sats(self) -> int:
        """What FUND's output holds."""
        return self.stake_sats(Role.HOLDER) + self.stake_sats(Role.WRITER)

    def stake_sats(self, role: Role) -> int:
        """What ``role`` brings of it: its bond, half the reserve (the writer an odd satoshi more),
        and of the writer the collateral."""
        half = self.reserve_sats // 2
        if role is Role.HOLDER:
            return self.terms.chain.bond_sats + half
        collateral = self.terms.claim.collateral_sats
        return self.terms.chain.bond_sats + collateral + self.reserve_sats - half

    def costs(self, prover: Role) -> DisputeCosts:
        """What a dispute about a claim of ``prover`` costs each side."""
        return self._costs[prover]

    def _course(self, split: Split) -> Course:
        prover = split.prover
        keys = Keys.of(self.terms, prover, self.one_time)
        premises = premises_of(self.terms, prover, self.judge)
        published = published_messages(self.terms, prover)
        return Course(self.terms, prover, Forfeit(split), premises, keys, published)

    def _refund(self) -> Draft:
        """REFUND: bonds and collateral back to where they came from."""
        terms = self.terms
        path = SpendPath(REFUND, self._signers(), height=terms.chain.refund_height)
        scripts = tuple(terms.party(role).script for role in Role)
        return Draft(REFUND, None, None, ((path,),), (), scripts, self._refund_amounts)

    def _refund_amounts(self, left: int, _paid: Paid) -> tuple[int, ...]:
        bond, collateral = self.terms.chain.bond_sats, self.terms.claim.collateral_sats
        spare = left - 2 * bond - collateral
        return bond + spare // 2, bond + collateral + spare - spare // 2

    def _signers(self) -> dict[Role, bytes]:
        return {role: self.terms.party(role).key for role in Role}

    def _close_vsize(self, lock: Lock) -> int:
        """Of CLOSE by its leaf, with the anchor where the terms have one."""
        outputs = [txout(0, self.terms.party(role).script) for role in Role]
        if self.terms.chain.anchored:
            outputs.append(txout(0, null_data(bytes(ANCHOR_BYTES))))
        close = transaction([txin(COutPoint())], outputs)
        return widest_vsize(close, [lock], [[lock.path(CLOSE)]])

    def _require_bundles(self) -> None:
        for role in Role:
            if tuple(self.one_time[role].keys) != labels_of(self.terms, role):
                raise TermsError(f"the {role.value}'s one-time keys are not for these terms")
        require_distinct(key for role in Role for key in self.one_time[role].keys.values())

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)


def _costs_of(
    courses: Mapping[Role, Course], claims: Mapping[Role, Draft], lock: Lock
) -> Mapping[Role, DisputeCosts]:
    """What a dispute costs, by prover; ``claims`` are the first moves, which spend ``lock``."""
    costs = {}
    for role, course in courses.items():
        sizes = {draft.name: draft.vsize(held) for draft, held in claims[role].walk([lock])}
        costs[role] = dispute_costs(course, sizes)
    return MappingProxyType(costs)
