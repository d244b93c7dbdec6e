"""What a leaf reads from the messages that it verifies, word by word."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.fragment import WORD_DIGITS, Message, index_digits
from protocol.dispute.gadgets.messages import base4_digits, word
from protocol.dispute.gadgets.word import Word, equal
from protocol.dispute.leaves import said
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template, begin


@dataclass(frozen=True, slots=True)
class SlotWords:
    """One read slot; ``last`` has its least significant nibble first, as every word here."""

    address: Word
    value: Word
    last: Word
    init: Item


def words(digits: Sequence[Item]) -> list[Word]:
    """The 32-bit words of a message, as the fragment and the records are signed."""
    starts = range(0, len(digits), WORD_DIGITS)
    return [word(digits[at : at + WORD_DIGITS]) for at in starts]


def slot_words(digits: Sequence[Item]) -> SlotWords:
    """The slot that a message says."""
    address, value = words(digits[: 2 * WORD_DIGITS])
    *last, init = digits[2 * WORD_DIGITS :]
    return SlotWords(address, value, word(last), init)


@dataclass(slots=True)
class Evidence:
    """A leaf in the making: messages that its spender presents, or signs here (``first``).

    The message that is named first lies uppermost.
    """

    log4_steps: int
    asm: Assembler
    messages: tuple[Said, ...]
    named: dict[Said, tuple[Item, ...]]
    hints: tuple[Item, ...]
    first: frozenset[Said] = frozenset()
    silent: frozenset[Said] = frozenset()

    @classmethod
    def begin(
        cls,
        log4_steps: int,
        messages: Sequence[Said],
        hints: int = 0,
        first: Iterable[Said] = (),
        silent: Iterable[Said] = (),
    ) -> Self:
        """All of ``messages`` verified, and behind them the ``silent`` ones."""
        asm, named, unsigned = begin(messages, hints)
        every = (*messages, *silent)
        return cls(log4_steps, asm, every, named, unsigned, frozenset(first), frozenset(silent))

    def finish(self, name: str) -> Template:
        """The template; whatever was not used is dropped."""
        self.asm.clear()
        hints, parts = len(self.hints), self.asm.parts
        return Template(name, self.messages, self.first, hints, parts, self.silent)

    def fragment(self, message: Message) -> tuple[Item, ...]:
        """The digits of a message of F_i."""
        return self.named[said.fragment(self.log4_steps)[message]]

    @property
    def index(self) -> Word:
        """i."""
        return word(self.fragment(Message.HEAD)[: index_digits(self.log4_steps)])

    @property
    def pc(self) -> Word:
        return words(self.fragment(Message.HEAD)[-2 * WORD_DIGITS :])[0]

    @property
    def opcode(self) -> Word:
        return words(self.fragment(Message.HEAD)[-2 * WORD_DIGITS :])[1]

    def slot(self, number: int) -> SlotWords:
        """A read slot."""
        return slot_words(self.fragment(_SLOTS[number]))

    @property
    def record(self) -> list[Word]:
        """w_i: waddr, wval and next_pc."""
        return words(self.fragment(Message.WRITE))

    @property
    def places(self) -> tuple[Item, ...]:
        """c_1..c_k, the base-4 digits of i; uses i up."""
        return base4_digits(self.asm, self.index, self.log4_steps)

    def require_place(self, turn: int, child: int) -> None:
        """i lies below child ``child`` of round ``turn``; uses i up."""
        self.asm.verify(Op.NUMEQUAL, self.places[turn - 1], child)

    def require_different(self, a: Word, b: Word) -> None:
        """Fail unless a and b differ: the lie that most verdicts show."""
        self.asm.verify(Op.NOT, equal(self.asm, a, b))


_SLOTS = (Message.SLOT_0, Message.SLOT_1, Message.SLOT_2)


def head(log4_steps: int) -> Said:
    """The message of F_i with i, pc and opcode."""
    return said.fragment(log4_steps)[Message.HEAD]


def slot(log4_steps: int, number: int) -> Said:
    """The message of F_i with a read slot."""
    return said.fragment(log4_steps)[_SLOTS[number]]


def write(log4_steps: int) -> Said:
    """The message of F_i with w_i."""
    return said.fragment(log4_steps)[Message.WRITE]
