"""What a contract costs and holds: every satoshi, every limit, terms that cannot be honoured."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.script import PAY_TO_ANCHOR
from protocol.bitcoin.taproot import tap_tweak
from protocol.bitcoin.tx import vsize
from protocol.crypto.winternitz import OneTimePublicKey
from protocol.errors import SignatureError, TermsError
from protocol.options.instrument import Barrier, KnockOut, OptionKind
from protocol.options.payoff import Payoff
from protocol.oracle.expiry import Rule
from protocol.settlement.contract import Contract
from protocol.settlement.graph import Graph
from protocol.settlement.move import ANCHOR_SATS, MAX_VSIZE, TRUC, Move
from protocol.settlement.onetime import OneTimePublics
from protocol.settlement.payout import payout_of
from protocol.settlement.terms import ContractTerms, Role
from protocol.units import E8, PriceE8
from tests.builders.contracts import (
    KEYS,
    NOWHERE,
    claim_of_bits,
    contract_of,
    contract_terms,
    deal,
    due,
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
        feerate_sat_vb=among(1, rate),
        max_feerate_sat_vb=rate,
        bond_sats=among(260_000 * rate + 200_000, 10**8),
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
    assert contract.value_sats == sum(map(contract.stake_sats, Role))
    for move in graph.moves.values():
        assert move.fee_sats == chain.feerate_sat_vb * move.widest_vsize
        came = contract.value_sats
        if move.spends != "FUND":
            outs = graph.moves[move.spends].tx.vout
            came = sum(int(out.nValue) for out in outs[: len(move.inputs)])
        assert sum(int(out.nValue) for out in move.spent) == came
        assert sum(int(out.nValue) for out in move.tx.vout) + move.fee_sats == came
        *outputs, anchor = move.tx.vout
        assert (anchor.nValue, bytes(anchor.scriptPubKey)) == (ANCHOR_SATS, PAY_TO_ANCHOR)
        assert all(int(out.nValue) >= 330 for out in outputs)
        assert all(path.blocks >= 1 for lock in move.locks for path in lock.paths)
    units = data.draw(st.integers(0, 2**terms.claim.payout_bits - 1))
    for prover in Role:
        require_ends(graph, prover, units)


def require_ends(graph: Graph, prover: Role, units: int) -> None:
    """What every way through ``prover``'s direction leaves each side, to the satoshi."""
    contract = graph.contract
    plain = payout_of(graph, graph.settle(prover), units).sats
    assert sum(plain.values()) == contract.value_sats - cost_of_way(graph, graph.settle(prover))
    if not contract.splits[prover].rounded_sats:
        assert plain == due(graph, prover, units)
    for move in graph.moves.values():
        if move.prover is not prover:
            continue
        kind = move.name.partition(":")[2]
        left = contract.value_sats - cost_of_way(graph, move)
        if kind.startswith("SETTLE_assert"):
            left -= int(graph.moves[move.spends].tx.vout[1].nValue)  # REFUTE has taken it
        if kind.startswith("SETTLE_"):
            # The challenge has failed: the claim stands, and the challenger pays for it all.
            payout = payout_of(graph, move, units)
            assert sum(payout.sats.values()) == left
            assert payout.sats[prover] >= plain[prover]
            owed = owed_beside(contract, prover)
            theirs = sum(int(move.tx.vout[n].nValue) for n in payout.sweeps[prover.other])
            assert payout.sats[prover.other] == theirs + (owed if owed >= 330 else 0)
            locked = sorted(n for role in Role for n in payout.sweeps[role])
            assert locked == list(range(len(move.locks)))
        elif kind.startswith("TAKE"):
            # The claim was false: all is the challenger's, and makes it whole.
            (paid, _) = move.tx.vout
            assert int(paid.nValue) == left >= contract.stake_sats(prover.other)
            assert bytes(paid.scriptPubKey) == contract.terms.party(prover.other).script
        elif not kind.startswith(("SETTLE", "ASSERT")):
            # Whoever is waited for in vain, or convicted, leaves the pot to the other side.
            assert int(move.tx.vout[0].nValue) == left >= contract.stake_sats(prover.other)
            assert len(move.locks) == 1


def cost_of_way(graph: Graph, move: Move) -> int:
    """Fees and anchors of a move and of all before it."""
    before = 0 if move.spends == "FUND" else cost_of_way(graph, graph.moves[move.spends])
    return before + move.fee_sats + ANCHOR_SATS


def owed_beside(contract: Contract, prover: Role) -> int:
    """What the other side gets without evidence, whatever is claimed."""
    claim = contract.terms.claim
    bits = set(range(claim.payout_bits)) - set(contract.splits[prover].bits)
    rest = claim.collateral_sats - ((1 << claim.payout_bits) - 1) * claim.unit_sats
    return sum(claim.unit_sats << bit for bit in bits) + rest * (prover is Role.HOLDER)


