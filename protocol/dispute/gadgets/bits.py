"""Nibbles and their bits; and, or, xor by table."""

from collections.abc import Callable, Sequence

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.dispute.assembler import Assembler, Item, Operand, Table
from protocol.dispute.gadgets.word import Word, items, total

_BITS = b"".join(
    script(Op.DUP, weight - 1, Op.GREATERTHAN, Op.TUCK, Op.IF, weight, Op.SUB, Op.ENDIF)
    for weight in (8, 4, 2)
)


def bits(asm: Assembler, nibble: Item) -> tuple[Item, Item, Item, Item]:
    """The four bits of a nibble, least significant first; 24 bytes of script."""
    asm.bring(nibble)
    names = tuple(f"{nibble.name}.{n}" for n in (3, 2, 1, 0))
    b3, b2, b1, b0 = asm.raw(_BITS, 1, names)
    return b0, b1, b2, b3


def number(asm: Assembler, low_first: Sequence[Operand]) -> Operand:
    """The number of bits, or of constants 0 and 1, least significant first."""
    result: Operand = 0
    for bit in reversed(low_first):
        if isinstance(result, Item):
            doubled: Operand = asm.op(Op.ADD, asm.copy(result), result)
        else:
            doubled = 2 * result
        result = total(asm, [doubled, bit])
    return result


LOGIC: dict[str, Callable[[int, int], int]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


def logic_table(asm: Assembler, name: str) -> Table:
    """All 256 results of ``name`` (and, or, xor) at index 16 a + b."""
    operation = LOGIC[name]
    return asm.table([operation(n >> 4, n & 15) for n in range(256)], name)


def logic(asm: Assembler, table: Table, a: Word, b: Word) -> Word:
    """A bitwise operation on two words, by its table, which stays."""
    return tuple(_combine(asm, table, x, y) for x, y in zip(a, b, strict=True))


def _combine(asm: Assembler, table: Table, x: Operand, y: Operand) -> Item:
    if isinstance(x, int):
        x, y = y, x
    row = asm.push(16 * x) if isinstance(x, int) else times_16(asm, x)
    return asm.look_up(table, asm.op(Op.ADD, row, y))


def times_16(asm: Assembler, item: Item) -> Item:
    """Sixteen times a number, by doubling it four times."""
    asm.bring(item)
    return asm.raw(script(*[Op.DUP, Op.ADD] * 4), 1, (f"16 {item.name}",))[0]


def drop_table(asm: Assembler, table: Table) -> None:
    """Forget a table."""
    asm.drop(*items(table.entries))
