"""A leaf without its keys: what it verifies, what the spender adds unsigned, and its body.

The body depends on the program's borders and the trace's shape only, so that it is assembled once
and kept; a contract adds its guard (time lock and Schnorr keys) and the chains' ends. A leaf reads,
and its witness holds from the top down, as every leaf of a contract (protocol/settlement/path.py):

    [blocks CSV]  message ... message  body  key CHECKSIGVERIFY ... key CHECKSIG

with the hints, numbers that nobody signed, between the messages and the Schnorr signatures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import after_blocks, check_x_only, number_bytes, script
from protocol.bitcoin.winternitz_script import (
    MAX_STACK_ITEMS,
    message_items,
    to_altstack,
    verify_message,
)
from protocol.crypto.winternitz import OneTimePublicKey
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets.messages import message_items_count
from protocol.dispute.interpreter import stack_bound
from protocol.dispute.leaves.said import Said
from protocol.errors import ScriptError

Signed = tuple[tuple[int, ...], tuple[bytes, ...]]
"""A message's digits and the elements that sign them."""


Verify = Callable[[Said, bool, bool], bytes]
"""The script that verifies a message, of which is said whether it is shown for the first time and
whether its digits are dropped."""

_BACK: Final = bytes([Op.FROMALTSTACK])


@dataclass(frozen=True, slots=True)
class Guard:
    """Who must sign, and how many blocks after the spent output (0: no lock)."""

    keys: tuple[bytes, ...]
    blocks: int = 0

    @property
    def lock(self) -> bytes:
        """What comes first."""
        return after_blocks(self.blocks, b"") if self.blocks else b""

    @property
    def signed(self) -> bytes:
        """What comes last, and leaves the leaf's one true value."""
        checks = [script(check_x_only(key), Op.CHECKSIGVERIFY) for key in self.keys[:-1]]
        checks += [script(check_x_only(key), Op.CHECKSIG) for key in self.keys[-1:]]
        return b"".join(checks) or script(Op.TRUE)


@dataclass(frozen=True, slots=True)
class Template:
    """One leaf: ``first`` are the messages that its spender signs here for the first time.

    The body, in ``parts``, finds the hints, then the digits as :func:`begin` lays them out, and
    leaves nothing. It does not get to see the digits of ``silent`` messages.
    """

    name: str
    messages: tuple[Said, ...]
    first: frozenset[Said]
    hints: int
    parts: tuple[bytes, ...]
    silent: frozenset[Said] = frozenset()

    @property
    def body(self) -> bytes:
        """The script behind the messages."""
        return b"".join(self.parts)

    def script(self, guard: Guard, keys: Mapping[Said, OneTimePublicKey]) -> bytes:
        """The whole leaf; ScriptError if its stack could overflow or a key is of another length."""
        for said in self.messages:
            if keys[said].digits != said.digits:
                raise ScriptError(f"{said.field}: the key of {said.digits} digits is another one")
        parts = self.filled(guard, partial(verified, keys))
        bound = stack_bound(self.witness_items + len(guard.keys), *parts)
        if bound.peak > MAX_STACK_ITEMS or (bound.left, bound.alt_left) != (1, 0):
            raise ScriptError(f"the leaf {self.name} does not fit Script's stack: {bound}")
        return b"".join(parts)

    def filled(self, guard: Guard, verify: Verify) -> tuple[bytes, ...]:
        """The parts of the whole leaf; what ``verify`` gives may be shared with other leaves."""
        prologue: list[bytes] = []
        waiting = 0
        for number, said in enumerate(self.messages, 1):
            is_silent = said in self.silent
            prologue.append(verify(said, said in self.first, is_silent))
            if not is_silent and number < len(self.messages):
                prologue.append(to_altstack(said.digits))
                waiting += said.digits
        return (guard.lock, *prologue, _BACK * waiting, *self.parts, guard.signed)

    @property
    def witness_items(self) -> int:
        """The items of the initial stack, the Schnorr signatures not counted."""
        return self.hints + sum(message_items_count(said.digits) for said in self.messages)

    def witness(
        self,
        signatures: Sequence[bytes],
        signed: Mapping[Said, Signed],
        hints: Sequence[int | bytes] = (),
    ) -> list[bytes]:
        """The initial stack, bottom to top; ``signatures`` in the order of the guard's keys."""
        if len(hints) != self.hints:
            raise ScriptError(f"the leaf {self.name} takes {self.hints} unsigned numbers")
        items = list(reversed(signatures))
        items += [number_bytes(h) if isinstance(h, int) else h for h in hints]
        for said in reversed(self.messages):
            items += message_items(*signed[said])
        return items


def verified(keys: Mapping[Said, OneTimePublicKey], said: Said, first: bool, silent: bool) -> bytes:
    """Verify one message under its key; as :data:`Verify`."""
    return verify_message(keys[said], first=first, keep=() if silent else None)


def begin(
    messages: Sequence[Said], hints: int = 0
) -> tuple[Assembler, dict[Said, tuple[Item, ...]], tuple[Item, ...]]:
    """The assembler of a body, the digits of each message and the hints.

    ``messages`` without the silent ones: the last lies lowest, since it left the stack last if it
    did so at all. The hints lie below them.
    """
    unsigned = tuple(Item(f"hint[{n}]") for n in range(hints))
    named = {
        said: tuple(Item(f"{said.field}[{n}]") for n in range(said.digits)) for said in messages
    }
    on_stack = [item for said in reversed(messages) for item in named[said]]
    return Assembler((*unsigned, *on_stack)), named, unsigned
