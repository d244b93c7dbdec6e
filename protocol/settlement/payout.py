"""Who gets what: the settlement of a contract, to the satoshi."""

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.errors import TermsError
from protocol.options.payoff import units_max
from protocol.settlement.dispute.forfeit import Forfeit
from protocol.settlement.graph import Graph
from protocol.settlement.move import Move
from protocol.settlement.terms import Role


@dataclass(frozen=True, slots=True)
class Payout:
    """Who gets what of SETTLE when the prover committed to some units."""

    sweeps: Mapping[Role, tuple[int, ...]]
    """The outputs of SETTLE that each may sweep, the prover only after ``sweep_delay``."""
    sats: Mapping[Role, int]
    """All that SETTLE gives each: what it sweeps, before the fee of the sweep, and what it is paid
    directly. The fees of the way here are taken off the prover's already."""


def payout_of(graph: Graph, settle: Move, units: int) -> Payout:
    """What ``settle``, a SETTLE of any stage, pays where KICKOFF revealed ``units``.

    TermsError for more than the payout bits hold: Script refuses a KICKOFF that says so.
    """
    prover = settle.prover
    if prover is None:
        raise TermsError(f"{settle.name} is no SETTLE")
    split = graph.contract.splits[prover]
    paid = split.paid if settle == graph.settle(prover) else Forfeit(split).paid
    most = units_max(graph.contract.terms.claim.payout_bits)
    if not 0 <= units <= most:
        raise TermsError(f"units {units}: a payout has 0 to {most}")
    locked = range(len(split.locks))
    sweeps = {role: tuple(n for n in locked if split.owner(n, units) is role) for role in Role}
    owners = {n: role for role in Role for n in sweeps[role]}
    owners |= dict(enumerate(paid, start=len(split.locks)))
    sats = dict.fromkeys(Role, 0)
    for number, role in owners.items():
        sats[role] += int(settle.tx.vout[number].nValue)
    return Payout(sweeps, sats)
