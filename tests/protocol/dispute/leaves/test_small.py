"""Every verdict leaf that hashes nothing, DIGIT and ASSERT: hundreds of cases each.

What is a lie is said here in integers (``tests.builders.leaves``), for values drawn so that about
one thing is wrong; the leaves' own predicates are not asked.
"""

from collections.abc import Callable
from random import Random

import pytest

from protocol.crypto.winternitz import Digits
from protocol.dispute.leaves import (
    catalog,
    moves,
    said,
    verdict_assert,
    verdict_open,
    verdict_program,
    verdict_tree,
    verdict_words,
)
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_open import Shape
from protocol.dispute.premises import InputLayout, Premises
from protocol.dispute.verdicts import Accusation
from riscv_vm.image import load_elf
from riscv_vm.isa import HALT, INPUT_BASE, NOWRITE, REGISTER_BASE, STACK_BASE, STACK_TOP, TRAP
from riscv_vm.record import Record
from tests.builders.asm import TEXT_BASE, encode
from tests.builders.elf import ElfSegment, R, W, X, write_elf
from tests.builders.leaves import Told, accused, bare_holds, leaf_holds, word_digits

K = 3
N = 4**K
CASES = 200
DATA_BASE = 0x2_00F8
DATA = Random(80).randbytes(2 * 4 + 256 + 8)
"""Two words of one page, a whole page, two words of the next; then bss."""

BSS = (DATA_BASE + len(DATA), DATA_BASE + len(DATA) + 40)
TEXT = [encode("addi", rd=n % 32, rs1=n % 31, imm=n - 40) for n in range(79)] + [encode("ebreak")]
FIXED = bytes.fromhex("a1b20000c3d4e5f60708")
LAYOUT = InputLayout(FIXED, ((4, 8), (17, 20)), (4, 3))
"""A length, a word with two published bytes, a fixed word, and a word with three digits left."""

Case = tuple[dict[Said, Digits], bool]
Draw = Callable[[Random], Case]


def small_program() -> Premises:
    text = b"".join(word.to_bytes(4, "little") for word in TEXT)
    data = ElfSegment(DATA_BASE, DATA, R | W, BSS[1] - DATA_BASE)
    image = load_elf(write_elf(TEXT_BASE, [ElfSegment(TEXT_BASE, text, R | X), data]))
    return Premises(image, LAYOUT, K, 20)


PREMISES = small_program()


def judge(template: Template, draw: Draw, rng: Random) -> None:
    """Two hundred cases, of which a tenth at least are lies, and a tenth at least are not."""
    convicted = 0
    for _ in range(CASES):
        values, lie = draw(rng)
        assert bare_holds(template, values) == lie, (template.name, values)
        convicted += lie
    assert CASES // 10 <= convicted <= CASES - CASES // 10, (template.name, convicted)


def flip(rng: Random, value: int, bits: int = 32, chance: float = 0.5) -> int:
    """``value``, or with one bit of it changed."""
    return value ^ 1 << rng.randrange(bits) if rng.random() < chance else value


def some_record(rng: Random) -> Record:
    return Record(*(rng.choice([0, NOWRITE, rng.getrandbits(32)]) for _ in range(3)))


def one_bit_off(rng: Random, record: Record) -> Record:
    name = rng.choice(Record._fields)
    return record._replace(**{name: getattr(record, name) ^ 1 << rng.randrange(32)})


