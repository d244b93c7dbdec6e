"""What a dispute costs: transactions, virtual bytes and sats of each side, typical and worst.

Typical is a lie that is shown without hashing (RECORD, ROM, OPEN in the own block, ..). At worst
the challenger shows a lie about hashes, or asserts and takes; at worst the prover refutes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import TermsError
from protocol.settlement.dispute.course import Course, alone_vsize
from protocol.settlement.dispute.draft import Move
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.move import ANCHOR_SATS
from protocol.settlement.terms import ContractTerms, Role

_HASHES: Final = ("NODE", "BLOCK", "OPEN")


@dataclass(frozen=True, slots=True)
class Cost:
    """``anchors``: how many of the transactions are pre-signed, with an anchor each."""

    transactions: int
    vbytes: int
    anchors: int

    def sats(self, feerate_sat_vb: int) -> int:
        """Fees and anchors."""
        return feerate_sat_vb * self.vbytes + ANCHOR_SATS * self.anchors

    def plus(self, other: "Cost") -> "Cost":
        """Of both."""
        return Cost(
            self.transactions + other.transactions,
            self.vbytes + other.vbytes,
            self.anchors + other.anchors,
        )


@dataclass(frozen=True, slots=True)
class DisputeCosts:
    """What each side publishes, from INPUT_1 and from CHALLENGE on."""

    prover: Cost
    """Typical: it refutes nothing."""
    refute: Cost
    """What it publishes besides against a false assertion, at the challenger's expense."""
    challenger: Cost
    """Typical."""
    challenger_worst: Cost

    @property
    def prover_worst(self) -> Cost:
        return self.prover.plus(self.refute)

    @property
    def dearest(self) -> Cost:
        """All that both sides can come to pay in one dispute, at most."""
        return self.prover_worst.plus(self.challenger_worst)


def dispute_costs(course: Course, moves: Mapping[str, Move]) -> DisputeCosts:
    """What a dispute in ``course`` costs, with the contract's ``moves``."""
    k, name = course.premises.log4_steps, course.name
    known = {n: m for n, m in moves.items() if m.prover is course.prover}
    claim = [m for n, m in known.items() if n.startswith((name("INPUT"), name("KICKOFF")))]
    reveals = [known[name(f"REVEAL_{turn}")] for turn in range(1, k + 1)]
    picks = [known[name(f"PICK_{turn}")] for turn in range(1, k + 1)]
    asked = _presigned([known[name("CHALLENGE")], *picks])
    small = _verdict(course, [v for v in course.verdicts if not _hashed(v)])
    large = _verdict(course, course.verdicts)
    ways = [asked.plus(large)]
    turns = sorted({int(n.rpartition("_")[2]) for n in known if n.startswith(name("TAKE"))})
    for turn in turns:
        names = (f"ASSERT_{turn}_path", f"ASSERT_{turn}", f"TAKE_{turn}")
        ways.append(asked.plus(_presigned(known[name(n)] for n in names if name(n) in known)))
    return DisputeCosts(
        prover=_presigned([*claim, *reveals, known[name("EXECUTE")]]),
        refute=_refute(course, [known[name(f"ASSERT_{turn}")] for turn in turns]),
        challenger=asked.plus(small),
        challenger_worst=max(ways, key=lambda cost: cost.vbytes),
    )


def require_bond(terms: ContractTerms, course: Course, costs: DisputeCosts) -> None:
    """TermsError unless a bond makes the winner of a dispute whole, whoever it is, at the highest
    fee rate (dispute.md 5): it covers everything that both sides pay, and the claim fee."""
    chain, role = terms.chain, course.prover
    dust = max(terms.party(each).dust_sats for each in Role)
    way = costs.dearest.sats(chain.max_feerate_sat_vb)
    least = way + chain.claim_fee_sats + dust
    if chain.bond_sats < least:
        raise TermsError(
            f"bond_sats {chain.bond_sats}: a dispute about a claim of the {role.value} costs up to"
            f" {way} sats at max_feerate_sat_vb {chain.max_feerate_sat_vb}: post at least {least}"
        )


def _hashed(way: LeafPath) -> bool:
    kind, *rest = way.template.name.split()
    return kind in _HASHES and rest[0] != "near"


def _presigned(moves: Iterable[Move]) -> Cost:
    sizes = [move.widest_vsize for move in moves]
    return Cost(len(sizes), sum(sizes), len(sizes))


def _verdict(course: Course, ways: Sequence[LeafPath]) -> Cost:
    """The dearest of ``ways`` on EXECUTE's output."""
    script = course.terms.party(course.prover.other).script
    return Cost(1, alone_vsize(course.executed, ways, script), 0)


def _refute(course: Course, asserted: Sequence[Move]) -> Cost:
    """The dearest REFUTE."""
    script = course.terms.party(course.prover).script
    sizes = []
    for move in asserted:
        connector = move.locks[1]
        ways = [way for way in connector.paths if isinstance(way, LeafPath)]
        sizes.append(alone_vsize(connector, ways, script))
    return Cost(1, max(sizes), 0) if sizes else Cost(0, 0, 0)
