"""What a contract costs and holds: every satoshi, every limit, terms that cannot be honoured."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.script import PAY_TO_ANCHOR
from protocol.bitcoin.taproot import tap_tweak
from protocol.bitcoin.tx import vsize, with_witness
from protocol.crypto.winternitz import OneTimePublicKey
from protocol.errors import SignatureError, TermsError
from protocol.settlement.contract import Contract
from protocol.settlement.graph import Graph
from protocol.settlement.move import ANCHOR_SATS, MAX_VSIZE, TRUC
from protocol.settlement.onetime import OneTimePublics
from protocol.settlement.payout import payout_of
from protocol.settlement.terms import ContractTerms, Role
from tests.builders.contracts import (
    KEYS,
    NOWHERE,
    claim_of_bits,
    contract_of,
    contract_terms,
    deal,
    party_terms,
)

SCRIPTS = {
    "P2TR": b"\x51\x20" + b"\x11" * 32,
    "P2WPKH": b"\x00\x14" + b"\x22" * 20,
    "P2PKH": b"\x76\xa9\x14" + b"\x33" * 20 + b"\x88\xac",
    "P2SH": b"\xa9\x14" + b"\x44" * 20 + b"\x87",
}


@st.composite
def random_terms(draw: st.DrawFn) -> ContractTerms:
    def among(least: int, most: int) -> int:
        return draw(st.integers(least, most))

    bits = among(8, 20)
    rate = among(1, 60)
    holder, writer = (
        party_terms(role, script=draw(st.sampled_from(list(SCRIPTS.values())))) for role in Role
    )
    return contract_terms(
        claim_of_bits(
            bits, among(1, 5), unit_sats=among(8_000, 20_000), is_american=draw(st.booleans())
        ),
        holder,
        writer,
        width=draw(st.sampled_from([20, 32])),
        log4_steps=13,
        feerate_sat_vb=among(1, rate),
        max_feerate_sat_vb=rate,
        bond_sats=among(2_500_000, 10**8),
        claim_fee_sats=draw(st.sampled_from([0, 50_000, 77_777])),
        premium_sats=draw(st.sampled_from([0, 100_001])),
        move_window=among(1, 100),
        challenge_window=among(1, 50),
        sweep_delay=among(50, 200),
        anchored=draw(st.booleans()),
    )


@settings(max_examples=25, deadline=None)
@given(random_terms(), st.data())
def test_no_satoshi_is_lost_whatever_the_terms(terms: ContractTerms, data: st.DataObject) -> None:
    graph = Graph.of(contract_of(terms), NOWHERE)
    contract, chain = graph.contract, terms.chain
    assert contract.value_sats == (
        terms.claim.collateral_sats + 2 * chain.bond_sats + contract.reserve_sats
    )
    held = {"FUND": contract.value_sats}
    for name, move in graph.moves.items():
        assert move.tx.nVersion == TRUC
        assert move.widest_vsize <= MAX_VSIZE
        assert move.fee_sats == chain.feerate_sat_vb * move.widest_vsize
        assert move.spent.nValue == held[move.spends]
        assert sum(int(out.nValue) for out in move.tx.vout) + move.fee_sats == move.spent.nValue
        *outputs, anchor = move.tx.vout
        assert (anchor.nValue, bytes(anchor.scriptPubKey)) == (ANCHOR_SATS, PAY_TO_ANCHOR)
        assert all(int(out.nValue) >= 330 for out in outputs)
        assert all(path.blocks >= 1 for lock in move.locks for path in lock.paths)
        held[name] = int(move.tx.vout[0].nValue)
    units = data.draw(st.integers(0, 2**terms.claim.payout_bits - 1))
    for prover in Role:
        settle = graph.settle(prover)
        payout = payout_of(graph, prover, units)
        assert sum(payout.sats.values()) + ANCHOR_SATS + settle.fee_sats == settle.spent.nValue
        locked = sorted(n for role in Role for n in payout.sweeps[role])
        assert locked == list(range(len(settle.locks)))


def test_the_same_arguments_give_the_same_bytes() -> None:
    terms = contract_terms()
    one, two = (deal(terms) for _ in range(2))
    for name, move in one.graph.moves.items():
        assert move.tx == two.graph.moves[name].tx
        assert move.lock.output == two.graph.moves[name].lock.output
    assert one.signatures == two.signatures
    assert contract_of(terms) == contract_of(terms)


def test_the_size_that_a_fee_is_counted_with_is_that_of_the_dearest_digits() -> None:
    made = deal(contract_terms())
    for prover in Role:
        for tx, move in zip(made.claim(prover, 255), made.graph.forward(prover), strict=True):
            assert 0 <= move.widest_vsize - vsize(tx) <= 40, "zeros weigh a byte less"
    for name in ("REFUND", "holder:SETTLE", "writer:SETTLE"):
        assert made.graph.moves[name].widest_vsize == vsize(made.signed(name))


def test_what_each_move_reveals() -> None:
    """q = 2: 204 published bytes, 160 of them in the first transaction."""
    graph = Graph.of(contract_of(contract_terms()), NOWHERE)
    assert list(graph.moves) == [
        "REFUND",
        *[f"{p}:{name}" for p in ("holder", "writer") for name in ("INPUT_1", "KICKOFF", "SETTLE")],
    ]
    first, kickoff = graph.forward(Role.HOLDER)
    assert [(m.field, m.round, m.digits) for m in first.messages] == [
        ("input", n, 64) for n in range(5)
    ]
    assert [(m.field, m.round, m.digits) for m in kickoff.messages] == [
        ("input", 5, 64),
        ("input", 6, 24),
        ("root", 0, 40),
        ("payout", 0, 2),
    ]
    for label in (*first.messages, *kickoff.messages):
        assert (label.direction, label.role) == ("holder", "holder")
        assert label.contract_id == graph.contract.id


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("quorum", range(1, 9))
@pytest.mark.parametrize("american", [False, True])
def test_every_claim_fits_its_transactions(width: int, quorum: int, american: bool) -> None:
    claim = claim_of_bits(20, quorum=quorum, is_american=american)
    contract = contract_of(
        contract_terms(claim, width=width, log4_steps=14, bond_sats=1_000_000, claim_fee_sats=0)
    )
    forward = [move for move in contract.moves.values() if move.prover is Role.WRITER]
    published = 4 + 190 + 65 * quorum - (72 if american else 120)
    assert sum(m.digits for move in forward for m in move.messages if m.field == "input") == (
        2 * published
    )
    assert all(move.widest_vsize <= MAX_VSIZE for move in forward)


def test_fund_is_tweaked_by_its_leaves() -> None:
    contract = contract_of(contract_terms())
    output = contract.lock.output
    assert output.internal_key == contract.aggregate.public
    tweaked = contract.aggregate.tweaked(tap_tweak(output.internal_key, output.merkle_root))
    assert tweaked.public == output.output_key
    names = [path.name for path in contract.lock.paths]
    assert names == ["CLOSE", "REFUND", "holder:INPUT_1", "writer:INPUT_1"]


def test_the_reserve_pays_for_the_dearest_end() -> None:
    contract = contract_of(contract_terms())
    ends = [
        move.fee_sats + ANCHOR_SATS
        for name, move in contract.moves.items()
        if name.endswith(("SETTLE", "REFUND"))
    ]
    assert contract.reserve_sats == max(*ends, contract.close_fee_sats)
    assert contract.stake_sats(Role.WRITER) - contract.stake_sats(Role.HOLDER) in (
        255_123 + contract.reserve_sats % 2,
    )


def test_a_bond_that_is_too_small_names_what_is_needed() -> None:
    with pytest.raises(TermsError, match=r"bond_sats 20000: .* post at least (\d+)") as caught:
        contract_of(contract_terms(bond_sats=20_000))
    least = int(str(caught.value).rsplit(" ", 1)[1])
    contract_of(contract_terms(bond_sats=least))
    with pytest.raises(TermsError, match=f"post at least {least}"):
        contract_of(contract_terms(bond_sats=least - 1))


def test_a_fee_or_a_payout_that_is_not_worth_its_sweep_is_refused() -> None:
    with pytest.raises(TermsError, match="claim_fee_sats 3001 does not pay for its sweep"):
        contract_of(contract_terms(max_feerate_sat_vb=40, bond_sats=800_000))


def test_bits_without_an_output_hold_little() -> None:
    """Or one side could ask the other for the price of what a claim would lose."""
    assert [s.rounded_sats for s in contract_of(rounding(10)).splits.values()] == [3_000, 3_000]
    for rate, lost in ((20, 7_000), (400, 127_000)):
        with pytest.raises(TermsError, match=f"max_feerate_sat_vb {rate}: .* that hold {lost} sa"):
            contract_of(rounding(rate))


def rounding(max_feerate_sat_vb: int) -> ContractTerms:
    return contract_terms(
        max_feerate_sat_vb=max_feerate_sat_vb, bond_sats=20_000_000, claim_fee_sats=500_000
    )


def test_one_time_keys_of_other_terms_or_of_the_other_side_are_refused() -> None:
    terms, other = contract_terms(), contract_terms(premium_sats=6_000)
    mine = {role: KEYS[role].one_time(terms, role).public for role in Role}
    strange = KEYS[Role.WRITER].one_time(other, Role.WRITER).public
    with pytest.raises(TermsError, match="the writer's one-time keys are not for these terms"):
        Contract(terms, {**mine, Role.WRITER: strange})
    copied = dict(mine[Role.WRITER].keys)
    for label, theirs in zip(copied, mine[Role.HOLDER].keys.values(), strict=True):
        copied[label] = OneTimePublicKey(theirs.digits, theirs.ends)
    with pytest.raises(SignatureError, match="two chains"):
        Contract(terms, {**mine, Role.WRITER: OneTimePublics(copied)})


def test_a_witness_of_the_wrong_size_cannot_hide_from_the_count() -> None:
    move = contract_of(contract_terms()).moves["holder:KICKOFF"]
    stack = move.lock.widest_stack(move.path)
    assert vsize(with_witness(move.tx, [stack])) == move.widest_vsize
