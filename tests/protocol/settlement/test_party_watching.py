"""False claims, silence, a second payout, and lies about the cooperative close."""

from dataclasses import replace

import pytest

from protocol.bitcoin.tx import outpoint, txid
from protocol.dispute.play import Wait
from protocol.dispute.sides import Strategy
from protocol.settlement import record
from protocol.settlement.claim import Claim
from protocol.settlement.lifecycle import Stage
from protocol.settlement.messages import (
    Broadcast,
    Bump,
    CloseAnswer,
    CloseOffer,
    CloseRefusal,
    Event,
    Note,
)
from protocol.settlement.payout import payout_of
from protocol.settlement.policy import Close
from protocol.settlement.terms import Role
from tests.builders.claims import certify, expiry_at
from tests.builders.party_world import PAID_SCRIPTS, START, Guard, Side, World
from tests.builders.terms import AMERICAN, SMALL, claim_terms
from tests.protocol.settlement.test_party import (
    ALONE,
    HOLDER_CLAIMS,
    PASSIVE,
    WRITER_CLAIMS,
    check_end,
    funded,
    world_funded,
)

pytestmark = pytest.mark.usefixtures("short_traces")

HOLDER, WRITER = Role.HOLDER, Role.WRITER


def claims_falsely(world: World, liar: Role, units: int) -> World:
    """From here on ``liar`` claims ``units``, whatever the certificate says."""
    side = world.sides[liar]
    data = Claim(world.certificate(), units).encode()
    side.strategy = Strategy(claim=lambda _: data, silent=lambda play: play.wait is Wait.NODES)
    known = record.Known(world.certificate(), b"", world.now_ms, world.chain.height)
    proof = record.Proof(data, world.trace_of(data).root)
    side.records += [record.known(known), record.proof(proof)]
    side.start()
    return world


@pytest.mark.parametrize("told", [tuple(Role), ()])
@pytest.mark.parametrize("liar", list(Role))
def test_a_false_claim_is_challenged_whatever_certificate_is_known(liar, told):
    world = funded(policies={HOLDER: PASSIVE, WRITER: PASSIVE})
    world.told, world.settle_at = told, START + 12
    claims_falsely(world, liar, 99)
    honest = world.sides[liar.other]
    world.until(lambda: honest.party.stage is Stage.DISPUTED)
    assert honest.events(Event.DISPUTED) == [f"the {liar.value}'s claim was challenged"]
    world.run()
    assert f"{liar.value}:SETTLE" not in world.path()
    assert honest.party.outcome == f"{liar.value}:TIMEOUT"
    assert len(honest.events(Event.DISPUTED)) == 1


def test_a_true_claim_is_not_challenged_whatever_certificate_is_known():
    """Oracles that sign two expiries: the machine decides, not this party's certificate."""
    world = funded(policies=HOLDER_CLAIMS)
    other = certify(expiry_at(world.terms, world.price_e8 + 10**12))
    for side, certificate in ((world.holder, world.certificate()), (world.writer, other)):
        side.do(side.party.settle(certificate, world.chain, world.now_ms))
    world.run()
    assert world.writer.party.outcome == "holder:SETTLE"
    assert not world.writer.events(Event.DISPUTED)


@pytest.mark.parametrize("prover", list(Role))
def test_a_prover_that_falls_silent_loses_everything(prover):
    policies = HOLDER_CLAIMS if prover is HOLDER else WRITER_CLAIMS
    world = funded(settle_at=START + 12, policies=policies)
    world.until(lambda: f"{prover.value}:INPUT_1" in world.path())
    world.sides[prover].alive = False
    inputs = world.chain.height
    other = world.sides[prover.other]
    world.until(lambda: other.party.over)
    assert other.party.outcome == f"{prover.value}:TIMEOUT"
    assert other.party.stage is Stage.SETTLED
    graph = other.party.graph
    assert graph is not None
    taken = world.chain.spender(outpoint(txid(graph.move(f"{prover.value}:INPUT_1").tx), 0))
    assert taken is not None and taken.block is not None
    assert taken.block.height == inputs + world.terms.chain.move_window
    assert bytes(taken.tx.vout[0].scriptPubKey) == PAID_SCRIPTS[prover.other]
    assert world.paid(prover) == 0


