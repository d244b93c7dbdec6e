"""Ways to spend an output: a leaf with its locks, messages and signers, and the witness it takes.

A leaf reads, and its witness holds from the top down:

    [height CLTV] [blocks CSV]  message ... message  key CHECKSIGVERIFY ... key CHECKSIG
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import after_blocks, after_height, check_x_only, script
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, TaprootOutput, balanced, taproot_output
from protocol.bitcoin.tx import SEQUENCE_REPLACEABLE, vsize, with_witness
from protocol.bitcoin.winternitz_script import (
    constant_items,
    message_items,
    require_stack,
    verify_bit,
    verify_constant,
    verify_message,
)
from protocol.crypto.winternitz import (
    BASE,
    ELEMENT_BYTES,
    TOP,
    Digits,
    Label,
    OneTimePublicKey,
)
from protocol.errors import ScriptError, SignatureError
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.terms import Role

SIGNATURE_BYTES: Final = 64
"""Every signature here is SIGHASH_DEFAULT: it commits to all of the transaction."""


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
    def widest_items(self) -> tuple[bytes, ...]:
        """As many bytes as ``items`` can have."""
        pair = (bytes(ELEMENT_BYTES),) if self.constant else (bytes(ELEMENT_BYTES), bytes([TOP]))
        return pair * len(self.key.ends)


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
        require_stack(len(self.signers) + len(self.widest_items))
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

    def items(self, messages: Mapping[Label, SignedMessage]) -> list[bytes]:
        """The witness items of ``messages``, bottom to top; SignatureError if one is missing."""
        missing = [m.label for m in self.messages if m.label not in messages]
        if missing:
            raise SignatureError(
                f"{self.name} lacks the one-time signature of {missing[0].field} {missing[0].round}"
            )
        return _stacked(message.items(messages[message.label]) for message in self.messages)

    @property
    def widest_items(self) -> list[bytes]:
        """As many bytes as ``items`` can have."""
        return _stacked(message.widest_items for message in self.messages)


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

    def widest_stack(self, path: SpendPath) -> list[bytes]:
        """As many bytes as ``stack`` can have: what fees are counted with."""
        empty = bytes(SIGNATURE_BYTES)
        return self.stack(path, dict.fromkeys(path.signers, empty), path.widest_items)


def widest_vsize(tx: CTransaction, lock: Lock, path: SpendPath) -> int:
    """The virtual bytes of ``tx`` when its only input spends ``lock`` by ``path``."""
    return vsize(with_witness(tx, [lock.widest_stack(path)]))


def _stacked(parts: Iterable[tuple[bytes, ...]]) -> list[bytes]:
    """The script takes the first part first, so it lies on top."""
    return [item for part in reversed(list(parts)) for item in part]
