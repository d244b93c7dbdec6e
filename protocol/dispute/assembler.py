"""A stack-tracking assembler for tapscript: say what to compute, it knows where every value lies.

A value on the stack is an :class:`Item`. Every operation consumes its operands, wherever they are
on the stack, and returns its result; ``copy`` keeps the original. Items have an identity, so one
that was consumed cannot be used again by mistake::

    asm = Assembler(["a", "b"])                # what the witness put there, bottom to top
    a, b = asm.stack
    total = asm.op(Op.ADD, asm.copy(a), b)     # OVER ADD
    asm.verify(Op.NUMEQUAL, total, 7)          # 7 NUMEQUALVERIFY
    code = asm.finish()                        # drops ``a``, leaves TRUE

The bytes it writes are checked once more by :func:`protocol.dispute.interpreter.stack_bound`,
which knows nothing of the tracking: the 1000-item limit is proved, not hoped for.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import push_number, script
from protocol.bitcoin.winternitz_script import MAX_STACK_ITEMS
from protocol.dispute.interpreter import stack_bound
from protocol.errors import ScriptError


class Item:
    """One value on the stack, equal to itself only. The name is for people."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name or 'item'}>"


Operand = Item | int
"""A value on the stack, or a constant to push."""

OPERANDS: Final[dict[Op, int]] = {
    **dict.fromkeys((Op.ADD1, Op.SUB1, Op.NEGATE, Op.ABS, Op.NOT, Op.NOTEQUAL0, Op.VERIFY), 1),
    **dict.fromkeys((Op.SHA256, Op.HASH160), 1),
    **dict.fromkeys((Op.ADD, Op.SUB, Op.BOOLAND, Op.BOOLOR, Op.MIN, Op.MAX), 2),
    **dict.fromkeys((Op.NUMEQUAL, Op.NUMNOTEQUAL, Op.LESSTHAN, Op.GREATERTHAN), 2),
    **dict.fromkeys((Op.LESSTHANOREQUAL, Op.GREATERTHANOREQUAL, Op.EQUAL), 2),
    Op.WITHIN: 3,
}
"""The operations with one result, and how many values each takes."""

_PART_BYTES: Final = 1_000
"""Ready-made code of this size is a part of its own, so that its effect is found once only."""

_COMMUTES: Final = frozenset(
    {Op.ADD, Op.BOOLAND, Op.BOOLOR, Op.MIN, Op.MAX, Op.NUMEQUAL, Op.NUMNOTEQUAL, Op.EQUAL}
)
_FUSED: Final = {Op.EQUAL: Op.EQUALVERIFY, Op.NUMEQUAL: Op.NUMEQUALVERIFY}
_BY_ONE: Final = {(Op.ADD, 1): Op.ADD1, (Op.ADD, -1): Op.SUB1, (Op.SUB, 1): Op.SUB1}
_MIRROR: Final = {
    Op.LESSTHAN: Op.GREATERTHAN,
    Op.GREATERTHAN: Op.LESSTHAN,
    Op.LESSTHANOREQUAL: Op.GREATERTHANOREQUAL,
    Op.GREATERTHANOREQUAL: Op.LESSTHANOREQUAL,
}


@dataclass(frozen=True, slots=True)
class Table:
    """Constants on the stack to look up by index: entry 0 is the topmost."""

    entries: tuple[Item, ...]


