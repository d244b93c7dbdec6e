"""What a dispute costs: transactions, virtual bytes and sats of each side, typical and worst.

Typical is a lie that is shown without hashing (RECORD, ROM, OPEN in the own block, ..). At worst
the challenger shows a lie about hashes, or asserts and takes; at worst the prover refutes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import TermsError
from protocol.settlement.dispute.course import EXECUTE, Course, alone_vsize
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.move import ANCHOR_SATS
from protocol.settlement.terms import ContractTerms, Role

_HASHES: Final = ("NODE", "BLOCK", "OPEN", "WORD")


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


def dispute_costs(course: Course, sizes: Mapping[str, int]) -> DisputeCosts:
    """What a dispute in ``course`` costs, where ``sizes`` are the virtual bytes of the direction's
    pre-signed transactions by name."""
    k, name = course.premises.log4_steps, course.name

    def signed(*names: str) -> Cost:
        taken = [sizes[name(one)] for one in names]
        return Cost(len(taken), sum(taken), len(taken))

    starts = (name("INPUT"), name("KICKOFF"))
    claim = [one.partition(":")[2] for one in sizes if one.startswith(starts)]
    asked = signed("CHALLENGE", *(f"PICK_{turn}" for turn in range(1, k + 1)))
    ways = [asked.plus(_verdict(course, course.verdicts))]
    for turn in course.asserted:
        names = (f"ASSERT_{turn}_path", f"ASSERT_{turn}", f"TAKE_{turn}")
        ways.append(asked.plus(signed(*(one for one in names if name(one) in sizes))))
    return DisputeCosts(
        prover=signed(*claim, *(f"REVEAL_{turn}" for turn in range(1, k + 1)), EXECUTE),
        refute=_refute(course),
        challenger=asked.plus(_verdict(course, [v for v in course.verdicts if not _hashed(v)])),
        challenger_worst=max(ways, key=lambda cost: cost.vbytes),
    )


def least_bond_sats(terms: ContractTerms, costs: DisputeCosts) -> int:
    """The least bond that makes the winner of such a dispute whole, whoever it is, at the highest
    fee rate (dispute.md 5): it covers everything that both sides pay, and the claim fee."""
    chain = terms.chain
    dust = max(terms.party(each).dust_sats for each in Role)
    return costs.dearest.sats(chain.max_feerate_sat_vb) + chain.claim_fee_sats + dust


def require_bond(terms: ContractTerms, costs: Mapping[Role, DisputeCosts]) -> None:
    """TermsError unless the bonds are large enough for a dispute in either direction; ``costs`` by
    prover."""
    chain = terms.chain
    prover = max(costs, key=lambda role: least_bond_sats(terms, costs[role]))
    least = least_bond_sats(terms, costs[prover])
    if chain.bond_sats < least:
        raise TermsError(
            f"bond_sats {chain.bond_sats}: a dispute about a claim of the {prover.value} costs up"
            f" to {costs[prover].dearest.sats(chain.max_feerate_sat_vb)} sats at max_feerate_sat_vb"
            f" {chain.max_feerate_sat_vb}: post at least {least}"
        )


def _hashed(way: LeafPath) -> bool:
    kind, *rest = way.template.name.split()
    return kind in _HASHES and rest[0] != "near"


def _verdict(course: Course, ways: Sequence[LeafPath]) -> Cost:
    """The dearest of ``ways`` on EXECUTE's output."""
    script = course.terms.party(course.prover.other).script
    return Cost(1, alone_vsize(course.executed, ways, script), 0)


def _refute(course: Course) -> Cost:
    """The dearest REFUTE."""
    script = course.terms.party(course.prover).script
    names = {course.name(f"ASSERT_{turn}") for turn in course.asserted}
    sizes = []
    for draft in course.walk():
        if draft.name in names:
            connector = draft.locks[1]
            ways = [way for way in connector.paths if isinstance(way, LeafPath)]
            sizes.append(alone_vsize(connector, ways, script))
    return Cost(1, max(sizes), 0) if sizes else Cost(0, 0, 0)
