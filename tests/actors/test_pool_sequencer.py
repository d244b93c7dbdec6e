"""The sequencer: order, duties, what is refused at the door, and what survives a power cut."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from actors import pool_sequencer, pool_snapshot
from actors.pool_duties import duties
from actors.pool_sequencer import NONCES_AHEAD, PoolSequencer
from actors.pool_views import fees_earned, liquidation_price
from protocol.errors import ConfigError, EncodingError, GuardError, SignatureError, TermsError
from protocol.pool.draft import Accepted, Rejected
from protocol.pool.operation import (
    CreateOrder,
    Liquidate,
    RemoveLiquidity,
    SignedOperation,
)
from protocol.pool.order import OrderFlag, OrderKind
from protocol.pool.position import Side
from protocol.pool.prices import BatchPrices
from protocol.pool.reject import RejectCode
from protocol.pool.transition import apply
from protocol.units import E8
from tests.builders.sequencing import ANY_PRICE, BTC, ETH, USDC, Venue, key_of, terms_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def venue(tmp_path):
    found = Venue(tmp_path)
    yield found
    found.sequencer.close()


def kinds(ran):
    return [signed.operation.name for signed in ran.batch.operations]


def codes(ran):
    return [None if isinstance(r, Accepted) else r.code for r in ran.result.results]


def test_operations_run_in_the_order_in_which_they_came(venue):
    submitted = [venue.add("lp", 100_000), venue.increase("bob", 1_000), venue.increase("eve", 50)]
    places = [venue.sequencer.submit(body).place for body in submitted]
    assert places == sorted(places)
    assert venue.sequencer.pending == 3
    ran = venue.batch()
    assert [signed.encode() for signed in ran.batch.operations] == submitted
    assert codes(ran) == [None, None, None]
    assert venue.sequencer.pending == 0
    vault = venue.sequencer.pool.vault
    assert vault.total_liquidity == 100_031_500_000  # 100,000 and fees of 30 and 1.50
    assert ran.summary.fees == 31_500_000


def test_an_operation_is_done_once_however_often_it_is_sent(venue):
    first = venue.sequencer.submit(venue.add("lp", 100_000), "key")
    again = venue.sequencer.submit(first.signed.encode(), "key")
    assert again == first
    venue.batch()
    assert venue.sequencer.submit(first.signed.encode()) == first
    assert venue.batch().batch.operations == ()


def test_the_same_operation_signed_anew_is_the_same(venue):
    body = venue.add("lp", 100_000)
    first = venue.sequencer.submit(body)
    message = first.id
    other = key_of("lp").sign(message, bytes([1]) * 32)
    anew = SignedOperation(first.signed.operation, other).encode()
    assert anew != body
    assert venue.sequencer.submit(anew) == first


def test_what_the_door_refuses_is_not_on_disk(venue):
    body = venue.add("lp", 100_000)
    with pytest.raises(SignatureError, match="not its owner's for this pool"):
        venue.sequencer.submit(body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(EncodingError, match="operation"):
        venue.sequencer.submit(b"nothing")
    due = Liquidate(owner=key_of("lp").public, token=BTC, side=0)
    with pytest.raises(TermsError, match="liquidate is done by the sequencer"):
        venue.sequencer.submit(SignedOperation(due).encode())
    venue.nonces["lp"] = NONCES_AHEAD
    with pytest.raises(TermsError, match="nonce 64: the owner's next one is 0"):
        venue.sequencer.submit(venue.add("lp", 1))
    assert venue.sequencer.pending == 0
    venue.nonces["lp"] = 0
    venue.sequencer.submit(venue.add("lp", 100_000))
    venue.batch()
    venue.nonces["lp"] = 0
    with pytest.raises(TermsError, match="nonce 0: the owner's next one is 1"):
        venue.sequencer.submit(venue.add("lp", 5))


def test_another_pools_operation_is_refused(venue, tmp_path):
    (tmp_path / "other").mkdir()
    other = Venue(tmp_path / "other", "gtrade")
    with closing(other.sequencer), pytest.raises(SignatureError):
        other.sequencer.submit(venue.add("lp", 100_000))


def test_a_rejected_operation_has_its_code_and_changes_nothing(venue):
    venue.sequencer.submit(venue.add("lp", 1_000))
    venue.batch()
    receipt = venue.sequencer.submit(venue.increase("bob", 900))
    account = venue.sequencer.pool.account(key_of("bob").public)
    ran = venue.batch()
    assert codes(ran) == [RejectCode.UTILIZATION]
    found = venue.sequencer.store.result(receipt.id)
    assert found is not None and found.code == "UTILIZATION"
    assert venue.sequencer.pool.account(key_of("bob").public) == account


def test_a_certificate_that_is_not_later_makes_no_batch(venue):
    venue.batch()
    venue.sequencer.submit(venue.add("lp", 1_000))
    assert venue.sequencer.advance(venue.certificate(0)) is None
    assert venue.sequencer.advance(venue.certificate(-5)) is None
    assert venue.sequencer.pending == 1


def test_liquidation_comes_before_everything_else(venue):
    for body in (venue.add("lp", 100_000), venue.increase("bob", 1_000)):
        venue.sequencer.submit(body)
    venue.batch()
    venue.sequencer.submit(venue.increase("bob", 1_000))  # to save it
    ran = venue.batch(BTC=36_300)
    assert kinds(ran) == ["liquidate", "increase"]
    assert codes(ran) == [None, None]
    assert ran.summary.liquidations == 1
    rows = venue.sequencer.store.results_of(key_of("bob").public)
    assert [row.kind for row in rows] == ["increase", "liquidate", "increase"]


def test_a_position_at_its_cap_is_closed(venue):
    for body in (venue.add("lp", 100_000), venue.increase("bob", 1_000)):
        venue.sequencer.submit(body)
    venue.batch()
    ran = venue.batch(BTC=44_100)
    assert kinds(ran) == ["close_at_cap"]
    assert ran.result.results[0].profit == 1_000 * USDC
    assert ran.summary.tokens[BTC].realised == 1_000 * USDC


def order(venue, name, **fields):
    terms = {"token": ETH, "side": 0, "size": 5_000 * USDC, "acceptable_price": ANY_PRICE[0]}
    return venue.signed(name, CreateOrder, **(terms | fields))


def test_orders_are_filled_when_they_are_due(venue):
    venue.sequencer.submit(venue.add("lp", 100_000))
    paid = {"deposit": 515 * USDC}
    venue.sequencer.submit(order(venue, "bob", order_kind=int(OrderKind.MARKET), **paid))
    limit = {"order_kind": int(OrderKind.LIMIT), "trigger_price": 2_400 * E8}
    venue.sequencer.submit(order(venue, "eve", **limit, **paid))
    assert kinds(venue.batch()) == ["add_liquidity", "create_order", "create_order"]
    assert kinds(venue.batch()) == ["fill_order"]
    assert venue.sequencer.pool.position(key_of("bob").public, ETH, 0) is not None
    assert kinds(venue.batch(ETH=2_450)) == []
    ran = venue.batch(ETH=2_390)
    assert kinds(ran) == ["fill_order"]
    assert ran.batch.operations[0].operation.owner == key_of("eve").public
    profit = {"order_kind": int(OrderKind.TAKE_PROFIT), "trigger_price": 2_600 * E8}
    sale = {"flags": int(OrderFlag.DECREASE | OrderFlag.REDUCE_ONLY), "acceptable_price": 0}
    venue.sequencer.submit(order(venue, "eve", **profit, **sale))
    venue.batch(ETH=2_500)
    ran = venue.batch(ETH=2_610)
    assert kinds(ran) == ["fill_order"]
    assert ran.summary.tokens[ETH].realised == ran.result.results[0].profit > 0


def test_what_finds_no_room_waits(venue, monkeypatch):
    venue.sequencer.submit(venue.add("lp", 1_000_000))
    monkeypatch.setattr(pool_sequencer, "BATCH_MAX", 8)
    names = [f"t{i}" for i in range(8)]
    for name in names:
        venue.sequencer.submit(venue.increase(name, 20, side=1))
    assert len(venue.batch().batch.operations) == 8
    ran = venue.batch()
    assert [signed.operation.owner for signed in ran.batch.operations] == [key_of(names[-1]).public]


def test_duties_change_nothing_and_are_what_the_transition_accepts(venue):
    for body in (venue.add("lp", 100_000), venue.increase("bob", 1_000), venue.increase("eve", 30)):
        venue.sequencer.submit(body)
    venue.batch()
    pool = venue.sequencer.pool
    root = pool.root()
    prices = BatchPrices.plain(venue.time_s + 60, {1: 36_000 * E8, 2: 2_500 * E8, 3: E8 // 2})
    found = duties(pool, prices)
    assert pool.root() == root
    assert {signed.operation.owner for signed in found} == {
        key_of("bob").public,
        key_of("eve").public,
    }
    other = pool_snapshot.copy(pool)
    other.advance(prices)
    assert all(isinstance(apply(other, signed.operation), Accepted) for signed in found)


def test_it_goes_on_after_a_restart(venue):
    for body in (venue.add("lp", 100_000), venue.increase("bob", 1_000)):
        venue.sequencer.submit(body)
    venue.batch()
    venue.sequencer.submit(venue.increase("eve", 100, token=ETH))
    root, quotes = venue.sequencer.pool.root(), venue.sequencer.pool.quotes
    newest = venue.sequencer.newest
    venue.restart()
    assert venue.sequencer.pool.root() == root
    assert venue.sequencer.pool.quotes == quotes
    assert venue.sequencer.newest == newest
    assert venue.sequencer.pending == 1
    assert kinds(venue.batch()) == ["increase"]


def test_a_snapshot_is_the_state(venue):
    for body in (venue.add("lp", 100_000), venue.increase("bob", 1_000)):
        venue.sequencer.submit(body)
    limit = {"order_kind": int(OrderKind.LIMIT), "trigger_price": 1 * E8, "deposit": 515 * USDC}
    venue.sequencer.submit(order(venue, "eve", **limit))
    venue.batch()
    data = pool_snapshot.encode(venue.sequencer.pool)
    decoded = pool_snapshot.decode(data)
    assert decoded.root() == venue.sequencer.pool.root()
    assert pool_snapshot.encode(decoded) == data
    for wrong in (data[:-1], data + b"\0", b"PST2" + data[4:]):
        with pytest.raises(EncodingError, match="pool state"):
            pool_snapshot.decode(wrong)


def test_a_state_that_is_not_the_last_batchs_is_refused(venue):
    venue.sequencer.submit(venue.add("lp", 100_000))
    venue.batch()
    venue.sequencer.close()
    with closing(sqlite3.connect(venue.path)) as db:
        (state,) = db.execute("SELECT body FROM state").fetchone()
        altered = bytearray(state)
        altered[-8 - 8] ^= 1  # shares of the LP
        db.execute("UPDATE state SET body = ?", (bytes(altered),))
        db.commit()
    with pytest.raises(ConfigError, match="damaged: the state has root"):
        PoolSequencer.open(venue.path, venue.terms)
    venue.sequencer.close()


def test_other_terms_are_refused(venue):
    venue.batch()
    venue.sequencer.close()
    with pytest.raises(ConfigError, match="a pool with other terms"):
        PoolSequencer.open(venue.path, terms_of(venue.oracles, "gtrade"))


def test_a_disk_that_fails_has_changed_nothing(venue, monkeypatch):
    venue.sequencer.submit(venue.add("lp", 100_000))
    root = venue.sequencer.pool.root()

    def full(*_):
        raise GuardError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(venue.sequencer.store, "execute", full)
        with pytest.raises(GuardError):
            venue.batch()
    assert venue.sequencer.pool.root() == root
    assert venue.sequencer.pending == 1
    assert codes(venue.batch()) == [None]


def test_an_lp_earns_its_part_of_the_fees_while_it_is_in(venue):
    """Fees of 30 before the second LP comes, 30 that both share, 30 after the first has left."""
    venue.sequencer.submit(venue.add("lp", 50_000))
    venue.sequencer.submit(venue.increase("bob", 1_000))
    venue.sequencer.submit(venue.add("other", 50_000))
    venue.sequencer.submit(venue.increase("eve", 1_000))
    ran = venue.batch(901)
    glp = venue.sequencer.pool.account(key_of("lp").public).glp
    venue.sequencer.submit(venue.signed("lp", RemoveLiquidity, glp=glp))
    venue.batch(901)
    venue.sequencer.submit(venue.increase("ann", 1_000))
    venue.batch()
    assert ran.summary.fees == 60 * USDC
    earned = {}
    for name in ("lp", "other"):
        rows = venue.sequencer.store.results_of(key_of(name).public)
        assert all(row.code == "" for row in rows)
        earned[name] = fees_earned(rows, venue.sequencer.fee_index)
    assert abs(earned["lp"] - 45 * USDC) < 0.02 * USDC
    assert abs(earned["other"] - 45 * USDC) < 0.02 * USDC


@pytest.mark.parametrize("side", list(Side))
def test_a_liquidation_price_is_the_first_that_liquidates(venue, side):
    for body in (venue.add("lp", 100_000), venue.increase("bob", 1_000, side=int(side))):
        venue.sequencer.submit(body)
    venue.batch()
    pool = venue.sequencer.pool
    found = pool.position(key_of("bob").public, BTC, int(side))
    params = pool.token_params[BTC]
    limit = liquidation_price(found, found.collateral, params)
    step = -1 if side == Side.LONG else 1
    operation = Liquidate(owner=found.owner, token=BTC, side=int(side))
    for price, expected in ((limit, Accepted), (limit - step, Rejected)):
        trial = pool_snapshot.copy(pool)
        prices = {1: price, 2: 2_500 * E8, 3: E8 // 2}
        trial.advance(BatchPrices.plain(pool.vault.time + 1, prices))
        fresh = replace(
            found,
            entry_funding=trial.tokens[BTC].cum_long if side == 0 else trial.tokens[BTC].cum_short,
        )
        trial.positions.put(fresh.key, fresh)
        assert isinstance(apply(trial, operation), expected)


@pytest.mark.parametrize(
    "step", [60, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_a_sequencer_killed_between_any_two_lines(tmp_path, step):
    """Nothing that was acknowledged is lost, nothing is done twice, and the roots are the same."""
    child = subprocess.run(
        [sys.executable, str(ROOT / "tests/actors/pool_child.py"), str(tmp_path), str(step)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr
    runs = [json.loads(line) for line in child.stdout.splitlines()]
    assert [run["killed"] for run in runs] == [True] * (len(runs) - 1) + [False]
    whole = runs[-1]
    assert [row[0] for row in whole["results"]] == [
        "add_liquidity", "add_liquidity", "increase", "liquidate", "increase",
    ]  # fmt: skip
    for run in runs:
        assert run["lost"] == []
        assert len(set(run["ids"])) == len(run["ids"])
        for name in ("root", "batches", "pending", "results", "ids"):
            assert run[name] == whole[name], name
    assert {0, 1, 2, 3, 4} == {run["told"] for run in runs}, "killed before and after each"
