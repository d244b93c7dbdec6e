"""What both sides have signed so far: the messages that the scripts of later moves verify.

Only confirmed messages are here, each once. A verdict leaf takes the disputed step i from P's
signed fragment and every place in the tree from the digits of i.
"""

from dataclasses import dataclass
from typing import Final

from protocol.dispute.claim import base4
from protocol.dispute.fragment import Fragment
from protocol.dispute.premises import Premises
from riscv_vm.record import Block, Record

Nodes = tuple[bytes, bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Transcript:
    """P's messages; and C's digits, which EXECUTE verifies.

    ``published`` are the input's digits that the terms do not fix, one tuple a transaction;
    ``rounds`` the four nodes of each round (round t is ``rounds[t - 1]``); ``records`` the block.
    """

    published: tuple[tuple[int, ...], ...] = ()
    root: bytes | None = None
    rounds: tuple[Nodes, ...] = ()
    records: Block | None = None
    digits: tuple[int, ...] = ()
    fragment: Fragment | None = None

    @property
    def input_digits(self) -> tuple[int, ...]:
        """The published digits of all parts."""
        return tuple(digit for part in self.published for digit in part)

    @property
    def executed(self) -> Fragment:
        """F_i, which is there before any verdict."""
        assert self.fragment is not None, "a verdict comes after EXECUTE"
        return self.fragment

    @property
    def block(self) -> Block:
        """The four records, which are there before any verdict."""
        assert self.records is not None, "a verdict comes after the records"
        return self.records

    def places(self, premises: Premises) -> tuple[int, ...]:
        """c_1..c_k: the base-4 digits of i, which P signed."""
        return base4(self.executed.index, premises.log4_steps)

    def parent(self, premises: Premises, turn: int) -> bytes:
        """The node that round ``turn`` opens, R + 1 for the block's; i's digit picks it."""
        assert self.root is not None
        if turn == 1:
            return self.root
        return self.rounds[turn - 2][self.places(premises)[turn - 2]]

    def record(self, premises: Premises) -> Record:
        """The revealed record of step i."""
        return self.block[self.places(premises)[-1]]


NOTHING_SAID: Final = Transcript()
