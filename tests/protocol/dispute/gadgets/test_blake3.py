"""BLAKE3 in Script against the ``blake3`` package and the commitment tree."""

from functools import lru_cache
from random import Random

import pytest
from blake3 import blake3 as library

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import number_bytes
from protocol.crypto.winternitz import digits_of
from protocol.dispute.assembler import Assembler
from protocol.dispute.gadgets.blake3 import _WAY_TO_SUM, _WAY_TO_XOR, _Compression, blake3
from protocol.dispute.gadgets.word import require_equal
from protocol.dispute.interpreter import stack_bound
from protocol.errors import ScriptError
from riscv_vm.record import Record, encode_block
from riscv_vm.tree import block_node, join
from tests.builders.scripts import core_holds, holds

RNG = Random(63)
SHAPES = [(40, 20), (48, 20), (48, 32), (64, 32)]
"""A parent of 20-byte nodes, a block for either width, a parent of 32-byte nodes."""


@lru_cache
def leaf(size: int, width: int) -> bytes:
    """Witness: the message's digits, then the hash's, as they are signed."""
    asm = Assembler(f"d{n}" for n in range(2 * (size + width)))
    message, expected = asm.stack[: 2 * size], asm.stack[2 * size :]
    require_equal(asm, blake3(asm, message, width), tuple(expected))
    return asm.finish()


def accepts(message: bytes, digest: bytes) -> bool:
    return holds(leaf(len(message), len(digest)), [*digits_of(message), *digits_of(digest)])


def core_accepts(message: bytes, digest: bytes) -> bool:
    """Without our interpreter, which is a hundred times slower."""
    digits = (*digits_of(message), *digits_of(digest))
    return core_holds(leaf(len(message), len(digest)), list(map(number_bytes, digits)))


@pytest.mark.parametrize("count", [60, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("size", "width"), SHAPES)
def test_the_hash_of_the_library(size: int, width: int, count: int) -> None:
    """Messages at the edges and random ones; then one bit of the hash or the message changed."""
    edges = [bytes(size), b"\xff" * size, bytes(range(size)), b"\x80" + bytes(size - 1)]
    for message in [*edges, *(RNG.randbytes(size) for _ in range(count))]:
        digest = library(message).digest(length=width)
        judge = accepts if message in edges[:2] else core_accepts
        assert judge(message, digest)
        assert not core_accepts(message, one_bit_off(digest))
    assert not accepts(one_bit_off(message), digest)


def one_bit_off(data: bytes) -> bytes:
    wrong = bytearray(data)
    wrong[RNG.randrange(len(data))] ^= 1 << RNG.randrange(8)
    return bytes(wrong)


@pytest.mark.parametrize("width", [20, 32])
def test_the_nodes_of_the_tree(width: int) -> None:
    records = [Record(*(RNG.getrandbits(32) for _ in range(3))) for _ in range(4)]
    block = encode_block(records)
    left = block_node(block, width)
    right = RNG.randbytes(width)
    assert accepts(block, left)
    assert accepts(left + right, join(left, right))
    assert not accepts(right + left, join(left, right))


def test_every_length_and_width_of_whole_words() -> None:
    for words, out in [(1, 1), (2, 8), (7, 3), (16, 1)]:
        message = RNG.randbytes(4 * words)
        assert accepts(message, library(message).digest(length=4 * out))


@pytest.mark.parametrize(("words", "width"), [(0, 20), (17, 20), (10, 0), (10, 36), (10, 18)])
def test_other_lengths_are_refused(words: int, width: int) -> None:
    asm = Assembler(f"d{n}" for n in range(8 * words))
    with pytest.raises(ScriptError):
        blake3(asm, asm.stack, width)


@pytest.mark.parametrize(
    ("size", "width", "script_bytes", "items"),
    [(40, 20, 54_500, 651), (48, 20, 55_100, 667), (64, 32, 57_500, 723)],
)
def test_size_and_stack(size: int, width: int, script_bytes: int, items: int) -> None:
    """The aim was 68 kB; the digits of the message and of the expected hash count as items."""
    code = leaf(size, width)
    assert len(code) <= script_bytes
    assert stack_bound(2 * (size + width), code).peak == items


def test_every_entry_of_the_tables() -> None:
    """A sum of three nibbles and a carry reaches 47; sixteen times a nibble and another one 255."""
    for name, size in [("sum", 48), ("row", 48), ("carry", 48), ("xor", 256)]:
        asm = Assembler(["index", "expected"])
        index, expected = asm.stack
        compression = _Compression.start(asm, ())
        table = getattr(compression, name)
        assert len(table.entries) == size
        asm.verify(Op.NUMEQUAL, compression.entry(table, index, 0), expected)
        code = asm.finish()
        for n in range(size):
            right = {
                "sum": n % 16,
                "row": 16 * (n % 16) + _WAY_TO_XOR,
                "carry": n // 16 + _WAY_TO_SUM,
                "xor": n // 16 ^ n % 16,
            }[name]
            assert holds(code, [n, right]) and not holds(code, [n, right + 1])
