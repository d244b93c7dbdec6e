"""The way to FUND: bad lines, the quote that runs out, and everything that a liar may say."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.tx import parse_tx, serialize, with_witness, witness_stack
from protocol.errors import SignatureError, TermsError
from protocol.settlement import messages, pieces
from protocol.settlement.funding import Contribution
from protocol.settlement.lifecycle import Stage
from protocol.settlement.messages import (
    Accept,
    Ask,
    CloseAnswer,
    CloseOffer,
    CloseRefusal,
    Decline,
    Event,
    Note,
    Piece,
    Propose,
    Say,
    SignCoins,
    Step,
)
from protocol.settlement.policy import Limits
from protocol.settlement.presign import assemble
from protocol.settlement.record import decode_contribution, encode_contribution
from protocol.settlement.terms import Role
from protocol.settlement.vacant import VACANT
from protocol.settlement.witnesses import require_witnesses
from protocol.units import E8
from tests.builders.party_world import COIN_SCRIPTS, TICK_MS, World, judged_claim
from tests.builders.terms import SMALL, claim_terms
from tests.protocol.settlement.test_party import funded

pytestmark = pytest.mark.usefixtures("short_traces")

HOLDER, WRITER = Role.HOLDER, Role.WRITER


def quoted(**changes):
    """Other terms than the holder's."""
    world = World()
    claim = judged_claim(claim_terms(**(SMALL | changes)), world.price_e8)
    return claim, world.chain_terms


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_a_line_that_loses_doubles_and_disorders(seed):
    world = World(seed, loss=0.5, settle_at=10**6).begin()
    world.until(lambda: all(s.party.stage is Stage.FUNDED for s in world.sides.values()))
    assert world.holder.party.terms == world.writer.party.terms
    assert world.holder.party.facts.fund == world.writer.party.facts.fund


def test_long_messages_travel_in_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 400)
    world = World(4, loss=0.3, settle_at=10**6).begin()
    world.until(lambda: world.holder.party.stage is Stage.FUNDED)
    said = [m for m in world.holder.said if isinstance(m, Piece) and m.step is Step.KEYS]
    assert {piece.count for piece in said} == {said[0].count} and said[0].count > 10


@pytest.mark.parametrize(
    ("limits", "term"),
    [
        (Limits(collateral_sats=(0, 299_999)), "collateral_sats 300000"),
        (Limits(premium_sats=(10_001, 10**9)), "premium_sats 10000"),
        (Limits(bond_sats=(0, 299_999)), "bond_sats 300000"),
        (Limits(feerate_sat_vb=(3, 4)), "feerate_sat_vb 2"),
        (Limits(expiry_blocks=(0, 5)), "blocks to expiry_height 8"),
        (Limits(refund_blocks=(0, 5)), "refund_height 38"),
        (Limits(move_window=(7, 9)), "move_window 6"),
        (Limits(configs=frozenset((b"x",))), "the oracles"),
        (Limits(feeds=frozenset((b"x",))), "feed_id"),
        (Limits(contracts=frozenset({quoted(strike_e8=50_000 * E8 + 1)})), "payoff Payoff"),
        (
            Limits(contracts=frozenset({quoted(strike_e8=50_000 * E8 + 1), quoted(strike_e8=2)})),
            "others",
        ),
    ],
)
def test_a_writer_declines_what_its_policy_refuses(limits, term):
    world = World(policies={WRITER: {"limits": limits}}).begin()
    world.until(lambda: world.holder.party.over)
    assert term in world.holder.events(Event.DECLINED)[0]
    assert world.holder.party.stage is Stage.CANCELLED
    assert not world.writer.records


def test_a_holder_does_not_propose_what_it_would_refuse():
    world = World(policies={HOLDER: {"limits": Limits(premium_sats=(0, 1))}})
    with pytest.raises(TermsError, match="premium_sats 10000"):
        world.begin()
    assert not world.holder.records


