"""Ways to spend an output: a leaf with its locks, messages and signers, and the witness it takes.

A leaf reads, and its witness holds from the top down:

    [height CLTV] [blocks CSV]  message ... message  key CHECKSIGVERIFY ... key CHECKSIG
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import (
    after_blocks,
    after_height,
    check_x_only,
    number_bytes,
    script,
)
from protocol.bitcoin.taproot import (
    NUMS_KEY,
    TapLeaf,
    TaprootOutput,
    balanced,
    compact_size,
    taproot_output,
)
from protocol.bitcoin.tx import SEQUENCE_REPLACEABLE, vsize_with
from protocol.bitcoin.winternitz_script import (
    constant_items,
    message_items,
    read_message,
    require_stack,
    verify_bit,
    verify_constant,
    verify_message,
)
from protocol.crypto.winternitz import (
    BASE,
    ELEMENT_BYTES,
    Digits,
    Label,
    OneTimePublicKey,
)
from protocol.errors import ScriptError, SignatureError
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.terms import Role

SIGNATURE_BYTES: Final = 64
"""Every signature here is SIGHASH_DEFAULT: it commits to all of the transaction."""

_SCRIPT_AND_CONTROL: Final = 2
"""The items above those that the script sees."""


@dataclass(frozen=True, slots=True)
class Message:
    """A one-time message that a leaf verifies. Keys of both kinds of check sign the same way."""

    label: Label
    key: OneTimePublicKey
    script: bytes
    constant: bool = False
    """The leaf fixes the digits: the witness holds the signature's elements alone."""

    def items(self, signed: SignedMessage) -> tuple[bytes, ...]:
        """What the witness holds, bottom to top."""
        if self.constant:
            return constant_items(self.key, signed.signature)
        return message_items(signed.digits, signed.signature)

    @property
    def widest_items(self) -> tuple[int, int]:
        """How many items it has, and their bytes at most, each with its length."""
        count = len(self.key.ends) * (1 if self.constant else 2)
        return count, len(self.key.ends) * (1 + ELEMENT_BYTES) + (count - len(self.key.ends)) * 2


def revealed(label: Label, key: OneTimePublicKey, below: int = BASE) -> Message:
    """The signer shows a message for the first time: any whose leftmost digit is ``below`` that."""
    if below == BASE:
        return Message(label, key, verify_message(key, first=True, keep=()))
    bounded = verify_message(key, first=True, keep=(0,)) + script(below, Op.LESSTHAN, Op.VERIFY)
    return Message(label, key, bounded)


def presented_bit(label: Label, key: OneTimePublicKey, bit: int, value: bool) -> Message:
    """The other side presents a message in which ``bit`` is ``value``."""
    return Message(label, key, verify_bit(key, bit, value, first=False))


def presented_constant(label: Label, key: OneTimePublicKey, digits: Digits) -> Message:
    """The other side presents a message of exactly ``digits``."""
    return Message(label, key, verify_constant(key, digits, first=False), constant=True)