@pytest.mark.parametrize("child", range(4))
def test_record(child: int) -> None:
    def draw(rng: Random) -> Case:
        revealed = some_record(rng)
        write = one_bit_off(rng, revealed) if rng.random() < 0.6 else revealed
        index = rng.randrange(N) if rng.random() < 0.3 else 4 * rng.randrange(N // 4) + child
        values = Told(index, write=write).values(K)
        values[said.records(K)[child]] = word_digits(*revealed)
        return values, write != revealed and index % 4 == child

    judge(verdict_tree.record(K, child), draw, Random(child))


def test_rom() -> None:
    """Every page: inside, at both borders, between two words; the text's word and other words."""
    pages = verdict_program.text_pages(PREMISES.image)
    end = TEXT_BASE + 4 * len(TEXT)
    assert [(page.start, page.end) for page in pages] == [
        (TEXT_BASE, TEXT_BASE + 256),
        (TEXT_BASE + 256, end),
    ]
    for page in pages:

        def draw(rng: Random, start: int = page.start, after: int = page.end) -> Case:
            edges = [start - 4, start, after - 4, after, start + 256, start ^ 1 << 31, HALT, TRAP]
            inside = rng.randrange(start, after, 4)
            pc = rng.choice([inside, inside, inside, inside + rng.randrange(4), *edges])
            at = (pc - TEXT_BASE) // 4
            word = TEXT[at] if 0 <= at < len(TEXT) else rng.getrandbits(32)
            opcode = flip(rng, word, chance=0.7)
            lie = start <= pc < after and pc % 4 == 0 and opcode != word
            return Told(rng.randrange(N), pc, opcode).values(K), lie

        judge(verdict_program.rom(K, page), draw, Random(page.start))


def test_entry() -> None:
    def draw(rng: Random) -> Case:
        index = rng.choice([0, 0, 0, 1, 16, rng.randrange(N)])
        pc = rng.choice([flip(rng, TEXT_BASE), TEXT_BASE + 4, HALT, TRAP, 0])
        return Told(index, pc).values(K), index == 0 and pc != TEXT_BASE

    judge(verdict_program.entry(K, TEXT_BASE), draw, Random(1))


def test_not_halt() -> None:
    def draw(rng: Random) -> Case:
        index = rng.choice([N - 1, N - 1, N - 1, N - 2, 0, rng.randrange(N)])
        next_pc = rng.choice([HALT, TRAP, TEXT_BASE, flip(rng, HALT)])
        values = Told(index, write=Record(NOWRITE, 0, next_pc)).values(K)
        return values, index == N - 1 and next_pc != HALT

    judge(verdict_program.not_halt(K), draw, Random(2))


@pytest.mark.parametrize("slot", range(3))
def test_future(slot: int) -> None:
    """A pointer at i, behind it, and in the bits that three base-4 digits do not fill."""

    def draw(rng: Random) -> Case:
        index = rng.choice([0, 1, N - 1, rng.randrange(N)])
        near = [index, max(index - 1, 0), index + 1, index | 0x40, index & 15]
        last = rng.choice([*near, 0, 255, rng.randrange(256)])
        init = rng.choice([0, 0, 0, 0, 1, 1, 2, rng.randrange(16)])
        lie = init > 1 or (init == 0 and last >= index)
        return Told(index, last=last, init=init).values(K, slot), lie

    judge(verdict_words.future(K, slot), draw, Random(slot))


def published(rng: Random) -> tuple[dict[Said, Digits], dict[int, int]]:
    """What a prover publishes, by message, and every word of the input that it makes."""
    messages = verdict_words.published_messages(LAYOUT)
    digits = [rng.choice([0, 15, rng.randrange(16)]) for _ in range(7)]
    whole = list(FIXED.hex())
    whole[4:8] = [f"{d:x}" for d in digits[:4]]
    whole[17:20] = [f"{d:x}" for d in digits[4:]]
    region = len(FIXED).to_bytes(4, "little") + bytes.fromhex("".join(whole)) + bytes(2)
    words = {
        INPUT_BASE + at: int.from_bytes(region[at : at + 4], "little") for at in range(0, 16, 4)
    }
    return {messages[0]: tuple(digits[:4]), messages[1]: tuple(digits[4:])}, words


GIVEN = (INPUT_BASE + 4, INPUT_BASE + 12)
"""The input words with a published digit."""


def constants() -> dict[int, int]:
    """The words that INIT knows, from the program's own bytes."""
    found = {REGISTER_BASE + 4 * r: STACK_TOP if r == 2 else 0 for r in range(1, 32)}
    words = published(Random(0))[1]
    found |= {address: word for address, word in words.items() if address not in GIVEN}
    for at in range(0, len(DATA), 4):
        found[DATA_BASE + at] = int.from_bytes(DATA[at : at + 4], "little")
    return found


def never(rng: Random, address: int, value: int, slot: int) -> dict[Said, Digits]:
    """A read that says, mostly, that nobody wrote it."""
    told = Told(
        rng.randrange(N), address=address, value=value, init=rng.choice([1] * 6 + [0, 2, 15])
    )
    return told.values(K, slot)


def says_never(values: dict[Said, Digits], slot: int) -> bool:
    return values[list(said.fragment(K).values())[1 + slot]][-1] == 1


@pytest.mark.parametrize("slot", range(3))
def test_init(slot: int) -> None:
    """Every page of constants, at both borders: registers, fixed input, data."""
    known, seen = constants(), []
    for page in verdict_words.initial_pages(PREMISES):

        def draw(rng: Random, start: int = page.start, end: int = page.end) -> Case:
            edges = [start - 4, start, end - 4, end, start ^ 256, start ^ 1 << 31, *GIVEN, *BSS]
            inside = rng.randrange(start, end, 4)
            address = rng.choice([*[inside] * 8, inside + rng.randrange(4), *edges])
            word = known.get(address, rng.getrandbits(32))
            value = flip(rng, word, chance=0.8)
            values = never(rng, address, value, slot)
            lie = start <= address < end and address in known and value != word
            return values, lie and says_never(values, slot)

        judge(verdict_words.init(K, page, slot), draw, Random(page.start + slot))
        seen += range(page.start, page.end, 4)
    assert seen == sorted(known)


@pytest.mark.parametrize("slot", range(3))
def test_zero(slot: int) -> None:
    ranges = tuple(PREMISES.zero_ranges())
    assert ranges == (BSS, (STACK_BASE, STACK_TOP))

    def draw(rng: Random) -> Case:
        start, end = rng.choice(ranges)
        edges = [start - 4, start, end - 4, end, start ^ 1 << 31, 0, REGISTER_BASE + 4]
        address = rng.choice([rng.randrange(start, end, 4)] * 4 + edges)
        value = flip(rng, 0, chance=0.8)
        values = never(rng, address, value, slot)
        inside = any(low <= address < high for low, high in ranges)
        return values, inside and value != 0 and says_never(values, slot)

    judge(verdict_words.zero(K, ranges, slot), draw, Random(slot))


@pytest.mark.parametrize("slot", range(3))
@pytest.mark.parametrize("at", GIVEN)
def test_input(at: int, slot: int) -> None:
    messages = verdict_words.published_messages(LAYOUT)
    word = LAYOUT.word(at)
    assert word is not None and any(digit.published is not None for digit in word)

    def draw(rng: Random) -> Case:
        spoken, words = published(rng)
        address = rng.choice([at] * 6 + [at ^ 4, at + 4, at ^ 1 << rng.randrange(32)])
        value = flip(rng, words[at], chance=0.8)
        values = spoken | never(rng, address, value, slot)
        return values, address == at and value != words[at] and says_never(values, slot)

    judge(verdict_words.published_word(K, at, word, messages, slot), draw, Random(at + slot))


@pytest.mark.parametrize("accusation", verdict_open.ACCUSATIONS, ids=verdict_open.name_of)
def test_open_near(accusation: Accusation) -> None:
    """Within i's own block: three children, whose record the prover revealed."""
    for child in range(3):

        def draw(rng: Random, child: int = child) -> Case:
            told, step, _, record = accused(rng, accusation.predicate, K, K, child)
            values = told.values(K, accusation.slot)
            values[said.records(K)[child]] = word_digits(*record)
            step = told.index // 4 * 4 + child
            lie = told.index % 4 > child and told.contradicted(accusation.predicate, step, record)
            return values, lie

        judge(verdict_open.near(Shape(K, 20, K, child), accusation), draw, Random(child))


DEEP = 7
"""Base-4 digits of a trace where rounds 1 to 3 are too deep for a direct OPEN."""


@pytest.mark.parametrize("accusation", verdict_open.ACCUSATIONS, ids=verdict_open.name_of)
@pytest.mark.parametrize(("turn", "width"), [(1, 20), (2, 20), (3, 20), (3, 32)])
def test_assert(turn: int, width: int, accusation: Accusation) -> None:
    """The place, the record and the top: the way below is not hashed here."""
    for child in range(3):
        shape = Shape(DEEP, width, turn, child)
        top = verdict_assert.path(shape)[-1]

        def draw(rng: Random, child: int = child, top: Said = top) -> Case:
            told, step, below, record = accused(rng, accusation.predicate, DEEP, turn, child)
            behind = told.index >> 2 * (DEEP - turn) & 3 > child
            lie = behind and told.contradicted(accusation.predicate, step, record)
            values = told.values(DEEP, accusation.slot)
            if rng.random() < 0.1:
                place = rng.randrange(len(below))
                below = (*below[:place], below[place] + 4, *below[place + 1 :])
                lie = False
            node = tuple(rng.randrange(16) for _ in range(2 * width))
            revealed = list(node)
            if rng.random() < 0.1:
                revealed[rng.randrange(len(node))] ^= 1 << rng.randrange(4)
            values[top], values[said.nodes(turn, width)[child]] = node, tuple(revealed)
            values[said.record(DEEP)] = word_digits(*record)
            values[said.below(DEEP, turn)] = below
            return values, lie and node == tuple(revealed)

        judge(verdict_assert.assert_record(shape, accusation), draw, Random(child))


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_digit(turn: int) -> None:
    """The challenger picks 0 to 3, whatever base-16 digit it could sign."""
    template = moves.digit(K, turn)
    (message,) = template.messages
    for digit in range(16):
        assert leaf_holds(template, {message: (digit,)}) == (digit < 4)


def test_every_leaf_that_hashes_nothing_was_judged() -> None:
    """The names above are all there are in the catalogue, but for those that hash."""
    hashing = ("NODE", "BLOCK", "OPEN 1", "OPEN 2")
    names = {t.name for t in catalog.verdict_leaves(PREMISES) if not t.name.startswith(hashing)}
    kinds = {" ".join(name.split()[:1]) for name in names}
    assert kinds == {
        "RECORD",
        "ROM",
        "ENTRY",
        "NOT-HALT",
        "FUTURE",
        "ZERO",
        "INIT",
        "INPUT",
        "OPEN",
    }
    pages = len(verdict_words.initial_pages(PREMISES)) + len(GIVEN) + 2
    assert len(names) == 4 + 2 + 2 + 3 * pages + 3 * len(verdict_open.ACCUSATIONS)
