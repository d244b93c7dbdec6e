"""BLAKE3 of one block of at most 64 bytes: the hash of the commitment tree (riscv_vm/tree.py).

A state of 16 words lies as 128 nibbles above four tables, each entry one item:

    sum[s]     s mod 16                          s = 0..47: three nibbles and a carry
    row[s]     16 (s mod 16) + way to ``xor``
    carry[s]   s // 16 + way to ``sum``
    xor[16 a + b]

"Way to" a table is its distance from the top of the stack when nothing but the state lies above. A
step replaces values one for one, so that distance is almost always the same: a carry that includes
it makes the next sum an index for OP_PICK as it stands. Where the distance differs, the difference
is added; :meth:`_Compression.entry` knows it. Rotations by 16, 12 and 8 bits name nibbles anew; the
one by 7 is by 8 and one bit back.

Source: the BLAKE3 paper, section 2.2 (compression), for a single chunk of a single block, root.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item, Operand, Table
from protocol.dispute.gadgets.messages import byte_digits, little_endian
from protocol.dispute.gadgets.word import NIBBLES, ZERO, Word, constant, items, total
from protocol.errors import ScriptError

BLOCK_WORDS: Final = 16
ROUNDS: Final = 7
_IV: Final = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
_FLAGS: Final = 1 | 2 | 8  # CHUNK_START, CHUNK_END, ROOT
_PERMUTATION: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_COLUMNS: Final = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS: Final = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))

_STATE: Final = BLOCK_WORDS * NIBBLES
_SUMS: Final = 48
_WAY_TO_SUM: Final = _STATE
_WAY_TO_XOR: Final = _STATE + 3 * _SUMS


def blake3(asm: Assembler, message: Sequence[Item], width: int) -> tuple[Item, ...]:
    """The first ``width`` bytes of the hash of a message; both as digits, two a byte, high first.

    Consumes the message, 4 to 64 bytes of whole words, whose digits must be nibbles. ScriptError
    for other lengths.
    """
    code = _compression(len(message), width)
    asm.bring(*message)
    return asm.raw(code, len(message), [f"hash[{n}]" for n in range(2 * width)])


@lru_cache(maxsize=16)
def _compression(digits: int, width: int) -> bytes:
    """The script that replaces a message on top of the stack by its hash; always the same bytes."""
    if not 0 < digits <= _STATE or digits % NIBBLES or width % 4 or not 0 < width <= 32:
        raise ScriptError("one block holds 1 to 16 words; a hash has 4 to 32 bytes")
    asm = Assembler(f"message[{n}]" for n in range(digits))
    compression = _Compression.start(asm, little_endian(asm.stack))
    compression.rounds(width // 4)
    words = [compression.output(n) for n in range(width // 4)]
    result = items(*(byte_digits(word) for word in words))
    asm.to_alt(*result)
    asm.drop(*asm.stack)
    asm.from_alt(len(result))
    return asm.code()


@dataclass(slots=True)
class _Compression:
    """The tables, the permuted message and the state v_0..v_15 of one compression."""

    asm: Assembler
    xor: Table
    sum: Table
    row: Table
    carry: Table
    message: list[Word]
    v: list[Word]

    @classmethod
    def start(cls, asm: Assembler, message: Sequence[Word]) -> "_Compression":
        xor = asm.table([n >> 4 ^ n & 15 for n in range(256)], "xor")
        carry = asm.table([s // 16 + _WAY_TO_SUM for s in range(_SUMS)], "carry")
        row = asm.table([16 * (s % 16) + _WAY_TO_XOR for s in range(_SUMS)], "row")
        sums = asm.table([s % 16 for s in range(_SUMS)], "sum")
        padded = [*message, *[ZERO] * (BLOCK_WORDS - len(message))]
        head = (*_IV, *_IV[:4], 0, 0, 4 * len(message), _FLAGS)
        return cls(asm, xor, sums, row, carry, padded, [constant(word) for word in head])

    def rounds(self, wanted: int) -> None:
        """All seven; of the last one only what the first ``wanted`` words of output need."""
        for number in range(ROUNDS):
            last = number == ROUNDS - 1
            for n, places in enumerate((*_COLUMNS, *_DIAGONALS)):
                x, y = self.message[2 * n], self.message[2 * n + 1]
                self.mix(places, x, y, all_four=not last or n < 4 or places[1] < wanted)
            self.message = [self.message[n] for n in _PERMUTATION]

    def mix(self, places: Sequence[int], x: Word, y: Word, *, all_four: bool) -> None:
        """The quarter-round G; without ``all_four`` the second word's new value is left out."""
        a, b, c, d = places
        self.add_and_xor(a, (b, x), d, 4)
        self.add_and_xor(c, (d,), b, 3)
        self.add_and_xor(a, (b, y), d, 2)
        self.add_and_xor(c, (d,), b if all_four else None, 2)
        if all_four:
            self.v[b] = self.rotate_left_1(self.v[b])

    def add_and_xor(
        self, target: int, added: tuple[int | Word, ...], other: int | None, rotation: int
    ) -> None:
        """v_target += added; then v_other = (v_other ^ v_target), right by ``rotation`` nibbles."""
        words = [self.v[w] if isinstance(w, int) else w for w in added]
        sums: list[Operand] = []
        mixed: list[Operand] = []
        carry: Operand = 0
        for n in range(NIBBLES):
            known = [word[n] for word in words]
            beside = self.v[other][n] if other is not None else None
            last = n == NIBBLES - 1
            digit, crossed, carry = self.column(carry, self.v[target][n], known, beside, last)
            sums.append(digit)
            mixed.append(crossed)
        self.v[target] = tuple(sums)
        if other is not None:
            self.v[other] = tuple(mixed[(n + rotation) % NIBBLES] for n in range(NIBBLES))

    def column(
        self,
        carry: Operand,
        target: Operand,
        added: Sequence[Operand],
        other: Operand | None,
        last: bool,
    ) -> tuple[Operand, Operand, Operand]:
        """One nibble of it: the sum's digit, that digit ^ ``other``, and what is carried on."""
        asm = self.asm
        way = _WAY_TO_SUM if isinstance(carry, Item) else 0
        known = total(asm, [o for o in (carry, target, *added) if isinstance(o, int)])
        assert isinstance(known, int)
        index: Operand = 0
        for operand in (carry, target, *added):
            if isinstance(operand, Item):
                kept = operand is not carry and operand is not target
                term = asm.copy(operand) if kept else operand
                index = asm.op(Op.ADD, index, term) if isinstance(index, Item) else term
        if isinstance(index, int):
            index, known = asm.push(known), 0
        asm.bring(index)
        # The index is made to fit the look-up of the sum, which then needs no further addition.
        fitting = asm.depth(self.sum.entries[0])
        index = self._plus(index, known + fitting - way)
        digit = asm.fetch(asm.copy(index), "sum")
        crossed: Operand = 0
        if other is not None:
            row = self.entry(self.row, index if last else asm.copy(index), fitting)
            crossed = self.crossed(row, other)
        elif last:
            asm.drop(index)
        onward: Operand = 0 if last else self.entry(self.carry, index, fitting)
        return digit, crossed, onward

    def rotate_left_1(self, word: Word) -> Word:
        """Each nibble doubled, plus the bit that the one below carries: an addition once more."""
        asm = self.asm
        result: list[Operand] = []
        carry: Item | None = None
        for nibble in word:
            assert isinstance(nibble, Item)
            asm.bring(nibble)
            index = asm.op(Op.ADD, asm.copy(nibble), nibble)
            if carry is not None:
                index = asm.op(Op.ADD, carry, index)
            fitting = asm.depth(self.sum.entries[0])
            index = self._plus(index, fitting - (_WAY_TO_SUM if carry is not None else 0))
            result.append(asm.fetch(asm.copy(index), "doubled"))
            carry = self.entry(self.carry, index, fitting)
        assert carry is not None and isinstance(result[0], Item)
        lowest = asm.op(Op.ADD, self._plus(carry, -_WAY_TO_SUM), result[0])
        return (lowest, *result[1:])

    def output(self, n: int) -> Word:
        """v_n ^ v_(n+8), least significant nibble first."""
        digits = []
        for x, y in zip(self.v[n], self.v[n + 8], strict=True):
            assert isinstance(x, Item)
            row = self.entry(self.row, x, 0)
            digits.append(self.crossed(row, y))
        return tuple(digits)

    def crossed(self, row: Item, other: Operand) -> Item:
        """The exclusive or of the nibble whose row of the table this is with ``other``."""
        index = row if other == 0 else self.asm.op(Op.ADD, row, other)
        return self.entry(self.xor, index, _WAY_TO_XOR)

    def entry(self, table: Table, index: Item, way: int) -> Item:
        """The entry of ``table`` at ``index``, which already includes ``way``."""
        self.asm.bring(index)
        distance = self.asm.depth(table.entries[0]) - 1
        return self.asm.fetch(self._plus(index, distance - way), table.entries[0].name)

    def _plus(self, item: Item, amount: int) -> Item:
        return self.asm.op(Op.ADD, item, amount) if amount else item
