"""Every reason to refuse an operation, in Python and in the guest."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import count
from typing import Any

import pytest

from protocol.pool.account import AccountDatum, account_key
from protocol.pool.draft import Rejected
from protocol.pool.muldiv import I64_MAX
from protocol.pool.operation import (
    AddLiquidity,
    CancelOrder,
    CloseAtCap,
    CreateOrder,
    Decrease,
    FillOrder,
    Increase,
    Liquidate,
    Operation,
    RemoveLiquidity,
    SignedOperation,
)
from protocol.pool.order import OrderDatum, OrderKind, order_key
from protocol.pool.position import position_key
from protocol.pool.reject import RejectCode
from protocol.pool.state import TokenFlag, VaultFlag
from protocol.pool.tree import BUCKET_MAX, bucket_of
from tests.builders.pool import ALICE, BOB, BTC, ETH, LONG, LP, SHORT, USDC, owner_of, sign
from tests.builders.pool_guest import GuestPool

FAR = 2**63


class Trader(GuestPool):
    """A pool with 100,000 USDC, and operations in short."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        if not self.pool.params.backed:
            self.run(self.add(LP, 100_000 * USDC))

    def run(self, *operations: SignedOperation, seconds: int = 1) -> None:
        """In Python only; all are accepted."""
        results = self.witness(operations, seconds)[0].results
        assert not any(isinstance(result, Rejected) for result in results), results

    def add(self, user: int, amount: int, minimum: int = 0) -> SignedOperation:
        operation = AddLiquidity(**self.head(user), amount=amount, min_glp=minimum)
        return self.signed(operation, user)

    def remove(self, user: int, glp: int, minimum: int = 0) -> SignedOperation:
        return self.signed(RemoveLiquidity(**self.head(user), glp=glp, min_out=minimum), user)

    def increase(
        self, user: int, deposit: int, size: int, side: int = LONG, ahead: int = 0, **changes: Any
    ) -> SignedOperation:
        fields = {"token": BTC, "acceptable_price": FAR if side == LONG else 0, **changes}
        head = self.head(user, ahead)
        return self.signed(
            Increase(**head, side=side, deposit=deposit * USDC, size=size * USDC, **fields), user
        )

    def decrease(
        self, user: int, size: int, collateral: int = 0, side: int = LONG, price: int | None = None
    ) -> SignedOperation:
        worst = (0 if side == LONG else FAR) if price is None else price
        operation = Decrease(
            **self.head(user),
            token=BTC,
            side=side,
            size=size * USDC,
            collateral=collateral * USDC,
            acceptable_price=worst,
        )
        return self.signed(operation, user)

    def order(self, user: int, ahead: int = 0, **changes: Any) -> SignedOperation:
        fields: dict[str, Any] = {
            "token": BTC,
            "side": LONG,
            "order_kind": int(OrderKind.LIMIT),
            "deposit": 1_030 * USDC,
            "size": 10_000 * USDC,
            "trigger_price": 39_000 * 10**8,
            "acceptable_price": FAR,
            **changes,
        }
        return self.signed(CreateOrder(**self.head(user, ahead), **fields), user)

    def at(self, price_usd: int) -> "Trader":
        self.prices[BTC] = price_usd * 10**8
        return self


def anybodys(operation: Operation) -> SignedOperation:
    return SignedOperation(operation)


def opened(side: int = LONG, **changes: Any) -> Trader:
    """Alice has 10,000 of BTC with 1,000 of collateral."""
    trader = Trader(**changes)
    trader.run(trader.increase(ALICE, 1_030, 10_000, side))
    return trader


Case = tuple[GuestPool, SignedOperation]
CASES: dict[RejectCode, Callable[[], Case]] = {}


def case(code: RejectCode) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    def keep(make: Callable[[], Case]) -> Callable[[], Case]:
        CASES[code] = make
        return make

    return keep


def simple(code: RejectCode, make: Callable[[Trader], SignedOperation], **changes: Any) -> None:
    def build() -> Case:
        trader = Trader(**changes)
        return trader, make(trader)

    CASES[code] = build


