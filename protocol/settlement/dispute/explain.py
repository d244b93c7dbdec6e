"""A transaction of a contract in words, field by field, for a person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.bitcoin.tx import hash_hex, txid, vsize
from protocol.crypto.winternitz import digits_number
from protocol.dispute.assertion import Assertion, BlockRefutation, NodeRefutation
from protocol.dispute.claim import FAN, Party, base4_number
from protocol.dispute.fragment import Fragment
from protocol.dispute.play import (
    Challenge,
    Execute,
    Kickoff,
    Pick,
    Play,
    Publish,
    Reveal,
    RevealBlock,
    Take,
)
from protocol.errors import EncodingError
from protocol.settlement.claim import Claim
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.dispute.story import Act, Story
from protocol.settlement.dispute.words import (
    assertion_words,
    instruction_words,
    pc_words,
    record_words,
    refutation_words,
    slot_words,
    span_words,
    verdict_words,
)
from protocol.settlement.move import FUND
from protocol.settlement.onetime import PAYOUT
from protocol.settlement.path import Lock, SpendPath
from protocol.settlement.terms import Role

Field = tuple[str, str]
"""A name and what it says."""


@dataclass(frozen=True, slots=True)
class Next:
    """A way to spend an output of a transaction; the first block that may hold it is ``opens``."""

    name: str
    who: str
    opens: int
    until: int | None
    """The last block before another side's way opens; None where none does."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One transaction, read."""

    name: str
    title: str
    txid: str
    height: int | None
    vsize: int
    signers: tuple[str, ...]
    """Who signed it; the one-time messages in it are the fields' owners'."""
    leaf: str
    leaf_bytes: int
    answers: str
    """The transaction whose output it spends."""
    fields: tuple[Field, ...]
    words: str
    """What it proves or asserts, with its numbers; empty where it does neither."""
    next: tuple[Next, ...]


def explain(story: Story, act: Act) -> Explanation:
    """``act``, a transaction of ``story``."""
    way = act.way
    return Explanation(
        name=act.name,
        title=_title(story, act),
        txid=hash_hex(txid(act.tx)),
        height=act.height,
        vsize=vsize(act.tx),
        signers=tuple(role.value for role in way.signers) if way is not None else (),
        leaf="" if way is None else way.name,
        leaf_bytes=0 if way is None else len(way.leaf.script),
        answers=act.parent,
        fields=tuple(_fields(story, act)),
        words=_words(act),
        next=tuple(_next(story, act)),
    )


def _title(story: Story, act: Act) -> str:
    """What kind of transaction it is, and whose."""
    prover = story.prover
    if prover is None or act.before is None:
        return _PLAIN.get(act.name, "what both sides signed")
    p, c = prover.value, prover.other.value
    kind = act.field.split("_")[0]
    match act.says:
        case Publish():
            return f"the {p} publishes a part of its claim"
        case Kickoff():
            return f"the {p} publishes the rest of its claim and the root of its trace"
        case Challenge():
            return f"the {c} disputes the claim"
        case Reveal():
            return f"the {p} reveals four nodes, round {len(act.before.said.rounds) + 1}"
        case RevealBlock():
            return f"the {p} reveals the four records of the block"
        case Pick():
            return f"the {c} picks what it disagrees with"
        case Execute():
            return f"the {p} executes the disputed step"
        case Assertion():
            return f"the {c} asserts what an earlier step wrote"
        case BlockRefutation() | NodeRefutation():
            return f"the {p} refutes the assertion, and the claim stands"
        case Take():
            return f"the {c} takes the pot: its assertion stood"
        case None:
            return _ENDINGS.get(kind, "{p}: {c}").format(p=p, c=c)
    return f"the {c} convicts the {p} of a lie, and takes the pot"


_PLAIN: Final = {
    "FUND": "both sides put collateral, bonds and reserve into the contract",
    "CLOSE": "both sides agreed on the payout",
    "REFUND": "nobody claimed: everybody gets back what it brought",
}
_ENDINGS: Final = {
    "SETTLE": "the claim of the {p} is paid",
    "TIMEOUT": "the {p} did not move in time, and the {c} takes the pot",
    "SWEEP": "an output of SETTLE is taken",
    "ASSERT": "the {c} signs the lower nodes of its assertion",
}


# What it says


def _fields(story: Story, act: Act) -> Iterator[Field]:
    play, says = act.before, act.says
    if play is None:
        return
    match says:
        case Publish(digits):
            yield "published digits", _hex(digits)
        case Kickoff(digits, root):
            yield "published digits", _hex(digits)
            yield "root", root.hex()
            yield from _claimed(story, act)
        case Reveal(nodes):
            level, first = play.node
            for number, node in enumerate(nodes):
                span = span_words(play.premises, level, first + number)
                yield f"node {number}", f"{node.hex()}, {span}"
        case RevealBlock(records):
            for number, record in enumerate(records):
                yield f"step {FAN * play.block + number:,}", record_words(record)
        case Pick(digit):
            yield "digit", f"{digit}, {_picked(play, digit)}"
        case Execute(fragment):
            yield from _executed(fragment)
            yield from _hints(act)
        case Assertion():
            yield from _asserted(says)
        case _:
            yield from _units(act)


