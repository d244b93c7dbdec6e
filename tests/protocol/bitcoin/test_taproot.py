"""BIP341's wallet vectors: tree, tweak, address, control blocks, sighash and signature."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.address import MAINNET, decode_address, encode_address
from protocol.bitcoin.script import single_key
from protocol.bitcoin.sighash import sig_msg, sign_input, taproot_sighash, verify_input
from protocol.bitcoin.taproot import (
    NUMS_KEY,
    TapLeaf,
    TapTree,
    balanced,
    branch_hash,
    tap_tweak,
    taproot_output,
    tweak_key,
    tweak_public,
)
from protocol.bitcoin.tx import parse_tx, txout
from protocol.crypto.hashes import sha256
from protocol.crypto.keys import SecretKey
from protocol.errors import ScriptError

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "bip341" / "wallet-test-vectors.json").read_text()
)
ZEROS = bytes(32)


def tree_of(node: Any) -> TapTree | None:
    if node is None:
        return None
    if isinstance(node, dict):
        return TapLeaf(bytes.fromhex(node["script"]), version=node["leafVersion"])
    left, right = (tree_of(child) for child in node)
    assert left is not None and right is not None
    return left, right


@pytest.mark.parametrize(
    "row", VECTORS["scriptPubKey"], ids=lambda row: row["given"]["internalPubkey"][:8]
)
def test_output_of_key_and_tree(row: Any) -> None:
    key = bytes.fromhex(row["given"]["internalPubkey"])
    output = taproot_output(key, tree_of(row["given"]["scriptTree"]))
    middle, expected = row["intermediary"], row["expected"]
    root = middle["merkleRoot"]
    assert output.merkle_root == (bytes.fromhex(root) if root else None)
    assert tap_tweak(key, output.merkle_root).hex() == middle["tweak"]
    assert output.output_key.hex() == middle["tweakedPubkey"]
    assert output.script_pubkey.hex() == expected["scriptPubKey"]
    assert encode_address(output.script_pubkey, MAINNET) == expected["bip350Address"]
    assert decode_address(expected["bip350Address"], MAINNET) == output.script_pubkey
    leaves = list(output.paths)
    assert [leaf.hash.hex() for leaf in leaves] == middle.get("leafHashes", [])
    blocks = [output.control_block(leaf).hex() for leaf in leaves]
    assert blocks == expected.get("scriptPathControlBlocks", [])


SPENDING = VECTORS["keyPathSpending"][0]
SPENT = [
    txout(row["amountSats"], bytes.fromhex(row["scriptPubKey"]))
    for row in SPENDING["given"]["utxosSpent"]
]


@pytest.mark.parametrize(
    "row", SPENDING["inputSpending"], ids=lambda row: f"input{row['given']['txinIndex']}"
)
def test_key_path_spend(row: Any) -> None:
    tx = parse_tx(bytes.fromhex(SPENDING["given"]["rawUnsignedTx"]))
    given_, middle = row["given"], row["intermediary"]
    index, hash_type = given_["txinIndex"], given_["hashType"]
    root = bytes.fromhex(given_["merkleRoot"]) if given_["merkleRoot"] else None
    key = SecretKey(bytes.fromhex(given_["internalPrivkey"]))
    assert key.public.hex() == middle["internalPubkey"]
    assert tap_tweak(key.public, root).hex() == middle["tweak"]
    assert tweak_key(key, root).point == SecretKey(bytes.fromhex(middle["tweakedPrivkey"])).point
    assert sig_msg(tx, index, SPENT, hash_type).hex() == middle["sigMsg"]
    assert taproot_sighash(tx, index, SPENT, hash_type).hex() == middle["sigHash"]
    signature = sign_input(tx, index, SPENT, tweak_key(key, root), ZEROS, hash_type)
    assert [signature.hex()] == row["expected"]["witness"]
    assert verify_input(tx, index, SPENT, tweak_public(key.public, root)[0], signature)


def test_precomputed_hashes() -> None:
    tx = parse_tx(bytes.fromhex(SPENDING["given"]["rawUnsignedTx"]))
    message = sig_msg(tx, 0, SPENT).hex()
    names = ("hashPrevouts", "hashAmounts", "hashScriptPubkeys", "hashSequences", "hashOutputs")
    assert "".join(SPENDING["intermediary"][name] for name in names) in message


def test_fully_signed_transaction() -> None:
    """Every Taproot input of BIP341's finished transaction verifies; a changed output does not."""
    signed = parse_tx(bytes.fromhex(SPENDING["auxiliary"]["fullySignedTx"]))
    for row in SPENDING["inputSpending"]:
        index = row["given"]["txinIndex"]
        public = bytes(SPENT[index].scriptPubKey[2:])
        (signature,) = signed.wit.vtxinwit[index].scriptWitness.stack
        assert verify_input(signed, index, SPENT, public, signature)
        other = [*SPENT]
        other[index] = txout(SPENT[index].nValue + 1, bytes(SPENT[index].scriptPubKey))
        assert not verify_input(signed, index, other, public, signature)