def test_a_quote_that_runs_out_before_the_writer_signs():
    """The holder takes its coins back; the writer signs nothing."""
    world = lying(WRITER, lambda message: message, wallet=False)
    world.until(lambda: world.holder.party.over and world.writer.party.over)
    assert world.holder.party.outcome == "RECLAIM"
    assert {s.party.stage for s in world.sides.values()} == {Stage.CANCELLED}
    assert world.writer.party.facts.fund is None
    assert "ran out" in world.writer.events(Event.DECLINED)[0]
    lost = -world.gains(HOLDER)
    assert 0 < lost < 1_000


def test_a_writer_that_signs_too_late_loses_the_coins_it_counted_on():
    """FUND after the holder has taken its coins back confirms nowhere."""
    world = World(settle_at=10**6, policies={WRITER: {"quote_ttl_ms": 10**9}})
    world.writer.wallet = False
    world.begin().until(lambda: world.holder.party.facts.reclaim is not None)
    world.writer.wallet = True
    world.until(lambda: world.writer.party.over)
    assert world.writer.party.stage is Stage.CANCELLED
    assert world.refused["FUND"] > 0 and not world.path()


def test_a_wallet_that_answers_too_late_signs_nothing():
    world = World(settle_at=10**6)
    world.holder.wallet = False
    asked = []
    do = world.holder._do
    world.holder._do = lambda effect: (asked.append(effect), do(effect))[1]
    world.begin().until(lambda: any(isinstance(effect, SignCoins) for effect in asked))
    [effect, *_] = [effect for effect in asked if isinstance(effect, SignCoins)]
    late_ms = world.now_ms + world.holder.policy.quote_ttl_ms
    party = world.holder.party
    effects = party.coins_signed(world.holder.signed(effect), world.chain, late_ms)
    assert party.facts.witnessed is None and party.stage is Stage.CANCELLED
    assert not [e for e in effects if isinstance(e, Say) and isinstance(e.message, Piece)]


def test_a_fund_that_wins_the_race_against_reclaim_counts():
    world = lying(WRITER, lambda message: message, wallet=False)
    world.until(lambda: world.holder.party.facts.reclaim is not None)
    world.chain.pool.clear()
    holder = world.holder.party
    assert holder.facts.witnessed is not None and holder.graph is not None
    fund = with_witness(holder.facts.witnessed, [[b"any"]] * len(holder.facts.witnessed.vin))
    world.chain.blocks.append([fund])
    world.chain.mine(3)
    world.tick()
    assert holder.stage is Stage.FUNDED and holder.outcome == ""


def test_who_declines_late_is_not_believed_for_long():
    """A Decline after WITNESSES is no promise: the coins are taken back at once."""
    world = World(settle_at=10**6)
    world.writer.wallet = False
    world.begin().until(lambda: world.holder.party.facts.witnessed is not None)
    deal = world.terms.holder.nonce
    begun_ms = world.now_ms
    world.holder.do(world.holder.party.hear(Decline(deal, "no"), world.chain, world.now_ms))
    world.until(lambda: world.holder.party.facts.reclaim is not None)
    assert world.now_ms - begun_ms < 5 * TICK_MS


# Lies. Each is refused with its reason, and nothing is signed.


def lie_keys(piece: Piece) -> Piece:
    return replace(piece, data=bytes(len(piece.data)))


def lie_short(piece: Piece) -> Piece:
    return replace(piece, data=piece.data[:-20])


def lie_signature(piece: Piece) -> Piece:
    return replace(piece, data=piece.data[:-64] + bytes(64))


def lie_order(piece: Piece) -> Piece:
    return replace(piece, data=piece.data[64:] + piece.data[:64])


def lie_amount(piece: Piece) -> Piece:
    given = decode_contribution(piece.data)
    first = given.coins[0]
    richer = replace(first, output=type(first.output)(first.sats + 1, first.output.scriptPubKey))
    return coins_of(piece, (richer, *given.coins[1:]))


def lie_coin(piece: Piece) -> Piece:
    given = decode_contribution(piece.data)
    point = type(given.coins[0].outpoint)(b"\x05" * 32, 0)
    return coins_of(piece, (replace(given.coins[0], outpoint=point), *given.coins[1:]))


def lie_poor(piece: Piece) -> Piece:
    return coins_of(piece, decode_contribution(piece.data).coins[:0])


def lie_twice(piece: Piece) -> Piece:
    first = decode_contribution(piece.data).coins[0]
    return coins_of(piece, (first, first))


