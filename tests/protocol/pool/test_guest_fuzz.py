"""The guest against a prover that breaks the rules and makes everything else consistent.

A crooked prover runs a transition of its own, and every root, code and payment of its claim follows
from it: only the rule itself is broken. Then noise on whole inputs: flipped bits, swapped and
repeated pieces, other batches spliced in. The guest halts with 0 on right claims and nothing else.
"""

from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from random import Random

import pytest

from protocol.errors import EncodingError
from protocol.pool.draft import Accepted
from protocol.pool.operation import (
    AddLiquidity,
    CloseAtCap,
    CreateOrder,
    Decrease,
    FillOrder,
    Increase,
    Liquidate,
    RemoveLiquidity,
    SignedOperation,
)
from protocol.pool.order import OrderKind
from protocol.pool.reject import RejectCode
from protocol.pool.witness import Witness
from tests.builders.pool import (
    ADA,
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    FOREVER,
    LONG,
    LP,
    MALLORY,
    SHORT,
    USDC,
    owner_of,
)
from tests.builders.pool_crooks import CROOKED
from tests.builders.pool_guest import GuestPool, exit_code
from tests.builders.pool_random import WIDE_TERMS, WIDE_TOKEN, RandomOperations


def opening(guest: GuestPool, user: int, token: int, side: int, **changes: int) -> SignedOperation:
    fields = {"deposit": 1_500 * USDC, "size": 12_000 * USDC, **changes}
    worst = FOREVER if side == LONG else 0
    head = guest.head(user)
    return guest.signed(
        Increase(**head, token=token, side=side, acceptable_price=worst, **fields), user
    )


@lru_cache(maxsize=1)
def stage() -> GuestPool:
    """Three positions, an order that is not due, and prices that have moved since."""
    guest = GuestPool(token=WIDE_TOKEN, pool=WIDE_TERMS)
    first = AddLiquidity(**guest.head(LP), amount=100_000 * USDC)
    guest.prove([guest.signed(first, LP)])
    limit = CreateOrder(
        **guest.head(MALLORY),
        token=BTC,
        side=LONG,
        order_kind=int(OrderKind.LIMIT),
        deposit=1_000 * USDC,
        size=9_000 * USDC,
        trigger_price=1,
        acceptable_price=FOREVER,
    )
    operations = [
        opening(guest, ALICE, BTC, LONG),
        opening(guest, BOB, ETH, SHORT),
        opening(guest, CAROL, ADA, LONG),
        guest.signed(limit, MALLORY),
    ]
    assert all(isinstance(result, Accepted) for result in guest.prove(operations).results)
    guest.prices[BTC] = guest.prices[BTC] * 1_013 // 1_000 + 1
    guest.prices[ETH] = guest.prices[ETH] * 1_007 // 1_000 + 1
    return guest


def temptations(guest: GuestPool) -> list[SignedOperation]:
    """What the rules allow, and what a thief would like them to."""

    def decrease(
        user: int, token: int, side: int, ahead: int = 0, **changes: int
    ) -> SignedOperation:
        worst = 0 if side == LONG else FOREVER
        fields = {"size": 5_000_000_001, "acceptable_price": worst, **changes}
        head = guest.head(user, ahead)
        return guest.signed(Decrease(**head, token=token, side=side, **fields), user)

    stale = guest.head(LP) | {"deadline": 1}
    nobody = {"owner": owner_of(CAROL)}
    forged = Decrease(
        **guest.head(CAROL), token=ADA, side=LONG, size=12_000 * USDC, acceptable_price=0
    )
    return [
        guest.signed(forged, MALLORY),
        guest.signed(AddLiquidity(**stale, amount=USDC), LP),
        decrease(ALICE, BTC, LONG),
        decrease(ALICE, BTC, LONG, ahead=0, size=7),
        decrease(BOB, ETH, SHORT, collateral=3 * USDC),
        opening(guest, 5, BTC, LONG, deposit=100 * USDC, size=90_000 * USDC),
        opening(guest, 5, ADA, SHORT, deposit=60_000 * USDC, size=600_000 * USDC),
        opening(guest, 5, ETH, LONG, deposit=700 * USDC, size=4_000 * USDC),
        SignedOperation(Liquidate(**nobody, token=ADA, side=LONG)),
        SignedOperation(CloseAtCap(**nobody, token=ADA, side=LONG)),
        SignedOperation(FillOrder(owner=owner_of(MALLORY), order_nonce=0)),
        decrease(CAROL, ADA, LONG, collateral=1_250 * USDC, size=1),
        guest.signed(RemoveLiquidity(**guest.head(LP), glp=98_000 * USDC), LP),
        guest.signed(RemoveLiquidity(**guest.head(LP), glp=20_000 * USDC), LP),
    ]


def claim(seconds: int = 30_000) -> Witness:
    """The claim of whoever runs the transition as it is now."""
    guest = deepcopy(stage())
    return guest.witness(temptations(guest), seconds)[1]


def test_the_honest_prover():
    assert exit_code(stage().terms, claim().encode())[0] == 0


@pytest.mark.parametrize("name", CROOKED)
def test_a_crooked_prover(name, monkeypatch):
    honest = claim().encode()
    module, attribute, rule = CROOKED[name]
    monkeypatch.setattr(module, attribute, rule)
    lie = claim().encode()
    assert lie != honest, "the crooked rule changes nothing here: the test is blunt"
    assert exit_code(stage().terms, lie)[0] != 0


# Corners of the rules, in Python and in the guest


def codes_of(guest: GuestPool, *operations: SignedOperation, seconds: int = 1) -> list[int]:
    """What became of each operation, 0 or its code; the guest must agree."""
    results = guest.prove(operations, seconds).results
    return [0 if isinstance(r, Accepted) else int(r.code) for r in results]


