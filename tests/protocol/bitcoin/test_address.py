"""Bitcoin Core's key_io_valid.json, and what a strict decoder refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.address import (
    MAINNET,
    REGTEST,
    SIGNET,
    TESTNET,
    Network,
    decode_address,
    decode_base58check,
    decode_wif,
    encode_address,
    encode_base58check,
    encode_wif,
    has_owner,
    witness_program,
)
from protocol.bitcoin.taproot import p2tr
from protocol.errors import EncodingError, ScriptError

NETWORKS = {
    "main": MAINNET,
    "test": TESTNET,
    "testnet4": TESTNET,
    "signet": SIGNET,
    "regtest": REGTEST,
}
ROWS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "bip341" / "key_io_valid.json").read_text()
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:12])
def test_key_io_valid(row: Any) -> None:
    text, payload, meta = row[0], bytes.fromhex(row[1]), row[2]
    network = NETWORKS[meta["chain"]]
    if meta["isPrivkey"]:
        assert decode_wif(text, network) == (payload, meta["isCompressed"])
        assert encode_wif(payload, network, compressed=meta["isCompressed"]) == text
        with pytest.raises(EncodingError):
            decode_address(text, network)
        return
    assert decode_address(text, network) == payload
    assert encode_address(payload, network) == text
    if meta.get("tryCaseFlip"):
        assert decode_address(text.swapcase(), network) == payload
    else:
        with pytest.raises(EncodingError):
            decode_address(text.swapcase(), network)
    with pytest.raises(EncodingError):
        decode_wif(text, network)


def other_networks(network: Network) -> list[Network]:
    same = {"testnet": "signet", "signet": "testnet"}.get(network.name)
    return [n for n in (MAINNET, TESTNET, SIGNET, REGTEST) if n.name not in (network.name, same)]


@pytest.mark.parametrize("network", [MAINNET, TESTNET, SIGNET, REGTEST], ids=lambda n: n.name)
def test_an_address_belongs_to_one_network(network: Network) -> None:
    text = encode_address(p2tr(b"\x02" * 32), network)
    for other in other_networks(network):
        with pytest.raises(EncodingError):
            decode_address(text, other)


@settings(max_examples=60)
@given(at=st.integers(0, 200), to=st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7lb1OI "))
def test_one_wrong_character_is_found(at: int, to: str) -> None:
    text = encode_address(p2tr(bytes(range(32))), REGTEST)
    at %= len(text)
    if text[at] == to:
        return
    with pytest.raises(EncodingError):
        decode_address(text[:at] + to + text[at + 1 :], REGTEST)


@settings(max_examples=60)
@given(version=st.integers(1, 16), program=st.binary(min_size=2, max_size=40))
def test_every_later_witness_version_round_trips(version: int, program: bytes) -> None:
    script = bytes([0x50 + version, len(program)]) + program
    assert witness_program(script) == (version, program)
    assert decode_address(encode_address(script, SIGNET), SIGNET) == script


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bc1",
        "bc1qqqqqq",
        # BIP350's invalid addresses
        "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2",
        "bc1rw5uspcuh",
        "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",
        "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
        "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
        "bc1pw5dgrnzv",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
        "bc1gmk9yu",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7Divf0a",
        "1" * 200,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(EncodingError):
        decode_address(text, MAINNET)


def test_a_secret_is_not_quoted() -> None:
    text = encode_wif(b"\x07" * 32, REGTEST)
    for wrong in (text[:-1] + ("1" if text[-1] != "1" else "2"), text + "0"):
        with pytest.raises(EncodingError) as caught:
            decode_wif(wrong, REGTEST)
        assert text[4:20] not in str(caught.value)
    with pytest.raises(EncodingError, match="curve order"):
        encode_wif(bytes(32), REGTEST)
    with pytest.raises(EncodingError, match="mainnet"):
        decode_wif(text, MAINNET)
    with pytest.raises(EncodingError, match="32 bytes"):
        decode_wif(encode_base58check(bytes([REGTEST.wif]) + bytes(31)), REGTEST)


def test_an_address_that_is_nobodys() -> None:
    """Of all that have an address, those that only their owner can spend."""
    key, short = bytes(32), bytes(20)
    scripts = [b"\x76\xa9\x14" + short + b"\x88\xac", b"\xa9\x14" + short + b"\x87"]
    scripts += [b"\x00\x14" + short, b"\x00\x20" + key, b"\x51\x20" + key]
    open_to_all = [b"\x51\x02\x4e\x73", b"\x51\x14" + short, b"\x52\x20" + key, b"\x60\x02ab"]
    assert all(has_owner(script) for script in scripts)
    for script in open_to_all:
        assert encode_address(script, REGTEST) and not has_owner(script)


def test_scripts_without_an_address() -> None:
    for script in (b"", b"\x51", b"\x6a\x02ab", b"\x00\x10" + bytes(16), b"\x51\x29" + bytes(41)):
        with pytest.raises(ScriptError):
            encode_address(script, REGTEST)
        assert not has_owner(script)


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_base58check_round_trips(payload: bytes) -> None:
    if payload:
        assert decode_base58check(encode_base58check(payload)) == payload
