"""Sweeps, time-outs and bumps: fees, and what they refuse to build."""

from dataclasses import replace

import pytest

from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import txid, vsize, with_witness
from protocol.errors import ScriptError, SignatureError, TermsError
from protocol.settlement.onetime import payout_label
from protocol.settlement.payout import payout_of
from protocol.settlement.spending import TRUC_CHILD_MAX_VSIZE, bump_tx, sweep_tx, timeout_tx
from protocol.settlement.terms import Role
from regtest.libkernel import verify_input
from tests.builders.contracts import (
    AUX,
    KEYS,
    claim_of_bits,
    coin,
    contract_terms,
    deal,
    fee,
    received,
)

MADE = deal(contract_terms())
GRAPH = MADE.graph
UNITS = 0b0101_0011


@pytest.mark.parametrize("rate", [1, 2, 7])
@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
def test_a_sweep_pays_the_rate_that_is_asked(role: Role, rate: int) -> None:
    payout = MADE.payout(Role.HOLDER, UNITS)
    outputs = payout_of(GRAPH, GRAPH.settle(Role.HOLDER), UNITS).sweeps[role]
    tx = sweep_tx(
        GRAPH,
        GRAPH.settle(Role.HOLDER),
        role,
        outputs,
        KEYS[role],
        AUX,
        payout=payout,
        feerate_sat_vb=rate,
    )
    settle = GRAPH.settle(Role.HOLDER).tx
    assert 0 <= fee(tx, settle) - rate * vsize(tx) <= rate * len(outputs), "zeros are lighter"
    assert [p.prevout.n for p in tx.vin] == list(outputs)
    assert received(role, MADE.terms, tx) == sum(settle.vout[n].nValue for n in outputs) - (
        fee(tx, settle)
    )


@pytest.mark.parametrize("stage", ["round_1", "execute", "assert_3"])
def test_a_settle_after_a_challenge_is_swept_alike(stage: str) -> None:
    settle = GRAPH.move(f"holder:SETTLE_{stage}")
    payout = MADE.payout(Role.HOLDER, UNITS)
    owned = payout_of(GRAPH, settle, UNITS)
    assert owned.sweeps == payout_of(GRAPH, GRAPH.settle(Role.HOLDER), UNITS).sweeps
    for role in Role:
        tx = sweep_tx(GRAPH, settle, role, owned.sweeps[role], KEYS[role], AUX, payout=payout)
        assert {bytes(spent.prevout.hash) for spent in tx.vin} == {txid(settle.tx)}
        assert verify_input(tx, 0, [settle.tx.vout[n] for n in owned.sweeps[role]])


def test_what_a_sweep_of_a_bit_weighs() -> None:
    payout = MADE.payout(Role.HOLDER, 0)
    shown = sweep_tx(
        GRAPH, GRAPH.settle(Role.HOLDER), Role.WRITER, (7,), KEYS[Role.WRITER], AUX, payout=payout
    )
    plain = sweep_tx(GRAPH, GRAPH.settle(Role.HOLDER), Role.HOLDER, (7,), KEYS[Role.HOLDER], AUX)
    assert vsize(shown) <= 240 and vsize(plain) <= 140


def test_sweeps_that_are_not_built() -> None:
    keys = KEYS[Role.WRITER]
    with pytest.raises(SignatureError, match="shows payout 0: sign it"):
        sweep_tx(GRAPH, GRAPH.settle(Role.HOLDER), Role.WRITER, (7,), keys, AUX)
    with pytest.raises(SignatureError, match="no key of this party"):
        sweep_tx(GRAPH, GRAPH.settle(Role.HOLDER), Role.HOLDER, (7,), keys, AUX)
    with pytest.raises(ScriptError, match="lower the fee rate"):
        sweep_tx(GRAPH, GRAPH.settle(Role.WRITER), Role.WRITER, (0,), keys, AUX, feerate_sat_vb=50)
    with pytest.raises(ScriptError, match="no output to take"):
        sweep_tx(GRAPH, GRAPH.settle(Role.WRITER), Role.WRITER, (), keys, AUX)
    with pytest.raises(ScriptError, match="nobody is waited for"):
        timeout_tx(GRAPH, GRAPH.moves["REFUND"], keys, AUX)
    with pytest.raises(ScriptError, match="not spent by holder:TIMEOUT"):
        timeout_tx(GRAPH, GRAPH.moves["holder:KICKOFF"], keys, AUX)
    with pytest.raises(ScriptError, match="REFUND is no SETTLE"):
        sweep_tx(GRAPH, GRAPH.moves["REFUND"], Role.WRITER, (0,), keys, AUX)


