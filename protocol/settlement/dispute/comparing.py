"""What each side said in a dispute, against the honest trace: every value that differs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocol.dispute.assertion import Assertion, signed_levels
from protocol.dispute.claim import FAN, Party
from protocol.dispute.fragment import Fragment, fragment_of
from protocol.dispute.opening import levels_below, node_above, step_at
from protocol.dispute.play import (
    Challenge,
    Execute,
    Kickoff,
    Move,
    Pick,
    Play,
    Reveal,
    RevealBlock,
)
from protocol.dispute.rules import History
from protocol.dispute.sides import agrees, challenger_move
from protocol.settlement.dispute.labels import signer
from protocol.settlement.dispute.story import Story
from protocol.settlement.dispute.words import (
    address_words,
    instruction_words,
    pc_words,
    pointer_words,
    record_words,
    value_words,
)
from protocol.settlement.terms import Role
from riscv_vm.isa import HALT
from riscv_vm.record import BLOCK_RECORDS, Record

Difference = tuple[str, str, str]
"""Of what, what was said, what is true."""


@dataclass(frozen=True, slots=True)
class Lie:
    """Something said that the honest trace does not say."""

    act: str
    party: Role
    what: str
    said: str
    true: str


def lies_of(story: Story, history: History) -> Iterator[Lie]:
    """Every value of either side that is not that of ``history``, in order."""
    for act in story.acts:
        if act.before is None or act.says is None or story.prover is None:
            continue
        party = act.before.turn or Party.PROVER
        liar = signer(story.prover, party)
        for what, said, true in _differences(act.before, act.says, history):
            yield Lie(act.name, liar, what, said, true)


def _differences(play: Play, says: Move, history: History) -> Iterator[Difference]:
    match says:
        case Kickoff():
            yield from _compare("root", [says.root.hex()], [history.root.hex()])
            last = history.block(play.premises.steps // BLOCK_RECORDS - 1)[-1]
            yield from _compare("end", [pc_words(HALT)], [pc_words(last.next_pc)])
        case Challenge():
            if agrees(play, history):
                yield "claim", "false", "true"
        case Reveal():
            level, first = play.node
            nodes = [history.node(level, first + child) for child in range(FAN)]
            yield from _compare("node", _hex(says.nodes), _hex(nodes))
        case RevealBlock():
            true = history.block(play.block)
            yield from _compare("record", _records(says.records), _records(true))
        case Pick(digit):
            honest = challenger_move(play, history)
            assert isinstance(honest, Pick)
            yield from _compare("digit", [str(digit)], [str(honest.digit)])
        case Execute(fragment):
            yield from _fragment(fragment, fragment_of(history.step(fragment.index)))
        case Assertion():
            yield from _assertion(play, says, history)


def _compare(what: str, said: Sequence[str], true: Sequence[str]) -> Iterator[Difference]:
    for number, (ours, theirs) in enumerate(zip(said, true, strict=True)):
        if ours != theirs:
            yield what if len(said) == 1 else f"{what} {number}", ours, theirs


def _fragment(said: Fragment, true: Fragment) -> Iterator[Difference]:
    fields = zip(_fields(said), _fields(true), strict=True)
    for (what, ours), (_, theirs) in fields:
        if ours != theirs:
            yield what, ours, theirs


def _fields(fragment: Fragment) -> Iterator[tuple[str, str]]:
    """Every field of a fragment, in words."""
    yield "pc", pc_words(fragment.pc)
    yield "opcode", f"{instruction_words(fragment)} (0x{fragment.opcode:08x})"
    for number, slot in enumerate(fragment.slots):
        yield f"slot {number} address", address_words(slot.address)
        yield f"slot {number} value", value_words(slot.value)
        yield f"slot {number} pointer", pointer_words(slot)
    yield "write", record_words(fragment.write)


def _assertion(play: Play, said: Assertion, history: History) -> Iterator[Difference]:
    step = step_at(play.premises, play.said.executed.index, said.place)
    assert step is not None, "the leaf has checked the place"
    record = history.block(step // BLOCK_RECORDS)[step % BLOCK_RECORDS]
    yield from _compare("record", [record_words(said.record)], [record_words(record)])
    levels = signed_levels(levels_below(play.premises, said.place.turn))
    true = [node_above(history, step, level) for level in levels]
    yield from _compare("signed node", _hex(said.nodes), _hex(true))


def _hex(nodes: Sequence[bytes]) -> list[str]:
    return [node.hex() for node in nodes]


def _records(block: Sequence[Record]) -> list[str]:
    return [record_words(record) for record in block]
