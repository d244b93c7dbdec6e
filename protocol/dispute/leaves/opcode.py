"""The fields of an instruction word that lies on the stack (RISC-V manual, section 2.3)."""

from collections.abc import Sequence

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item, Operand
from protocol.dispute.gadgets.bits import bits, number
from protocol.dispute.gadgets.word import NIBBLES, Word, mask_of
from riscv_vm.isa import Encoding, Format


class Opcode:
    """The word of an ``encoding``: its fixed bits are checked first, every other is used once."""

    def __init__(self, asm: Assembler, word: Word, encoding: Encoding) -> None:
        self._asm = asm
        self._nibbles = list(word)
        self._bits: dict[int, Operand] = {}
        for n in range(NIBBLES):
            mask, match = (field >> 4 * n & 15 for field in (encoding.mask, encoding.match))
            if mask == 15:
                asm.verify(Op.NUMEQUAL, word[n], match)
            elif mask:
                self._check(n, mask, match)

    def bit(self, n: int) -> Operand:
        """Bit ``n`` of the word, 0 the lowest."""
        self._split(n // 4)
        return self._bits[n]

    def register(self, low: int) -> tuple[Operand, ...]:
        """The five bits of the register field whose lowest is bit ``low``."""
        return tuple(self.bit(low + n) for n in range(5))

    @property
    def rd(self) -> tuple[Operand, ...]:
        return self.register(7)

    @property
    def rs1(self) -> tuple[Operand, ...]:
        return self.register(15)

    @property
    def rs2(self) -> tuple[Operand, ...]:
        return self.register(20)

    @property
    def shift_amount(self) -> tuple[Operand, ...]:
        return self.register(20)

    def immediate(self, layout: Format) -> Word:
        """The immediate as a word, sign-extended (a U format's in place)."""
        if layout is Format.U:
            return (0, 0, 0, self._nibble(12), *self._nibbles[4:])
        if layout in (Format.I, Format.LOAD):
            low: Word = (self._nibbles[5], self._nibble(24), self._nibbles[7])
            return self._extend(low, self._top(low[-1]))
        if layout is Format.S:
            low = (*map(self._number, _PLACES[layout]), self._nibbles[7])
            return self._extend(low, self._top(low[-1]))
        return self._extend(tuple(map(self._number, _PLACES[layout])), self.bit(31))

    def _number(self, places: Sequence[int | None]) -> Operand:
        return number(self._asm, [0 if p is None else self.bit(p) for p in places])

    def _nibble(self, low: int) -> Operand:
        """Four neighbouring bits: a whole nibble of the word, split or not."""
        split = low in self._bits
        return self._number(range(low, low + 4)) if split else self._nibbles[low // 4]

    def _top(self, nibble: Operand) -> Operand:
        assert isinstance(nibble, Item)
        return self._asm.op(Op.GREATERTHAN, self._asm.copy(nibble), 7)

    def _extend(self, low: Word, sign: Operand) -> Word:
        assert isinstance(sign, Item)
        mask = mask_of(self._asm, sign)
        above = [self._asm.copy(mask) for _ in range(NIBBLES - len(low) - 1)]
        return (*low, *above, mask)

    def _split(self, n: int) -> None:
        if 4 * n in self._bits:
            return
        nibble = self._nibbles[n]
        assert isinstance(nibble, Item)
        self._bits |= {4 * n + place: bit for place, bit in enumerate(bits(self._asm, nibble))}

    def _check(self, n: int, mask: int, match: int) -> None:
        """The fixed bits of a nibble that has others too."""
        self._split(n)
        for place in range(4):
            if mask >> place & 1:
                self._asm.verify(Op.NUMEQUAL, self._bits[4 * n + place], match >> place & 1)


_PLACES: dict[Format, tuple[tuple[int | None, ...], ...]] = {
    Format.S: ((7, 8, 9, 10), (11, 25, 26, 27)),
    Format.B: ((None, 8, 9, 10), (11, 25, 26, 27), (28, 29, 30, 7)),
    Format.J: (
        *((None, 21, 22, 23), (24, 25, 26, 27), (28, 29, 30, 20)),
        *((12, 13, 14, 15), (16, 17, 18, 19)),
    ),
}
"""Which bits of the word make up each nibble of the immediate, lowest first; None is a 0. The top
nibble of an S format's is a nibble of the word."""
