"""Orders, contracts, exercise and what the parties say."""

from dataclasses import replace

import pytest

from protocol.errors import TermsError
from protocol.options.book import (
    CLOSING_MS,
    Book,
    Contract,
    Order,
    Side,
    Stage,
    require_in_time,
)
from protocol.options.instrument import parse_instrument
from protocol.units import E8, PriceE8, Round, Sats, UnixMs

NOW = UnixMs(1_795_255_200_000)
BOOK = Book({})


def order(name="BTC-25DEC26-60000-C", quantity=E8, collateral=None, most=10**7):
    return Order(
        instrument=parse_instrument(name),
        quantity_sats=Sats(quantity),
        collateral_sats=Sats(quantity if collateral is None else collateral),
        max_premium_sats=Sats(most),
    )


def contract(name="BTC-25DEC26-60000-C", **changes) -> Contract:
    placed = BOOK.place(order(name), Sats(5), Round(7), PriceE8(61_000 * E8), NOW)
    return replace(placed, **changes)


def test_an_order_becomes_a_contract():
    placed = BOOK.place(order(), Sats(10**7), Round(7), PriceE8(61_000 * E8), NOW)
    assert (placed.id, placed.stage, placed.premium_sats) == (1, Stage.ORDERED, 10**7)
    book = BOOK.after(placed)
    assert BOOK.contracts == {}
    assert book.contracts == {1: placed}
    assert book.place(order(), Sats(1), Round(8), PriceE8(1), NOW).id == 2


def test_an_order_costs_at_most_what_it_says():
    with pytest.raises(TermsError, match="it costs 10000001 now"):
        BOOK.place(order(), Sats(10**7 + 1), Round(7), PriceE8(1), NOW)


def test_orders_end_before_expiry():
    last = UnixMs(order().instrument.expiry_ms - CLOSING_MS)
    require_in_time(order(), last)
    with pytest.raises(TermsError, match="60 minutes before expiry"):
        require_in_time(order(), UnixMs(last + 1))
    require_in_time(order(), UnixMs(last + 1), CLOSING_MS - 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quantity": 200_000}, "collateral_sats 200000 is below 255000"),
        ({"collateral": E8 // 2}, "raise the collateral"),
        ({"collateral": 2 * E8}, "never pays more than its quantity"),
        ({"name": "BTC-25DEC26-60000-C-UO50000"}, "knocked out before it pays"),
    ],
)
def test_what_cannot_be_ordered(changes, says):
    with pytest.raises(TermsError, match=says):
        order(**changes)


def test_a_put_may_have_any_collateral():
    assert order("BTC-25DEC26-60000-P", collateral=3 * E8).collateral_sats == 3 * E8
    with pytest.raises(TermsError, match="never pays more"):
        order("BTC-25DEC26-60000-P-B", collateral=3 * E8)


@pytest.mark.parametrize(
    ("tail", "price", "is_out"),
    [
        ("C-UO80000", 79_999, False),
        ("C-UO80000", 80_000, True),
        ("P-DO40000", 40_001, False),
        ("P-DO40000", 40_000, True),
        ("C", 1_000_000, False),
    ],
)
def test_a_touched_barrier_is_remembered(tail, price, is_out):
    before = contract(f"BTC-25DEC26-60000-{tail}")
    after = before.seen(Round(9), PriceE8(price * E8))
    assert after.knocked_round == (9 if is_out else None)
    assert after.seen(Round(10), PriceE8(price * E8)) == after


def test_exercise_is_for_good():
    american = contract("BTC-25DEC26-60000-P-A", stage=Stage.OPEN)
    chosen = american.exercised(Round(120), Round(100), Round(200))
    assert chosen.exercise_round == 120
    assert chosen.exercised(Round(120), Round(150), Round(200)) == chosen
    with pytest.raises(TermsError, match="is exercised in round 120"):
        chosen.exercised(Round(130), Round(100), Round(200))


@pytest.mark.parametrize("round_id", [99, 200, 10**9])
def test_exercise_must_lie_between_a_minute_ahead_and_expiry(round_id):
    american = contract("BTC-25DEC26-60000-P-A", stage=Stage.OPEN)
    with pytest.raises(TermsError, match="from 100, a minute ahead, to 199"):
        american.exercised(Round(round_id), Round(100), Round(200))


def test_what_is_not_exercised():
    with pytest.raises(TermsError, match="European"):
        contract(stage=Stage.OPEN).exercised(Round(120), Round(100), Round(200))
    with pytest.raises(TermsError, match="is ordered: only an open one"):
        contract("BTC-25DEC26-60000-P-A").exercised(Round(120), Round(100), Round(200))


def test_the_party_that_knows_more_is_believed():
    sides = [
        Side(role="holder", stage=Stage.OFFERED, fault="no node answers"),
        Side(role="writer", stage=Stage.OPEN, contract_id="ab"),
    ]
    after = contract(stage=Stage.OFFERED).followed(sides)
    assert (after.stage, after.contract_id, after.fault) == (
        Stage.OPEN,
        "ab",
        "holder: no node answers",
    )
    assert after.followed([]) == after
    later = after.followed([Side(role="holder", stage=Stage.OFFERED)])
    assert (later.stage, later.contract_id, later.fault) == (Stage.OPEN, "ab", "")


def test_it_is_over_when_neither_has_anything_left_to_do():
    done = Side(role="holder", stage=Stage.CLOSED, outcome="CLOSE")
    sweeping = Side(role="writer", stage=Stage.SETTLING, outcome="CLOSE")
    after = contract(stage=Stage.OPEN).followed([done, sweeping])
    assert (after.stage, after.outcome) == (Stage.SETTLING, "CLOSE")
    assert after.followed([done, replace(sweeping, stage=Stage.CLOSED)]).stage is Stage.CLOSED


def test_why_it_failed_is_kept():
    poor = contract(stage=Stage.OFFERED).followed(
        [Side(role="holder", stage=Stage.OFFERED, fault="no coins")]
    )
    assert poor.followed([Side(role="holder", stage=Stage.FAILED)]).fault == "holder: no coins"


def test_what_is_over_stays():
    over = contract(stage=Stage.CLOSED, outcome="CLOSE")
    assert over.followed([Side(role="holder", stage=Stage.DISPUTED)]) == over
    assert over.stage.is_over
    assert not Stage.DISPUTED.is_over
