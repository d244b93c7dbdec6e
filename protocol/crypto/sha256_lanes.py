"""SHA-256 of many messages of one length at once, one message a vector lane (FIPS 180-4).

Only generic vector operations are emitted; LLVM legalises them for what the host has (AVX-512,
AVX2, SSE2, NEON). They are compiled once a process, on the first call. Words lie planar: word w of
all messages side by side.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_uint64, c_void_p
from functools import cache, lru_cache
from math import isqrt
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir

LANES: Final = 16
_BLOCK: Final = 64
_BLOCK_WORDS: Final = 16
_STATE_WORDS: Final = 8
_WORD: Final = ir.IntType(32)
_VECTOR: Final = ir.VectorType(_WORD, LANES)
_COUNT: Final = ir.IntType(64)

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
Value = Any  # llvmlite's ir.Value; the library has no types


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _cube_root(number: int) -> int:
    low, high = 0, 1 << 64
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


_IV: Final = tuple(isqrt(prime << 64) & 0xFFFFFFFF for prime in _primes(8))
_K: Final = tuple(_cube_root(prime << 96) & 0xFFFFFFFF for prime in _primes(64))


class _Lanes:
    """Emits operations on one vector word of ``LANES`` messages."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.xor, self.both = builder.xor, builder.and_

    def load(self, pointer: Value) -> Value:
        return self.builder.load(self.builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)

    def store(self, value: Value, pointer: Value) -> None:
        vector = self.builder.bitcast(pointer, _VECTOR.as_pointer())
        self.builder.store(value, vector, align=4)

    def constant(self, word: int) -> Value:
        return ir.Constant(_VECTOR, [word] * LANES)

    def sum(self, first: Value, *others: Value) -> Value:
        for other in others:
            first = self.builder.add(first, other)
        return first

    def rotate(self, value: Value, count: int) -> Value:
        name = f"llvm.fshr.v{LANES}i32"
        function = self.builder.module.globals.get(name) or ir.Function(
            self.builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), name
        )
        return self.builder.call(function, [value, value, self.constant(count)])

    def sigma(self, value: Value, first: int, second: int, third: Value) -> Value:
        """Of two rotations and ``third``."""
        turned = self.xor(self.rotate(value, first), self.rotate(value, second))
        return self.xor(turned, third)

    def compress(self, state: list[Value], words: list[Value]) -> list[Value]:
        """FIPS 180-4, 6.2.2."""
        a, b, c, d, e, f, g, h = state
        for constant in _K:
            sigma_1 = self.sigma(e, 6, 11, self.rotate(e, 25))
            choice = self.xor(g, self.both(e, self.xor(f, g)))
            first = self.sum(h, words[0], self.constant(constant), sigma_1, choice)
            sigma_0 = self.sigma(a, 2, 13, self.rotate(a, 22))
            majority = self.xor(self.both(a, b), self.both(c, self.xor(a, b)))
            a, b, c, d, e, f, g, h = (
                *(self.sum(first, sigma_0, majority), a, b, c),
                *(self.sum(d, first), e, f, g),
            )
            words = [*words[1:], self._next(words)]
        return [self.sum(*pair) for pair in zip(state, (a, b, c, d, e, f, g, h), strict=True)]

    def _next(self, words: list[Value]) -> Value:
        """The word of the schedule that follows these 16; LLVM drops those that nobody uses."""
        shift = self.builder.lshr
        sigma_0 = self.sigma(words[1], 7, 18, shift(words[1], self.constant(3)))
        sigma_1 = self.sigma(words[14], 17, 19, shift(words[14], self.constant(10)))
        return self.sum(words[0], sigma_0, words[9], sigma_1)


def _module() -> ir.Module:
    """``void sha256(u32 *states, u32 *words, u64 messages, u64 blocks)``."""
    module = ir.Module()
    pointer = _WORD.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, _COUNT, _COUNT])
    function = ir.Function(module, kind, "sha256")
    states, words, messages, blocks = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    lanes = _Lanes(builder)
    with _loop(builder, messages, LANES) as at, _loop(builder, blocks, 1) as block:

        def rows(base: Value, count: int, first: Value) -> list[Value]:
            numbers = [builder.add(first, _COUNT(i)) for i in range(count)]
            return [builder.gep(base, [builder.add(builder.mul(n, messages), at)]) for n in numbers]

        held = rows(states, _STATE_WORDS, _COUNT(0))
        message = rows(words, _BLOCK_WORDS, builder.mul(block, _COUNT(_BLOCK_WORDS)))
        result = lanes.compress([*map(lanes.load, held)], [*map(lanes.load, message)])
        for value, place in zip(result, held, strict=True):
            lanes.store(value, place)
    builder.ret_void()
    return module


@contextmanager
def _loop(builder: Any, end: Value, step: int) -> Iterator[Value]:
    """Emits 0, step, ... below ``end``, which is at least 1."""
    before, body = builder.block, builder.append_basic_block()
    builder.branch(body)
    builder.position_at_end(body)
    number = builder.phi(_COUNT)
    number.add_incoming(_COUNT(0), before)
    yield number
    following = builder.add(number, _COUNT(step))
    number.add_incoming(following, builder.block)
    behind = builder.append_basic_block()
    builder.cbranch(builder.icmp_unsigned("<", following, end), body, behind)
    builder.position_at_end(behind)


class _Code:
    """The compiled ``sha256``; its code lives as long as the engine."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(_module())), machine)
        self._engine.finalize_object()
        kind = CFUNCTYPE(None, c_void_p, c_void_p, c_uint64, c_uint64)
        self._call = kind(self._engine.get_function_address("sha256"))

    def run(self, states: Words, words: Words) -> None:
        """``words`` is (16 a block, messages), ``states`` (8, messages); both are contiguous."""
        blocks, messages = len(words) // _BLOCK_WORDS, words.shape[1]
        assert states.shape == (_STATE_WORDS, messages) and messages % LANES == 0 < messages
        self._call(states.ctypes.data, words.ctypes.data, messages, blocks)


@cache
def _code() -> _Code:
    return _Code()


def hash_rows(prefix: bytes, rows: Bytes) -> Bytes:
    """SHA-256 of ``prefix``, one block of 64 bytes, and each row of a matrix (message, byte), as a
    matrix (message, 32)."""
    count, size = rows.shape
    blocks = (size + 9 + _BLOCK - 1) // _BLOCK
    padded = np.zeros((-(-count // LANES) * LANES, blocks * _BLOCK), dtype=np.uint8)
    padded[:count, :size] = rows
    padded[:, size] = 0x80
    padded[:, -8:] = np.frombuffer((8 * (_BLOCK + size)).to_bytes(8), np.uint8)
    states = np.repeat(_midstate(prefix)[:, None], len(padded), axis=1)
    _code().run(states, np.ascontiguousarray(padded.view(">u4").T, dtype=np.uint32))
    return np.ascontiguousarray(states.T[:count], dtype=">u4").view(np.uint8)


@lru_cache(maxsize=64)
def _midstate(block: bytes) -> Words:
    """The state after this block."""
    states = np.repeat(np.array(_IV, dtype=np.uint32)[:, None], LANES, axis=1)
    words = np.repeat(np.frombuffer(block, ">u4").astype(np.uint32)[:, None], LANES, axis=1)
    _code().run(states, words)
    return states[:, 0].copy()