def test_units_that_do_not_fit() -> None:
    for units in (-1, 256):
        with pytest.raises(TermsError, match=f"units {units}: a payout has 0 to 255"):
            payout_of(GRAPH, GRAPH.settle(Role.HOLDER), units)


@pytest.mark.parametrize("bits", range(8, 13))
@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
def test_a_kickoff_shows_no_more_units_than_there_are(prover: Role, bits: int) -> None:
    """Nine bits are written in three digits: seven times as many would be a claim that no price
    makes true, and that no constant of SETTLE knows."""
    made = deal(contract_terms(claim_of_bits(bits)))
    move = made.graph.moves[f"{prover.value}:KICKOFF"]
    messages, label = made.messages(prover, 9), payout_label(made.terms, prover)
    most, room = (1 << bits) - 1, 1 << 4 * label.digits
    for units in {0, most >> 1, most, *range(most + 1, room, 1 << bits), room - 1}:
        kickoff = made.signed(move.name, {**messages, label: made.payout(prover, units)})
        assert verify_input(kickoff, 0, move.spent) is (units <= most)


@pytest.mark.parametrize("inputs", [1, 3])
def test_a_bump_brings_both_to_the_rate(inputs: int) -> None:
    move = GRAPH.moves["holder:KICKOFF"]
    signed = MADE.claim(Role.HOLDER, UNITS)[-1]
    script = key_path_script(KEYS[Role.HOLDER].key.public)
    coins = [coin(200_000, script, n) for n in range(inputs)]
    bump = bump_tx(move, signed, coins, script, 30)
    assert bump.tx.nVersion == 3 and bump.tx.vin[0].prevout.n == len(move.tx.vout) - 1
    child = with_witness(bump.tx, [[], *[[bytes(64)]] * inputs])
    paid = sum(int(out.nValue) for out in bump.spent) - int(child.vout[0].nValue)
    assert paid + move.fee_sats == 30 * (vsize(signed) + vsize(child))


def test_bumps_that_are_not_built() -> None:
    move = GRAPH.moves["REFUND"]
    signed, script = MADE.signed("REFUND"), key_path_script(KEYS[Role.HOLDER].key.public)
    with pytest.raises(ScriptError, match="leaves no output: add one"):
        bump_tx(move, signed, [coin(1_000, script)], script, 30)
    many = [coin(200_000, script, n) for n in range(20)]
    with pytest.raises(ScriptError, match=r"a child of \d+ virtual bytes: give fewer coins"):
        bump_tx(move, signed, many, script, 30)
    most = next(n for n in range(20, 0, -1) if _fits(n, script))
    bump = bump_tx(move, signed, many[:most], script, 30)
    child = with_witness(bump.tx, [[], *[[bytes(64)]] * most])
    assert TRUC_CHILD_MAX_VSIZE - 60 < vsize(child) <= TRUC_CHILD_MAX_VSIZE
    low = bump_tx(replace(move, fee_sats=10**6), signed, many[:1], script, 2)
    low_child = with_witness(low.tx, [[], [bytes(64)]])
    paid = sum(int(out.nValue) for out in low.spent) - int(low_child.vout[0].nValue)
    assert paid == vsize(low_child), "a child pays for itself at least"


def _fits(inputs: int, script: bytes) -> bool:
    coins = [coin(200_000, script, n) for n in range(inputs)]
    try:
        bump_tx(GRAPH.moves["REFUND"], MADE.signed("REFUND"), coins, script, 30)
    except ScriptError:
        return False
    return True
