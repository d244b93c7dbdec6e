"""BLAKE3 of many short messages at once, one message a vector lane, as numba intrinsics.

Every message is at most 64 bytes: one compression with the flags CHUNK_START, CHUNK_END and ROOT,
so a lane is a plain standard BLAKE3 hash (BLAKE3 specification, section 2). Only generic vector
operations are emitted; LLVM legalises them for what the host has (AVX-512, AVX2, SSE2, NEON).

Nodes lie planar: word w of the ``lanes`` nodes of slot s is the vector at
``nodes[(8 * s + w) * lanes]``. A 20-byte node uses words 0..4 of a slot.
"""

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SLOT_WORDS: Final = 8

_IV: Final = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
_PERMUTATION: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_FLAGS: Final = 1 | 2 | 8
_COLUMNS: Final = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS: Final = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
_ROUNDS: Final = 7
_WORD: Final = ir.IntType(32)

_intrinsic: Final[Callable[[Callable[..., Any]], Callable[..., Any]]] = intrinsic(
    prefer_literal=True
)

Value = Any  # llvmlite's ir.Value; the library has no types


class _Lanes:
    """Emits operations on vectors of ``lanes`` 32-bit words."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.type = ir.VectorType(_WORD, lanes)

    def constant(self, word: int) -> Value:
        return ir.Constant(self.type, [word] * self.lanes)

    def load(self, pointer: Value) -> Value:
        vector = self.builder.bitcast(pointer, self.type.as_pointer())
        return self.builder.load(vector, align=4)

    def store(self, value: Value, pointer: Value) -> None:
        vector = self.builder.bitcast(pointer, self.type.as_pointer())
        self.builder.store(value, vector, align=4)

    def every_second(self, low: Value, high: Value, first: int) -> Value:
        """Elements first, first + 2, ... of ``low`` and ``high`` in a row."""
        mask = [ir.Constant(_WORD, first + 2 * lane) for lane in range(self.lanes)]
        vector = ir.Constant(ir.VectorType(_WORD, self.lanes), mask)
        return self.builder.shuffle_vector(low, high, vector)

    def rotate_right(self, value: Value, count: int) -> Value:
        name = f"llvm.fshr.v{self.lanes}i32"
        function_type = ir.FunctionType(self.type, [self.type] * 3)
        function = self.builder.module.globals.get(name)
        if function is None:
            function = ir.Function(self.builder.module, function_type, name)
        return self.builder.call(function, [value, value, self.constant(count)])

    def compress(self, message: list[Value | None], length: int) -> list[Value]:
        """The 8 output words for messages of ``length`` bytes; None is a word of zero padding."""
        builder = self.builder
        state = [self.constant(word) for word in (*_IV, *_IV[:4], 0, 0, length, _FLAGS)]

        def mix(a: int, b: int, c: int, d: int, words: tuple[Value | None, Value | None]) -> None:
            for word, turn_d, turn_b in zip(words, (16, 8), (12, 7), strict=True):
                state[a] = builder.add(state[a], state[b])
                if word is not None:
                    state[a] = builder.add(state[a], word)
                state[d] = self.rotate_right(builder.xor(state[d], state[a]), turn_d)
                state[c] = builder.add(state[c], state[d])
                state[b] = self.rotate_right(builder.xor(state[b], state[c]), turn_b)

        for _ in range(_ROUNDS):
            for position, quarter in enumerate((*_COLUMNS, *_DIAGONALS)):
                mix(*quarter, (message[2 * position], message[2 * position + 1]))
            message = [message[source] for source in _PERMUTATION]
        return [builder.xor(state[word], state[word + 8]) for word in range(8)]


def _data(context: Any, builder: Any, array_type: Any, array: Value) -> Value:
    return context.make_array(array_type)(context, builder, array).data


def _slot(builder: Any, base: Value, slot: Value, lanes: int, word: int) -> Value:
    offset = builder.mul(slot, ir.Constant(slot.type, SLOT_WORDS * lanes))
    return builder.gep(base, [builder.add(offset, ir.Constant(slot.type, word * lanes))])


@_intrinsic
def leaf_nodes(
    context: Any,
    lanes: Any,
    words: Any,
    waddr: Any,
    wval: Any,
    next_pc: Any,
    at: Any,
    nodes: Any,
    slot: Any,
) -> Any:
    """The block nodes of the 4 * lanes records from index ``at``, as slot ``slot`` of ``nodes``.

    ``lanes`` and ``words`` (5 or 8 per node) are literals, the arrays contiguous uint32.
    """
    lane_count, word_count = lanes.literal_value, words.literal_value
    signature = types.void(lanes, words, waddr, wval, next_pc, at, nodes, slot)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        emitter = _Lanes(builder, lane_count)
        message: list[Value | None] = [None] * 16
        for field in range(3):
            base = _data(context, builder, signature.args[2 + field], arguments[2 + field])
            quarters = []
            for quarter in range(4):
                offset = ir.Constant(arguments[5].type, quarter * lane_count)
                quarters.append(
                    emitter.load(builder.gep(base, [builder.add(arguments[5], offset)]))
                )
            even = [emitter.every_second(quarters[i], quarters[i + 1], 0) for i in (0, 2)]
            odd = [emitter.every_second(quarters[i], quarters[i + 1], 1) for i in (0, 2)]
            message[field] = emitter.every_second(even[0], even[1], 0)
            message[3 + field] = emitter.every_second(odd[0], odd[1], 0)
            message[6 + field] = emitter.every_second(even[0], even[1], 1)
            message[9 + field] = emitter.every_second(odd[0], odd[1], 1)
        target = _data(context, builder, signature.args[6], arguments[6])
        hashes = emitter.compress(message, 48)
        for word in range(word_count):
            emitter.store(hashes[word], _slot(builder, target, arguments[7], lane_count, word))
        return context.get_dummy_value()

    return signature, emit


@_intrinsic
def parent_nodes(
    context: Any, lanes: Any, words: Any, nodes: Any, left: Any, right: Any, slot: Any
) -> Any:
    """The parents of the neighbours in slots ``left``, ``right`` (in a row), as slot ``slot``."""
    lane_count, word_count = lanes.literal_value, words.literal_value
    signature = types.void(lanes, words, nodes, left, right, slot)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        emitter = _Lanes(builder, lane_count)
        base = _data(context, builder, signature.args[2], arguments[2])
        message: list[Value | None] = [None] * 16
        for word in range(word_count):
            low, high = (
                emitter.load(_slot(builder, base, arguments[side], lane_count, word))
                for side in (3, 4)
            )
            message[word] = emitter.every_second(low, high, 0)
            message[word_count + word] = emitter.every_second(low, high, 1)
        hashes = emitter.compress(message, 8 * word_count)
        for word in range(word_count):
            emitter.store(hashes[word], _slot(builder, base, arguments[5], lane_count, word))
        return context.get_dummy_value()

    return signature, emit