def after_open(code: RejectCode, make: Callable[[Trader], SignedOperation], **changes: Any) -> None:
    def build() -> Case:
        trader = opened(**changes)
        return trader, make(trader)

    CASES[code] = build


R = RejectCode
simple(R.SIGNATURE, lambda t: sign(t.add(BOB, USDC).operation, t.pool.pool_id, ALICE))
simple(R.NONCE, lambda t: t.increase(BOB, 1_030, 10_000, ahead=1))
simple(
    R.DEADLINE,
    lambda t: t.signed(AddLiquidity(**{**t.head(BOB), "deadline": 1}, amount=USDC), BOB),
)
simple(R.ORDER_REQUIRED, lambda t: t.increase(BOB, 1_030, 10_000), pool={"orders_only": True})
simple(R.TOKEN, lambda t: t.increase(BOB, 1_030, 10_000, token=77))
simple(R.LEVERAGE, lambda t: t.increase(BOB, 100, 10_000))
simple(R.UTILIZATION, lambda t: t.increase(BOB, 83_000, 90_000, side=SHORT, token=ETH))
simple(R.DEPOSIT, lambda t: t.add(BOB, USDC), pool={"backed": True, "btc_token": BTC})
simple(R.MIN_COLLATERAL, lambda t: t.increase(BOB, 9, 100))
simple(R.PRICE, lambda t: t.increase(BOB, 1_030, 10_000, acceptable_price=1))
after_open(R.EMPTY, lambda t: t.decrease(ALICE, 0))
simple(R.SIZE_BELOW_COLLATERAL, lambda t: t.increase(BOB, 1_030, 500))
simple(R.LIQUIDATABLE, lambda t: t.increase(BOB, 14, 450), token={"liquidation_fee": 20 * USDC})
simple(R.GLOBAL_CAP, lambda t: t.increase(BOB, 1_030, 10_000), pool={"global_cap_bps": 50})
simple(
    R.OPEN_INTEREST_CAP,
    lambda t: t.increase(BOB, 1_030, 10_000),
    token={"oi_cap_long": 9_999 * USDC},
)
simple(R.NO_POSITION, lambda t: t.decrease(BOB, 1))
after_open(R.SIZE_TOO_LARGE, lambda t: t.decrease(ALICE, 10_001))
after_open(R.COLLATERAL_TOO_LARGE, lambda t: t.decrease(ALICE, 1, 1_001))
after_open(R.AT_CAP, lambda t: t.at(50_000).increase(ALICE, 1_030, 10_000))
after_open(R.LOSS_EXCEEDS_COLLATERAL, lambda t: t.at(35_000).decrease(ALICE, 10_000))
after_open(R.HEALTHY, lambda t: anybodys(Liquidate(owner=owner_of(ALICE), token=BTC, side=LONG)))
after_open(
    R.NOT_AT_CAP, lambda t: anybodys(CloseAtCap(owner=owner_of(ALICE), token=BTC, side=LONG))
)
simple(R.SLIPPAGE, lambda t: t.add(BOB, USDC, minimum=2 * USDC))
simple(R.GLP_BALANCE, lambda t: t.remove(BOB, 1))
simple(R.COOLDOWN, lambda t: t.remove(LP, 1_000 * USDC), pool={"cooldown_s": 600})
simple(R.NO_VALUE, lambda t: t.add(BOB, 0))
simple(R.NO_ORDER, lambda t: anybodys(FillOrder(owner=owner_of(BOB), order_nonce=3)))


@case(R.HALTED)
def halted() -> Case:
    trader = Trader()
    trader.pool.vault.flags |= VaultFlag.HALTED
    return trader, trader.add(BOB, USDC)


@case(R.CLOSE_ONLY)
def close_only() -> Case:
    trader = Trader()
    trader.pool.vault.flags |= VaultFlag.CLOSE_ONLY
    return trader, trader.add(BOB, USDC)


