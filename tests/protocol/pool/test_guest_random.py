"""Random batches in Python and in the guest: the same roots, codes and payments, or no HALT."""

from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.pool.draft import Rejected
from protocol.pool.operation import AddLiquidity
from tests.builders.pool import BTC, LP, USDC
from tests.builders.pool_guest import GuestPool
from tests.builders.pool_random import WIDE_TERMS, WIDE_TOKEN, RandomOperations

SEEDS = st.integers(0, 2**32 - 1)


def funded(**pool: object) -> GuestPool:
    """A pool with every parameter in play and 100,000 USDC of an LP."""
    guest = GuestPool(token=WIDE_TOKEN, pool={**WIDE_TERMS, **pool})
    first = AddLiquidity(**guest.head(LP), amount=100_000 * USDC)
    guest.witness([guest.signed(first, LP)])
    return guest


def run(seed: int, batches: int, operations: int) -> Counter[int]:
    """Every batch must halt with 0 in the guest; how often each code came."""
    guest = funded()
    source, codes = RandomOperations(guest, seed), Counter[int]()
    for _ in range(batches):
        seconds = source.move()
        result = guest.prove(source.batch(operations, seconds), seconds)
        codes.update(r.code if isinstance(r, Rejected) else 0 for r in result.results)
    return codes


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_random_batches_are_pythons(seed: int) -> None:
    run(seed, batches=6, operations=8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_random_batches_are_pythons() -> None:
    codes = sum((run(seed, batches=20, operations=10) for seed in range(25)), Counter())
    assert len(codes) > 20, codes


@settings(max_examples=2, deadline=None)
@given(SEEDS)
def test_every_prefix_of_a_batch_leads_to_the_same_root(seed: int) -> None:
    guest = funded()
    source = RandomOperations(guest, seed)
    guest.prove(source.batch(12, 60), 60)
    seconds = source.move()
    operations = source.batch(8, seconds)
    for end in range(len(operations) + 1):
        deepcopy(guest).prove(operations[:end], seconds)


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_payments_of_a_backed_pool_are_pythons(seed: int) -> None:
    guest = GuestPool(token=WIDE_TOKEN, pool={**WIDE_TERMS, "backed": True, "btc_token": BTC})
    source = RandomOperations(guest, seed)
    paid = 0
    for count in (6, 3, 3, 0, 2):
        seconds = source.move()
        deposits = source.deposits(count)
        result = guest.prove(source.batch(6, seconds), seconds, deposits)
        paid += len(result.payments)
    assert paid
