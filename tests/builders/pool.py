"""A pool with known owners, prices and cash box, for tests: every amount in whole USDC or units.

``World`` counts the cash by itself, from what operations say went in and out, and looks at the
state only through its datums, so that ``tests.builders.pool_laws`` can judge both.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any

from protocol.crypto.keys import SecretKey
from protocol.pool.draft import Accepted, Rejected
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
    signing_message,
)
from protocol.pool.order import OrderKind
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.pool import Pool
from protocol.pool.position import PositionDatum, Side
from protocol.pool.prices import BatchPrices
from protocol.pool.reject import RejectCode
from protocol.pool.state import TokenState
from protocol.pool.transition import apply, apply_signed

USDC = 10**6
E8 = 10**8
BTC, ETH, ADA = 1, 2, 3
LONG, SHORT = int(Side.LONG), int(Side.SHORT)
LP, ALICE, BOB, CAROL, MALLORY = range(5)
START = 1_790_359_200
"""A multiple of eight hours, as GMX's vectors begin."""
PRICES = {BTC: 40_000 * E8, ETH: 2_500 * E8, ADA: E8 // 2}
TOKENS: dict[int, dict[str, int]] = {
    BTC: {"qty_exp": 13, "max_utilization_bps": 8_000, "funding_ppm": 4_000},
    ETH: {"qty_exp": 12, "max_utilization_bps": 8_000, "funding_ppm": 8_000},
    ADA: {"qty_exp": 9, "max_utilization_bps": 7_000, "funding_ppm": 10_000},
}
FOREVER = 2**63


@cache
def key_of(user: int) -> SecretKey:
    return SecretKey(sha256(b"pool owner %d" % user).digest())


def owner_of(user: int) -> bytes:
    return key_of(user).public


def sign(operation: Operation, pool_id: bytes, user: int) -> SignedOperation:
    """The operation with the user's signature, which need not be its owner's."""
    if not operation.is_signed:
        return SignedOperation(operation)
    message = signing_message(pool_id, operation)
    return SignedOperation(operation, key_of(user).sign(message, bytes(32)))


def terms(tokens: Mapping[int, Any], **changes: Any) -> PoolParams:
    feeds = tuple((token, sha256(b"feed %d" % token).digest()) for token in sorted(tokens))
    fields: dict[str, Any] = {"feeds": feeds, "cooldown_s": 0}
    return PoolParams(**fields | changes)


class World:
    """A pool, its prices and its cash. ``token`` changes fields of every token's parameters,
    ``pool`` those of the terms; ``tokens`` lists other tokens than BTC, ETH and ADA."""

    def __init__(
        self,
        *,
        tokens: Mapping[int, Mapping[str, int]] | None = None,
        prices: Mapping[int, int] | None = None,
        token: Mapping[str, int] | None = None,
        pool: Mapping[str, Any] | None = None,
        liquidity: int = 100_000 * USDC,
        signed: bool = False,
    ) -> None:
        rows = TOKENS if tokens is None else tokens
        params = {i: TokenParams(**{**rows[i], **(token or {})}) for i in sorted(rows)}
        self.pool = Pool.genesis(terms(params, **(pool or {})), params)
        self.prices = dict(PRICES if prices is None else prices)
        self.signed = signed
        self.now = START
        self.conf = 0
        self.cash = 0
        self.last: tuple[Operation, Accepted | Rejected] | None = None
        self.advance(0)
        if liquidity:
            self.ok(self.add(LP, liquidity))

    # What is there

    def token(self, token: int) -> TokenState:
        return self.pool.tokens[token]

    def params(self, token: int) -> TokenParams:
        return self.pool.token_params[token]

    @property
    def liquidity(self) -> int:
        return self.pool.vault.total_liquidity

    def position(self, user: int, token: int = BTC, side: int = LONG) -> PositionDatum:
        found = self.pool.position(owner_of(user), token, side)
        assert found is not None
        return found

    def has(self, user: int, token: int = BTC, side: int = LONG) -> bool:
        return self.pool.position(owner_of(user), token, side) is not None

    def glp(self, user: int) -> int:
        return self.pool.account(owner_of(user)).glp

    def nonce(self, user: int) -> int:
        return self.pool.account(owner_of(user)).nonce

    # What happens

    def advance(self, seconds: int = 1, **changes: int) -> None:
        """A new batch with the same prices, but for ``BTC=``, ``ETH=``, ``ADA=`` (mantissas)."""
        self.prices |= {{"BTC": BTC, "ETH": ETH, "ADA": ADA}[k]: v for k, v in changes.items()}
        self.now += seconds
        self.pool.advance(BatchPrices.plain(self.now, self.prices, self.conf))

    def do(
        self, operation: Operation, user: int | None = None, funds: int | None = None
    ) -> Accepted | Rejected:
        """Applies it, and moves the cash as it says; ``user`` signs where signatures are on."""
        if self.signed:
            signed = sign(operation, self.pool.pool_id, LP if user is None else user)
            result = apply_signed(self.pool, signed, funds)
        else:
            result = apply(self.pool, operation, funds)
        if isinstance(result, Accepted):
            self.cash += result.inflow - result.outflow
        self.last = operation, result
        return result

    def ok(self, result: Accepted | Rejected) -> Accepted:
        assert isinstance(result, Accepted), result
        return result

    def head(self, user: int) -> dict[str, Any]:
        return {"owner": owner_of(user), "nonce": self.nonce(user), "deadline": FOREVER}

    def add(self, user: int, amount: int, min_glp: int = 0) -> Accepted | Rejected:
        return self.do(AddLiquidity(**self.head(user), amount=amount, min_glp=min_glp), user)

    def remove(self, user: int, glp: int, min_out: int = 0) -> Accepted | Rejected:
        return self.do(RemoveLiquidity(**self.head(user), glp=glp, min_out=min_out), user)

    def increase(
        self,
        user: int,
        deposit: int,
        size: int,
        token: int = BTC,
        side: int = LONG,
        price: int | None = None,
        funds: int | None = None,
    ) -> Accepted | Rejected:
        worst = (FOREVER if side == LONG else 0) if price is None else price
        operation = Increase(
            **self.head(user),
            token=token,
            side=side,
            deposit=deposit,
            size=size,
            acceptable_price=worst,
        )
        return self.do(operation, user, funds)

    def decrease(
        self,
        user: int,
        size: int,
        collateral: int = 0,
        token: int = BTC,
        side: int = LONG,
        price: int | None = None,
    ) -> Accepted | Rejected:
        worst = (0 if side == LONG else FOREVER) if price is None else price
        operation = Decrease(
            **self.head(user),
            token=token,
            side=side,
            size=size,
            collateral=collateral,
            acceptable_price=worst,
        )
        return self.do(operation, user)

    def close(self, user: int, token: int = BTC, side: int = LONG) -> Accepted | Rejected:
        return self.decrease(user, self.position(user, token, side).size, 0, token, side)

    def liquidate(self, user: int, token: int = BTC, side: int = LONG) -> Accepted | Rejected:
        return self.do(Liquidate(owner=owner_of(user), token=token, side=side))

    def close_at_cap(self, user: int, token: int = BTC, side: int = LONG) -> Accepted | Rejected:
        return self.do(CloseAtCap(owner=owner_of(user), token=token, side=side))

    def order(
        self,
        user: int,
        size: int,
        deposit: int = 0,
        token: int = BTC,
        side: int = LONG,
        kind: int = OrderKind.MARKET,
        **changes: Any,
    ) -> Accepted | Rejected:
        is_decrease = bool(changes.get("flags", 0) & 1)
        worst = FOREVER if is_decrease == (side == SHORT) else 0
        fields: dict[str, Any] = {
            **self.head(user),
            "token": token,
            "side": side,
            "order_kind": int(kind),
            "deposit": deposit,
            "size": size,
            "acceptable_price": worst,
        }
        return self.do(CreateOrder(**fields | changes), user)

    def fill(self, user: int, nonce: int) -> Accepted | Rejected:
        return self.do(FillOrder(owner=owner_of(user), order_nonce=nonce))

    def cancel(self, user: int, nonce: int) -> Accepted | Rejected:
        return self.do(CancelOrder(**self.head(user), order_nonce=nonce), user)


def code(result: Accepted | Rejected) -> RejectCode | None:
    """Why it was refused; None if it was not."""
    return result.code if isinstance(result, Rejected) else None
