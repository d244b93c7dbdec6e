"""Leaves of a dispute: what they are shown, signed with real keys or as bare digits, and judged.

``Shown`` says a dispute's messages in integers and knows what they contradict: the verdicts of
dispute.md 3 once more, written without ``protocol.dispute``'s own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from protocol.bitcoin.script import number_bytes
from protocol.crypto.winternitz import Digits, Label, OneTimeKey, OneTimePublicKey, number_digits
from protocol.dispute.claim import base4
from protocol.dispute.fragment import Fragment, fragment_of
from protocol.dispute.leaves import said
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Guard, Signed, Template
from protocol.dispute.leaves.verdict_open import open_hints
from protocol.dispute.opening import Place, siblings_of
from protocol.dispute.premises import Premises
from protocol.dispute.rules import History
from protocol.dispute.transcript import Transcript
from riscv_vm.record import Record
from riscv_vm.tree import Tree
from tests.builders.disputes import Run
from tests.builders.scripts import core_holds, holds

SEED = b"\x6e" * 32
NO_GUARD = Guard(())
NO_RECORD = Record(0, 0, 0)


@lru_cache(maxsize=256)
def one_time_key(message: Said) -> OneTimeKey:
    """The key of a message in the tests' one contract."""
    label = Label(
        b"\xc0" * 32, "holder", message.party.value, message.turn, message.field, message.digits
    )
    return OneTimeKey(SEED, label)


def public_keys(template: Template) -> dict[Said, OneTimePublicKey]:
    """The keys of a template's messages."""
    return {message: one_time_key(message).public for message in template.messages}


def signed(values: Mapping[Said, Digits]) -> dict[Said, Signed]:
    """Each message with its signature. The guard is new each time: these keys sign many."""
    return {m: (digits, one_time_key(m).sign(digits, {})) for m, digits in values.items()}


def fragment_values(
    fragment: Fragment, log4_steps: int, digits: Sequence[int]
) -> dict[Said, Digits]:
    """F_i and the challenger's digits of i, message by message."""
    messages = said.fragment(log4_steps)
    values = {messages[m]: d for m, d in fragment.digits(log4_steps).items()}
    picked = {m: (d,) for m, d in zip(said.digits(log4_steps), digits, strict=True)}
    return {**values, **picked}


def bare_items(
    template: Template, values: Mapping[Said, Digits], hints: Sequence[int | bytes] = ()
) -> list[bytes]:
    """What a body finds on the stack once every signature has been verified."""
    heard = [message for message in template.messages if message not in template.silent]
    digits = [d for message in reversed(heard) for d in values[message]]
    return [number_bytes(h) if isinstance(h, int) else h for h in (*hints, *digits)]


def bare_holds(
    template: Template, values: Mapping[Said, Digits], hints: Sequence[int | bytes] = ()
) -> bool:
    """Whether the body accepts the digits themselves, as if every signature had been verified.

    Bitcoin Core judges; our interpreter, which is slower, is compared on some of the cases.
    """
    items = bare_items(template, values, hints)
    code = template.body + NO_GUARD.signed
    if sum(map(len, items)) % 16 == 0 and len(code) < 50_000:
        return holds(code, items)
    return core_holds(code, items)


def leaf_holds(
    template: Template, values: Mapping[Said, Digits], hints: Sequence[int | bytes] = ()
) -> bool:
    """Whether the whole leaf accepts these messages, signed."""
    code = template.script(NO_GUARD, public_keys(template))
    heard = {message: values[message] for message in template.messages}
    return holds(code, template.witness((), signed(heard), hints))


@dataclass
class Shown:
    """What a leaf is shown: signed messages and unsigned digits."""

    values: dict[Said, Digits] = field(default_factory=dict)
    hints: tuple[int | bytes, ...] = ()

    def accepted(self, template: Template) -> bool:
        return bare_holds(template, self.values, self.hints)

    def with_one_bit(self, message: Said, rng: Random) -> "Shown":
        digits = list(self.values[message])
        digits[rng.randrange(len(digits))] ^= 1 << rng.randrange(4)
        return Shown({**self.values, message: tuple(digits)}, self.hints)

    def with_one_hint(self, bound: int, rng: Random) -> "Shown":
        hints = list(self.hints)
        place = rng.randrange(bound)
        hint = hints[place]
        assert isinstance(hint, int)
        hints[place] = hint ^ 1 << rng.randrange(4)
        return Shown(self.values, tuple(hints))


def honestly_said(premises: Premises, history: History, data: bytes, disputed: int) -> Transcript:
    """What an honest prover has said when ``disputed`` is down to one step; C's digits too."""
    rounds, index, digits = [], 0, base4(disputed, premises.log4_steps)
    for turn, digit in enumerate(digits[:-1], 1):
        level, first = 2 * (premises.rounds - turn), 4 * index
        a, b, c, d = (history.node(level, first + child) for child in range(4))
        rounds.append((a, b, c, d))
        index = 4 * index + digit
    published, block = premises.layout.published(data), history.block(index)
    fragment = fragment_of(history.step(disputed))
    return Transcript(published, history.root, tuple(rounds), block, digits, fragment)


def told(run: Run, disputed: int) -> Transcript:
    """The same of a run by the reference machine."""
    return honestly_said(run.premises, run, run.data, disputed)


