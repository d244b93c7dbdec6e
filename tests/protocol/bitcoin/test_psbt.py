"""Transactions to a wallet and back: what it signed is taken, and nothing else is believed."""

import base64
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.psbt import (
    MAGIC,
    MAX_BYTES,
    Psbt,
    combine,
    encode_psbt,
    parse_psbt,
    signed_tx,
)
from protocol.bitcoin.tx import (
    MAX_MONEY_SATS,
    outpoint,
    serialize,
    transaction,
    txid,
    txin,
    txout,
    with_witness,
    witness_stack,
)
from protocol.crypto.hashes import hash160
from protocol.errors import EncodingError, ScriptError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "bip174" / "psbt.json").read_text())
KEY, OTHER = b"\x02" + bytes(32), b"\x03" + bytes(32)
P2TR, P2WPKH = b"\x51\x20" + bytes(32), b"\x00\x14" + hash160(KEY)
P2WSH = b"\x00\x20" + bytes(32)
TX = transaction([txin(outpoint(bytes([n]) * 32, n)) for n in (1, 2, 3)], [txout(5_000, P2TR)])
SPENT = (txout(1_000, P2TR), txout(2_000, P2WPKH), txout(3_000, P2TR))
ASKED = Psbt.unsigned(TX, SPENT)
ECDSA, SCHNORR = b"\x30" * 71, b"\x77" * 64
FINAL = b"\x02" + b"\x01\xaa" + b"\x02\xbb\xcc"


def psbt(*inputs: dict[bytes, bytes]) -> Psbt:
    """The PSBT of TX with these fields added to its inputs."""
    more = (*inputs, {}, {}, {})[:3]
    return replace(
        ASKED, inputs=tuple({**old, **new} for old, new in zip(ASKED.inputs, more, strict=True))
    )


def lone(fields: dict[bytes, bytes], script: bytes = P2TR) -> Psbt:
    """A PSBT with one input."""
    tx = transaction(TX.vin[:1], TX.vout)
    made = Psbt.unsigned(tx, [txout(1_000, script)])
    return replace(made, inputs=({**made.inputs[0], **fields},))


# The vectors of BIP174 and BIP371


@pytest.mark.parametrize(("text", "why"), [v[1:] for v in VECTORS["invalid"]])
def test_invalid_vectors_are_refused_with_the_map_and_the_field(text: str, why: str) -> None:
    with pytest.raises(EncodingError) as caught:
        parse_psbt(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(("text", "witness"), [v[1:] for v in VECTORS["valid"]])
def test_valid_vectors_come_out_as_they_came_in(text: str, witness: list[str]) -> None:
    decoded = parse_psbt(text)
    assert base64.b64encode(decoded.encode()).decode() == text
    assert parse_psbt(base64.b64decode(text)) == decoded
    assert [item.hex() for item in decoded.witness(0)] == witness


def test_combining_vectors_with_fields_that_nobody_knows() -> None:
    parts = [parse_psbt(text) for text in VECTORS["combine"]["psbts"]]
    for order in (parts, parts[::-1], parts * 2):
        whole = combine(order)
        assert base64.b64encode(whole.encode()).decode() == VECTORS["combine"]["result"]


# To the wallet


def test_what_a_wallet_gets_has_every_spent_output_and_nothing_else() -> None:
    witnessed = with_witness(TX, [[b"secret"], [], []])
    raw = base64.b64decode(encode_psbt(witnessed, SPENT))
    assert raw == ASKED.encode()
    assert raw.hex().startswith("70736274ff0100")
    decoded = Psbt.decode(raw)
    assert decoded.tx == TX
    assert tuple(decoded.spent(n) for n in range(3)) == SPENT
    assert [set(fields) for fields in decoded.inputs] == [{b"\x01"}] * 3
    assert decoded.fields == {}
    assert decoded.outputs == ({},)
    with pytest.raises(ScriptError, match="3 inputs spend 3 outputs, not 2"):
        Psbt.unsigned(TX, SPENT[:2])


# And back


def test_signatures_come_back_in_every_form_a_wallet_uses() -> None:
    signed = psbt({b"\x13": SCHNORR}, {b"\x02" + KEY: ECDSA}, {b"\x08": FINAL})
    assert signed == psbt({}, *signed.inputs[1:]).with_key_path_signature(0, SCHNORR)
    for form in (signed.encode(), base64.b64encode(signed.encode()).decode() + "\n"):
        tx = signed_tx(form, TX)
        stacks = [witness_stack(tx, n) for n in range(3)]
        assert stacks == [(SCHNORR,), (ECDSA, KEY), (b"\xaa", b"\xbb\xcc")]
        assert txid(tx) == txid(TX)


def test_a_final_witness_goes_before_signatures() -> None:
    for script, fields in ((P2TR, {b"\x13": SCHNORR}), (P2WPKH, {b"\x02" + KEY: ECDSA})):
        both = lone({**fields, b"\x08": FINAL}, script)
        assert both.witness(0) == (b"\xaa", b"\xbb\xcc")


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        (P2TR, {}),
        (P2TR, {b"\x02" + KEY: ECDSA}),
        (P2TR, {b"\x14" + bytes(64): SCHNORR}),
        (P2WPKH, {b"\x13": SCHNORR}),
        (P2WPKH, {b"\x02" + OTHER: ECDSA}),
        (P2WSH, {b"\x02" + KEY: ECDSA}),
    ],
)
def test_an_input_that_its_only_key_has_not_signed_stays_bare(
    script: bytes, fields: dict[bytes, bytes]
) -> None:
    assert lone(fields, script).witness(0) == ()


