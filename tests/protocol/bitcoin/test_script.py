"""Minimal pushes against python-bitcoinlib, and the leaves against Bitcoin's own interpreter."""

import pytest
from bitcoin.core import CTransaction
from bitcoin.core._bignum import bn2vch
from bitcoin.core.script import OPCODE_NAMES, CScript
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.opcodes import Op, is_op_success
from protocol.bitcoin.script import (
    after_blocks,
    after_height,
    disassemble,
    null_data,
    number_bytes,
    operations,
    push_data,
    push_number,
    script,
    single_key,
    threshold,
    two_of_two,
)
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, taproot_output
from protocol.bitcoin.tx import outpoint, transaction, txin, txout, with_witness
from protocol.crypto.keys import SecretKey
from protocol.errors import ScriptError
from regtest.libkernel import verify_input

AUX = bytes(32)
KEYS = [SecretKey(bytes([n]) * 32) for n in (1, 2, 3)]
A, B, C = (key.public for key in KEYS)


@settings(max_examples=100)
@given(st.one_of(st.integers(-300, 300), st.integers(-(2**70), 2**70)))
def test_numbers(n: int) -> None:
    assert number_bytes(n) == bn2vch(n)
    assert push_number(n) == CScript([n])


@settings(max_examples=60)
@given(st.binary(max_size=520))
def test_pushes_are_minimal_and_read_back(data: bytes) -> None:
    code = push_data(data)
    assert len(code) <= len(CScript([data]))
    if data != b"\0":  # bitcoinlib would push the number 0 here, which is an empty item
        assert CScript(code).has_canonical_pushes()
    ((opcode, pushed),) = operations(code)
    if opcode <= Op.PUSHDATA4:
        assert pushed == data
    else:
        assert opcode == Op.NEGATE_1 if data == b"\x81" else opcode == Op.TRUE + data[0] - 1


def test_one_byte_pushes() -> None:
    assert push_data(b"\0") == b"\x01\x00"
    assert push_data(b"") == b"\x00"
    assert push_data(b"\x10") == b"\x60"
    assert push_data(b"\x11") == b"\x01\x11"
    assert push_data(b"\x81") == b"\x4f"


def test_opcode_numbers_are_bitcoinlibs() -> None:
    theirs = {int(code): name.removeprefix("OP_") for code, name in OPCODE_NAMES.items()}
    renamed = {"FALSE": "0", "TRUE": "1", "NEGATE_1": "1NEGATE", "CHECKLOCKTIMEVERIFY": "NOP2",
               "CHECKSEQUENCEVERIFY": "NOP3", "NOTEQUAL0": "0NOTEQUAL", "ADD1": "1ADD",
               "SUB1": "1SUB"}  # fmt: skip
    stack = {f"{name}2": f"2{name}" for name in ("DROP", "DUP", "OVER", "ROT", "SWAP")}
    renamed |= stack | {"DUP3": "3DUP"} | {f"N{n}": str(n) for n in range(2, 17)}
    for op in Op:
        if op is not Op.CHECKSIGADD:  # the one it does not know
            aliases = {renamed.get(op.name, op.name), op.name}
            assert theirs[int(op)] in aliases, op


def test_op_success() -> None:
    """BIP342's list: 87 opcodes, none of them named here but RESERVED."""
    assert sum(map(is_op_success, range(256))) == 87
    assert [op for op in Op if is_op_success(op)] == [Op.RESERVED]


def test_disassemble() -> None:
    code = after_height(500, two_of_two(A, B))
    assert disassemble(code) == (
        f"f401 CHECKLOCKTIMEVERIFY DROP {A.hex()} CHECKSIGVERIFY {B.hex()} CHECKSIG"
    )
    assert disassemble(script(0, 1, -1, 16) + b"\xff") == "FALSE TRUE NEGATE_1 N16 0xff"


@pytest.mark.parametrize(
    "code", [b"\x02\x01", b"\x4c", b"\x4c\x02\x01", b"\x4d\x01", b"\x4e\x01\0\0"]
)
def test_cut_off_pushes(code: bytes) -> None:
    with pytest.raises(ScriptError):
        list(operations(code))


def test_refusals() -> None:
    for wrong in (
        lambda: push_data(bytes(521)),
        lambda: two_of_two(A[:31], B),
        lambda: single_key(b"\x02" + A),
        lambda: after_height(0, b""),
        lambda: after_height(500_000_000, b""),
        lambda: after_blocks(0, b""),
        lambda: after_blocks(65_536, b""),
        lambda: threshold(0, (A,)),
        lambda: threshold(3, (A, B)),
    ):
        with pytest.raises(ScriptError):
            wrong()
    assert null_data(b"ab") == b"\x6a\x02ab"


# Spending, judged by libbitcoinkernel


def spends(code: bytes, signers: list[SecretKey | None], *, sequence: int = 0xFFFFFFFD,
           locktime: int = 0) -> bool:  # fmt: skip
    """Whether these signatures (bottom to top; None is an empty one) satisfy the leaf ``code``."""
    leaf = TapLeaf(code)
    output = taproot_output(NUMS_KEY, leaf)
    spent = [txout(10_000, output.script_pubkey)]
    tx: CTransaction = transaction(
        [txin(outpoint(b"\x01" * 32, 0), sequence)], [txout(9_000, b"\x51")], locktime=locktime
    )
    where = LeafSpend(leaf.hash)
    items = [sign_input(tx, 0, spent, key, AUX, leaf=where) if key else b"" for key in signers]
    return verify_input(with_witness(tx, [[*items, code, output.control_block(leaf)]]), 0, spent)


def test_two_of_two() -> None:
    code = two_of_two(A, B)
    assert spends(code, [KEYS[1], KEYS[0]])
    assert not spends(code, [KEYS[0], KEYS[1]])
    assert not spends(code, [KEYS[0], KEYS[0]])
    assert not spends(code, [None, KEYS[0]])
    assert not spends(code, [KEYS[0]])


def test_single_key() -> None:
    assert spends(single_key(A), [KEYS[0]])
    assert not spends(single_key(A), [KEYS[1]])


def test_threshold() -> None:
    code = threshold(2, (A, B, C))
    assert spends(code, [KEYS[2], None, KEYS[0]])
    assert spends(code, [None, KEYS[1], KEYS[0]])
    assert not spends(code, [None, None, KEYS[0]])
    assert not spends(code, [KEYS[2], KEYS[1], KEYS[0]])  # exactly two
    assert not spends(code, [KEYS[0], None, KEYS[2]])


@pytest.mark.parametrize("height", [1, 16, 17, 127, 128, 500, 65_536, 499_999_999])
def test_after_height(height: int) -> None:
    code = after_height(height, single_key(A))
    assert spends(code, [KEYS[0]], locktime=height)
    assert not spends(code, [KEYS[0]], locktime=height - 1)
    assert not spends(code, [KEYS[0]], locktime=500_000_000)
    assert not spends(code, [KEYS[0]], locktime=height, sequence=0xFFFFFFFF)


@pytest.mark.parametrize("blocks", [1, 16, 17, 144, 65_535])
def test_after_blocks(blocks: int) -> None:
    code = after_blocks(blocks, single_key(A))
    assert spends(code, [KEYS[0]], sequence=blocks)
    assert not spends(code, [KEYS[0]], sequence=blocks - 1)
    assert not spends(code, [KEYS[0]], sequence=1 << 31 | blocks)
    assert not spends(code, [KEYS[0]], sequence=1 << 22 | blocks)
