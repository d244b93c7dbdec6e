"""Layouts: sizes, round trips, and every byte that has only one reading."""

from dataclasses import replace
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError
from protocol.pool import operation as ops
from protocol.pool.account import AccountDatum
from protocol.pool.batch import Deposit, Journal
from protocol.pool.layout import AMOUNT_MAX, PRICE_MAX
from protocol.pool.order import OrderDatum, OrderFlag, OrderKind
from protocol.pool.params import FULL_RESERVE, PoolParams, TokenParams
from protocol.pool.position import PositionDatum
from protocol.pool.state import TokenState, VaultDatum
from protocol.units import U32_MAX, U64_MAX

OWNER = bytes(range(32))
U64 = st.integers(0, U64_MAX)
AMOUNT = st.integers(0, AMOUNT_MAX)
KEY = st.binary(min_size=32, max_size=32)

VAULT = VaultDatum(3, 4, *range(5, 14), *(bytes([n]) * 32 for n in range(5)), 14, 15)
TOKEN = TokenState(7, 3, *range(1, 7), -8, 8, 9, -(2**100), 2**100, 12, 13, 14)
POSITION = PositionDatum(OWNER, 7, 1, 2, *range(3, 7), -7, *range(8, 11))
ORDER = OrderDatum(OWNER, 5, 7, OrderKind.STOP, 1, 0, 100, 200, 0, *range(4, 8))
ACCOUNT = AccountDatum(OWNER, 1, 2, 3)
PARAMS = TokenParams(qty_exp=13, max_utilization_bps=8_000, funding_ppm=4_000)
TERMS = PoolParams(feeds=((1, OWNER), (9, bytes(32))), backed=True, btc_token=9)
SIZES = [
    (VAULT, 256),
    (TOKEN, 136),
    (POSITION, 112),
    (ORDER, 112),
    (ACCOUNT, 56),
    (PARAMS, 64),
    (TERMS, 1_416),
    (Deposit(bytes(36), OWNER, 5), 76),
    (Journal(*(bytes([n]) * 32 for n in range(5)), 9), 168),
]


@pytest.mark.parametrize(("datum", "size"), SIZES, ids=lambda value: type(value).__name__)
def test_every_layout_has_one_size_and_comes_back(datum, size):
    data = datum.encode()
    assert len(data) == size
    assert type(datum).decode(data) == datum
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(EncodingError):
            type(datum).decode(wrong)


def test_fields_are_where_the_layout_says():
    """docs/pool.md, "State": little-endian, natural alignment."""
    assert VAULT.encode()[:24] == pack("<HHIQQ", 1, 3, 4, 5, 6)
    assert VAULT.encode()[240:] == pack("<QQ", 14, 15)
    assert TOKEN.encode()[56:72] == pack("<qq", -8, 8)
    assert TOKEN.encode()[80:96] == (-(2**100)).to_bytes(16, "little", signed=True)
    assert POSITION.encode()[32:48] == pack("<IBBHII", 7, 1, 0, 0, 2, 0)
    assert POSITION.encode()[80:88] == pack("<q", -7)
    assert PARAMS.encode()[:16] == pack("<BBHHHHHI", 8, 13, 8_000, 30, 0, 0, 0, 500_000)
    assert TERMS.encode()[136:176] == pack("<II", 1, 0) + OWNER


