"""The rest of docs/pool.md, "Known failures": shares, utilisation, funding, prices, bounds, owners.

Those of traders against the liquidity are in ``test_attacks``.
"""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest

from protocol.crypto.tagged import tagged_hashes
from protocol.errors import EncodingError, PriceError
from protocol.pool.draft import Rejected
from protocol.pool.layout import AMOUNT_MAX, PRICE_MAX
from protocol.pool.operation import AddLiquidity, Increase, SignedOperation, decode
from protocol.pool.order import OrderKind
from protocol.pool.params import FULL_RESERVE, TokenParams
from protocol.pool.position import position_key
from protocol.pool.prices import BatchPrices
from protocol.pool.reject import RejectCode
from protocol.pool.transition import apply_signed
from protocol.pool.tree import BUCKET_MAX
from tests.builders.pool import (
    ADA,
    ALICE,
    BOB,
    BTC,
    E8,
    ETH,
    LONG,
    LP,
    MALLORY,
    PRICES,
    SHORT,
    TOKENS,
    USDC,
    World,
    code,
    owner_of,
    sign,
)
from tests.builders.pool_laws import check_state, judged

NO_FUNDING = {"funding_ppm": 0}


# Liquidity providers


def test_share_inflation_at_the_first_mint():
    """G03: dead shares, no donations, no mint of nothing; the second LP loses less than a cent."""
    world = World(liquidity=0)
    assert code(judged(world, lambda: world.add(MALLORY, 1_000))) == RejectCode.NO_VALUE
    world.ok(judged(world, lambda: world.add(MALLORY, 1_001)))
    assert world.glp(MALLORY) == 1
    world.ok(judged(world, lambda: world.add(ALICE, 10_000 * USDC)))
    out = world.ok(judged(world, lambda: world.remove(ALICE, world.glp(ALICE)))).outflow
    assert 10_000 * USDC - out <= 10_000
    assert world.pool.vault.glp_supply >= 1_000