def test_a_silent_prover_that_comes_back_in_time_goes_on():
    world = funded(settle_at=START + 12, policies=HOLDER_CLAIMS)
    world.until(lambda: "holder:INPUT_1" in world.path())
    world.holder.alive = False
    world.tick()
    world.tick()
    world.holder.alive = True
    world.holder.start()
    check_end(world.run(), "holder:SETTLE")


def test_a_second_payout_helps_only_the_other_side():
    """A holder that signs again after a reorganisation: the writer takes every bit that either of
    the two payouts gives it, even where it challenges neither."""
    world = funded(policies={HOLDER: PASSIVE, WRITER: PASSIVE}, move_window=30, sweep_delay=12)
    world.writer.strategy = Strategy(challenger=lambda play, history: None)
    world.writer.start()
    claims_falsely(world, HOLDER, 0b1111_0000)
    world.until(lambda: "holder:KICKOFF" in world.path())
    world.tick()
    assert len(world.writer.party.facts.seen) == 2
    world.chain.reorg(6)
    world.holder.guard = Guard()
    claims_falsely(world, HOLDER, 0b0000_1110)
    world.until(lambda: world.holder.party.over)
    graph = world.writer.party.graph
    assert graph is not None
    assert len(world.writer.party.facts.seen) == 3
    assert world.path().count("holder:SWEEP_WRITER") == 2 and not world.refused
    move = graph.settle(HOLDER)
    sweeps = [payout_of(graph, move, units).sweeps[WRITER] for units in (0xF0, 0x0E)]
    settle = txid(move.tx)
    for output in {*sweeps[0], *sweeps[1]}:
        taken = world.chain.spender(outpoint(settle, output))
        assert taken is not None
        assert bytes(taken.tx.vout[0].scriptPubKey) == PAID_SCRIPTS[WRITER]


def test_a_claim_that_refund_overtakes_is_given_up_late():
    """INPUT_1 never gets into a block: REFUND is for the one who does not claim, and much later
    for the one who does, so that its bond is not lost."""
    world = funded(settle_at=START + 12, policies=HOLDER_CLAIMS)
    world.until(lambda: world.holder.party.facts.proof is not None)
    side, chain = world.holder, world.chain
    chain.pool.clear()
    refund_height, margin = world.terms.chain.refund_height, side.policy.claim_margin_blocks
    chain.mine(refund_height - chain.height)
    assert broadcasts(side) == ["holder:INPUT_1"]
    assert broadcasts(world.writer) == ["REFUND"]
    chain.mine(margin - 1)
    assert broadcasts(side) == ["holder:INPUT_1"]
    chain.mine()
    assert "REFUND" in broadcasts(side)


def broadcasts(side: Side) -> list[str]:
    """The names of what it broadcasts when it looks now, with a child or without."""
    effects = side.party.look(side.world.chain, side.world.now_ms)
    return [effect.name for effect in effects if isinstance(effect, Broadcast | Bump)]


def test_a_lost_sweep_is_made_again():
    """Each party takes its outputs again after a reorganisation that forgot its sweep."""
    world = funded(settle_at=START + 12, policies=HOLDER_CLAIMS, sweep_delay=12)
    world.until(lambda: "holder:SWEEP_WRITER" in world.path())
    world.chain.reorg(1)
    assert "holder:SWEEP_WRITER" not in world.path()
    check_end(world.run(), "holder:SETTLE")


def test_an_american_holder_claims_before_expiry():
    claim = claim_terms(**(SMALL | AMERICAN))
    policies = {HOLDER: ALONE, WRITER: PASSIVE}
    early = {"expiry_height": START + 40, "refund_height": START + 90}
    world = World(claim=claim, policies=policies, told=(), **early).begin()
    world.until(lambda: world_funded(world))
    exercise = world.claim.first_round + 1
    expiry = expiry_at(world.terms, world.price_e8, exercise_round=exercise)
    certificate = certify(expiry, (0, 1, 2))
    effects = world.holder.party.settle(certificate, world.chain, world.now_ms)
    world.holder.do(effects)
    world.until(lambda: "holder:SETTLE" in world.path())
    assert world.chain.height < START + 40
    world.run()
    assert world.writer.party.outcome == "holder:SETTLE"
    assert not world.writer.events(Event.DISPUTED)


# Lies about the close


def offered(**policies) -> tuple[World, CloseOffer]:
    """A funded contract in which the writer knows the certificate and has offered to close."""
    world = funded(policies=policies)
    effects = world.writer.party.settle(world.certificate(), world.chain, world.now_ms)
    world.writer.do(effects)
    [(_, offer)] = world.mail
    world.mail.clear()
    return world, offer


