"""A way to spend that is a leaf of the dispute: its template filled with a contract's keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from protocol.bitcoin.script import number_bytes
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, balanced, taproot_output
from protocol.bitcoin.winternitz_script import read_message
from protocol.crypto.winternitz import ELEMENT_BYTES, TOP, Label, OneTimePublicKey, checksum_size
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Guard, Template, prologue
from protocol.errors import SignatureError
from protocol.settlement.dispute.labels import label_of
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.path import Lock, Message, SpendPath
from protocol.settlement.terms import Role

_HINT = number_bytes(TOP)
"""The widest unsigned digit."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What turns templates into leaves, in one direction of one contract."""

    contract_id: bytes
    prover: Role
    one_time: Mapping[Said, OneTimePublicKey]

    def message(self, place: Said) -> Message:
        """The message at ``place``; how it is verified is the template's business."""
        label = label_of(self.contract_id, self.prover, place)
        return Message(label, self.one_time[place], b"")


@dataclass(frozen=True, slots=True)
class LeafPath(SpendPath):
    """A leaf with a body; hints are the numbers in its witness that nobody signed."""

    template: Template = field(kw_only=True)
    keys: Keys = field(kw_only=True, repr=False)

    def __post_init__(self) -> None:
        """ScriptError for a lock out of range or a stack that could overflow."""
        require_fits(self.template, len(self.signers), self.blocks)
        guard = Guard(tuple(self.signers.values()), self.blocks)
        messages = tuple(map(self.keys.message, self.template.messages))
        code = filled(self.template, guard, self.keys.one_time)
        object.__setattr__(self, "messages", messages)
        object.__setattr__(self, "leaf", TapLeaf(code))

    def shown(
        self, messages: Mapping[Label, SignedMessage], hints: Sequence[int] = ()
    ) -> list[bytes]:
        """The witness items of ``messages`` and ``hints``, bottom to top."""
        if len(hints) != self.template.hints:
            raise SignatureError(f"{self.name} takes {self.template.hints} unsigned numbers")
        return [*map(number_bytes, hints), *SpendPath.items(self, messages)]

    def items(self, messages: Mapping[Label, SignedMessage]) -> list[bytes]:
        """The same for a leaf without hints."""
        return self.shown(messages)

    @property
    def widest_items(self) -> list[bytes]:
        """As many bytes as ``shown`` can have."""
        pair = (bytes(ELEMENT_BYTES), bytes([TOP]))
        chains = sum(len(message.key.ends) for message in self.messages)
        return [*[_HINT] * self.template.hints, *pair * chains]


def filled(template: Template, guard: Guard, one_time: Mapping[Said, OneTimePublicKey]) -> bytes:
    """The leaf ``template`` makes with these keys: ``Template.script`` without its proof."""
    ordered = tuple(
        (one_time[place], place in template.first, place in template.silent)
        for place in template.messages
    )
    return b"".join((guard.lock, prologue(ordered), *template.parts, guard.signed))


@lru_cache(maxsize=4096)
def require_fits(template: Template, signers: int, blocks: int) -> None:
    """ScriptError if the stack of ``template`` could overflow. What a script does to the stack
    follows from the keys' lengths, so that one proof is for every contract."""
    one_time = {place: _key_of(place.digits) for place in template.messages}
    template.script(Guard((bytes(32),) * signers, blocks), one_time)


@lru_cache(maxsize=64)
def _key_of(digits: int) -> OneTimePublicKey:
    ends = (bytes(ELEMENT_BYTES),) * (digits + checksum_size(digits))
    return OneTimePublicKey(digits, ends)


def lock_of(paths: Sequence[SpendPath]) -> Lock:
    """The output that ``paths`` spend; the first lies at the top of the tree and is cheapest."""
    first, *others = paths
    tree = (first.leaf, balanced([path.leaf for path in others])) if others else first.leaf
    return Lock(taproot_output(NUMS_KEY, tree), tuple(paths))


def read_items(path: SpendPath, items: Sequence[bytes]) -> dict[Label, SignedMessage]:
    """The messages in a witness without its script and control block, bottom to top; those that the
    leaf fixes are left out.

    SignatureError unless they are what the leaf accepts.
    """
    left = list(items)
    shown: dict[Label, SignedMessage] = {}
    for message in path.messages:
        if message.constant:
            del left[-len(message.key.ends) :]
            continue
        taken = 2 * len(message.key.ends)
        shown[message.label] = SignedMessage(*read_message(message.key, left[-taken:]))
        del left[-taken:]
    return shown
