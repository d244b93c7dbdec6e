"""A pool that holds sats: none appears or is lost, and below what it owes it pays pro rata."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.pool.batch import Batch, BatchResult, Deposit, run_batch
from protocol.pool.draft import Accepted
from protocol.pool.operation import AddLiquidity, Decrease, Increase, Operation, RemoveLiquidity
from protocol.pool.prices import BatchPrices
from protocol.pool.reject import RejectCode
from tests.builders.pool import (
    ALICE,
    BOB,
    BTC,
    E8,
    FOREVER,
    LONG,
    LP,
    MALLORY,
    USDC,
    World,
    code,
    owner_of,
    sign,
)

COIN = 10**8


class Vaulted:
    """A backed pool. ``batch`` runs operations of users under deposits of sats."""

    def __init__(self) -> None:
        self.world = World(liquidity=0, pool={"backed": True, "btc_token": BTC})
        self.world.cash = 0
        self.outpoints = 0

    def head(self, user: int) -> dict[str, object]:
        return self.world.head(user)

    def batch(
        self, btc: int, *operations: tuple[int, Operation], sats: dict[int, int] | None = None
    ) -> BatchResult:
        """Conservation is checked: what came in is in the vault, or has left."""
        world, before = self.world, self.world.pool.vault.vault_sats
        world.now += 60
        world.prices[BTC] = btc * E8
        signed = [sign(operation, world.pool.pool_id, user) for user, operation in operations]
        brought = []
        for user, amount in (sats or {}).items():
            self.outpoints += 1
            outpoint = self.outpoints.to_bytes(32) + bytes(4)
            brought.append(Deposit(outpoint, owner_of(user), amount))
        prices = BatchPrices.plain(world.now, world.prices)
        result = run_batch(world.pool, Batch(prices, signed, brought))
        paid = sum(payment.sats for payment in result.payments)
        vault = world.pool.vault
        assert before + sum(d.sats for d in brought) == vault.vault_sats + paid
        assert all(payment.sats > 0 for payment in result.payments)
        assert all(a.owner < b.owner for a, b in pairwise(result.payments))
        return result

    def paid(self, result: BatchResult, user: int) -> int:
        return sum(p.sats for p in result.payments if p.owner == owner_of(user))

    @property
    def is_close_only(self) -> bool:
        return bool(self.world.pool.vault.flags & 2)

    def add(self, user: int, amount: int) -> tuple[int, Operation]:
        return user, AddLiquidity(**self.world.head(user), amount=amount)

    def remove(self, user: int, glp: int) -> tuple[int, Operation]:
        return user, RemoveLiquidity(**self.world.head(user), glp=glp)

    def increase(self, user: int, deposit: int, size: int) -> tuple[int, Operation]:
        fields = {"token": BTC, "side": LONG, "deposit": deposit, "size": size}
        return user, Increase(**self.world.head(user), **fields, acceptable_price=FOREVER)

    def decrease(self, user: int, size: int) -> tuple[int, Operation]:
        fields = {"token": BTC, "side": LONG, "size": size}
        return user, Decrease(**self.world.head(user), **fields, acceptable_price=0)


def test_a_deposit_pays_and_its_excess_comes_back():
    vaulted = Vaulted()
    result = vaulted.batch(40_000, vaulted.add(LP, 30_000 * USDC), sats={LP: COIN})
    assert isinstance(result.results[0], Accepted)
    assert vaulted.world.pool.vault.vault_sats == COIN * 3 // 4
    assert vaulted.paid(result, LP) == COIN // 4


def test_nobody_pays_with_another_s_deposit():
    vaulted = Vaulted()
    result = vaulted.batch(40_000, vaulted.add(MALLORY, 30_000 * USDC), sats={LP: COIN})
    assert code(result.results[0]) == RejectCode.DEPOSIT
    assert vaulted.paid(result, LP) == COIN and not vaulted.paid(result, MALLORY)


def test_a_deposit_pays_once():
    vaulted = Vaulted()
    user, first = vaulted.add(LP, 30_000 * USDC)
    head = vaulted.head(LP) | {"nonce": 1}
    second = AddLiquidity(**head, amount=30_000 * USDC)
    result = vaulted.batch(40_000, (user, first), (LP, second), sats={LP: COIN})
    assert isinstance(result.results[0], Accepted)
    assert code(result.results[1]) == RejectCode.DEPOSIT


def test_below_its_debts_a_pool_pays_everybody_alike():
    """BTC falls by half: two LPs leave in one batch, a third tries to come, and one that waits gets
    the same part of what is left."""
    vaulted = Vaulted()
    sats = {LP: COIN, ALICE: COIN, BOB: COIN}
    adds = [vaulted.add(user, 40_000 * USDC) for user in (LP, ALICE, BOB)]
    vaulted.batch(40_000, *adds, sats=sats)
    glp = {user: vaulted.world.glp(user) for user in (LP, ALICE, BOB)}
    result = vaulted.batch(
        20_000,
        vaulted.remove(LP, glp[LP]),
        vaulted.remove(ALICE, glp[ALICE]),
        vaulted.add(MALLORY, 1_000 * USDC),
        sats={MALLORY: COIN},
    )
    assert vaulted.is_close_only
    assert code(result.results[2]) == RejectCode.CLOSE_ONLY
    assert vaulted.paid(result, MALLORY) == COIN
    for user in (LP, ALICE):
        assert 0 <= COIN - vaulted.paid(result, user) <= 10
    last = vaulted.batch(20_000, vaulted.remove(BOB, glp[BOB]))
    assert abs(COIN - vaulted.paid(last, BOB)) <= 20


def test_close_only_ends_when_the_price_is_back():
    vaulted = Vaulted()
    vaulted.batch(40_000, vaulted.add(LP, 40_000 * USDC), sats={LP: COIN})
    vaulted.batch(39_000)
    assert vaulted.is_close_only
    refused = vaulted.batch(39_000, vaulted.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    assert code(refused.results[0]) == RejectCode.CLOSE_ONLY
    vaulted.batch(40_000)
    assert not vaulted.is_close_only


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 10**10), st.integers(0, 10**8)), max_size=12
    ),
    st.lists(st.integers(20_000, 80_000), min_size=1, max_size=4),
)
def test_what_is_paid_is_never_more_than_there_is(actions, prices):
    """Random batches at prices that halve and double: ``batch`` counts every satoshi, and whoever
    has been paid was owed it."""
    vaulted = Vaulted()
    vaulted.batch(40_000, vaulted.add(LP, 40_000 * USDC), sats={LP: COIN})
    for round_, price in enumerate(prices):
        operations, sats, seen = [], {}, set()
        for kind, amount, brought in actions[round_ :: len(prices)]:
            user = kind % 3 + ALICE
            if user in seen:
                continue
            seen.add(user)
            sats[user] = brought + 1
            position = vaulted.world.pool.position(owner_of(user), BTC, LONG)
            if position:
                operations.append(vaulted.decrease(user, min(amount, position.size)))
            elif kind < 2:
                operations.append(vaulted.add(user, amount))
            else:
                operations.append(vaulted.increase(user, amount, 3 * amount))
        result = vaulted.batch(price, *operations, sats=sats)
        low = vaulted.world.pool.quotes[BTC].min_price
        for payment in result.payments:
            owed = sum(
                r.outflow
                for r, (user, _) in zip(result.results, operations, strict=True)
                if isinstance(r, Accepted) and owner_of(user) == payment.owner
            )
            brought = sum(s for user, s in sats.items() if owner_of(user) == payment.owner)
            assert payment.sats <= brought + owed * 10**10 // low