def coins_of(piece: Piece, coins) -> Piece:
    if not coins:
        return replace(piece, data=bytes(4))
    return replace(piece, data=encode_contribution(Contribution(coins, COIN_SCRIPTS[HOLDER])))


def lie_no_witness(piece: Piece) -> Piece:
    tx = parse_tx(piece.data)
    return replace(piece, data=serialize(with_witness(tx, [[], *[[b"\1" * 64]] * 3])))


def lie_witness(piece: Piece) -> Piece:
    tx = parse_tx(piece.data)
    stacks = [witness_stack(tx, n) for n in range(len(tx.vin))]
    stacks[0] = (bytes([stacks[0][0][0] ^ 1]) + stacks[0][0][1:],)
    return replace(piece, data=serialize(with_witness(tx, stacks)))


def lie_other_fund(piece: Piece) -> Piece:
    tx = parse_tx(piece.data)
    other = type(tx)(tx.vin, tx.vout[:1], tx.nLockTime, tx.nVersion, tx.wit)
    return replace(piece, data=serialize(other))


SAID_BY_BOTH = (Step.KEYS, Step.COINS, Step.SIGNATURES)
LIES = [
    (Step.KEYS, lie_keys, "end alike"),
    (Step.KEYS, lie_short, "bytes"),
    (Step.COINS, lie_amount, "not what the chain says"),
    (Step.COINS, lie_coin, "spent or in no block"),
    (Step.COINS, lie_poor, "coins"),
    (Step.COINS, lie_twice, "offered twice"),
    (Step.SIGNATURES, lie_signature, "does not fit"),
    (Step.SIGNATURES, lie_order, "does not fit"),
    (Step.SIGNATURES, lie_short, "signatures"),
    (Step.WITNESSES, lie_no_witness, "not signed for all of it"),
    (Step.WITNESSES, lie_witness, "the signature of input 0 of FUND is wrong"),
    (Step.WITNESSES, lie_other_fund, "another FUND"),
]


LIARS = [(role, *lie) for role in Role for lie in LIES if role is HOLDER or lie[0] in SAID_BY_BOTH]


@pytest.mark.parametrize(("liar", "step", "lie", "reason"), LIARS)
def test_a_lie_about_a_step_is_refused_and_signed_by_nobody(liar, step, lie, reason):
    def edit(message):
        told = isinstance(message, Piece) and message.step is step
        return lie(message) if told else message

    world = lying(liar, edit)
    honest = world.sides[liar.other]
    world.until(lambda: bool(honest.events(Event.REFUSED)), ticks=40)
    world.until(lambda: honest.party.stage is Stage.CANCELLED)
    assert any(reason in text for text in honest.events(Event.REFUSED))
    assert not world.path()
    if honest.role is HOLDER:
        assert honest.party.facts.witnessed is None
    else:
        assert honest.party.facts.fund is None


def test_who_proposes_again_after_the_quote_is_declined_again():
    world = World(settle_at=10**6)
    world.writer.wallet = False
    world.begin().run()
    proposal = Propose(world.terms.holder.nonce, replace(world.terms, writer=VACANT))
    [said] = world.writer.party.hear(proposal, world.chain, world.now_ms)
    assert isinstance(said.message, Decline) and "ran out" in said.message.reason


def test_terms_that_were_changed_on_the_way_are_refused():
    def edit(message):
        if not isinstance(message, Accept):
            return message
        chain = replace(message.terms.chain, premium_sats=20_000)
        return replace(message, terms=replace(message.terms, chain=chain))

    world = lying(WRITER, edit)
    world.until(lambda: bool(world.holder.events(Event.REFUSED)), ticks=40)
    assert "not the proposed ones" in world.holder.events(Event.REFUSED)[0]
    assert world.holder.party.terms is None


