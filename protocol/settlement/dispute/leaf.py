"""A way to spend that is a leaf of the dispute: its template filled with a contract's keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, balanced, taproot_output
from protocol.crypto.winternitz import ELEMENT_BYTES, OneTimePublicKey, checksum_size
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Guard, Template, verified
from protocol.settlement.dispute.labels import label_of, said_of
from protocol.settlement.onetime import OneTimePublics
from protocol.settlement.path import Lock, Message, SpendPath
from protocol.settlement.terms import ContractTerms, Role, contract_id


@dataclass(frozen=True, slots=True)
class Keys:
    """What turns templates into leaves, in one direction of one contract."""

    contract_id: bytes
    prover: Role
    one_time: Mapping[Said, OneTimePublicKey]
    messages: Mapping[Said, Message] = field(init=False)
    """By place; how they are verified is the templates' business."""
    _verified: dict[tuple[Said, bool, bool], bytes] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        messages = {
            place: Message(label_of(self.contract_id, self.prover, place), key, b"")
            for place, key in self.one_time.items()
        }
        object.__setattr__(self, "messages", messages)

    @classmethod
    def of(
        cls, terms: ContractTerms, prover: Role, bundles: Mapping[Role, OneTimePublics]
    ) -> "Keys":
        """Those of both parties' bundles that are for ``prover``'s direction."""
        one_time = {
            said_of(label, prover): key
            for bundle in bundles.values()
            for label, key in bundle.keys.items()
            if label.direction == prover.value
        }
        return cls(contract_id(terms), prover, one_time)

    def verified(self, place: Said, first: bool, silent: bool) -> bytes:
        """The script that verifies the message at ``place``, made once for all leaves."""
        key = place, first, silent
        if key not in self._verified:
            self._verified[key] = verified(self.one_time, *key)
        return self._verified[key]


@dataclass(frozen=True, slots=True)
class LeafPath(SpendPath):
    """A leaf with a body; hints are the numbers in its witness that nobody signed."""

    template: Template = field(kw_only=True)
    keys: Keys = field(kw_only=True, repr=False)

    def __post_init__(self) -> None:
        """ScriptError for a lock out of range or a stack that could overflow."""
        require_fits(self.template, len(self.signers), self.blocks)
        guard = Guard(tuple(self.signers.values()), self.blocks)
        messages = tuple(self.keys.messages[place] for place in self.template.messages)
        leaf = TapLeaf(*self.template.filled(guard, self.keys.verified))
        object.__setattr__(self, "messages", messages)
        object.__setattr__(self, "leaf", leaf)

    @property
    def hints(self) -> int:
        """How many numbers that nobody signed its witness begins with."""
        return self.template.hints


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