def test_the_right_key_is_found_among_others() -> None:
    assert lone({b"\x02" + OTHER: b"x", b"\x02" + KEY: ECDSA}, P2WPKH).witness(0) == (ECDSA, KEY)


def test_the_spent_output_may_come_with_its_whole_transaction() -> None:
    previous = transaction([txin(outpoint(bytes(32), 0))], [txout(1, P2WSH), txout(900, P2TR)])
    tx = transaction([txin(outpoint(txid(previous), 1))], [txout(500, P2TR)])
    whole = {b"\x00": serialize(previous)}
    alone = replace(Psbt.unsigned(tx, [previous.vout[1]]), inputs=(whole,))
    assert Psbt.decode(alone.encode()).spent(0) == previous.vout[1]
    assert alone.with_key_path_signature(0, SCHNORR).witness(0) == (SCHNORR,)
    for wrong in (previous.vout[0], txout(901, P2TR)):
        both = replace(alone, inputs=({**whole, b"\x01": wrong.serialize()},))
        with pytest.raises(EncodingError, match="input 0: two different outputs"):
            Psbt.decode(both.encode())
    for point in (outpoint(txid(previous), 2), outpoint(bytes(32), 1)):
        other = replace(alone, tx=transaction([txin(point)], tx.vout))
        with pytest.raises(EncodingError, match="input 0: not the transaction that it spends"):
            Psbt.decode(other.encode())


def test_an_input_may_say_nothing_of_what_it_spends() -> None:
    silent = replace(ASKED, inputs=({},) * 3)
    assert Psbt.decode(silent.encode()).spent(0) is None
    assert silent.with_key_path_signature(0, SCHNORR).witness(0) == ()


@pytest.mark.parametrize(
    "other",
    [
        transaction(TX.vin, [txout(4_999, P2TR)]),
        transaction(TX.vin, TX.vout, version=3),
        transaction(TX.vin, TX.vout, locktime=1),
        transaction([*TX.vin[:2], txin(TX.vin[2].prevout, 1)], TX.vout),
    ],
)
def test_another_transaction_is_refused(other) -> None:
    with pytest.raises(EncodingError, match="another transaction; sign the one that was written"):
        signed_tx(encode_psbt(other, SPENT), TX)


# Together


def test_two_wallets_sign_apart_and_both_signatures_are_there() -> None:
    first, second = psbt({b"\x13": SCHNORR}), psbt({}, {b"\x02" + KEY: ECDSA}, {b"\x08": FINAL})
    whole = combine([ASKED, first, second])
    assert whole == combine([second, first])
    assert [len(whole.witness(n)) for n in range(3)] == [1, 2, 2]


def test_what_does_not_belong_together_is_not_combined() -> None:
    other = replace(ASKED, tx=transaction(TX.vin, [txout(4_999, P2TR)]))
    with pytest.raises(EncodingError, match="different transactions"):
        combine([ASKED, other])
    with pytest.raises(EncodingError, match="two values of the field 13"):
        combine([psbt({b"\x13": SCHNORR}), psbt({b"\x13": bytes(64)})])