def payoff(kind: OptionKind, **changes: Any) -> Payoff:
    return replace(claim_of_bits().payoff, kind=kind, **changes)


INSTRUMENTS: dict[str, Any] = {
    "call": {},
    "put": {"payoff": payoff(OptionKind.PUT)},
    "binary call": {"payoff": payoff(OptionKind.CALL, is_binary=True)},
    "binary put": {"payoff": payoff(OptionKind.PUT, is_binary=True)},
    "up-and-out call": {
        "payoff": payoff(OptionKind.CALL, barrier=Barrier(KnockOut.UP, PriceE8(60_000 * E8)))
    },
    "down-and-out put": {
        "payoff": payoff(OptionKind.PUT, barrier=Barrier(KnockOut.DOWN, PriceE8(40_000 * E8)))
    },
    "mean": {"slot": replace(claim_of_bits().slot, rule=Rule.TWAP, window=5)},
    "american": {"is_american": True},
}


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("quorum", [2, 3])
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_every_transaction_is_one_that_version_3_allows(
    instrument: str, quorum: int, width: int
) -> None:
    claim = claim_of_bits(quorum=quorum, **INSTRUMENTS[instrument])
    require_version_3(contract_of(contract_terms(claim, width=width)))


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("quorum", [1, 5, 8])
def test_more_signatures_take_more_transactions(quorum: int, width: int) -> None:
    claim = claim_of_bits(20, quorum)
    contract = contract_of(contract_terms(claim, width=width, claim_fee_sats=0))
    require_version_3(contract)
    published = 4 + 190 + 65 * quorum - 120
    for prover in Role:
        shown = [move.messages for move in Graph.of(contract, NOWHERE).forward(prover)]
        sizes = [sum(m.digits for m in one if m.field == "input") for one in shown]
        assert sum(sizes) == 2 * published and max(sizes) <= 2 * 160


def require_version_3(contract: Contract) -> None:
    assert len(contract.moves) > 100
    for move in contract.moves.values():
        assert move.tx.nVersion == TRUC
        assert move.widest_vsize <= MAX_VSIZE, move.name


def test_the_same_arguments_give_the_same_bytes() -> None:
    terms = contract_terms()
    one, two = (deal(terms) for _ in range(2))
    for name, move in one.graph.moves.items():
        assert move.tx == two.graph.moves[name].tx
        assert move.spent == two.graph.moves[name].spent
    assert one.signatures == two.signatures
    assert contract_of(terms) == contract_of(terms)


def test_the_size_that_a_fee_is_counted_with_is_that_of_the_dearest_digits() -> None:
    made = deal(contract_terms())
    for prover in Role:
        for tx, move in zip(made.claim(prover, 255), made.graph.forward(prover), strict=True):
            assert 0 <= move.widest_vsize - vsize(tx) <= 40, "zeros weigh a byte less"
    for name in ("REFUND", "holder:SETTLE", "writer:SETTLE", "holder:CHALLENGE"):
        assert made.graph.moves[name].widest_vsize == vsize(made.signed(name))


def test_what_each_move_reveals() -> None:
    """q = 2: 204 published bytes, 160 of them in the first transaction."""
    graph = Graph.of(contract_of(contract_terms()), NOWHERE)
    names = list(graph.moves)
    assert names[:5] == [
        "REFUND", *(f"holder:{n}" for n in ("INPUT_1", "KICKOFF", "SETTLE", "CHALLENGE"))
    ]  # fmt: skip
    holders, writers = (
        [n.partition(":")[2] for n in names if n.startswith(role.value)] for role in Role
    )
    assert holders == writers and len(names) == 1 + 2 * len(holders)
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
        if "SETTLE" in name or name == "REFUND"
    ]
    assert len(ends) == 1 + 2 * (2 + 12 + 8)
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
        contract_of(contract_terms(max_feerate_sat_vb=40, bond_sats=20_000_000))


def test_bits_without_an_output_hold_little() -> None:
    """Or one side could ask the other for the price of what a claim would lose."""
    assert [s.rounded_sats for s in contract_of(rounding(10)).splits.values()] == [3_000, 3_000]
    for rate, lost in ((20, 7_000), (400, 127_000)):
        with pytest.raises(TermsError, match=f"max_feerate_sat_vb {rate}: .* that hold {lost} sa"):
            contract_of(rounding(rate))


def rounding(max_feerate_sat_vb: int) -> ContractTerms:
    return contract_terms(
        max_feerate_sat_vb=max_feerate_sat_vb, bond_sats=200_000_000, claim_fee_sats=500_000
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
