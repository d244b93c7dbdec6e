"""Batches: the journal, what a batch refuses to be, and the sats of a backed pool."""

from dataclasses import replace

import pytest

from protocol.errors import EncodingError, PriceError
from protocol.pool.batch import Batch, Deposit, Payment, payments_root, run_batch
from protocol.pool.draft import Accepted, Rejected
from protocol.pool.layout import th
from protocol.pool.operation import AddLiquidity, Decrease, Increase, RemoveLiquidity
from protocol.pool.prices import BatchPrices
from protocol.pool.reject import RejectCode
from protocol.pool.state import VaultFlag
from tests.builders.pool import (
    ALICE,
    BOB,
    BTC,
    E8,
    FOREVER,
    LP,
    PRICES,
    START,
    USDC,
    World,
    owner_of,
    sign,
)

BACKED = {"backed": True, "btc_token": BTC}


def world(**pool):
    return World(liquidity=0, pool=pool)


def batch_of(found, operations, deposits=(), seconds=1, btc=40_000 * E8):
    """The next batch; operations are (user, kind, fields), signed in their order."""
    nonces, signed = {}, []
    for user, kind, fields in operations:
        nonce = nonces.setdefault(user, found.nonce(user))
        nonces[user] += 1
        operation = kind(owner=owner_of(user), nonce=nonce, deadline=FOREVER, **fields)
        signed.append(sign(operation, found.pool.pool_id, user))
    prices = BatchPrices.plain(found.pool.vault.time + seconds, PRICES | {BTC: btc})
    rows = [Deposit(n.to_bytes(36), owner_of(u), sats) for n, (u, sats) in enumerate(deposits)]
    return Batch(prices, signed, rows)


def add(amount):
    return (LP, AddLiquidity, {"amount": amount})


def long(user, deposit, size):
    fields = {"token": BTC, "side": 0, "deposit": deposit, "size": size}
    return (user, Increase, {**fields, "acceptable_price": FOREVER})


def close(user, size):
    return (user, Decrease, {"token": BTC, "side": 0, "size": size, "acceptable_price": 0})


def test_a_journal_says_what_happened():
    found = world()
    old = found.pool.root()
    batch = batch_of(found, [add(1_000 * USDC), long(ALICE, 103 * USDC, 1_000 * USDC)])
    result = run_batch(found.pool, batch)
    journal = result.journal
    assert [type(r) for r in result.results] == [Accepted, Accepted]
    assert (journal.old_root, journal.new_root) == (old, found.pool.root())
    assert old != found.pool.root()
    encoded = b"".join(operation.encode() for operation in batch.operations)
    count = (2).to_bytes(4, "little")
    assert journal.ops_root == th("ops", bytes(4) + count + encoded)
    assert journal.prices_root == th("prices", batch.prices.encode())
    assert journal.payments_root == payments_root(()) == th("payments")
    assert journal.seq == found.pool.vault.seq == 2


def test_operations_come_in_the_batch_s_order():
    first, second = world(), world()
    operations = [add(1_000 * USDC), long(ALICE, 103 * USDC, 1_000 * USDC)]
    run_batch(first.pool, batch_of(first, operations))
    result = run_batch(second.pool, batch_of(second, operations[::-1]))
    assert result.results[0] == Rejected(RejectCode.UTILIZATION)
    assert first.pool.root() != second.pool.root()


def test_a_refused_operation_stays_in_the_batch():
    found = world()
    good = batch_of(found, [add(1_000 * USDC)])
    forged = replace(good.operations[0], signature=bytes(64))
    batch = replace(good, operations=[forged, *good.operations])
    result = run_batch(found.pool, batch)
    assert result.results[0] == Rejected(RejectCode.SIGNATURE)
    assert isinstance(result.results[1], Accepted)
    assert batch.ops_root != good.ops_root


@pytest.mark.parametrize("seconds", [0, -1])
def test_time_goes_on(seconds):
    found = world()
    root = found.pool.root()
    with pytest.raises(PriceError, match="not after"):
        run_batch(found.pool, batch_of(found, [add(1)], seconds=seconds))
    assert found.pool.root() == root


def test_deposits_need_a_backed_pool_and_one_outpoint_each():
    found = world()
    with pytest.raises(EncodingError, match="backed"):
        run_batch(found.pool, batch_of(found, [], [(LP, 5)]))
    batch = batch_of(found, [], [(LP, 5)])
    with pytest.raises(EncodingError, match="ascending"):
        replace(batch, deposits=[*batch.deposits, *batch.deposits])


# Backed: 40,000 USDC a bitcoin, so 1 USDC is 2,500 sats