class Assembler:
    """The script so far and where each value lies: ``stack`` and ``alt``, bottom to top."""

    def __init__(self, witness: Iterable[str | Item] = ()) -> None:
        """``witness`` names (or is) what lies on the stack when the script begins."""
        self.stack = [w if isinstance(w, Item) else Item(w) for w in witness]
        self.alt: list[Item] = []
        self._witness_items = len(self.stack)
        self._parts: list[bytes] = []
        self._code = bytearray()
        self._branches = 0

    @property
    def size(self) -> int:
        """Bytes of the script so far."""
        return len(self._code) + sum(map(len, self._parts))

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The script so far, long ready-made pieces by themselves."""
        return (*self._parts, bytes(self._code))

    # Moving values

    def push(self, value: int | bytes, name: str = "") -> Item:
        """A constant on top."""
        self._code += script(value)
        return self._on_top(Item(name or (str(value) if isinstance(value, int) else value.hex())))

    def copy(self, item: Item) -> Item:
        """A second ``item`` on top."""
        depth = self.depth(item)
        short = {0: Op.DUP, 1: Op.OVER}.get(depth)
        self._code += script(short) if short else script(depth, Op.PICK)
        return self._on_top(Item(item.name))

    def bring(self, *items: Item) -> None:
        """Move ``items`` to the top, the last one uppermost; none if they are there already."""
        settled = len(items)
        while settled and not self._ends_with(items[:settled]):
            settled -= 1
        for item in items[settled:]:
            depth = self.depth(item)
            short = {1: (Op.SWAP,), 2: (Op.ROT,)}.get(depth, (depth, Op.ROLL))
            self._code += script(*short)
            self.stack.append(self.stack.pop(-1 - depth))

    def drop(self, *items: Item) -> None:
        """Forget ``items``. Those that lie deepest go last, two of them for a byte."""
        gone = set(items)
        if len(gone) != len(items):
            raise ScriptError("a value cannot be dropped twice")
        for missing in gone.difference(self.stack):
            self.depth(missing)
        while gone:
            top = self.stack[-1]
            if top not in gone:
                item = next(item for item in reversed(self.stack) if item in gone)
                if self.depth(item) == 1:
                    self._code += script(Op.NIP)
                    del self.stack[-2]
                    gone.remove(item)
                    continue
                self.bring(item)
            elif len(self.stack) > 1 and self.stack[-2] in gone:
                self._code += script(Op.DROP2)
                gone -= set(self.stack[-2:])
                del self.stack[-2:]
            else:
                self._code += script(Op.DROP)
                gone.remove(self.stack.pop())

    def to_alt(self, *items: Item) -> None:
        """Move ``items`` to the altstack, the last one first: they come back in this order."""
        for item in reversed(items):
            self.bring(item)
            self._code += script(Op.TOALTSTACK)
            self.alt.append(self.stack.pop())

    def from_alt(self, count: int) -> tuple[Item, ...]:
        """The topmost ``count`` values of the altstack, back on the stack."""
        self._code += script(*[Op.FROMALTSTACK] * count)
        items = tuple(self.alt.pop() for _ in range(count))
        self.stack += items
        return items

    def depth(self, item: Item) -> int:
        """How many values lie above ``item``; ScriptError if it is not on the stack."""
        try:
            return len(self.stack) - 1 - self.stack.index(item)
        except ValueError:
            where = "on the altstack" if item in self.alt else "gone: it was consumed"
            raise ScriptError(f"{item} is {where}; copy it before its last use") from None

    # Computing

    def op(self, op: Op, *operands: Operand, name: str = "") -> Item:
        """The result of ``op`` on ``operands``, which it consumes."""
        self._apply(op, operands)
        return self._on_top(Item(name or op.name.lower()))

    def verify(self, op: Op, *operands: Operand) -> None:
        """Fail unless ``op`` on ``operands`` is true; consumes them."""
        written = self._apply(op, operands)
        if written is not Op.VERIFY:
            self._code[-1:] = (
                script(_FUSED[written]) if written in _FUSED else script(written, Op.VERIFY)
            )

    def raw(self, code: bytes, takes: int = 0, leaves: Sequence[str] = ()) -> tuple[Item, ...]:
        """Ready-made ``code`` that replaces the top ``takes`` values by ``leaves``."""
        if takes > len(self.stack):
            raise ScriptError(f"the code takes {takes} values and {len(self.stack)} are there")
        if len(code) >= _PART_BYTES and not self._branches:
            self._parts += [bytes(self._code), code]
            self._code.clear()
        else:
            self._code += code
        del self.stack[len(self.stack) - takes :]
        items = tuple(Item(name) for name in leaves)
        self.stack += items
        return items

    def branch(
        self,
        condition: Item,
        then: Callable[[], Sequence[Item]],
        otherwise: Callable[[], Sequence[Item]],
    ) -> tuple[Item, ...]:
        """Either ``then`` or ``otherwise``, by ``condition``; what both return lies on top.

        ``condition`` must be 0 or 1 in its minimal form, as comparisons leave it. Both ways must
        consume the same values and return the same number; ScriptError if they do not.
        """
        self.bring(condition)
        self.stack.pop()
        self._code += script(Op.IF)
        self._branches += 1
        before, alt = list(self.stack), list(self.alt)
        first = list(then())
        self.bring(*first)
        rest = self.stack[: len(self.stack) - len(first)]
        self._code += script(Op.ELSE)
        self.stack, alt_after, self.alt = before, self.alt, alt
        second = list(otherwise())
        self.bring(*second)
        self._code += script(Op.ENDIF)
        self._branches -= 1
        if len(first) != len(second) or self.alt != alt_after:
            raise ScriptError("both ways of a branch must return as many values")
        if self.stack[: len(self.stack) - len(second)] != rest:
            raise ScriptError("both ways of a branch must leave the same values in place")
        results = [Item(item.name) for item in second]
        self.stack = rest + results
        return tuple(results)

    # Tables

    def table(self, values: Sequence[int], name: str = "table") -> Table:
        """``values`` on top of the stack, to look up by their index."""
        entries: list[Item] = []
        for n, value in reversed(list(enumerate(values))):
            if n + 1 < len(values) and value == values[n + 1] and len(push_number(value)) > 1:
                self._code += script(Op.DUP)
                entries.append(self._on_top(Item(f"{name}[{n}]")))
            else:
                entries.append(self.push(value, f"{name}[{n}]"))
        return Table(tuple(reversed(entries)))

    def look_up(self, table: Table, index: Item, name: str = "") -> Item:
        """The entry at ``index``, which must have been proved to lie in the table's range."""
        self.bring(index)
        offset = self.depth(table.entries[0]) - 1
        if offset:
            index = self.op(Op.ADD, index, offset)
        return self.fetch(index, name or "entry")

    def fetch(self, index: Item, name: str) -> Item:
        """The value that lies ``index`` below the top once ``index`` itself is gone."""
        self.bring(index)
        self._code += script(Op.PICK)
        self.stack.pop()
        return self._on_top(Item(name))

    # The end

    def finish(self) -> bytes:
        """The whole script: everything else dropped, TRUE left, the stack bound proved.

        ScriptError if the script may hold more than 1000 values at any moment (BIP342).
        """
        self.clear()
        self.push(1)
        return self.code()

    def clear(self) -> None:
        """Drop everything that is left, for a script that goes on with something else."""
        self.drop(*self.stack)
        if self.alt:
            self.drop(*self.from_alt(len(self.alt)))

    def code(self) -> bytes:
        """The script so far; ScriptError if its stack can overflow or is not what was tracked."""
        bound = stack_bound(self._witness_items, *self.parts)
        if bound.left != len(self.stack) or bound.alt_left != len(self.alt):
            raise ScriptError(
                f"tracking says {len(self.stack)} values are left, the script leaves {bound.left}"
            )
        if bound.peak > MAX_STACK_ITEMS:
            raise ScriptError(
                f"the script may hold {bound.peak} values at once and consensus allows"
                f" {MAX_STACK_ITEMS}: move messages to a transaction of their own"
            )
        return b"".join(self.parts)

    def layout(self) -> str:
        """The stack as a line of names, bottom to top, the altstack behind a bar."""
        names = [item.name or "?" for item in self.stack]
        return " ".join(names) + (" | " + " ".join(i.name for i in self.alt) if self.alt else "")

    # Inside

    def _apply(self, op: Op, operands: tuple[Operand, ...]) -> Op:
        """Write ``op`` behind its operands; returns the opcode that was written."""
        if OPERANDS.get(op) != len(operands):
            raise ScriptError(f"{op.name} takes {OPERANDS.get(op, 'no')} operands here")
        op, operands = self._cheapest(op, operands)
        trailing = len(operands)
        while trailing and isinstance(operands[trailing - 1], int):
            trailing -= 1
        placed = [self.push(o) if isinstance(o, int) else o for o in operands[:trailing]]
        self.bring(*placed)
        placed += [self.push(o) for o in operands[trailing:] if isinstance(o, int)]
        self._code += script(op)
        del self.stack[len(self.stack) - len(placed) :]
        return op

    def _cheapest(self, op: Op, operands: tuple[Operand, ...]) -> tuple[Op, tuple[Operand, ...]]:
        """The same operation with its operands the other way round, or a shorter one."""
        if len(operands) != 2:
            return op, operands
        first, second = operands
        turned = isinstance(second, Item) and (
            isinstance(first, int) or self._ends_with([second, first])
        )
        if turned and (op in _COMMUTES or op in _MIRROR):
            op, first, second = _MIRROR.get(op, op), second, first
        if isinstance(second, int) and (op, second) in _BY_ONE:
            return _BY_ONE[op, second], (first,)
        return op, (first, second)

    def _on_top(self, item: Item) -> Item:
        self.stack.append(item)
        return item

    def _ends_with(self, items: Sequence[Item]) -> bool:
        return len(items) <= len(self.stack) and self.stack[-len(items) :] == list(items)
