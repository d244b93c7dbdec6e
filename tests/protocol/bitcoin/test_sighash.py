"""Signature hashes that BIP341's wallet vectors leave out, judged by libbitcoinkernel."""

from itertools import product

import pytest
from bitcoin.core import CTransaction

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script, single_key
from protocol.bitcoin.sighash import (
    HASH_TYPES,
    LeafSpend,
    sig_msg,
    sign_input,
    taproot_sighash,
    verify_input,
)
from protocol.bitcoin.taproot import TapLeaf, taproot_output, tweak_key
from protocol.bitcoin.tx import outpoint, transaction, txin, txout, with_witness
from protocol.crypto.keys import SecretKey
from protocol.errors import ScriptError
from regtest import libkernel

AUX = bytes(32)
KEY = SecretKey(b"\x07" * 32)
LEAF = TapLeaf(single_key(KEY.public))
OUTPUT = taproot_output(KEY.public, (LEAF, TapLeaf(b"\x51")))
SPENT = [txout(50_000 + n, OUTPUT.script_pubkey) for n in range(3)]
ANNEX = b"\x50" + bytes(300)


def body(**fields: object) -> CTransaction:
    return transaction(
        [txin(outpoint(bytes([n + 1]) * 32, n), 0xFFFFFFF0 + n) for n in range(3)],
        [txout(40_000 + n, b"\x51" * (n + 1)) for n in range(3)],
        locktime=77,
        **fields,  # type: ignore[arg-type]
    )


def stack_of(
    tx: CTransaction, index: int, hash_type: int, path: str, annex: bytes | None
) -> list[bytes]:
    leaf = LeafSpend(LEAF.hash) if path == "script" else None
    key = KEY if leaf else tweak_key(KEY, OUTPUT.merkle_root)
    digest = taproot_sighash(tx, index, SPENT, hash_type, annex=annex, leaf=leaf)
    signature = key.sign(digest, AUX) + (bytes([hash_type]) if hash_type else b"")
    stack = [signature]
    if leaf:
        stack += [LEAF.script, OUTPUT.control_block(LEAF)]
    return stack + ([annex] if annex else [])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("hash_type", "path", "annex"),
    list(product(sorted(HASH_TYPES), ("key", "script"), (None, ANNEX))),
)
def test_the_kernel_agrees(hash_type: int, path: str, annex: bytes | None, version: int) -> None:
    tx = body(version=version)
    for index in range(3):
        stacks = [[], [], []]
        stacks[index] = stack_of(tx, index, hash_type, path, annex)
        assert libkernel.verify_input(with_witness(tx, stacks), index, SPENT)
        stacks[index][0] = bytes([stacks[index][0][0] ^ 1]) + stacks[index][0][1:]
        assert not libkernel.verify_input(with_witness(tx, stacks), index, SPENT)


def test_the_last_codeseparator_is_signed() -> None:
    leaf = TapLeaf(script(Op.CODESEPARATOR, KEY.public, Op.CHECKSIG))
    output = taproot_output(KEY.public, leaf)
    tx = transaction([txin(outpoint(b"\x01" * 32, 0))], [txout(1_000, b"\x51")])
    spent = [txout(2_000, output.script_pubkey)]
    for position, good in ((0, True), (0xFFFFFFFF, False), (1, False)):
        signature = sign_input(tx, 0, spent, KEY, AUX, leaf=LeafSpend(leaf.hash, position))
        signed = with_witness(tx, [[signature, leaf.script, output.control_block(leaf)]])
        assert libkernel.verify_input(signed, 0, spent) is good


def test_what_each_hash_type_leaves_open() -> None:
    """A signature survives exactly the changes that its hash type does not cover."""
    tx = body()
    other_out = transaction(tx.vin, [tx.vout[0], tx.vout[1], txout(1, b"\x53")], locktime=77)
    other_in = transaction(
        [tx.vin[0], tx.vin[1], txin(outpoint(b"\x0f" * 32, 0))], tx.vout, locktime=77
    )
    for hash_type in sorted(HASH_TYPES):
        signature = sign_input(tx, 0, SPENT, KEY, AUX, hash_type)
        survives_out = verify_input(other_out, 0, SPENT, KEY.public, signature)
        survives_in = verify_input(other_in, 0, SPENT, KEY.public, signature)
        assert survives_out is (hash_type & 3 in (2, 3))
        assert survives_in is bool(hash_type & 0x80)


def test_spent_amounts_and_scripts_are_signed() -> None:
    tx = body()
    signature = sign_input(tx, 0, SPENT, KEY, AUX)
    assert verify_input(tx, 0, SPENT, KEY.public, signature)
    for n in range(3):
        for changed in (txout(1, OUTPUT.script_pubkey), txout(50_000 + n, b"\x51")):
            spent = [*SPENT[:n], changed, *SPENT[n + 1 :]]
            assert not verify_input(tx, 0, spent, KEY.public, signature)


def test_malformed_signatures_do_not_verify() -> None:
    tx = body()
    signature = sign_input(tx, 2, SPENT, KEY, AUX)
    for wrong in (b"", signature[:63], signature + b"\x00", signature + b"\x04", signature * 2):
        assert not verify_input(tx, 2, SPENT, KEY.public, wrong)
    single = sign_input(tx, 2, SPENT, KEY, AUX, 3)
    short = transaction(tx.vin, tx.vout[:2], locktime=77)
    assert not verify_input(short, 2, SPENT, KEY.public, single)


def test_refusals() -> None:
    tx = body()
    for wrong in (
        lambda: sig_msg(tx, 3, SPENT),
        lambda: sig_msg(tx, -1, SPENT),
        lambda: sig_msg(tx, 0, SPENT[:2]),
        lambda: sig_msg(tx, 0, SPENT, 4),
        lambda: sig_msg(tx, 0, SPENT, 0x80),
        lambda: sig_msg(tx, 0, SPENT, annex=b"\x51"),
        lambda: sig_msg(tx, 0, SPENT, annex=b""),
        lambda: sig_msg(transaction(tx.vin, tx.vout[:2]), 2, SPENT, 3),
    ):
        with pytest.raises(ScriptError):
            wrong()