@pytest.mark.parametrize(
    ("datum", "at"),
    [
        (VAULT, 0),  # version
        (VAULT, 4),  # flags
        (TOKEN, 4),
        (POSITION, 36),  # side
        (POSITION, 37),  # flags
        *((POSITION, at) for at in (38, 39, 44, 47)),  # padding
        (ORDER, 44),  # kind
        (ORDER, 46),  # flags
        *((ORDER, at) for at in (47, 104, 111)),
        *((PARAMS, at) for at in (10, 11, 28, 31)),
        *((TERMS, at) for at in (0, 4, 140, 216, 1_415)),
    ],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
def test_no_byte_is_ignored(datum, at):
    """Versions, flags and padding: nothing but what is specified."""
    data = bytearray(datum.encode())
    data[at] ^= 0xF0
    with pytest.raises(EncodingError):
        type(datum).decode(bytes(data))


def test_a_position_is_named_by_owner_token_and_side():
    again = replace(POSITION, nonce=3, size=1)
    assert POSITION.key == again.key
    assert POSITION.id != again.id
    assert replace(POSITION, side=0).key != POSITION.key
    assert replace(POSITION, token=8).key != POSITION.key


@pytest.mark.parametrize(
    "changes",
    [
        {"max_utilization_bps": 10_001},
        {"fee_bps": 1_001},
        {"max_leverage_bps": 9_999},
        {"max_leverage_bps": 10_000_001},
        {"max_profit_bps": 0},
        {"max_profit_bps": FULL_RESERVE - 1},
        {"qty_exp": 17},
        {"price_exp": 0, "qty_exp": 5},
        {"min_collateral": 0},
        {"oi_cap_long": AMOUNT_MAX + 1},
        {"funding_ppm": 1_000_001},
    ],
    ids=str,
)
def test_token_parameters_have_bounds(changes):
    with pytest.raises(EncodingError, match=next(iter(changes))):
        replace(PARAMS, **changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"feeds": ()}, "feeds"),
        ({"feeds": ((2, OWNER), (1, OWNER))}, "ascend"),
        ({"feeds": ((0, OWNER),)}, "above 0"),
        ({"lp_fee_share_bps": 6_000, "insurance_fee_share_bps": 4_001}, "exceed"),
        ({"btc_token": 3}, "btc_token"),
        ({"backed": False}, "btc_token"),
        ({"funding_interval_s": 60}, "funding_interval_s"),
        ({"global_cap_bps": 10_001}, "global_cap_bps"),
    ],
    ids=str,
)
def test_pool_parameters_have_bounds(changes, what):
    with pytest.raises(EncodingError, match=what):
        replace(TERMS, **changes)


def test_the_pool_s_id_is_of_all_its_terms():
    others = [
        replace(TERMS, cooldown_s=0),
        replace(TERMS, stable_id=OWNER),
        replace(TERMS, feeds=((1, OWNER), (9, OWNER))),
        replace(TERMS, orders_only=True),
    ]
    assert len({terms.pool_id for terms in (TERMS, *others)}) == 5


HEAD = st.fixed_dictionaries({"owner": KEY, "nonce": U64, "deadline": U64})
TRADE = st.fixed_dictionaries({"token": st.integers(0, U32_MAX), "side": st.sampled_from([0, 1])})
PRICE = st.integers(0, PRICE_MAX)


def _made(kind, *parts, **amounts):
    merged = st.tuples(*parts, st.fixed_dictionaries(amounts))
    return merged.map(lambda found: kind(**{k: v for part in found for k, v in part.items()}))


OWNED = st.fixed_dictionaries({"owner": KEY})
OPERATIONS = st.one_of(
    _made(ops.AddLiquidity, HEAD, amount=AMOUNT, min_glp=U64),
    _made(ops.RemoveLiquidity, HEAD, glp=U64, min_out=U64),
    _made(ops.Increase, HEAD, TRADE, deposit=AMOUNT, size=AMOUNT, acceptable_price=U64),
    _made(ops.Decrease, HEAD, TRADE, size=AMOUNT, collateral=AMOUNT, acceptable_price=U64),
    _made(ops.Liquidate, OWNED, TRADE),
    _made(ops.CloseAtCap, OWNED, TRADE),
    _made(
        ops.CreateOrder,
        HEAD,
        TRADE,
        order_kind=st.sampled_from([1, 2, 3]),
        deposit=AMOUNT,
        size=AMOUNT,
        trigger_price=PRICE,
        acceptable_price=U64,
        expiry=U64,
    ),
    _made(
        ops.CreateOrder,
        HEAD,
        TRADE,
        order_kind=st.sampled_from([1, 2, 3, 4]),
        flags=st.sampled_from([int(OrderFlag.DECREASE), 3]),
        size=AMOUNT,
        collateral=AMOUNT,
        trigger_price=PRICE,
        acceptable_price=U64,
    ),
    _made(ops.CancelOrder, HEAD, order_nonce=U64),
    _made(ops.FillOrder, OWNED, order_nonce=U64),
)