def _claimed(story: Story, act: Act) -> Iterator[Field]:
    """What the whole claim says, once KICKOFF has published the rest."""
    assert act.after is not None
    play, terms = act.after, story.graph.contract.terms
    data = play.premises.layout.data(play.said.input_digits)
    try:
        claim = Claim.decode(data)
    except EncodingError as error:
        yield "claim", f"no claim that the program reads ({error})"
        return
    expiry = claim.certificate.expiry
    yield "units", f"{claim.units:,}: {terms.claim.payout_sats(claim.units):,} sats to the holder"
    yield (
        "price",
        f"{expiry.price_e8 / 10**8:,.8f} USD, {expiry.rounds} rounds to {expiry.end_round}",
    )
    signers = ", ".join(str(index) for index, _ in claim.certificate.signatures)
    yield "signed by oracles", signers


def _executed(fragment: Fragment) -> Iterator[Field]:
    yield "step", f"{fragment.index:,}"
    yield "pc", pc_words(fragment.pc)
    yield "instruction", f"{instruction_words(fragment)} (0x{fragment.opcode:08x})"
    for number, slot in enumerate(fragment.slots):
        yield f"slot {number}", slot_words(slot)
    yield "result", record_words(fragment.write)


def _hints(act: Act) -> Iterator[Field]:
    """The numbers of EXECUTE that nobody signed: quotient and remainder of a division."""
    half = len(act.hints) // 2
    if half:
        yield "quotient, unsigned", str(digits_number(act.hints[:half]))
        yield "remainder, unsigned", str(digits_number(act.hints[half:]))


def _asserted(said: Assertion) -> Iterator[Field]:
    yield "record", record_words(said.record)
    for number, node in enumerate(said.nodes):
        yield f"signed node {number}", node.hex()


def _units(act: Act) -> Iterator[Field]:
    """The payout message that a sweep presents."""
    for label, message in (act.messages or {}).items():
        if label.field == PAYOUT:
            yield "units", f"{digits_number(message.digits):,}"


def _picked(play: Play, digit: int) -> str:
    """The steps that a digit leaves in dispute."""
    if play.said.records is not None:
        return f"step {base4_number((*play.said.digits, digit)):,}"
    level, first = play.node
    return span_words(play.premises, level, first + digit)


def _words(act: Act) -> str:
    play, says = act.before, act.says
    if play is None or says is None or act.objection:
        return act.objection
    match says:
        case Assertion():
            return assertion_words(play.premises, play.said, says)
        case BlockRefutation() | NodeRefutation():
            assert play.assertion is not None
            return refutation_words(play.premises, play.assertion, says)
        case Publish() | Kickoff() | Challenge() | Reveal() | RevealBlock() | Pick() | Execute():
            return ""
        case Take():
            return ""
    return verdict_words(play.premises, play.said, says)


def _hex(digits: Sequence[int]) -> str:
    return "".join(f"{digit:x}" for digit in digits)


# What may come next


def _next(story: Story, act: Act) -> Iterator[Next]:
    """Every way to spend its locked outputs, each kind once, and the first block for it."""
    if act.height is None:
        return
    moves = {way.name: move.name for move, _, way in story.graph.ways()}
    for lock in _locks(story, act):
        found: dict[str, tuple[str, int]] = {}
        for way in lock.paths:
            name = moves.get(way.name) or _alone(way)
            opens = max(act.height + way.blocks, way.height + 1 if way.height else 0)
            found.setdefault(name, (_who(way, name), opens))
        for name, (who, opens) in found.items():
            others = [after for other, after in found.values() if other != who and after > opens]
            yield Next(name, who, opens, min(others) - 1 if others else None)


def _locks(story: Story, act: Act) -> tuple[Lock, ...]:
    if act.name == FUND:
        return (story.graph.contract.lock,)
    return story.graph.move(act.move).locks if act.move is not None else ()


def _alone(way: SpendPath) -> str:
    """The name of a way that one party signs alone: verdicts share one, and refutations."""
    if not isinstance(way, LeafPath):
        return way.name
    side, _, what = way.name.partition(":")
    return f"{side}:{'REFUTE' if what.startswith('REFUTE') else 'VERDICT'}"


def _who(way: SpendPath, name: str) -> str:
    """Who can: the only signer, or whose messages it shows first; either where both have signed."""
    if len(way.signers) == 1:
        (role,) = way.signers
        return role.value
    side, _, what = name.partition(":")
    if what.startswith(("CHALLENGE", "TAKE")):
        return Role(side).other.value
    if isinstance(way, LeafPath):
        parties = {said.party for said in way.template.first}
        return side if Party.PROVER in parties else Role(side).other.value
    return side if way.messages else "either"
