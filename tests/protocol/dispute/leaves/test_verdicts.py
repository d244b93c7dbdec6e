"""The verdict leaves in Script: unspendable against the truth, spendable against each lie.

Lies are single changes of what an honest prover said; what is true comes from the reference
machine's run. Then the pure game's verdicts must agree with Script on random changes.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from protocol.dispute.claim import Party
from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.leaves import catalog, verdict_open, verdict_words
from protocol.dispute.leaves.said import Said
from protocol.dispute.opening import Place, place_of, siblings_of
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import (
    Accusation,
    BlockVerdict,
    EntryVerdict,
    FutureVerdict,
    InitVerdict,
    InputVerdict,
    NearVerdict,
    NodeVerdict,
    NotHaltVerdict,
    OpenVerdict,
    Predicate,
    RecordVerdict,
    RomVerdict,
    Verdict,
    ZeroVerdict,
)
from riscv_vm.isa import HALT, NOWRITE, TRAP
from riscv_vm.record import Record
from tests.builders.disputes import LAYOUT, Run, claim_input
from tests.builders.leaves import bare_holds, leaf_holds, told
from tests.builders.programs import DATA_BASE, program

K = 4
N = 4**K
SOURCE = f"""
    lui s2, 0x40000
    la s0, {DATA_BASE}
    lw t0, 4(s2)
    lw t3, 8(s2)
    lw t4, 12(s2)
    lw t5, 0(s2)
    lw t6, 20(s2)
    lw a1, 60(s0)
    lw a2, -8(sp)
    sw t0, 0(s0)
    sw t0, 32(s0)
    addi s1, zero, 12
again:
    addi t0, t0, 1
    sb t0, 33(s0)
    lw t1, 0(s0)
    lw t2, 32(s0)
    addi s1, s1, -1
    bne s1, zero, again
    addi a0, zero, 0
    addi a7, zero, 93
    ecall
"""
RNG = Random(72)


def run_of(width: int) -> Run:
    image = program(SOURCE, bytes(range(1, 57)), 96)
    return Run(Premises(image, LAYOUT, K, width), claim_input(5, 5))


RUN = run_of(20)
WIDE = run_of(32)
ENDED = RUN.steps


def convicts(run: Run, transcript: Transcript, verdict: Verdict) -> bool:
    """Whether the verdict's leaf accepts; False where there is none."""
    chosen = catalog.leaf_of(run.premises, transcript, verdict)
    if chosen is None:
        return False
    values = catalog.spoken(run.premises, transcript)
    return bare_holds(chosen.template, values, chosen.hints)


def with_slot(fragment: Fragment, number: int, **changes: int) -> Fragment:
    slots = list(fragment.slots)
    slots[number] = replace(slots[number], **changes)
    first, second, third = slots
    return replace(fragment, slots=(first, second, third))


