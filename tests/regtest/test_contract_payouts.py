"""Every payout of eight bits, and random ones of sixteen, in real blocks, to the satoshi."""

import random
from collections.abc import Iterator

import pytest
from bitcoin.core import CTransaction

from protocol.settlement.payout import payout_of
from protocol.settlement.spending import sweep_tx
from protocol.settlement.terms import Role
from tests.builders.contracts import (
    AUX,
    BACKENDS,
    KEYS,
    Deal,
    Stage,
    claim_of_bits,
    contract_terms,
    due,
    fee,
    opened_stage,
    received,
)


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with opened_stage(request.param, tmp_path_factory.mktemp("node")) as opened:
        yield opened


def sweeps(made: Deal, prover: Role, units: int) -> dict[Role, CTransaction]:
    """What each party broadcasts where the prover had claimed ``units``."""
    outputs = payout_of(made.graph, made.graph.settle(prover), units).sweeps
    payout = made.payout(prover, units)
    return {
        role: sweep_tx(
            made.graph,
            made.graph.settle(prover),
            role,
            outputs[role],
            KEYS[role],
            AUX,
            payout=payout,
        )
        for role in Role
        if outputs[role]
    }


def check(made: Deal, prover: Role, units: int, settle: CTransaction) -> list[CTransaction]:
    """The sweeps, which with SETTLE give each party what it is due."""
    swept = sweeps(made, prover, units)
    for role in Role:
        mine = [swept[role]] if role in swept else []
        own_fees = sum(fee(tx, settle) for tx in mine)
        assert (
            received(role, made.terms, settle, *mine) + own_fees
            == due(made.graph, prover, units)[role]
        )
    assert payout_of(made.graph, made.graph.settle(prover), units).sats == due(
        made.graph, prover, units
    )
    return list(swept.values())


@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
def test_every_payout_of_eight_bits(stage: Stage, prover: Role) -> None:
    """SETTLE says nothing of a payout, so one contract serves them all: each block is undone."""
    made = stage.fund(contract_terms())
    settle = stage.settled(made, prover, 0)
    stage.chain.mine(made.terms.chain.sweep_delay - 1)
    for units in range(256):
        txs = check(made, prover, units, settle)
        stage.chain.mine(txs=txs)
        stage.chain.reorg(1)


@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
def test_random_payouts_of_sixteen_bits(stage: Stage, prover: Role) -> None:
    made = stage.fund(contract_terms(claim_of_bits(16)))
    settle = stage.settled(made, prover, 0)
    stage.chain.mine(made.terms.chain.sweep_delay - 1)
    drawn = random.Random(5).sample(range(1 << 16), 20)
    for units in (0, 0xFFFF, 0x8000, 0x7FFF, *drawn):
        txs = check(made, prover, units, settle)
        stage.chain.mine(txs=txs)
        stage.chain.reorg(1)


def test_bits_that_are_too_small_to_sweep_go_to_the_other_side(stage: Stage) -> None:
    """A bit of 1,000 sats at 10 sat/vB: it is paid in SETTLE, whatever the payout says."""
    terms = contract_terms(max_feerate_sat_vb=10, bond_sats=3_000_000)
    for prover in Role:
        made = stage.fund(terms)
        split = made.graph.contract.splits[prover]
        missing = [bit for bit in range(8) if bit not in split.bits]
        assert missing == [0, 1]
        for units in (0b0000_0010, 0b1111_1101):
            paid = payout_of(made.graph, made.graph.settle(prover), units).sats
            lost = units & 0b11 if prover is Role.HOLDER else 0b11 - (units & 0b11)
            assert paid[prover] == due(made.graph, prover, units)[prover] - lost * 1_000
            assert paid[prover.other] == due(made.graph, prover, units)[prover.other] + lost * 1_000
        settle = stage.settled(made, prover, 0b0000_0010)
        stage.chain.mine(terms.chain.sweep_delay - 1)
        txs = list(sweeps(made, prover, 0b0000_0010).values())
        stage.chain.mine(txs=txs)
        for role in Role:
            own = [tx for tx in txs if received(role, terms, tx)]
            total = received(role, terms, settle, *own) + sum(fee(tx, settle) for tx in own)
            assert total == payout_of(made.graph, made.graph.settle(prover), 0b0000_0010).sats[role]