def test_a_seat_that_stays_vacant_or_changes_hands_is_refused():
    world = funded()
    party, terms = world.holder.party, world.terms
    hear = lambda message: party.hear(message, world.chain, world.now_ms)  # noqa: E731
    vacant = Accept(terms.holder.nonce, replace(terms, writer=VACANT))
    assert refusal(hear(vacant)).endswith("still vacant")
    other = replace(terms.writer, nonce=bytes(16))
    changed = Accept(terms.holder.nonce, replace(terms, writer=other))
    assert refusal(hear(changed)).endswith("accepted before")
    taken = Propose(terms.holder.nonce, terms)
    writer = world.writer.party
    assert "vacant" in refusal(writer.hear(taken, world.chain, world.now_ms))
    second = replace(terms.holder, nonce=b"\7" * 16)
    proposal = Propose(b"\7" * 16, replace(terms, holder=second, writer=VACANT))
    assert "another contract" in refusal(writer.hear(proposal, world.chain, world.now_ms))


@pytest.mark.parametrize("role", list(Role))
def test_what_does_not_belong_here_changes_nothing(role):
    world = funded()
    side = world.sides[role]
    deal, session = world.terms.holder.nonce, bytes(16)
    certificate = world.certificate()
    for message in (
        Decline(deal, "too late") if role is WRITER else Decline(bytes(16), ""),
        Decline(b"\1" * 16, "of another deal"),
        Ask(bytes(16), Step.KEYS),
        Piece(bytes(16), Step.KEYS, 0, 1, b""),
        Piece(deal, Step.KEYS, 1, 1, b""),
        Piece(deal, Step.KEYS, 0, 65, b""),
        Piece(deal, Step.KEYS, 0, 1, bytes(messages.PIECE_BYTES + 1)),
        CloseAnswer(deal, session, bytes(66), bytes(32)),
        CloseRefusal(deal, session, ""),
        CloseOffer(bytes(16), session, certificate, b"", bytes(66)),
        "a string",
    ):
        before = side.party.facts
        effects = side.party.hear(message, world.chain, world.now_ms)
        assert [type(effect) for effect in effects] == [Note], message
        assert side.party.facts is before


def test_steps_are_said_again_to_who_asks():
    world = funded()
    deal = world.terms.holder.nonce
    for role, steps in ((HOLDER, list(Step)), (WRITER, list(Step)[:-1])):
        party = world.sides[role].party
        for step in steps:
            [said] = party.hear(Ask(deal, step), world.chain, world.now_ms)
            assert said.message.step is step
    assert not world.writer.party.hear(Ask(deal, Step.WITNESSES), world.chain, world.now_ms)


def test_a_witness_signs_all_of_fund():
    world = funded()
    fund = world.holder.party.facts.fund
    assert fund is not None
    spent = tuple(world.chain.tx(bytes(i.prevout.hash)).tx.vout[i.prevout.n] for i in fund.vin)
    require_witnesses(fund, spent, range(len(fund.vin)))
    stacks = [list(witness_stack(fund, n)) for n in range(len(fund.vin))]
    for bad in ([], [stacks[0][0] + b"\x82"], [stacks[0][0], b""]):
        with pytest.raises(SignatureError, match="not signed for all"):
            require_witnesses(with_witness(fund, [bad, *stacks[1:]]), spent, range(1))


def lying(liar: Role, edit, *, wallet: bool = True) -> World:
    world = World(settle_at=10**6)
    world.sides[liar].edit = edit
    world.sides[liar].wallet = wallet
    return world.begin()


def refusal(effects) -> str:
    [note] = effects
    assert note.event is Event.REFUSED
    return note.detail


@pytest.mark.parametrize("role", [HOLDER, WRITER])
def test_nobody_can_challenge_its_own_claim(role):
    """The other side's bond would be lost on a true claim: only its own signature challenges."""
    world = World(settle_at=10**6).begin()
    world.until(lambda: all(s.party.stage is Stage.FUNDED for s in world.sides.values()))
    knowledge = world.sides[role].party._knowledge
    mine, theirs = f"{role.value}:CHALLENGE", f"{role.other.value}:CHALLENGE"
    assert set(knowledge.signatures[role]) - set(knowledge.signatures[role.other]) == {mine}
    assert set(knowledge.signatures[role.other]) >= {theirs}
    with pytest.raises(SignatureError, match=f"lacks the signature of the {role.other.value}"):
        assemble(knowledge.graph.move(mine), knowledge.signatures)
    assert assemble(knowledge.graph.move(theirs), knowledge.signatures)