@dataclass(frozen=True, slots=True)
class SpendPath:
    """One leaf and everything that spends it."""

    name: str
    signers: Mapping[Role, bytes]
    """x-only keys, in the order of the script."""
    messages: tuple[Message, ...] = ()
    blocks: int = 0
    """Relative lock (CSV); 0 for none."""
    height: int = 0
    """Absolute lock (CLTV); 0 for none."""
    leaf: TapLeaf = field(init=False)

    def __post_init__(self) -> None:
        """ScriptError for a lock out of range or more messages than a stack holds."""
        require_stack(self.widest_items[0])
        *others, last = (check_x_only(key) for key in self.signers.values())
        code = b"".join(message.script for message in self.messages)
        code += b"".join(script(key, Op.CHECKSIGVERIFY) for key in others)
        code += script(last, Op.CHECKSIG)
        code = after_blocks(self.blocks, code) if self.blocks else code
        code = after_height(self.height, code) if self.height else code
        object.__setattr__(self, "leaf", TapLeaf(code))

    @property
    def sequence(self) -> int:
        """Of the input: the relative lock, or one that lets the absolute lock count."""
        return self.blocks or SEQUENCE_REPLACEABLE

    @property
    def hints(self) -> int:
        """How many numbers that nobody signed its witness begins with."""
        return 0

    def items(
        self, messages: Mapping[Label, SignedMessage], hints: Sequence[int] = ()
    ) -> list[bytes]:
        """The witness items of ``hints`` and ``messages``, bottom to top.

        ``messages`` may hold more than it shows. SignatureError if one is missing or wrong, or for
        another number of hints.
        """
        if len(hints) != self.hints:
            raise SignatureError(f"{self.name} takes {self.hints} unsigned numbers")
        for message in self.messages:
            shown = messages.get(message.label)
            if shown is None or not message.key.verify(shown.digits, shown.signature):
                raise SignatureError(
                    f"{self.name} shows {message.label.field} {message.label.round}: sign it with"
                    " the one-time key"
                )
        shown_items = _stacked(message.items(messages[message.label]) for message in self.messages)
        return [*map(number_bytes, hints), *shown_items]

    def read(self, items: Sequence[bytes]) -> dict[Label, SignedMessage]:
        """The messages in a witness, its script and what is above left out; those that the leaf
        fixes are not in it. SignatureError unless they are what the leaf accepts."""
        left = list(items)
        shown: dict[Label, SignedMessage] = {}
        for message in self.messages:
            if message.constant:
                del left[-len(message.key.ends) :]
                continue
            taken = 2 * len(message.key.ends)
            shown[message.label] = SignedMessage(*read_message(message.key, left[-taken:]))
            del left[-taken:]
        return shown

    @property
    def widest_items(self) -> tuple[int, int]:
        """How many items a witness has before its script, signatures included, and their bytes at
        most, each with its length."""
        counts, sizes = [self.hints, len(self.signers)], [2 * self.hints]
        for message in self.messages:
            count, size = message.widest_items
            counts.append(count)
            sizes.append(size)
        return sum(counts), sum(sizes) + len(self.signers) * (1 + SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True)
class Lock:
    """A Taproot output and every way to spend it by script."""

    output: TaprootOutput
    paths: tuple[SpendPath, ...]

    @classmethod
    def of(cls, paths: Sequence[SpendPath], internal_key: bytes = NUMS_KEY) -> "Lock":
        """The output whose tree holds the leaves of ``paths``, in their order."""
        return cls(taproot_output(internal_key, balanced([p.leaf for p in paths])), tuple(paths))

    @property
    def script_pubkey(self) -> bytes:
        return self.output.script_pubkey

    def spent_by(self, code: bytes) -> SpendPath | None:
        """The way whose leaf is the script ``code``."""
        leaf = TapLeaf(code)
        return next((path for path in self.paths if path.leaf == leaf), None)

    def path(self, name: str) -> SpendPath:
        """The way of that name; ScriptError if there is none."""
        for path in self.paths:
            if path.name == name:
                return path
        raise ScriptError(f"this output is not spent by {name}")

    def stack(
        self, path: SpendPath, signatures: Mapping[Role, bytes], items: Sequence[bytes]
    ) -> list[bytes]:
        """The whole witness, bottom to top; SignatureError if a signature is missing."""
        missing = [role.value for role in path.signers if role not in signatures]
        if missing:
            raise SignatureError(f"{path.name} lacks the signature of the {missing[0]}")
        signed = [signatures[role] for role in reversed(list(path.signers))]
        return [*signed, *items, path.leaf.script, self.output.control_block(path.leaf)]

    def widest_witness(self, path: SpendPath) -> int:
        """The bytes of the whole witness, at most: what fees are counted with."""
        count, size = path.widest_items
        for item in (path.leaf.size, len(self.output.control_block(path.leaf))):
            size += len(compact_size(item)) + item
        return len(compact_size(count + _SCRIPT_AND_CONTROL)) + size


def widest_vsize(
    tx: CTransaction, locks: Sequence[Lock], inputs: Sequence[Sequence[SpendPath]]
) -> int:
    """The virtual bytes of ``tx``, which spends ``locks`` by the dearest way of each input."""
    return vsize_with(
        tx,
        (max(map(lock.widest_witness, ways)) for lock, ways in zip(locks, inputs, strict=True)),
    )


def _stacked(parts: Iterable[tuple[bytes, ...]]) -> list[bytes]:
    """The script takes the first part first, so it lies on top."""
    return [item for part in reversed(list(parts)) for item in part]