def opened(run: Run, disputed: int, step: int, accusation: Accusation) -> Verdict:
    """The OPEN of ``step``, with the honest block and siblings."""
    place = place_of(run.premises, disputed, step)
    if place.turn == K:
        return NearVerdict(accusation, place.child)
    siblings = siblings_of(run.tree, step, 0, 2 * (run.premises.rounds - place.turn))
    return OpenVerdict(accusation, place, run.block(step // 4), siblings)


def small_verdicts(run: Run, disputed: int) -> list[Verdict]:
    slots: list[Verdict] = [
        kind(n)
        for n in range(3)
        for kind in (FutureVerdict, InitVerdict, InputVerdict, ZeroVerdict)
    ]
    near = [NearVerdict(a, child) for a in verdict_open.ACCUSATIONS for child in range(3)]
    return [RecordVerdict(), RomVerdict(), EntryVerdict(), NotHaltVerdict(), *slots, *near]


STEPS = sorted({0, 1, 2, 3, 4, 5, 17, ENDED - 1, ENDED, N - 1, *RNG.sample(range(ENDED), 12)})


@pytest.mark.parametrize("disputed", STEPS)
def test_no_small_leaf_convicts_an_honest_prover(disputed: int) -> None:
    transcript = told(RUN, disputed)
    for verdict in small_verdicts(RUN, disputed):
        assert not convicts(RUN, transcript, verdict), verdict


@pytest.mark.parametrize("run", [RUN, WIDE], ids=["20 bytes", "32 bytes"])
def test_no_hash_leaf_convicts_an_honest_prover(run: Run) -> None:
    for disputed in (ENDED - 1, N - 1):
        transcript = told(run, disputed)
        verdicts: Sequence[Verdict] = (*map(NodeVerdict, range(1, K)), BlockVerdict())
        for verdict in verdicts:
            assert not convicts(run, transcript, verdict), verdict


def test_record() -> None:
    for disputed in (0, 5, 10, 15, N - 1):
        transcript = told(RUN, disputed)
        fragment = transcript.executed
        for field in Record._fields:
            for bit in (0, 13, 31):
                write = fragment.write._replace(
                    **{field: getattr(fragment.write, field) ^ 1 << bit}
                )
                lying = replace(transcript, fragment=replace(fragment, write=write))
                assert convicts(RUN, lying, RecordVerdict())


def test_rom_at_every_word_of_the_text() -> None:
    image = RUN.premises.image
    honest = told(RUN, 7)
    for pc in range(image.text_base, image.text_end, 4):
        fragment = replace(honest.executed, pc=pc, opcode=image.opcode(pc))
        assert not convicts(RUN, replace(honest, fragment=fragment), RomVerdict())
        wrong = replace(fragment, opcode=fragment.opcode ^ 1 << RNG.randrange(32))
        assert convicts(RUN, replace(honest, fragment=wrong), RomVerdict())


def test_entry_and_not_halt() -> None:
    first, last, inner = told(RUN, 0), told(RUN, N - 1), told(RUN, 6)
    elsewhere = replace(first.executed, pc=first.executed.pc + 4)
    assert convicts(RUN, replace(first, fragment=elsewhere), EntryVerdict())
    for index in (1, 4, N // 2):
        moved = replace(elsewhere, index=index)
        assert not convicts(RUN, replace(first, fragment=moved), EntryVerdict())
    assert last.executed.write.next_pc == HALT
    for next_pc in (TRAP, HALT ^ 1, 0, RUN.premises.image.entry):
        write = Record(NOWRITE, 0, next_pc)
        lying = replace(last, fragment=replace(last.executed, write=write))
        assert convicts(RUN, lying, NotHaltVerdict())
        elsewhere = replace(last.executed, write=write, index=N - 2)
        assert not convicts(RUN, replace(last, fragment=elsewhere), NotHaltVerdict())
    assert not convicts(RUN, inner, NotHaltVerdict())


def first_words(run: Run) -> dict[str, list[int]]:
    """Addresses of each kind of word, borders included."""
    premises = run.premises
    data = [DATA_BASE, DATA_BASE + 4, DATA_BASE + 52]
    bss = [DATA_BASE + 56, DATA_BASE + 92]
    stack = [0x7FF0_0000, 0x7FFF_FFFC]
    registers = [0xF000_0000 + 4 * r for r in (1, 2, 3, 31)]
    whole = range(0x4000_0000, 0x4000_0000 + 4 + 4 * -(-len(LAYOUT.fixed) // 4), 4)
    words = {a: premises.layout.word(a) for a in whole}
    given = [a for a, w in words.items() if w and any(d.published is not None for d in w)]
    fixed = [a for a in whole if a not in given]
    none = [0, 0xF000_0000, 0xF000_0080, DATA_BASE - 4, DATA_BASE + 96, 0x8000_0000, whole[-1] + 4]
    return {"init": [*data, *registers, *fixed], "input": given, "zero": [*bss, *stack], "": none}


@pytest.mark.parametrize("number", range(3))
def test_words_that_were_never_written(number: int) -> None:
    """The true value convicts nobody; another one is convicted by the one leaf of its kind."""
    transcript = told(RUN, 0x21)
    leaves: dict[str, Verdict] = {
        "init": InitVerdict(number), "input": InputVerdict(number), "zero": ZeroVerdict(number)
    }  # fmt: skip
    for kind, addresses in first_words(RUN).items():
        for address in addresses:
            true = RUN.value(address, 0)
            for value in (true, true ^ 1, true ^ 1 << 31, true ^ 1 << RNG.randrange(32)):
                for init in (0, 1, 2):
                    changes = {"address": address, "value": value, "init": init, "last": 0}
                    fragment = with_slot(transcript.executed, number, **changes)
                    lying = replace(transcript, fragment=fragment)
                    for name, leaf in leaves.items():
                        lie = name == kind and value != true and init == 1
                        assert convicts(RUN, lying, leaf) == lie, (hex(address), hex(value), init)


def test_a_contract_names_its_input_messages() -> None:
    """The payout is a message of its own: INPUT verifies the one that the payout outputs verify.

    One word's digits come from two messages: the leaf verifies both.
    """
    price, middle, payout = (
        Said(Party.PROVER, turn, field, digits)
        for turn, field, digits in [(0, "input", 10), (1, "input", 3), (0, "payout", 8)]
    )
    honest = told(RUN, 0x21)
    for address, sources in [(0x4000_0004, {payout}), (0x4000_0010, {price, middle})]:
        true = RUN.value(address, 0)
        fragment = with_slot(honest.executed, 0, address=address, value=true ^ 3, init=1, last=0)
        lying = replace(honest, fragment=fragment)
        chosen = catalog.leaf_of(RUN.premises, lying, InputVerdict(0), (price, middle, payout))
        assert chosen is not None
        assert {m for m in chosen.template.messages if m.field in ("input", "payout")} == sources
        values = catalog.spoken(RUN.premises, lying, (price, middle, payout))
        assert bare_holds(chosen.template, values)
        said_so = replace(lying, fragment=with_slot(fragment, 0, value=true))
        values = catalog.spoken(RUN.premises, said_so, (price, middle, payout))
        assert not bare_holds(chosen.template, values)


def test_unused_slots_convict_nobody() -> None:
    transcript = told(RUN, 0x21)
    first, second, third = UNUSED, UNUSED, UNUSED
    fragment = replace(transcript.executed, slots=(first, second, third))
    for verdict in small_verdicts(RUN, 0x21):
        assert not convicts(RUN, replace(transcript, fragment=fragment), verdict)


@pytest.mark.parametrize("run", [RUN, WIDE], ids=["20 bytes", "32 bytes"])
def test_node_and_block(run: Run) -> None:
    """One changed bit anywhere in the children or the parent."""
    transcript = told(run, 0b10_11_01)
    for turn in range(1, K):
        rounds = list(transcript.rounds)
        nodes = list(rounds[turn - 1])
        changed = bytearray(nodes[RNG.randrange(4)])
        place = nodes.index(bytes(changed))
        changed[RNG.randrange(len(changed))] ^= 1 << RNG.randrange(8)
        nodes[place] = bytes(changed)
        first, second, third, fourth = nodes
        rounds[turn - 1] = (first, second, third, fourth)
        lying = replace(transcript, rounds=tuple(rounds))
        assert convicts(run, lying, NodeVerdict(turn))
    block = list(transcript.block)
    block[2] = block[2]._replace(wval=block[2].wval ^ 0x8000)
    first_record, second_record, third_record, fourth_record = block
    records = (first_record, second_record, third_record, fourth_record)
    assert convicts(run, replace(transcript, records=records), BlockVerdict())


PC = Accusation(Predicate.PC)


def test_open_the_pointed_step_near_and_far() -> None:
    """A wrong value at the step that truly wrote the word, at every distance."""
    met = set()
    for disputed in range(ENDED - 1, 0, -1):
        for number, read in enumerate(RUN.step(disputed).reads):
            if read.last < 0:
                continue
            place = place_of(RUN.premises, disputed, read.last)
            if place.turn in met:
                continue
            met.add(place.turn)
            accusation = Accusation(Predicate.POINTED, number)
            honest = told(RUN, disputed)
            verdict = opened(RUN, disputed, read.last, accusation)
            assert not convicts(RUN, honest, verdict)
            for change in ({"value": read.value ^ 16}, {"address": read.address ^ 4}):
                fragment = with_slot(honest.executed, number, **change)
                assert convicts(RUN, replace(honest, fragment=fragment), verdict)
            fragment = with_slot(honest.executed, number, value=read.value ^ 16, init=1)
            assert not convicts(RUN, replace(honest, fragment=fragment), verdict)
    assert met >= {2, 3, 4}


def test_open_a_stale_pointer() -> None:
    """A later write shows it; the write that the pointer names does not, nor an earlier one."""
    address = 0xF000_0000 + 4 * 5
    disputed = max(i for i in range(ENDED) if RUN.step(i).reads[0].address == address)
    writes = [step for step, _ in RUN.writes(address, disputed)]
    honest = told(RUN, disputed)
    accusation = Accusation(Predicate.STALE, 0)
    for pointed, shown in [(-2, -1), (-1, -1), (-1, -2), (-3, -2)]:
        fragment = with_slot(honest.executed, 0, last=writes[pointed])
        transcript = replace(honest, fragment=fragment)
        verdict = opened(RUN, disputed, writes[shown], accusation)
        assert convicts(RUN, transcript, verdict) == (pointed < shown)
    never = replace(honest, fragment=with_slot(honest.executed, 0, last=0, init=1))
    assert convicts(RUN, never, opened(RUN, disputed, writes[-1], accusation))
    not_the_address = opened(RUN, disputed, writes[-1] - 1, accusation)
    assert not convicts(RUN, never, not_the_address)


@pytest.mark.parametrize("disputed", [0b01_00_01, 0b01_01_00, 0b01_00_00_00])
def test_open_the_step_before(disputed: int) -> None:
    """pc against the step before: in the block, one and two nodes away."""
    honest = told(RUN, disputed)
    verdict = opened(RUN, disputed, disputed - 1, PC)
    assert not convicts(RUN, honest, verdict)
    lying = replace(honest, fragment=replace(honest.executed, pc=honest.executed.pc ^ 8))
    assert convicts(RUN, lying, verdict)
    for other in {max(disputed - 2, 0), disputed - 3} - {disputed - 1}:
        assert not convicts(RUN, lying, opened(RUN, disputed, other, PC))


def test_unsigned_digits_of_an_open_are_checked() -> None:
    """Out of range, another block, another sibling, another way: each is refused."""
    disputed = 0b01_01_00
    honest = told(RUN, disputed)
    lying = replace(honest, fragment=replace(honest.executed, pc=honest.executed.pc ^ 8))
    verdict = opened(RUN, disputed, disputed - 1, PC)
    assert isinstance(verdict, OpenVerdict)
    chosen = catalog.leaf_of(RUN.premises, lying, verdict)
    assert chosen is not None
    values = catalog.spoken(RUN.premises, lying)
    assert bare_holds(chosen.template, values, chosen.hints)
    places = [*RNG.sample(range(len(chosen.hints)), 6), len(chosen.hints) - 1, 95, 0]
    for place in places:
        for wrong in (chosen.hints[place] ^ 1, chosen.hints[place] + 16, -1):
            hints = (*chosen.hints[:place], wrong, *chosen.hints[place + 1 :])
            assert not bare_holds(chosen.template, values, hints), (place, wrong)
    one_level = Place(verdict.place.turn, verdict.place.child, (0, *verdict.place.below[1:]))
    elsewhere = replace(verdict, place=one_level)
    assert convicts(RUN, lying, elsewhere) == elsewhere.holds(RUN.premises, lying)


def changed(transcript: Transcript, rng: Random) -> Transcript:
    """A random change or two of the fragment or of what was revealed."""
    fragment = transcript.executed
    for _ in range(rng.randint(1, 2)):
        number = rng.randrange(3)
        address = rng.choice([a for group in first_words(RUN).values() for a in group])
        write = RUN.records[rng.randrange(ENDED)]
        match rng.randrange(8):
            case 0:
                fragment = replace(fragment, index=rng.randrange(N))
            case 1:
                fragment = replace(fragment, pc=fragment.pc + rng.choice([-4, 4, 8]) & 0xFFFF_FFFF)
            case 2:
                fragment = replace(fragment, opcode=fragment.opcode ^ 1 << rng.randrange(32))
            case 3:
                fragment = with_slot(fragment, number, value=rng.choice([0, write.wval, 7]))
            case 4:
                fragment = with_slot(fragment, number, address=rng.choice([write.waddr, address]))
            case 5:
                fragment = with_slot(fragment, number, last=rng.randrange(N))
            case 6:
                fragment = with_slot(fragment, number, init=rng.randrange(3))
            case _:
                fragment = replace(fragment, write=write)
    return replace(transcript, fragment=fragment)


def test_script_and_the_pure_game_agree() -> None:
    rng = Random(73)
    verdicts = small_verdicts(RUN, 0)
    held = 0
    for _ in range(60):
        transcript = changed(told(RUN, rng.choice([*STEPS, *range(20)])), rng)
        for verdict in rng.sample(verdicts, 20):
            expected = verdict.holds(RUN.premises, transcript)
            held += expected
            assert convicts(RUN, transcript, verdict) == expected, (verdict, transcript)
    assert held > 30


def lured(transcript: Transcript, step: int, accusation: Accusation, rng: Random) -> Transcript:
    """The fragment as ``accusation`` about ``step`` needs it, but for what it is about."""
    fragment, address = transcript.executed, RUN.records[step].waddr
    match accusation.predicate:
        case Predicate.PC:
            fragment = replace(fragment, pc=fragment.pc ^ 4 << rng.randrange(3))
        case Predicate.POINTED:
            changes = {"last": step, "init": 0, "address": rng.choice([address, address ^ 4])}
            fragment = with_slot(fragment, accusation.slot, **changes)
        case Predicate.STALE:
            changes = {"last": rng.randrange(N), "init": rng.randrange(3), "address": address}
            fragment = with_slot(fragment, accusation.slot, **changes)
    return replace(transcript, fragment=fragment)


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=pytest.mark.slow)])
def test_script_and_the_pure_game_agree_on_openings(count: int) -> None:
    rng = Random(74)
    held = 0
    for _ in range(count):
        accusation = rng.choice(verdict_open.ACCUSATIONS)
        disputed = rng.randrange(1, ENDED)
        near = accusation.predicate is Predicate.PC and rng.random() < 0.8
        step = disputed - 1 if near else rng.randrange(disputed)
        transcript = told(RUN, disputed)
        if rng.random() < 0.8:
            transcript = lured(transcript, step, accusation, rng)
        if rng.random() < 0.2:
            transcript = changed(transcript, rng)
        verdict = opened(RUN, disputed, step, accusation)
        expected = verdict.holds(RUN.premises, transcript)
        held += expected
        assert convicts(RUN, transcript, verdict) == expected, (verdict, transcript)
    assert count // 4 < held < count - count // 8


def test_whole_leaves_with_their_signatures() -> None:
    """One of each kind: signed messages in place of bare digits, within the stack's limit."""
    transcript = told(WIDE, 0b10_11_01)
    fragment = transcript.executed
    slots = (Slot(DATA_BASE, 0, 0, 1), Slot(0x4000_0004, 0, 0, 1), Slot(0x7FFF_FFF8, 1, 0, 1))
    lying = replace(transcript, fragment=replace(fragment, slots=slots, opcode=0))
    verdicts: list[Verdict] = [
        *(NodeVerdict(2), BlockVerdict(), RomVerdict(), InitVerdict(0), InputVerdict(1)),
        *(ZeroVerdict(2), NearVerdict(Accusation(Predicate.STALE, 0), 0)),
    ]
    for verdict in verdicts:
        chosen = catalog.leaf_of(WIDE.premises, lying, verdict)
        assert chosen is not None
        values = catalog.spoken(WIDE.premises, lying)
        used = {message: values[message] for message in chosen.template.messages}
        expected = verdict.holds(WIDE.premises, lying)
        assert leaf_holds(chosen.template, used, chosen.hints) == expected, verdict


def test_every_leaf_has_a_name_of_its_own() -> None:
    leaves = list(catalog.verdict_leaves(RUN.premises))
    assert len({leaf.name for leaf in leaves}) == len(leaves)
    messages = verdict_words.published_messages(LAYOUT)
    assert [m.digits for m in messages] == [10, 11]