@case(R.NOT_SHORTABLE)
def not_shortable() -> Case:
    trader = Trader()
    trader.pool.tokens[BTC].flags = int(TokenFlag.WHITELISTED)
    return trader, trader.increase(BOB, 1_030, 10_000, SHORT)


@case(R.FEE)
def fee() -> Case:
    trader = Trader(token={"fee_bps": 900, "min_collateral": 1, "liquidation_fee": 0})
    trader.run(trader.increase(ALICE, 1_900, 10_000))
    return trader.at(38_000), trader.decrease(ALICE, 9_000)


def ordered(**changes: Any) -> Trader:
    trader = Trader()
    trader.run(trader.order(ALICE, **changes))
    return trader


@case(R.NOT_DUE)
def not_due() -> Case:
    trader = ordered()
    return trader, anybodys(FillOrder(owner=owner_of(ALICE), order_nonce=0))


@case(R.EXPIRED)
def expired() -> Case:
    trader = ordered(expiry=1)
    return trader, anybodys(FillOrder(owner=owner_of(ALICE), order_nonce=0))


@case(R.PENDING)
def pending() -> Case:
    trader = ordered(order_kind=int(OrderKind.MARKET), trigger_price=0)
    return trader, trader.signed(CancelOrder(**trader.head(ALICE), order_nonce=0), ALICE)


@case(R.BUCKET_FULL)
def bucket_full() -> Case:
    """Orders of others in the bucket in which Alice's position would be."""
    trader = Trader()
    wanted = bucket_of(position_key(owner_of(ALICE), BTC, LONG))
    tag = sha256(b"btcfi/pool/order/v1").digest()
    start = sha256(tag + tag).copy
    found = 0
    for nonce in count():
        state = start()
        state.update(bytes(32) + nonce.to_bytes(8, "little"))
        if bucket_of(state.digest()) == wanted:
            order = OrderDatum(bytes(32), nonce, BTC, 2, LONG, 0, 0, 1, 0, 1, FAR, FAR, 1)
            assert order_key(bytes(32), nonce) == state.digest()
            trader.pool.positions.put(order.key, order)
            found += 1
            if found == BUCKET_MAX:
                return trader, trader.increase(ALICE, 1_030, 10_000)
    raise AssertionError


@case(R.OVERFLOW)
def overflow() -> Case:
    trader = opened()
    trader.pool.tokens[BTC].cum_long = I64_MAX // 2
    position = trader.pool.position(owner_of(ALICE), BTC, LONG)
    assert position is not None
    changed = replace(position, entry_funding=-I64_MAX // 2 - 10**15)
    trader.pool.positions.put(position.key, changed)
    return trader, trader.decrease(ALICE, 1)


def test_there_is_a_case_for_every_code() -> None:
    assert set(CASES) == set(RejectCode)


@pytest.mark.parametrize("code", RejectCode, ids=lambda code: code.name)
def test_the_guest_refuses_for_the_same_reason(code: RejectCode) -> None:
    guest, operation = CASES[code]()
    before = guest.pool.positions.root(), guest.pool.accounts.root()
    (result,) = guest.prove([operation]).results
    assert isinstance(result, Rejected) and result.code == code
    assert (guest.pool.positions.root(), guest.pool.accounts.root()) == before


def test_a_bucket_keeps_the_order_of_its_keys() -> None:
    """Sixteen accounts in one bucket, one of them new, then their removal leaves what was there."""
    guest = Trader()
    wanted = bucket_of(account_key(owner_of(BOB)))
    tag = sha256(b"btcfi/pool/account/v1").digest()
    start = sha256(tag + tag).copy
    found = 0
    for number in count():
        state = start()
        state.update(owner := number.to_bytes(32, "little"))
        if bucket_of(state.digest()) == wanted:
            guest.pool.accounts.put(account_key(owner), AccountDatum(owner, 1, 2, 3))
            found += 1
            if found == 9:
                break
    guest.prove([guest.add(BOB, 1_000 * USDC)])
    assert len(guest.pool.accounts.bucket(wanted)) == 10 * 57
