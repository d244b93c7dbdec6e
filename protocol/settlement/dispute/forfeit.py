"""SETTLE after a challenge: the claim stands, and the challenger's bond is the prover's.

Locked outputs are those of SETTLE without a challenge. What is the challenger's without evidence,
bits that are too small for an output and the collateral's remainder, it gets if that is an output;
the rest, both bonds less what they paid on the way, is the prover's.
"""

from dataclasses import dataclass

from protocol.options.payoff import units_max
from protocol.settlement.move import Paid
from protocol.settlement.path import Lock
from protocol.settlement.settle import Split
from protocol.settlement.terms import Role


@dataclass(frozen=True, slots=True)
class Forfeit:
    """How SETTLE divides the contract once its claim was challenged."""

    split: Split

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Of the outputs that the prover's message divides."""
        return self.split.locks

    @property
    def owed_sats(self) -> int:
        """What the challenger gets beside locked outputs; 0 where it would be dust."""
        claim, other = self.split.terms.claim, self.split.prover.other
        small = (b for b in range(claim.payout_bits) if b not in self.split.bits)
        sats = sum(claim.unit_sats << bit for bit in small)
        if other is Role.WRITER:
            sats += claim.collateral_sats - units_max(claim.payout_bits) * claim.unit_sats
        return sats if sats >= self.split.terms.party(other).dust_sats else 0

    @property
    def paid(self) -> tuple[Role, ...]:
        """Whose each output behind the locked ones is: the challenger's, if any, the prover's."""
        prover = self.split.prover
        return (prover.other, prover) if self.owed_sats else (prover,)

    @property
    def scripts(self) -> tuple[bytes, ...]:
        """Of the outputs behind the locked ones."""
        return tuple(self.split.terms.party(role).script for role in self.paid)

    def amounts(self, left: int, _paid: Paid) -> tuple[int, ...]:
        """The sats of every output."""
        owed = (self.owed_sats,) if self.owed_sats else ()
        known = (*self.split.locked_sats, *owed)
        return (*known, left - sum(known))