def test_nums_key_is_the_hash_of_the_generator() -> None:
    generator = bytes.fromhex(
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    )
    assert sha256(generator) == NUMS_KEY


@settings(max_examples=30)
@given(count=st.integers(1, 33), secret=st.integers(1, 2**200))
def test_every_control_block_of_a_balanced_tree_leads_to_the_root(count: int, secret: int) -> None:
    key = SecretKey(secret.to_bytes(32))
    leaves = [TapLeaf(single_key(sha256(bytes([n])))) for n in range(count)]
    output = taproot_output(key.public, balanced(leaves))
    assert tweak_key(key, output.merkle_root).public == output.output_key
    for leaf in leaves:
        block = output.control_block(leaf)
        node = leaf.hash
        for at in range(33, len(block), 32):
            node = branch_hash(node, block[at : at + 32])
        assert node == output.merkle_root
        assert (len(block) - 33) // 32 <= (count - 1).bit_length()


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=300), max_size=5), st.sampled_from([0xC0, 0xC2, 0x00]))
def test_a_leaf_of_parts_is_the_leaf_of_the_whole(parts: list[bytes], version: int) -> None:
    whole, leaf = TapLeaf(b"".join(parts), version=version), TapLeaf(*parts, version=version)
    assert leaf == whole and hash(leaf) == hash(whole)
    assert (leaf.script, leaf.size) == (whole.script, len(whole.script))
    assert TapLeaf(*parts, b"x", version=version) != whole


def test_a_leaf_that_lies_twice_in_a_tree_is_shown_from_either_place() -> None:
    leaf = TapLeaf(b"\x51")
    output = taproot_output(NUMS_KEY, (leaf, (leaf, TapLeaf(b"\x52"))))
    assert len(output.control_block(leaf)) == 33 + 32


def test_refusals() -> None:
    with pytest.raises(ScriptError, match="at least one leaf"):
        balanced([])
    with pytest.raises(ScriptError, match="leaf version"):
        TapLeaf(b"", version=0xC1)
    with pytest.raises(ScriptError, match="leaf version"):
        TapLeaf(b"", version=0x50)
    with pytest.raises(ScriptError, match="curve point"):
        taproot_output(b"\xff" * 32)
    with pytest.raises(ScriptError, match="32-byte"):
        taproot_output(b"\x02" * 33)
    with pytest.raises(ScriptError, match="no such leaf"):
        taproot_output(NUMS_KEY, TapLeaf(b"\x51")).control_block(TapLeaf(b"\x52"))
    deep: TapTree = TapLeaf(b"\x51")
    for _ in range(129):
        deep = (deep, TapLeaf(b"\x52"))
    with pytest.raises(ScriptError, match="128 levels"):
        taproot_output(NUMS_KEY, deep)