def opening_hints(premises: Premises, tree: Tree, step: int, turn: int) -> tuple[int, ...]:
    """The true unsigned digits with which ``step`` is opened below round ``turn``."""
    way = base4(step, premises.log4_steps)
    siblings = siblings_of(tree, step, 0, 2 * (premises.rounds - turn))
    return open_hints(tree.block(step // 4), siblings, Place(turn, way[turn - 1], way[turn:]))


def word_digits(*words: int) -> Digits:
    """Words of 32 bits as they are signed."""
    return tuple(digit for word in words for digit in number_digits(word, 8))


@dataclass(frozen=True)
class Told:
    """What a prover said about step ``index``, as far as a verdict about one slot looks at it."""

    index: int = 0
    pc: int = 0
    opcode: int = 0
    address: int = 0
    value: int = 0
    last: int = 0
    init: int = 1
    write: Record = NO_RECORD

    def values(self, log4_steps: int, slot: int = 0) -> dict[Said, Digits]:
        """The messages head, slot and write."""
        head, *slots, write = said.fragment(log4_steps).values()
        nibbles = head.digits - 16
        read = (*word_digits(self.address, self.value), *number_digits(self.last, nibbles))
        return {
            head: (*number_digits(self.index, nibbles), *word_digits(self.pc, self.opcode)),
            slots[slot]: (*read, self.init),
            write: word_digits(*self.write),
        }

    def contradicted(self, predicate: str, step: int, record: Record) -> bool:
        """Does ``record`` of step j < i contradict the pc, the pointed value or the pointer?"""
        match predicate:
            case "pc":
                return step == self.index - 1 and record.next_pc != self.pc
            case "pointed":
                written = (record.waddr, record.wval)
                pointed = self.init == 0 and self.last == step
                return pointed and written != (self.address, self.value)
            case "stale":
                behind = self.init != 0 or self.last < step
                return behind and record.waddr == self.address
        raise AssertionError(predicate)


def accused(
    rng: Random, predicate: str, digits: int, turn: int, child: int
) -> tuple[Told, int, tuple[int, ...], Record]:
    """A fragment, j, j's digits behind ``child`` of round ``turn``, and j's record.

    Of all that makes the accusation true, in most of them one thing or nothing is missing.
    """
    below = tuple(rng.randrange(4) for _ in range(digits - turn))
    if predicate == "pc" and rng.random() < 0.8:
        below = (3,) * len(below)
    above = rng.randrange(4 ** (turn - 1))
    tail = int("0" + "".join(map(str, below)), 4)
    size = 4 ** len(below)
    step = (4 * above + child) * size + tail
    index = (4 * above + rng.randrange(child + 1, 4)) * size + rng.randrange(size)
    if predicate == "pc" and rng.random() < 0.9:
        index = step + 1
    record = Record(*(rng.getrandbits(32) for _ in range(3)))
    told = {"index": index, "pc": record.next_pc, "address": record.waddr, "value": record.wval}
    told |= {"last": step, "init": 0}
    match predicate:
        case "pc":
            told["pc"] ^= rng.choice([0, 1 << rng.randrange(32)])
        case "pointed":
            told[rng.choice(["address", "value"])] ^= rng.choice([0, 1 << rng.randrange(32)])
            told["last"] += rng.choice([0, 0, 0, 0, -1, 1]) if 0 < step < 4**digits - 1 else 0
            told["init"] = rng.choice([0] * 8 + [1, 2, 8, 15])
        case "stale":
            told["last"] = rng.choice([max(step - 1, 0), step, step + 1, rng.randrange(index)])
            told["init"] = rng.choice([0] * 6 + [1, 1, 2, 8, 15])
            told["address"] ^= rng.choice([0, 0, 0, 1 << rng.randrange(32)])
    if rng.random() < 0.05:  # i does not lie behind the child
        told["index"] = (4 * above + rng.randrange(child + 1)) * size + rng.randrange(size)
    return Told(**told), step, below, record


def carried(hints: Sequence[int], digits: int) -> Iterator[tuple[int, ...]]:
    """The same words in other digits: one of the first ``digits`` is 16 more or less, and the one
    before it, which counts 16 times as much, makes up for it. Sums, and so hashes, do not change.
    """
    for place in range(digits):
        for sign in (1, -1) if place % 8 else ():
            found = list(hints)
            found[place] += 16 * sign
            found[place - 1] -= sign
            yield tuple(found)


def mutated(hints: Sequence[int | bytes], rng: Random) -> tuple[int | bytes, ...]:
    """Unsigned numbers with one change that a spender could try: another digit, one out of range,
    another encoding, a carry between two, or several in another order."""
    found = list(hints)
    place = rng.randrange(len(found))
    digit = found[place]
    value = digit if isinstance(digit, int) else rng.randrange(16)
    match rng.randrange(8):
        case 0:
            found[place] = value ^ 1 << rng.randrange(4)
        case 1:
            found[place] = rng.choice(
                [-1, -value, 4, 16, value + 16, value - 16, 127, 128, 1 << 30]
            )
        case 2:  # other ways to write a number: leading zeros, and minus zero
            found[place] = rng.choice([bytes([value, 0]), bytes([value, 0, 0, 0]), b"\x80", b"\0"])
        case 3:  # no number at all: Script takes four bytes at most
            found[place] = rng.choice([bytes([value, 0, 0, 0, 0]), bytes(520), rng.randbytes(20)])
        case 4:  # the same amount, carried to a neighbour
            sign, way = rng.choice([1, -1]), rng.choice([1, -1])
            found[place] = value + 16 * sign
            beside = found[(place + way) % len(found)]
            if isinstance(beside, int):
                found[(place + way) % len(found)] = beside - sign
        case 5:
            other = rng.randrange(len(found))
            found[place], found[other] = found[other], found[place]
        case 6:
            found = found[place:] + found[:place]
        case _:
            size = rng.choice([3, 8, 24, 40])
            found[-size:] = [rng.randrange(4) for _ in found[-size:]]
    return tuple(found)