@settings(max_examples=50)
@given(OPERATIONS)
def test_an_operation_comes_back(operation):
    signature = bytes(64) if operation.is_signed else b""
    signed = ops.SignedOperation(operation, signature)
    data = signed.encode()
    assert ops.decode(data) == signed
    assert ops.decode_at(b"??" + data + b"!", 2) == (signed, 2 + len(data))
    assert len(data) == 56 + 8 * len(operation.amounts) + len(signature)
    for wrong in (data[:-1], data + b"\0"):
        with pytest.raises(EncodingError):
            ops.decode(wrong)


@settings(max_examples=50)
@given(OPERATIONS, st.integers(0, 55), st.integers(1, 255))
def test_no_two_bytes_are_one_operation(operation, at, change):
    """Whatever another byte of the head makes of it, it is not the same operation."""
    data = bytearray(ops.SignedOperation(operation, bytes(64 * operation.is_signed)).encode())
    data[at] ^= change
    try:
        other = ops.decode(bytes(data))
    except EncodingError:
        return
    assert other.operation != operation
    assert other.encode() == bytes(data)


INCREASE = ops.Increase(
    owner=OWNER, nonce=1, deadline=2, token=3, side=1, deposit=4, size=5, acceptable_price=6
)


def test_fields_of_an_operation_are_where_the_table_says():
    assert INCREASE.encode() == (
        pack("<BBBBI", 3, 1, 0, 0, 3) + OWNER + pack("<QQ", 1, 2) + pack("<QQQ", 4, 5, 6)
    )


@pytest.mark.parametrize("at", [2, 3])
def test_fields_that_an_operation_has_not_are_zero(at):
    data = bytearray(ops.SignedOperation(INCREASE, bytes(64)).encode())
    data[at] = 1
    with pytest.raises(EncodingError, match="must be zero"):
        ops.decode(bytes(data))


@pytest.mark.parametrize("kind", [0, 10, 255])
def test_unknown_operations(kind):
    data = bytearray(ops.SignedOperation(INCREASE, bytes(64)).encode())
    data[0] = kind
    with pytest.raises(EncodingError, match="unknown"):
        ops.decode(bytes(data))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"owner": b"short"}, "owner"),
        ({"side": 2}, "side"),
        ({"size": AMOUNT_MAX + 1}, "size"),
        ({"deposit": -1}, "deposit"),
        ({"token": 2**32}, "token"),
    ],
    ids=str,
)
def test_operations_have_bounds(changes, what):
    with pytest.raises(EncodingError, match=what):
        replace(INCREASE, **changes)


ORDER_TERMS = {
    "owner": OWNER,
    "nonce": 0,
    "deadline": 1,
    "token": 1,
    "side": 0,
    "order_kind": 2,
    "size": 1,
    "acceptable_price": 1,
}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"order_kind": 5}, "kind"),
        ({"flags": 4}, "flag"),
        ({"flags": 2}, "reduce_only"),
        ({"flags": 1, "deposit": 1}, "deposit"),
        ({"collateral": 1}, "collateral"),
        ({"order_kind": 4}, "take_profit"),
        ({"trigger_price": PRICE_MAX + 1}, "trigger_price"),
    ],
    ids=str,
)
def test_orders_that_mean_nothing(changes, what):
    with pytest.raises(EncodingError, match=what):
        ops.CreateOrder(**ORDER_TERMS | changes)


def test_a_signature_is_there_exactly_where_it_is_needed():
    with pytest.raises(EncodingError, match="signature"):
        ops.SignedOperation(INCREASE)
    with pytest.raises(EncodingError, match="signature"):
        ops.SignedOperation(ops.FillOrder(owner=OWNER, order_nonce=1), bytes(64))