# Bytes that are no PSBT


def raw_psbt(*maps: bytes) -> bytes:
    return MAGIC + b"".join(maps)


GLOBAL = b"\x01\x00" + bytes([len(serialize(TX))]) + serialize(TX)
SIZED = b"\x01\x01" + bytes([len(SPENT[0].serialize())]) + SPENT[0].serialize()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("!", "neither binary nor base64"),
        ("\u00e9", "neither binary nor base64"),
        (b"\xff\xfe", "neither binary nor base64"),
        ("", "does not begin"),
        (base64.b64encode(b"psbt\xfe").decode(), "does not begin"),
        (MAGIC + bytes(MAX_BYTES), "over 4194304 bytes"),
        (MAGIC, "too early"),
        (raw_psbt(b"\0"), "holds no transaction"),
        (raw_psbt(b"\x01\x00\x01\x00\0"), "not a Bitcoin transaction"),
        (raw_psbt(GLOBAL, b"\0", b"\0\0\0", b""), "too early"),
        (raw_psbt(GLOBAL, b"\0", b"\0\0\0", b"\0", b"\0"), "behind the last map"),
        (raw_psbt(GLOBAL, GLOBAL, b"\0", b"\0\0\0", b"\0"), "global map: the key 00 appears twice"),
        (raw_psbt(GLOBAL, b"\0", SIZED, SIZED, b"\0\0\0", b"\0"), "input 0: the key 01 appears"),
        (raw_psbt(GLOBAL, b"\0", b"\0\0\0", b"\x01\x99\x00" * 2, b"\0"), "output 0: the key 99"),
        (raw_psbt(GLOBAL, b"\x01\xfb\x04\x02\0\0\0", b"\0", b"\0\0\0", b"\0"), "another version"),
        (raw_psbt(GLOBAL, b"\x01\xfb\x01\x00", b"\0"), "global map: the version has a wrong size"),
        (raw_psbt(b"\xfd\x01\x00\x00", GLOBAL[2:]), "1 is not written in the shortest way"),
        (psbt({b"\x08": b"\x00\x00"}).encode(), "behind a witness"),
        (psbt({b"\x08": b"\x02\x01\xaa"}).encode(), "too early"),
        (psbt({b"\x01": bytes(9) + b"\x00"}).encode(), "input 0: the spent output is not one"),
        (psbt({b"\x01": b"\xff" * 8 + b"\x00"}).encode(), "input 0: the spent output is not one"),
        (
            psbt({}, {b"\x01": (MAX_MONEY_SATS + 1).to_bytes(8, "little") + b"\0"}).encode(),
            "input 1: the spent output is not one",
        ),
        (psbt({b"\x16" + bytes(32): b"\x01" + bytes(31)}).encode(), "too early"),
        (psbt({b"\x16" + bytes(32): b"\x00" + bytes(5)}).encode(), "key's path has a wrong size"),
    ],
)
def test_what_is_no_psbt_says_why(data: str | bytes, message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        parse_psbt(data)


def test_a_witness_in_the_transaction_itself_is_refused() -> None:
    raw = serialize(with_witness(TX, [[b"x"], [], []]))
    data = raw_psbt(b"\x01\x00" + bytes([len(raw)]) + raw, b"\0", b"\0\0\0", b"\0")
    with pytest.raises(EncodingError, match="without any signature"):
        parse_psbt(data)


@given(st.data())
@settings(max_examples=50)
def test_cut_or_changed_bytes_never_raise_anything_else(data) -> None:
    raw = bytearray(psbt({b"\x13": SCHNORR}, {b"\x02" + KEY: ECDSA}, {b"\x08": FINAL}).encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    cut = data.draw(st.booleans())
    if cut:
        del raw[place:]
    else:
        raw[place] = data.draw(st.integers(0, 255))
    with suppress(EncodingError):
        assert txid(signed_tx(bytes(raw), TX)) == txid(TX)
        assert not cut, "a PSBT that was cut short is none"


@given(
    st.lists(
        st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=300), max_size=4),
        min_size=3,
        max_size=3,
    )
)
@settings(max_examples=50)
def test_what_is_encoded_is_decoded(fields) -> None:
    unknown = [{b"\xe0" + key: value for key, value in some.items()} for some in fields]
    made = psbt(*unknown)
    assert Psbt.decode(made.encode()) == made