def funded():
    """An LP's 1,000 USDC in 0.025 BTC, with 7 sats too many."""
    found = world(**BACKED)
    result = run_batch(found.pool, batch_of(found, [add(1_000 * USDC)], [(LP, 2_500_007)]))
    assert result.payments == (Payment(owner_of(LP), 7),)
    assert found.pool.vault.vault_sats == 2_500_000
    return found


def test_an_operation_needs_its_deposit():
    found = world(**BACKED)
    result = run_batch(found.pool, batch_of(found, [add(1_000 * USDC)], [(LP, 2_499_999)]))
    assert result.results == (Rejected(RejectCode.DEPOSIT),)
    assert result.payments == (Payment(owner_of(LP), 2_499_999),)
    assert found.pool.vault.vault_sats == 0


def test_a_deposit_is_its_owner_s_alone():
    found = funded()
    operations = [long(ALICE, 103 * USDC, 1_000 * USDC)]
    result = run_batch(found.pool, batch_of(found, operations, [(BOB, 10**9)]))
    assert result.results == (Rejected(RejectCode.DEPOSIT),)
    assert result.payments == (Payment(owner_of(BOB), 10**9),)


def test_flows_are_netted_once_a_batch():
    """103 in, 97 out: the difference of 6 USDC is paid for, 15,000 sats."""
    found = funded()
    operations = [long(ALICE, 103 * USDC, 1_000 * USDC), close(ALICE, 1_000 * USDC)]
    result = run_batch(found.pool, batch_of(found, operations, [(ALICE, 257_500)]))
    assert [r.outflow for r in result.results] == [0, 97 * USDC]
    assert result.payments == (Payment(owner_of(ALICE), 257_500 - 15_000),)
    assert found.pool.vault.vault_sats == 2_515_000
    assert found.pool.vault.liabilities == 1_006 * USDC


def test_what_an_owner_gets_may_pay_for_what_it_brings_after_it():
    found = funded()
    run_batch(
        found.pool,
        batch_of(found, [long(ALICE, 103 * USDC, 1_000 * USDC)], [(ALICE, 257_500)]),
    )
    operations = [close(ALICE, 1_000 * USDC), long(ALICE, 96 * USDC, 900 * USDC)]
    result = run_batch(found.pool, batch_of(found, operations))
    assert all(isinstance(r, Accepted) for r in result.results)
    left = result.results[0].outflow - 96 * USDC
    assert 0 < left < USDC
    assert result.payments == (Payment(owner_of(ALICE), left * 2_500 // USDC),)
    again = run_batch(found.pool, batch_of(found, [long(ALICE, 1, 0)]))
    assert again.results == (Rejected(RejectCode.DEPOSIT),)


def test_payments_ascend_by_owner():
    found = world(**BACKED)
    deposits = [(ALICE, 5), (BOB, 6), (LP, 7), (BOB, 8)]
    result = run_batch(found.pool, batch_of(found, [], deposits))
    expected = {owner_of(ALICE): 5, owner_of(BOB): 14, owner_of(LP): 7}
    assert result.payments == tuple(Payment(o, expected[o]) for o in sorted(expected))
    assert result.journal.payments_root == th(
        "payments", *(p.owner + p.sats.to_bytes(8, "little") for p in result.payments)
    )


def test_below_what_it_owes_a_pool_only_closes_and_pays_in_part():
    """Bitcoin at half its price: everything owed is worth half, whoever comes first."""
    found = funded()
    glp = found.glp(LP)
    operations = [
        add(1),
        (LP, RemoveLiquidity, {"glp": glp // 2}),
        (LP, RemoveLiquidity, {"glp": glp // 2}),
    ]
    batch = batch_of(found, operations, [(LP, 100)], seconds=900, btc=20_000 * E8)
    found.pool.vault.glp_supply = glp  # the dead shares would blur the halves
    result = run_batch(found.pool, replace(batch, operations=batch.operations[:1]))
    assert result.results == (Rejected(RejectCode.CLOSE_ONLY),)
    assert found.pool.vault.flags & VaultFlag.CLOSE_ONLY
    batch = batch_of(found, operations[1:2], btc=20_000 * E8)
    result = run_batch(found.pool, batch)
    out = result.results[0].outflow
    assert abs(out - 500 * USDC) < 1_000
    assert result.payments[0].sats == (out // 2) * 5_000 // USDC
    recovered = run_batch(found.pool, batch_of(found, [], btc=40_000 * E8))
    assert not found.pool.vault.flags & VaultFlag.CLOSE_ONLY
    assert recovered.payments == ()


def test_a_new_pool_s_time():
    assert world().pool.vault.time == START
