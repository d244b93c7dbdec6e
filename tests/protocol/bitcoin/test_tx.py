"""Builders, sizes and strict parsing."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.fees import (
    KEY_PATH_INPUT_WEIGHT,
    OVERHEAD_WEIGHT,
    fee_sats,
    output_weight,
)
from protocol.bitcoin.taproot import compact_size
from protocol.bitcoin.tx import (
    hash_hex,
    outpoint,
    outpoint_key,
    parse_hash,
    parse_tx,
    serialize,
    transaction,
    txid,
    txin,
    txout,
    vsize,
    vsize_with,
    weight,
    with_witness,
    without_witness,
    witness_stack,
    wtxid,
)
from protocol.errors import EncodingError, ScriptError

POINT = outpoint(b"\x01" * 32, 5)
TX = transaction([txin(POINT)], [txout(1_000, b"\x51")])
SIGNED = with_witness(TX, [[b"\x07" * 64, b""]])


def test_ids_against_bitcoinlib() -> None:
    assert txid(SIGNED) == txid(TX) == SIGNED.GetTxid()
    assert wtxid(SIGNED) == SIGNED.GetHash() != txid(SIGNED)
    assert wtxid(TX) == txid(TX)
    assert weight(SIGNED) == SIGNED.calc_weight()
    assert vsize(SIGNED) == -(-weight(SIGNED) // 4)
    assert without_witness(SIGNED) == TX
    assert witness_stack(SIGNED, 0) == (b"\x07" * 64, b"")
    assert witness_stack(TX, 0) == ()


@settings(max_examples=30)
@given(st.integers(1, 5), st.lists(st.integers(22, 42), min_size=1, max_size=5))
def test_weights_add_up(inputs: int, scripts: list[int]) -> None:
    tx = transaction(
        [txin(outpoint(b"\x01" * 32, n)) for n in range(inputs)],
        [txout(1, bytes(size)) for size in scripts],
    )
    signed = with_witness(tx, [[bytes(64)]] * inputs)
    outputs = sum(output_weight(bytes(size)) for size in scripts)
    assert weight(signed) == OVERHEAD_WEIGHT + inputs * KEY_PATH_INPUT_WEIGHT + outputs


@settings(max_examples=30)
@given(st.lists(st.lists(st.binary(max_size=300), max_size=4), min_size=1, max_size=3))
def test_a_size_is_known_before_the_witness(stacks: list[list[bytes]]) -> None:
    bare = transaction([txin(outpoint(b"\x01" * 32, n)) for n in range(len(stacks))], TX.vout)
    signed = with_witness(bare, stacks)
    sizes = [
        len(compact_size(len(stack))) + sum(len(compact_size(len(i))) + len(i) for i in stack)
        for stack in stacks
    ]
    if any(stacks):
        assert vsize_with(bare, sizes) == vsize(signed)


def test_fees_are_rounded_up() -> None:
    assert [fee_sats(weight_units, 2) for weight_units in (0, 1, 2, 3, 4)] == [0, 1, 1, 2, 2]


def test_parsing_is_the_inverse() -> None:
    for tx in (TX, SIGNED):
        assert parse_tx(serialize(tx)) == tx
    assert parse_tx(serialize(transaction(TX.vin, TX.vout, version=3))).nVersion == 3


def test_parsing_is_strict() -> None:
    raw, signed = serialize(TX), serialize(SIGNED)
    superfluous = signed[: -4 - 67] + b"\x00" + signed[-4:]
    overlong = raw[:4] + b"\xfd\x01\x00" + raw[5:]
    for wrong in (b"", raw[:-1], raw + b"\0", superfluous, overlong, bytes(10), b"\xff" * 40):
        with pytest.raises(EncodingError):
            parse_tx(wrong)


@settings(max_examples=60)
@given(st.integers(0, 200), st.binary(max_size=4))
def test_damaged_bytes_never_escape_as_something_else(at: int, patch: bytes) -> None:
    raw = serialize(SIGNED)
    at %= len(raw)
    damaged = raw[:at] + patch + raw[at + 1 :]
    with contextlib.suppress(EncodingError):
        assert serialize(parse_tx(damaged)) == damaged


def test_hashes_are_shown_reversed() -> None:
    digest = bytes(range(32))
    assert parse_hash(hash_hex(digest)) == digest
    assert hash_hex(digest).startswith("1f1e")
    for wrong in ("", "00", "zz" * 32, "00" * 33):
        with pytest.raises(EncodingError):
            parse_hash(wrong)


def test_refusals() -> None:
    for wrong in (
        lambda: outpoint(bytes(31), 0),
        lambda: outpoint(bytes(32), -1),
        lambda: outpoint(bytes(32), 2**32),
        lambda: txin(POINT, -1),
        lambda: txin(POINT, 2**32),
        lambda: txout(-1, b""),
        lambda: txout(21 * 10**14 + 1, b""),
        lambda: transaction([], [txout(1, b"")]),
        lambda: transaction([txin(POINT)], []),
        lambda: transaction([txin(POINT)], [txout(1, b"")], version=1),
        lambda: transaction([txin(POINT)], [txout(1, b"")], locktime=2**32),
        lambda: with_witness(TX, []),
    ):
        with pytest.raises(ScriptError):
            wrong()
    assert outpoint_key(POINT) == b"\x01" * 32 + b"\x05\0\0\0"
