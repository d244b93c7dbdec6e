"""Who is in a demo day, and what they do: providers of liquidity and traders, each with a key.

Everybody decides by the seed and by what the pool shows. Keys are real and so is every signature;
the people are not.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from protocol.crypto.keys import SecretKey
from protocol.pool.operation import (
    AddLiquidity,
    CancelOrder,
    CreateOrder,
    Decrease,
    Increase,
    Operation,
    RemoveLiquidity,
    SignedOperation,
    signing_message,
)
from protocol.pool.order import OrderDatum, OrderFlag, OrderKind
from protocol.pool.pool import Pool
from protocol.pool.position import PositionDatum, Side
from protocol.units import U64_MAX

USDC: Final = 1_000_000
PATIENCE_S: Final = 86_400
"""How long an operation may wait."""
FEE_BPS: Final = 30
PROVIDERS: Final = {"alice": 400_000, "bert": 250_000, "clara": 150_000}
"""Whole USDC that they put in."""
LEAVES: Final = ("clara", 0.8)
"""Who takes half of its shares out again, and when: a part of the day."""
TRADERS: Final = (
    "bob", "dora", "emil", "fay", "gus", "hana", "ivan", "judy", "kurt", "lena",
)  # fmt: skip


@dataclass(slots=True)
class Person:
    """An owner. ``boldness`` scales leverage and how often it acts."""

    name: str
    key: SecretKey
    rng: random.Random
    boldness: float
    _signed: int = field(default=0)

    @property
    def owner(self) -> bytes:
        """Its x-only key."""
        return self.key.public

    def sign(self, pool: Pool, kind: type[Operation], **fields: Any) -> SignedOperation:
        """Its next operation; several in one batch have nonces one after the other."""
        nonce = pool.account(self.owner).nonce + self._signed
        made: Any = kind
        deadline = pool.vault.time + PATIENCE_S if pool.vault.time else U64_MAX
        operation: Operation = made(owner=self.owner, nonce=nonce, deadline=deadline, **fields)
        self._signed += 1
        signature = self.key.sign(signing_message(pool.pool_id, operation), bytes(32))
        return SignedOperation(operation, signature)

    def begin(self) -> None:
        """A new batch: what was signed before is in the pool's account of it."""
        self._signed = 0


def people(seed: int) -> tuple[list[Person], list[Person]]:
    """(providers, traders)."""
    return (
        [_person(seed, name, 1.0) for name in PROVIDERS],
        [_person(seed, name, 0.5 + place / len(TRADERS)) for place, name in enumerate(TRADERS)],
    )


def _person(seed: int, name: str, boldness: float) -> Person:
    secret = sha256(b"pool demo %d %s" % (seed, name.encode())).digest()
    return Person(name, SecretKey(secret), random.Random(f"{seed} {name}"), boldness)


def provide(pool: Pool, person: Person, step: int, steps: int) -> Iterator[SignedOperation]:
    """What a provider does in this step of the day, from 1 on."""
    person.begin()
    name, part = LEAVES
    if step == 1:
        yield person.sign(pool, AddLiquidity, amount=PROVIDERS[person.name] * USDC)
    elif person.name == name and step == int(part * steps):
        yield person.sign(pool, RemoveLiquidity, glp=pool.account(person.owner).glp // 2)


def trade(pool: Pool, person: Person) -> Iterator[SignedOperation]:
    """What a trader does now: at most two operations."""
    person.begin()
    rng = person.rng
    if rng.random() > 0.6 + 0.4 * person.boldness:
        return
    mine = [found for found in pool.open_positions() if found.owner == person.owner]
    orders = [found for found in pool.open_orders() if found.owner == person.owner]
    for _ in range(rng.choice((1, 1, 1, 2))):
        if orders and rng.random() < 0.2:
            yield _cancel(pool, person, orders.pop())
        elif mine and rng.random() < 0.45:
            yield _change(pool, person, mine.pop(rng.randrange(len(mine))))
        else:
            yield _open(pool, person)


def _open(pool: Pool, person: Person) -> SignedOperation:
    """A new position or more of one: at once, or by an order."""
    rng = person.rng
    token = rng.choice([*pool.tokens])
    side = int(rng.random() < (0.35 if token == 1 else 0.55))
    collateral = rng.randrange(4, 60) * 100 * USDC
    size = int(collateral * rng.uniform(2.0, 5.0 + 12.0 * min(person.boldness, 1.0)))
    deposit = collateral + -(-size * FEE_BPS // 10_000)
    price = pool.quotes[token].price if pool.quotes else 0
    fields = {"token": token, "side": side, "deposit": deposit, "size": size}
    worst = price * (10_300 if side == Side.LONG else 9_700) // 10_000
    if not price or rng.random() < 0.6:
        anything = U64_MAX if side == Side.LONG else 0
        return person.sign(pool, Increase, **fields, acceptable_price=worst if price else anything)
    if rng.random() < 0.5:
        kind, trigger = OrderKind.MARKET, 0
    else:
        kind, away = OrderKind.LIMIT, rng.uniform(0.001, 0.008)
        trigger = int(price * (1 - away if side == Side.LONG else 1 + away))
    return person.sign(
        pool, CreateOrder, **fields, order_kind=int(kind), trigger_price=trigger,
        acceptable_price=worst,
    )  # fmt: skip


def _change(pool: Pool, person: Person, found: PositionDatum) -> SignedOperation:
    """Closes a position or half of it, or protects it by a stop or a take-profit."""
    rng = person.rng
    price = pool.quotes[found.token].price
    is_long = found.side == Side.LONG
    anything = 0 if is_long else U64_MAX
    fields: dict[str, Any] = {"token": found.token, "side": found.side}
    if rng.random() < 0.5:
        size = found.size if rng.random() < 0.6 else found.size // 2
        return person.sign(pool, Decrease, **fields, size=size, acceptable_price=anything)
    is_stop = rng.random() < 0.5
    away = rng.uniform(0.004, 0.02) * (-1 if is_stop == is_long else 1)
    kind = OrderKind.STOP if is_stop else OrderKind.TAKE_PROFIT
    return person.sign(
        pool, CreateOrder, **fields, order_kind=int(kind), size=found.size,
        flags=int(OrderFlag.DECREASE | OrderFlag.REDUCE_ONLY),
        trigger_price=int(price * (1 + away)), acceptable_price=anything,
    )  # fmt: skip


def _cancel(pool: Pool, person: Person, order: OrderDatum) -> SignedOperation:
    return person.sign(pool, CancelOrder, order_nonce=order.nonce)
