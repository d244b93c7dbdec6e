"""Which lies a party may be started with, and that one is told about the claim at hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from actors.party_lie import false_claim, lying, require_lie
from protocol.dispute.claim import Party
from protocol.dispute.play import Challenge, Play, Wait
from protocol.errors import ConfigError, TermsError
from protocol.options.payoff import units_max
from protocol.settlement.claim import Claim
from protocol.settlement.dispute.premises import premises_of
from protocol.settlement.terms import Role
from tests.builders.claims import claim_at
from tests.builders.contracts import contract_terms
from tests.builders.terms import SMALL, claim_terms

TERMS = contract_terms(claim_terms(**SMALL))
TRUE = claim_at(TERMS)


def party(role: Role) -> SimpleNamespace:
    """As much of a party as a liar looks at."""
    courses = {each: SimpleNamespace(premises=premises_of(TERMS, each)) for each in Role}
    return SimpleNamespace(
        role=role,
        terms=TERMS,
        facts=SimpleNamespace(proof=None, known=SimpleNamespace(certificate=TRUE.certificate)),
        graph=SimpleNamespace(contract=SimpleNamespace(courses=courses)),
    )


def test_a_lie_has_a_name_and_a_side() -> None:
    require_lie("step")
    require_lie("challenge", Party.CHALLENGER)
    with pytest.raises(ConfigError, match="--lie stop: no such lie; `oracle-vm dispute list`"):
        require_lie("stop")
    with pytest.raises(ConfigError, match="--lie step: told by a prover, not by a challenger"):
        require_lie("step", Party.CHALLENGER)


@pytest.mark.parametrize(("role", "more"), [(Role.HOLDER, 1), (Role.WRITER, -1)])
def test_a_false_claim_gives_its_prover_a_unit_more(role: Role, more: int) -> None:
    false = Claim.decode(false_claim(TERMS, role, TRUE.encode()))
    assert false == replace(TRUE, units=TRUE.units + more)
    most = units_max(TERMS.claim.payout_bits) if role is Role.HOLDER else 0
    with pytest.raises(TermsError, match="there is no more to claim"):
        false_claim(TERMS, role, replace(TRUE, units=most).encode())


def test_a_lying_prover_claims_more_and_a_lying_challenger_challenges() -> None:
    data = TRUE.encode()
    liar = lying("payout", lambda: party(Role.HOLDER))
    assert Claim.decode(liar.claim(data)).units == TRUE.units + 1
    assert liar.root(liar.claim(data), bytes(20)) != bytes(20)
    liar = lying("challenge", lambda: party(Role.WRITER))
    premises = premises_of(TERMS, Role.HOLDER)
    said = replace(Play(premises).said, published=premises.layout.published(data), root=bytes(20))
    play = Play(premises, said, Wait.WINDOW)
    assert liar.challenger(play, None) == Challenge()
    honest = lying("payout", lambda: party(Role.WRITER))  # a prover's lie: as challenger honest
    assert honest.silent(play) is False