def of(kind: type[Liquidate | CloseAtCap], user: int, token: int, side: int) -> SignedOperation:
    return SignedOperation(kind(owner=owner_of(user), token=token, side=side))


def test_a_winner_at_its_cap_in_the_guest():
    """It cannot grow, it is minted against at no more than its reserve, and anybody closes it."""
    guest = GuestPool()
    first = AddLiquidity(**guest.head(LP), amount=100_000 * USDC)
    assert codes_of(guest, guest.signed(first, LP)) == [0]
    small, large = {"deposit": 1_150 * USDC, "size": 40_000 * USDC}, {"deposit": 30_000 * USDC}
    opened = [opening(guest, ALICE, BTC, LONG, **small), opening(guest, BOB, ETH, LONG, **large)]
    opened.append(opening(guest, CAROL, ADA, SHORT, **small))
    assert codes_of(guest, *opened[:2]) == [0, RejectCode.SIZE_BELOW_COLLATERAL]
    opened[1] = opening(guest, BOB, ETH, LONG, deposit=30_180 * USDC, size=60_000 * USDC)
    assert codes_of(guest, *opened[1:]) == [0, 0]
    guest.prices[BTC] = guest.prices[BTC] * 13 // 10
    guest.prices[ETH] = guest.prices[ETH] * 6 // 10
    guest.prices[ADA] = guest.prices[ADA] * 7 // 10
    mint = AddLiquidity(**guest.head(BOB), amount=10_000 * USDC)
    more = [opening(guest, user, *at, **small) for user, at in WINNERS]
    close = [of(CloseAtCap, user, *at) for user, at in WINNERS]
    at_cap = [RejectCode.AT_CAP, RejectCode.AT_CAP]
    assert codes_of(guest, guest.signed(mint, BOB), *more, *close) == [0, *at_cap, 0, 0]


WINNERS = ((ALICE, (BTC, LONG)), (CAROL, (ADA, SHORT)))


@pytest.mark.parametrize("percent", [97, 100, 104, 106])
def test_funding_beyond_the_collateral_in_the_guest(percent):
    """Arrears come out of the profit, and what a position receives pays what it owes."""
    guest = GuestPool(
        token={"funding_ppm": 1_000_000, "borrow_ppm": 300_000, "max_profit_bps": 90_000},
        pool={"max_rate_ppm": 1_000_000, "insurance_fee_share_bps": 5_000, "lp_fee_share_bps": 0},
    )
    first = AddLiquidity(**guest.head(LP), amount=100_000 * USDC)
    assert codes_of(guest, guest.signed(first, LP)) == [0]
    long = opening(guest, ALICE, BTC, LONG, deposit=1_060 * USDC, size=20_000 * USDC)
    short = opening(guest, BOB, BTC, SHORT, deposit=130 * USDC, size=1_000 * USDC)
    assert codes_of(guest, long, short) == [0, 0]
    guest.prices[BTC] = guest.prices[BTC] * percent // 100
    closed = [of(Liquidate, ALICE, BTC, LONG), of(Liquidate, BOB, BTC, SHORT)]
    assert codes_of(guest, *closed, seconds=28_800)[0] == 0


# Noise


def mutated(data: bytes, other: bytes, random: Random) -> bytes:
    """One of several kinds of damage to an input; ``other`` is a right input of another batch."""
    kind, at = random.randrange(7), random.randrange(len(data))
    if kind == 0:
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + random.randbytes(4) + data[at + 4 :]
    if kind == 2:
        return data[: at // 4 * 4]
    if kind == 3:
        return data[:at] + other[at : at + random.choice((8, 32, 116))] + data[at + 116 :]
    size = random.choice((4, 32, 36, 116, 120))
    to = random.randrange(len(data))
    first, second = sorted((at, to))
    if kind == 4:
        return data[:to] + data[at : at + size] + data[to + size :]
    if kind == 5:
        one, two = data[first : first + size], data[second : second + size]
        return data[:first] + two + data[first + size : second] + one + data[second + size :]
    return data[:at] + data[at : at + size] + data[at:]


def says_the_same(bad: bytes, right: Witness) -> bool:
    """Whether a damaged input is only another opening of the same trees for the same claim, batch
    and state: a bucket that no operation came to need may be shown, or another empty one."""
    try:
        found = Witness.decode(bad)
    except EncodingError:
        return False
    return replace(found, positions=right.positions, accounts=right.accounts) == right


def fuzz(seed: int, count: int) -> int:
    """Damaged inputs of a random batch; how many the guest refused."""
    guest = GuestPool(token=WIDE_TOKEN, pool=WIDE_TERMS)
    source, random = RandomOperations(guest, seed), Random(seed)
    first = guest.signed(AddLiquidity(**guest.head(LP), amount=100_000 * USDC), LP)
    other = guest.witness([first])[1].encode()
    for _ in range(3):
        seconds = source.move()
        other = guest.witness(source.batch(6, seconds), seconds)[1].encode()
    seconds = source.move()
    right = guest.witness(source.batch(4, seconds), seconds)[1]
    data, refused = right.encode(), 0
    assert exit_code(guest.terms, data)[0] == 0
    for _ in range(count):
        bad = mutated(data, other, random)
        if exit_code(guest.terms, bad)[0]:
            refused += 1
        else:
            assert bad == data or says_the_same(bad, right)
    return refused


def test_damaged_inputs():
    assert fuzz(1, 60) > 40


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_damaged_inputs():
    assert sum(fuzz(seed, 400) for seed in range(2, 12)) > 3_500
