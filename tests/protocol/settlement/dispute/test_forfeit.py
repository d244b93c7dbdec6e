"""After a challenge the claim stands, and all that no evidence is asked for is the prover's."""

from protocol.settlement.dispute.forfeit import Forfeit
from protocol.settlement.terms import Role
from tests.builders.contracts import contract_of, contract_terms

PAID = {Role.HOLDER: 1, Role.WRITER: 2}


def test_bonds_and_remainder_are_the_provers() -> None:
    """The collateral's 123 sats beyond its units would be dust."""
    contract = contract_of(contract_terms())
    for prover in Role:
        forfeit = Forfeit(contract.splits[prover])
        assert forfeit.owed_sats == 0
        assert forfeit.scripts == (contract.terms.party(prover).script,)
        locked = 255 * 1_000 + 3_001
        assert forfeit.amounts(500_000, PAID)[-1] == 500_000 - locked
        assert sum(forfeit.amounts(500_000, PAID)) == 500_000


def test_bits_without_an_output_stay_the_challengers() -> None:
    """At 12 sat/vB a sweep of 1,000 or 2,000 sats is not worth it."""
    terms = contract_terms(max_feerate_sat_vb=12, claim_fee_sats=0, bond_sats=3_000_000)
    contract = contract_of(terms)
    for prover, remainder in ((Role.WRITER, 0), (Role.HOLDER, 123)):
        split = contract.splits[prover]
        missing = [bit for bit in range(8) if bit not in split.bits]
        assert missing
        forfeit = Forfeit(split)
        owed = sum(1_000 << bit for bit in missing) + remainder
        assert forfeit.owed_sats == owed
        other = prover.other
        assert forfeit.scripts == (terms.party(other).script, terms.party(prover).script)
        *locked, theirs, ours = forfeit.amounts(700_000, PAID)
        assert (theirs, ours) == (owed, 700_000 - owed - sum(locked))
        assert sum(locked) + owed - remainder == 255 * 1_000
