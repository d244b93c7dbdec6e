"""Every way that a contract between two parties ends, and a crash after every single effect."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.tx import txid
from protocol.errors import QuorumError, SignatureError, TermsError
from protocol.settlement.claim import Claim
from protocol.settlement.lifecycle import Stage
from protocol.settlement.messages import Broadcast, Event, Keep, Prove
from protocol.settlement.party import Party
from protocol.settlement.policy import Close
from protocol.settlement.record import Facts
from protocol.settlement.terms import Role
from tests.builders.claims import certify, expiry_at
from tests.builders.contracts import due
from tests.builders.party_world import KEYS, START, World

pytestmark = pytest.mark.usefixtures("short_traces")

HOLDER, WRITER = Role.HOLDER, Role.WRITER
ALONE = {"close": Close.NEVER}
PASSIVE = {"close": Close.NEVER, "claims": False}

COOPERATIVE: dict[Role, dict[str, object]] = {}
HOLDER_CLAIMS = {HOLDER: ALONE, WRITER: PASSIVE}
WRITER_CLAIMS = {HOLDER: PASSIVE, WRITER: ALONE}
REFUND = {HOLDER: PASSIVE, WRITER: PASSIVE}
WAYS = {
    "CLOSE": COOPERATIVE,
    "holder:SETTLE": HOLDER_CLAIMS,
    "writer:SETTLE": WRITER_CLAIMS,
    "REFUND": REFUND,
}


def check_end(world: World, outcome: str) -> None:
    """Both sides agree how it ended, got what they are owed, and signed one payout."""
    for side in world.sides.values():
        assert side.party.outcome == outcome
        assert side.party.stage is (Stage.REFUNDED if outcome == "REFUND" else Stage.SETTLED)
        assert side.guard.conflicts == 0
        assert Facts.of(side.records) == side.party.facts
        assert not side.events(Event.GUARDED) + side.events(Event.DISPUTED)
    assert len(world.holder.closes | world.writer.closes) <= 1
    graph, terms = world.holder.party.graph, world.terms
    assert graph is not None
    contract, bond = graph.contract, terms.chain.bond_sats
    if outcome.endswith(":SETTLE"):
        prover = HOLDER if outcome.startswith("holder") else WRITER
        owed = due(graph, prover, world.units)
    else:
        refunded = outcome == "REFUND"
        fee = graph.move("REFUND").fee_sats + 240 if refunded else contract.close_fee_sats
        spare = contract.reserve_sats - fee
        payout = 0 if refunded else terms.claim.payout_sats(world.units)
        owed = {
            HOLDER: bond + payout + spare // 2,
            WRITER: bond + terms.claim.collateral_sats - payout + spare - spare // 2,
        }
    assert {role: world.paid(role) for role in Role} == owed


@pytest.mark.parametrize(("outcome", "policies"), WAYS.items())
def test_each_way_pays_what_it_owes(outcome, policies):
    world = World(policies=policies).begin().run()
    check_end(world, outcome)
    assert [name for name in world.path() if name == outcome] == [outcome]
    assert all(side.records for side in world.sides.values())


def test_a_refused_close_is_followed_by_a_claim():
    world = World(policies={WRITER: PASSIVE}).begin().run()
    check_end(world, "holder:SETTLE")
    assert world.holder.events(Event.DECLINED)
    assert world.holder.said and not world.holder.closes


def test_a_silent_writer_is_waited_for_and_then_claimed_from():
    world = funded(settle_at=START + 12)
    world.writer.alive = False
    world.until(lambda: world.holder.party.over)
    known = world.holder.party.facts.known
    inputs = world.chain.tx(txid(first_move(world, HOLDER)))
    assert known is not None and inputs is not None and inputs.block is not None
    assert inputs.block.height >= known.height + world.holder.policy.claim_after_blocks
    assert world.holder.party.outcome == "holder:SETTLE"


@pytest.mark.parametrize(("price_usd", "outcome"), [(40_000, "REFUND"), (60_000, "holder:SETTLE")])
def test_a_holder_claims_only_what_pays(price_usd, outcome):
    world = World(price_usd=price_usd, policies=HOLDER_CLAIMS).begin().run()
    assert world.holder.party.outcome == outcome


def test_who_is_not_told_reads_the_claim_from_the_chain():
    world = World(policies=HOLDER_CLAIMS, told=(HOLDER,)).begin().run()
    assert world.writer.party.facts.known is None
    check_end(world, "holder:SETTLE")


def test_who_is_not_told_learns_from_the_offer():
    world = World(told=(WRITER,)).begin().run()
    check_end(world, "CLOSE")
    assert world.holder.party.facts.known is not None


def test_a_claim_is_not_begun_too_late():
    policies = {HOLDER: ALONE, WRITER: PASSIVE}
    world = World(policies=policies, settle_at=START + 46).begin().run()
    check_end(world, "REFUND")
    assert len(world.holder.events(Event.LATE)) == 1
    assert not world.holder.guard


def test_a_claim_that_was_proved_too_late_is_dropped():
    world = funded(policies={HOLDER: ALONE})
    party, chain, now_ms = world.holder.party, world.chain, world.now_ms
    chain.mine(START + 13 - chain.height)
    [claim] = [
        effect.claim
        for effect in party.settle(world.certificate(), chain, now_ms)
        if isinstance(effect, Prove)
    ]
    chain.mine(START + 46 - chain.height)
    root = world.trace_of(claim.encode()).root
    effects = party.proved(claim, root, chain, now_ms)
    assert not [effect for effect in effects if isinstance(effect, Keep | Broadcast)]
    assert party.facts.proof is None
    assert not world.holder.guard


def test_certificates_that_do_not_settle_this_contract():
    world = funded()
    party, chain, now_ms = world.holder.party, world.chain, world.now_ms
    right = expiry_at(world.terms, world.price_e8)
    with pytest.raises(QuorumError, match="exactly 2"):
        party.settle(certify(right, (0, 1, 2)), chain, now_ms)
    with pytest.raises(SignatureError, match="oracle 3"):
        party.settle(replace_signer(certify(right), 3), chain, now_ms)
    with pytest.raises(TermsError, match="ends in round"):
        late = expiry_at(world.terms, end_round=right.end_round + 21)
        party.settle(certify(late), chain, now_ms)
    assert party.facts.known is None


def test_the_first_certificate_counts():
    world = funded()
    party, chain, now_ms = world.holder.party, world.chain, world.now_ms
    expiry = expiry_at(world.terms, world.price_e8)
    first = party.settle(certify(expiry), chain, now_ms)
    assert isinstance(first[0], Keep)
    again = party.settle(certify(expiry, (0, 2)), chain, now_ms)
    assert not [effect for effect in again if isinstance(effect, Keep)]
    assert party.facts.known is not None and party.facts.known.certificate == certify(expiry)
    other = expiry_at(world.terms, world.price_e8 + 1)
    with pytest.raises(TermsError, match="two expiries"):
        party.settle(certify(other), chain, now_ms)


def test_a_proof_of_another_claim_or_root_is_refused():
    world = World(policies=HOLDER_CLAIMS).begin()
    world.until(lambda: bool(world.holder.party.facts.proof))
    proof = world.holder.party.facts.proof
    assert proof is not None
    call, claim = world.holder.party.proved, Claim.decode(proof.data)
    with pytest.raises(TermsError, match="another root"):
        call(claim, b"\1" * 20, world.chain, world.now_ms)
    with pytest.raises(TermsError, match="21 bytes"):
        call(claim, bytes(21), world.chain, world.now_ms)
    other = Claim(claim.certificate, claim.units + 1)
    with pytest.raises(TermsError, match="no proof of the claim"):
        call(other, proof.root, world.chain, world.now_ms)


def test_records_of_another_party_are_refused():
    world = funded()
    with pytest.raises(TermsError, match="another party"):
        Party(HOLDER, KEYS[WRITER], world.holder.policy, {}, bytes, world.holder.records)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("outcome", "policies"), WAYS.items())
def test_a_crash_after_every_effect(outcome, policies, role):
    """The rest of the list is lost and the party is made again from what it kept: the contract
    goes on to the same end. What comes before FUND is the same in every way."""
    if outcome == "CLOSE":
        begin = World(policies=policies).begin
    else:
        begin = funded(settle_at=START + 12, policies=policies).copy
    effects = begin().run().sides[role].done
    for number in range(1, effects + 1):
        world = World(policies=policies) if outcome == "CLOSE" else begin()
        world.sides[role].crash_after = frozenset({number})
        world.begin().run()
        assert world.sides[role].crashes == 1
        check_end(world, outcome)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from(list(WAYS)))
def test_crashes_and_a_bad_line_all_the_way(seed, outcome):
    """Who cannot close in time claims; nothing else changes."""
    world = World(seed, policies=WAYS[outcome], loss=0.3)
    for side in world.sides.values():
        side.crash_after = frozenset(world.random.sample(range(1, 40), 3))
    world.begin().run()
    ends = {outcome, "holder:SETTLE", "writer:SETTLE"} if outcome == "CLOSE" else {outcome}
    assert world.holder.party.outcome in ends
    check_end(world, world.holder.party.outcome)


def funded(settle_at: int = 10**6, **changes) -> World:
    world = World(settle_at=settle_at, **changes).begin()
    return world.until(lambda: world_funded(world))


def world_funded(world: World) -> bool:
    return all(side.party.stage is Stage.FUNDED for side in world.sides.values())


def first_move(world: World, prover: Role):
    graph = world.holder.party.graph
    assert graph is not None
    return next(graph.forward(prover)).tx


def replace_signer(certificate, index: int):
    (first, signature), (_, second) = certificate.signatures
    return type(certificate)(certificate.expiry, ((first, signature), (index, second)))
