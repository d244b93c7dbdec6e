"""The verdict or the refutation that a leaf's witness shows: which lie, and the unsigned evidence.

The inverse of ``protocol.dispute.leaves.catalog``: a template's name says what its leaf is about,
its hints are the blocks, nodes and digits that nobody signed.
"""

from collections.abc import Sequence
from typing import Final

from protocol.crypto.winternitz import message_of
from protocol.dispute import verdicts
from protocol.dispute.assertion import BlockRefutation, NodeRefutation, Refutation
from protocol.dispute.claim import FAN
from protocol.dispute.fragment import RECORD_DIGITS, record_of, words_of
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_open import BLOCK_DIGITS
from protocol.dispute.leaves.verdict_opened import WORDS_DIGITS
from protocol.dispute.opening import Place
from protocol.dispute.premises import Premises
from protocol.dispute.verdicts import Accusation, Predicate, Verdict
from protocol.errors import DisputeError
from riscv_vm.record import Block

_PLAIN: Final = {kind.fault.value: kind() for kind in verdicts.PLAIN}
_OF_SLOT: Final = {kind.fault.value: kind for kind in verdicts.OF_SLOT}


def shown_by(premises: Premises, template: Template, hints: Sequence[int]) -> Verdict | Refutation:
    """What the leaf ``template`` proves with these unsigned numbers; DisputeError if it is no leaf
    that convicts or refutes."""
    kind, *about = template.name.split()
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _OF_SLOT:
        return _OF_SLOT[kind](int(about[-1]))
    match kind, about:
        case "NODE", [place]:
            return verdicts.NodeVerdict(int(place.partition(".")[0]))
        case "OPEN", ["near", child, *accused]:
            return verdicts.NearVerdict(_accusation(accused), int(child))
        case "OPEN", [place, *accused]:
            turn, number = map(int, place.split("."))
            return _opened(premises, _accusation(accused), turn, number, hints)
        case "WORD", _:
            block = tuple(words_of(hints[:WORDS_DIGITS]))
            return verdicts.WordVerdict(block, _nodes(premises, hints[WORDS_DIGITS:]))
        case "REFUTE", [_, "block"]:
            return BlockRefutation(_block(hints), _nodes(premises, hints[BLOCK_DIGITS:]))
        case "REFUTE", [_, "node", number]:
            node, *siblings = _nodes(premises, hints)
            return NodeRefutation(int(number), node, tuple(siblings))
    raise DisputeError(f"the leaf {template.name} convicts nobody")


def _opened(
    premises: Premises, accusation: Accusation, turn: int, child: int, hints: Sequence[int]
) -> verdicts.OpenVerdict:
    below = premises.log4_steps - turn
    end = len(hints) - below
    place = Place(turn, child, tuple(hints[end:]))
    siblings = _nodes(premises, hints[BLOCK_DIGITS:end])
    return verdicts.OpenVerdict(accusation, place, _block(hints), siblings)


def _accusation(words: Sequence[str]) -> Accusation:
    """Of "pc", "pointed slot 1" or "stale slot 1"."""
    predicate, *slot = words
    return Accusation(Predicate(predicate), int(slot[-1]) if slot else 0)


def _block(digits: Sequence[int]) -> Block:
    a, b, c, d = (
        record_of(digits[RECORD_DIGITS * n : RECORD_DIGITS * (n + 1)]) for n in range(FAN)
    )
    return a, b, c, d


def _nodes(premises: Premises, digits: Sequence[int]) -> tuple[bytes, ...]:
    size = 2 * premises.width
    return tuple(message_of(digits[at : at + size]) for at in range(0, len(digits), size))