@pytest.mark.parametrize("move", [90, 97, 103, 109])
def test_sniping_open_profit_or_loss(move):
    """In and out around a result that is certain but not realised: shares are made at the dearer
    value and burnt at the cheaper one, so who was not there before gains nothing."""
    world = World()
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.advance(BTC=PRICES[BTC] * move // 100)
    world.ok(judged(world, lambda: world.add(MALLORY, 100_000 * USDC)))
    closed = judged(world, lambda: world.close(ALICE))
    if isinstance(closed, Rejected):
        closed = judged(world, lambda: world.liquidate(ALICE))
    got = world.ok(judged(world, lambda: world.remove(MALLORY, world.glp(MALLORY)))).outflow
    assert got <= 100_000 * USDC + world.ok(closed).fee


@pytest.mark.parametrize("duty_first", [True, False])
def test_sniping_a_profit_that_is_cut_off(duty_first):
    """A winner far above its cap makes the AUM look small while losers make it large: whoever mints
    before the winner is closed must not get the losers' money for less."""
    world = World(token={"funding_ppm": 0, "fee_bps": 0})
    world.ok(world.increase(ALICE, 1_000 * USDC, 50_000 * USDC))
    world.ok(world.increase(BOB, 30_000 * USDC, 60_000 * USDC, ETH))
    world.advance(BTC=PRICES[BTC] * 130 // 100, ETH=PRICES[ETH] * 60 // 100)
    if duty_first:
        world.ok(judged(world, lambda: world.close_at_cap(ALICE)))
    world.ok(judged(world, lambda: world.add(MALLORY, 100_000 * USDC)))
    if not duty_first:
        world.ok(judged(world, lambda: world.close_at_cap(ALICE)))
    world.ok(judged(world, lambda: world.close(BOB, ETH)))
    got = world.ok(judged(world, lambda: world.remove(MALLORY, world.glp(MALLORY)))).outflow
    assert got <= 100_000 * USDC


def test_sniping_pending_funding():
    """Funding that is owed and not paid yet belongs to the LPs of its time."""
    world = World(token={"fee_bps": 0}, pool={"max_elapsed_s": 30 * 86_400})
    world.ok(world.increase(ALICE, 1_000 * USDC, 10_000 * USDC))
    world.advance(10 * 28_800)
    world.ok(judged(world, lambda: world.add(MALLORY, 100_000 * USDC)))
    assert world.ok(judged(world, lambda: world.close(ALICE))).funding_paid > 0
    got = world.ok(judged(world, lambda: world.remove(MALLORY, world.glp(MALLORY)))).outflow
    assert got <= 100_000 * USDC


def test_a_cooldown_holds_new_liquidity():
    world = World(pool={"cooldown_s": 900})
    assert code(judged(world, lambda: world.remove(LP, 1))) == RejectCode.COOLDOWN
    world.advance(899)
    assert code(judged(world, lambda: world.remove(LP, 1))) == RejectCode.COOLDOWN
    world.advance(1)
    world.ok(judged(world, lambda: world.remove(LP, USDC)))


def test_liquidity_under_reserve_stays():
    """G02-09: what is reserved for open positions cannot leave, at any step."""
    world = World(token={"max_profit_bps": FULL_RESERVE})
    world.ok(world.increase(ALICE, 7_000 * USDC, 60_000 * USDC))
    assert code(judged(world, lambda: world.remove(LP, world.glp(LP)))) == RejectCode.UTILIZATION
    for _ in range(60):
        world.remove(LP, 1_000 * USDC)
        assert world.pool.reserved_total * 10_000 <= 8_000 * world.liquidity
    assert world.liquidity >= 75_000 * USDC


# Utilisation and funding


def test_filling_the_cap_costs_fees_all_the_time():
    """Opening both sides to lock others out: the reserve is charged while it lasts."""
    world = World(token={"borrow_ppm": 1_000, "max_profit_bps": FULL_RESERVE})
    for side in (LONG, SHORT):
        world.ok(world.increase(MALLORY, 5_000 * USDC, 39_900 * USDC, BTC, side))
    result = judged(world, lambda: world.increase(ALICE, 110 * USDC, 1_000 * USDC))
    assert code(result) == RejectCode.UTILIZATION
    world.ok(judged(world, lambda: world.increase(ALICE, 110 * USDC, 1_000 * USDC, ETH)))
    world.advance(86_400)
    rate = Fraction(world.token(BTC).reserved, 1_000 * world.liquidity)
    due, paid = 2 * 39_900 * USDC * rate * 3, 0
    for side in (LONG, SHORT):
        paid += world.ok(judged(world, lambda s=side: world.close(MALLORY, BTC, s))).funding_paid
    assert due - 2 <= paid <= due + 2
    world.ok(judged(world, lambda: world.increase(ALICE, 110 * USDC, 1_000 * USDC)))


def test_transient_open_interest_moves_no_funding():
    """Velar #40: interest that opens and closes within a batch leaves the indices where they were,
    and what opens later never prices the past."""
    world = World()
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.advance(28_800)
    index = world.token(BTC).cum_long
    rate = Fraction(4_000 * 10**6 * 10_000 * USDC, 100_030 * USDC)
    assert abs(index - rate) < 2
    world.ok(world.increase(MALLORY, 4_150 * USDC, 50_000 * USDC, BTC, SHORT))
    world.ok(world.close(MALLORY, BTC, SHORT))
    assert world.token(BTC).cum_long == index
    world.advance(1)
    assert 0 <= world.token(BTC).cum_long - index <= rate / 28_800 + 1


def test_funding_has_a_ceiling():
    world = World(token={"funding_ppm": 1_000_000}, pool={"max_rate_ppm": 5_000})
    world.ok(world.increase(ALICE, 4_150 * USDC, 50_000 * USDC))
    world.advance(28_800)
    assert world.token(BTC).cum_long == 5_000 * 10**6


def test_an_outage_accrues_no_more_than_the_limit():
    """Flatmoney #72: a pool that nobody could reach for a month charges at most ``max_elapsed``."""

    def index(seconds: int) -> int:
        world = World()
        world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
        world.advance(seconds)
        return world.token(BTC).cum_long

    assert index(30 * 86_400) == index(86_400) > index(86_399)


def test_a_halted_pool_accrues_nothing_and_does_nothing():
    world = World()
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.pool.vault.flags |= 1
    world.advance(28_800)
    assert world.token(BTC).cum_long == 0
    assert code(judged(world, lambda: world.close(ALICE))) == RejectCode.HALTED
    world.pool.vault.flags &= ~1
    world.advance(28_800)
    assert world.token(BTC).cum_long > 0
    world.ok(judged(world, lambda: world.close(ALICE)))


def test_a_close_only_pool_lets_everybody_out():
    """Also where trades go by orders: close-only stops orders, so direct closes must work."""
    for orders_only in (False, True):
        world = World(pool={"orders_only": orders_only})
        nonce = world.nonce(ALICE)
        world.ok(world.order(ALICE, 10_000 * USDC, 1_030 * USDC))
        world.advance()
        world.ok(world.fill(ALICE, nonce))
        world.pool.vault.flags |= 2
        refused = judged(world, lambda w=world: w.increase(BOB, 1_030 * USDC, 10_000 * USDC))
        assert code(refused) in (RejectCode.CLOSE_ONLY, RejectCode.ORDER_REQUIRED)
        world.ok(judged(world, lambda w=world: w.close(ALICE)))


# Prices


def test_stale_or_partial_prices_begin_no_batch():
    """Flatmoney #135, #188: one time for all tokens, later than the last."""
    world = World()
    for now in (world.now, world.now - 1, 0):
        with pytest.raises(PriceError):
            world.pool.advance(BatchPrices.plain(now, PRICES))
    for prices in (
        {BTC: 1},
        {**PRICES, 9: 1},
        {},
        {**PRICES, BTC: 0},
        {**PRICES, BTC: PRICE_MAX + 1},
    ):
        with pytest.raises(PriceError):
            world.pool.advance(BatchPrices.plain(world.now + 1, prices))
    with pytest.raises(PriceError):
        world.pool.advance(BatchPrices.plain(world.now + 1, PRICES, conf=PRICES[ADA]))
    check_state(world)


def test_liquidation_reads_no_price_but_the_batch_s():
    world = World()
    world.ok(world.increase(ALICE, 430 * USDC, 10_000 * USDC))
    world.advance(BTC=39_000 * E8)
    world.advance(BTC=41_000 * E8)
    assert code(judged(world, lambda: world.liquidate(ALICE))) == RejectCode.HEALTHY


# Bounds


@pytest.mark.parametrize(
    ("exp", "price"), [(16, 1), (16, PRICE_MAX), (0, 1), (0, PRICE_MAX), (10, 10**7)]
)
def test_overflow_at_every_bound_is_a_refusal(exp, price):
    """The ends of every range, together: an operation is refused whole, nothing ever wraps."""
    rows = {1: {"qty_exp": exp, "max_utilization_bps": 10_000, "funding_ppm": 10**6}}
    world = World(tokens=rows, prices={1: price}, liquidity=0)
    for _ in range(9):
        judged(world, lambda: world.add(LP, AMOUNT_MAX))
    for deposit, size in product((1, 10**7, AMOUNT_MAX // 2, AMOUNT_MAX), (1, 10**12, AMOUNT_MAX)):
        for side in (LONG, SHORT):
            judged(world, lambda d=deposit, s=size, i=side: world.increase(ALICE, d, s, 1, i))
    world.prices[1] = PRICE_MAX if price < 10**8 else 1
    world.advance(86_400)
    for side in (LONG, SHORT):
        judged(world, lambda i=side: world.liquidate(ALICE, 1, i))
        judged(world, lambda i=side: world.decrease(ALICE, AMOUNT_MAX, 0, 1, i))
    judged(world, lambda: world.remove(LP, world.glp(LP)))
    check_state(world)


def test_the_pool_has_a_size():
    world = World(liquidity=0)
    for _ in range(10):
        world.ok(world.add(LP, AMOUNT_MAX))
    assert code(judged(world, lambda: world.add(LP, USDC))) == RejectCode.OVERFLOW


@pytest.mark.parametrize(
    "field",
    [
        {"qty_exp": 17},
        {"price_exp": 0, "qty_exp": 5},
        {"max_utilization_bps": 10_001},
        {"fee_bps": 1_001},
        {"max_leverage_bps": 9_999},
        {"max_profit_bps": 0},
        {"funding_ppm": 10**6 + 1},
        {"min_collateral": 0},
        {"oi_cap_long": AMOUNT_MAX + 1},
    ],
)
def test_parameters_out_of_range_list_no_token(field):
    with pytest.raises(EncodingError):
        TokenParams(**{**TOKENS[BTC], **field})


def test_filling_a_bucket_locks_nobody_in():
    """An attacker that grinds keys into its victim's bucket stops new leaves in it and nothing
    else: what is there can be changed, closed and liquidated."""
    world = World(token=NO_FUNDING)
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    bucket, owner = position_key(owner_of(ALICE), BTC, LONG)[:2], owner_of(MALLORY)
    keys = tagged_hashes(
        "btcfi/pool/order/v1", (owner + n.to_bytes(8, "little") for n in range(1_300_000))
    )
    found = [nonce for nonce, key in enumerate(keys) if key[:2] == bucket][:BUCKET_MAX]
    for nonce in found:
        account = world.pool.account(owner)
        world.pool.accounts.put(account.key, replace(account, nonce=nonce))
        result = judged(world, lambda: world.order(MALLORY, 1, kind=OrderKind.STOP, flags=1))
        assert code(result) == (RejectCode.BUCKET_FULL if nonce == found[-1] else None)
    assert len(found) == BUCKET_MAX
    world.ok(judged(world, lambda: world.increase(ALICE, 103 * USDC, 1_000 * USDC)))
    world.ok(judged(world, lambda: world.decrease(ALICE, 1_000 * USDC)))
    world.advance(BTC=35_000 * E8)
    world.ok(judged(world, lambda: world.liquidate(ALICE)))
    assert (
        code(judged(world, lambda: world.order(MALLORY, 1, kind=OrderKind.STOP, flags=1))) is None
    )


# Owners


def test_nobody_is_impersonated_and_nothing_is_replayed():
    """Another's key, another pool, the same operation again, one altered byte of it or of its
    signature: refused, and the root stays."""
    world = World(signed=True)
    pool_id = world.pool.pool_id
    head = world.head(ALICE)
    operation = Increase(
        **head,
        token=BTC,
        side=LONG,
        deposit=2_000 * USDC,
        size=10_000 * USDC,
        acceptable_price=2**63,
    )
    signed = sign(operation, pool_id, ALICE)
    for forged in (
        sign(operation, pool_id, MALLORY),
        sign(operation, World(pool={"cooldown_s": 1}).pool.pool_id, ALICE),
        *(flipped(signed, place) for place in range(8, len(signed.encode()), 3)),
    ):
        if forged is not None:
            before = world.pool.root()
            assert code(apply_signed(world.pool, forged)) == RejectCode.SIGNATURE
            assert world.pool.root() == before
    world.ok(apply_signed(world.pool, signed))
    assert code(apply_signed(world.pool, signed)) == RejectCode.NONCE
    world.advance()
    assert code(apply_signed(world.pool, signed)) == RejectCode.NONCE


def flipped(signed: SignedOperation, place: int) -> SignedOperation | None:
    """The operation with one bit turned; None where those bytes are no operation."""
    data = bytearray(signed.encode())
    data[place] ^= 1
    try:
        return decode(bytes(data))
    except EncodingError:
        return None


def test_an_operation_dies_at_its_deadline():
    world = World()
    late = AddLiquidity(**world.head(ALICE) | {"deadline": world.now}, amount=USDC)
    world.advance()
    assert code(judged(world, lambda: world.do(late))) == RejectCode.DEADLINE