def heard(world: World, role: Role, message):
    return world.sides[role].party.hear(message, world.chain, world.now_ms)


def answer_to(world: World, offer: CloseOffer) -> CloseAnswer:
    world.holder.do(heard(world, HOLDER, offer))
    [(_, answer)] = world.mail
    world.mail.clear()
    assert isinstance(answer, CloseAnswer)
    return answer


def test_an_offer_is_answered_and_repeated_to_the_byte():
    world, offer = offered()
    answer = answer_to(world, offer)
    assert answer_to(world, offer) == answer
    again = answer_to(world, replace(offer, session=b"\1" * 16))
    assert again.nonce != answer.nonce
    world.writer.do(heard(world, WRITER, answer))
    assert world.writer.party.facts.close is not None
    check_end(world.run(), "CLOSE")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w, o: replace(o, nonce=bytes(66)), "nonce"),
        (lambda w, o: replace(o, anchor=b"\1" * 31), "anchor"),
        (lambda w, o: replace(o, certificate=certify(o.certificate.expiry, (0,))), "exactly 2"),
        (lambda w, o: replace(o, certificate=forged(o.certificate)), "oracle 1 is wrong"),
    ],
)
def test_a_bad_offer_is_refused(change, reason):
    world, offer = offered()
    before = world.holder.party.facts
    note, said = heard(world, HOLDER, change(world, offer))
    assert isinstance(note, Note) and reason in note.detail
    assert isinstance(said.message, CloseRefusal) and reason in said.message.reason
    assert world.holder.party.facts is before


def forged(certificate):
    (first, second) = certificate.signatures
    return type(certificate)(certificate.expiry, (first, (second[0], first[1])))


def test_an_offer_of_another_price_than_the_known_one_is_refused():
    world, offer = offered()
    other = certify(expiry_at(world.terms, world.price_e8 + 10**11))
    world.holder.do(world.holder.party.settle(other, world.chain, world.now_ms))
    world.holder.policy = replace(world.holder.policy, close=Close.ANSWER)
    world.holder.start()
    note, _ = heard(world, HOLDER, offer)
    assert "another certificate" in note.detail


def test_a_wrong_answer_leaves_the_offer_open():
    world, offer = offered()
    answer = answer_to(world, offer)
    for wrong in (
        replace(answer, partial=bytes(32)),
        replace(answer, nonce=offer.nonce),
        replace(answer, session=bytes(16)),
    ):
        [note] = heard(world, WRITER, wrong)
        assert note.event is Event.REFUSED
    assert world.writer.party.facts.close is None
    world.writer.do(heard(world, WRITER, answer))
    assert world.writer.party.facts.close is not None
    [note] = heard(world, WRITER, answer)
    assert "no offer" in note.detail


def test_a_restart_forgets_the_session():
    world, offer = offered()
    answer = answer_to(world, offer)
    world.writer.start()
    [note] = heard(world, WRITER, answer)
    assert "another session" in note.detail
    check_end(world.run(), "CLOSE")


def test_a_holder_with_an_offer_of_its_own_does_not_answer():
    world, offer = offered()
    world.holder.do(world.holder.party.settle(world.certificate(), world.chain, world.now_ms))
    [note] = heard(world, HOLDER, offer)
    assert "own offer" in note.detail


def test_an_offer_before_fund_counts_is_for_later():
    world = World(settle_at=10**6).begin()
    world.until(lambda: bool(world.path()))
    world.writer.do(world.writer.party.settle(world.certificate(), world.chain, world.now_ms))
    assert not [m for m in world.writer.said if isinstance(m, CloseOffer)]
    forced = CloseOffer(world.terms.holder.nonce, bytes(16), world.certificate(), b"", bytes(66))
    [note] = heard(world, HOLDER, forced)
    assert "offer again later" in note.detail


def test_an_anchor_travels_with_the_offer():
    world = funded()
    anchor = b"\xa5" * 32
    side = world.writer
    side.do(side.party.settle(world.certificate(), world.chain, world.now_ms, anchor=anchor))
    world.until(lambda: "CLOSE" in world.path())
    close = world.holder.party.graph
    assert close is not None
    spender = world.chain.spender(close.fund)
    assert spender is not None and bytes(spender.tx.vout[-1].scriptPubKey).endswith(anchor)
