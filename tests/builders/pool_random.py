"""Random operations on a ``GuestPool``: mostly sensible ones, and some of every refused kind."""

from copy import deepcopy
from hashlib import sha256
from random import Random
from typing import Any

from protocol.pool.batch import Deposit
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
from protocol.pool.order import OrderFlag, OrderKind
from protocol.pool.pool import Pool
from protocol.pool.position import Side
from protocol.pool.prices import BatchPrices
from protocol.pool.transition import apply
from tests.builders.pool import BTC, USDC, owner_of
from tests.builders.pool_guest import GuestPool

USERS = 6
FAR = 2**63
WIDE_TERMS: dict[str, Any] = {
    "lp_fee_share_bps": 7_000,
    "insurance_fee_share_bps": 2_000,
    "liquidity_fee_bps": 25,
    "cooldown_s": 600,
}
WIDE_TOKEN: dict[str, int] = {
    "spread_bps": 7,
    "impact_bps": 40,
    "borrow_ppm": 900,
    "max_profit_bps": 25_000,
}


class RandomOperations:
    """Operations of one seed."""

    def __init__(self, guest: GuestPool, seed: int) -> None:
        self.guest = guest
        self.random = Random(seed)

    def move(self) -> int:
        """Other prices; the seconds until the next batch."""
        random, guest = self.random, self.guest
        for token in guest.prices:
            guest.prices[token] = guest.prices[token] * random.randint(930, 1075) // 1000
        guest.conf = random.choice((0, 0, 1_000, 2_000_000))
        return random.choice((1, 60, 3_600, 30_000, 200_000))

    def deposits(self, count: int) -> tuple[Deposit, ...]:
        """Up to a tenth of a bitcoin each."""
        points = sorted(sha256(self.random.randbytes(8)).digest() + bytes(4) for _ in range(count))
        return tuple(
            Deposit(point, owner_of(self.random.randrange(USERS)), self.random.randint(0, 10**7))
            for point in points
        )

    def batch(self, count: int, seconds: int) -> list[SignedOperation]:
        """``count`` operations; nonces as if a backed pool's owners had paid in enough."""
        shadow = deepcopy(self.guest.pool)
        now = self.guest.now + seconds
        shadow.advance(BatchPrices.plain(now, self.guest.prices, self.guest.conf))
        found = []
        for _ in range(count):
            user = self._user(shadow)
            operation = self._operation(shadow, user)
            signer = user if self.random.random() > 0.03 else user + 1
            found.append(self.guest.signed(operation, signer))
            if signer == user or not operation.is_signed:
                apply(shadow, operation)
        return found

    def _user(self, pool: Pool) -> int:
        """Mostly one who holds a position."""
        holders = {position.owner for position in pool.open_positions()}
        users = [user for user in range(USERS) if owner_of(user) in holders]
        if not users or self.random.random() < 0.4:
            return self.random.randrange(USERS)
        return self.random.choice(users)

    def _head(self, pool: Pool, user: int) -> dict[str, Any]:
        nonce = pool.account(owner_of(user)).nonce + (self.random.random() < 0.03)
        late = self.random.random() < 0.03
        return {"owner": owner_of(user), "nonce": nonce, "deadline": 0 if late else FAR}

    def _operation(self, pool: Pool, user: int) -> Operation:
        makers = (
            self._add,
            self._remove,
            self._increase,
            self._increase,
            self._increase,
            self._decrease,
            self._decrease,
            self._anybodys,
            self._order,
            self._of_an_order,
            self._of_an_order,
        )
        return self.random.choice(makers)(pool, user)

    def _add(self, pool: Pool, user: int) -> Operation:
        amount = self.random.choice((0, 1, 1_000 * USDC, self.random.randint(1, 50_000 * USDC)))
        return AddLiquidity(**self._head(pool, user), amount=amount)

    def _remove(self, pool: Pool, user: int) -> Operation:
        glp = pool.account(owner_of(user)).glp
        part = self.random.choice((glp, glp + 1, glp // 3, 0))
        minimum = self.random.choice((0, 0, 10**15))
        return RemoveLiquidity(**self._head(pool, user), glp=part, min_out=minimum)

    def _increase(self, pool: Pool, user: int) -> Operation:
        token, side = self._market(pool)
        deposit = self.random.randint(20 * USDC, 1_500 * USDC)
        size = deposit * self.random.randint(2, 20)
        if self.random.random() < 0.2:
            deposit = self.random.choice((0, 9 * USDC, deposit))
            size = self.random.choice((0, deposit // 2, deposit * 60))
        worst = FAR if side == Side.LONG else 0
        return Increase(
            **self._head(pool, user),
            token=token,
            side=side,
            deposit=deposit,
            size=size,
            acceptable_price=worst if self.random.random() > 0.05 else FAR - worst,
        )

    def _decrease(self, pool: Pool, user: int) -> Operation:
        token, side, size, collateral = self._held(pool, user)
        worst = 0 if side == Side.LONG else FAR
        return Decrease(
            **self._head(pool, user),
            token=token,
            side=side,
            size=self.random.choice((size, size, size // 2, size // 7, 0, size + 1)),
            collateral=self.random.choice((0, 0, collateral // 9, collateral + 1)),
            acceptable_price=worst,
        )

    def _anybodys(self, pool: Pool, user: int) -> Operation:
        token, side, _, _ = self._held(pool, user)
        kind = self.random.choice((Liquidate, CloseAtCap))
        return kind(owner=owner_of(user), token=token, side=side)

    def _order(self, pool: Pool, user: int) -> Operation:
        token, side, size, _ = self._held(pool, user)
        is_decrease = self.random.random() < 0.5
        kind = self.random.choice(tuple(OrderKind)[: 4 if is_decrease else 3])
        flags = self.random.choice((1, 3)) if is_decrease else 0
        deposit = 0 if is_decrease else self.random.randint(0, 1_000 * USDC)
        is_buy = (side == Side.LONG) != bool(flags & OrderFlag.DECREASE)
        price = self.guest.prices.get(token, 1)
        return CreateOrder(
            **self._head(pool, user),
            token=token,
            side=side,
            order_kind=int(kind),
            flags=flags,
            deposit=deposit,
            size=self.random.choice((size, size * 2, 0)) if is_decrease else deposit * 5,
            trigger_price=price * self.random.randint(95, 105) // 100,
            acceptable_price=FAR if is_buy else 0,
            expiry=self.guest.now + self.random.choice((10, 10**6)),
        )

    def _of_an_order(self, pool: Pool, user: int) -> Operation:
        orders = list(pool.open_orders())
        if not orders:
            return self._order(pool, user)
        order = self.random.choice(orders)
        nonce = order.nonce + (self.random.random() < 0.1)
        if self.random.random() < 0.7:
            return FillOrder(owner=order.owner, order_nonce=nonce)
        return CancelOrder(**self._head(pool, user), order_nonce=nonce)

    def _market(self, pool: Pool) -> tuple[int, int]:
        token = self.random.choice((*pool.tokens, BTC, 99 if self.random.random() < 0.1 else BTC))
        return token, self.random.randrange(2)

    def _held(self, pool: Pool, user: int) -> tuple[int, int, int, int]:
        """A position of the user if there is one: token, side, size and collateral."""
        held = [p for p in pool.open_positions() if p.owner == owner_of(user)]
        if not held or self.random.random() < 0.1:
            return *self._market(pool), self.random.randint(0, 1_000 * USDC), USDC
        found = self.random.choice(held)
        return found.token, found.side, found.size, found.collateral
