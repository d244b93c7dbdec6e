"""What a watchtower knows and does for one party: it answers the other side's claim, and
broadcasts what both sides have signed already, FUND, SETTLE and REFUND. It signs nothing else.

It is a ``Party`` with ``TowerKeys`` that neither claims nor closes. Tower and party may both answer
the same claim: an honest answer follows from what blocks hold and from the machine alone, so both
sign the same digits; and what one shows counts for the other as signed (``revealed_in``).
"""

from dataclasses import replace
from typing import Final

from protocol.dispute.sides import Strategy
from protocol.settlement import record
from protocol.settlement.contract_file import ContractFile
from protocol.settlement.graph import Graph
from protocol.settlement.lifecycle import position_of, prover_of
from protocol.settlement.policy import Close, Policy
from protocol.settlement.terms import ContractTerms, Role
from protocol.settlement.view import View

TOWER: Final = Strategy(prover=lambda play, history, data: None)
"""It has no keys to prove with."""


def tower_file(file: ContractFile) -> ContractFile:
    """What a watchtower needs of a party's contract file, its seed not sealed in yet: all but the
    certificate, the proof and the ways to close."""
    facts = file.facts
    kept = record.Facts(
        terms=facts.terms,
        accepted_ms=facts.accepted_ms,
        bundle=facts.bundle,
        coins=facts.coins,
        signatures=facts.signatures,
        fund=facts.fund,
        seen=facts.seen,
        stage=facts.stage,
    )
    return replace(file, sealed=b"", facts=kept)


def tower_policy(terms: ContractTerms, role: Role, depth: int) -> Policy:
    """How a watchtower of ``role`` behaves."""
    return Policy(script=terms.party(role).script, depth=depth, close=Close.NEVER, claims=False)


def is_own_claim(graph: Graph, role: Role, view: View) -> bool:
    """Whether ``role`` itself claims: then its watchtower has nothing to answer, and no keys."""
    return prover_of(position_of(graph, view)) is role
