"""Proving: one root whatever the chunks and workers; a trace answers like the whole tree."""

import pickle
from random import Random

import numpy as np
import pytest

from riscv_vm import machine
from riscv_vm.checkpoint import Checkpoint, CheckpointLog
from riscv_vm.fast import Machine
from riscv_vm.guest import guest_elf
from riscv_vm.image import ImageError, ProgramImage, load_elf
from riscv_vm.isa import NOWRITE, REGISTER_BASE, TRAP
from riscv_vm.machine import UNUSED, Step
from riscv_vm.prove import (
    CHECKPOINT_STEPS,
    INIT,
    ChunkTask,
    Execution,
    Forgery,
    PrePass,
    ReadPointer,
    prove,
    prove_chunk,
    prove_chunks,
)
from riscv_vm.record import Outcome, Record
from riscv_vm.tree import SparseTree, check_opening, root_level
from tests.builders.asm import TEXT_BASE
from tests.builders.programs import DATA_BASE, EXIT, program, random_program

COUNTDOWN = f"""
    li a0, 40
    li s0, {DATA_BASE}
loop:
    addi a0, a0, -1
    slli t0, a0, 2
    add t0, t0, s0
    lw t1, 4(t0)
    add t1, t1, a0
    sw t1, 0(t0)
    sb t1, 2(s0)
    bne a0, zero, loop
    li a7, 93
    ecall
"""


def countdown() -> ProgramImage:
    return program(COUNTDOWN, bytes(range(64)), 256)


def steps_of(image: ProgramImage, data: bytes = b"") -> list[Step]:
    return list(machine.trace(image, data))


def proved_by_workers(execution: Execution, chunks_per_task: int):
    """Through pickles, as between processes, the last task first."""
    prepass = PrePass(execution, chunks_per_task)
    tasks = [pickle.dumps(task) for task in prepass]
    sent = pickle.dumps(execution)
    roots = [prove_chunks(pickle.loads(sent), pickle.loads(task)) for task in reversed(tasks)]
    return prepass.trace(roots[::-1])


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("log4_steps", [5, 6])
def test_neither_chunks_nor_workers_change_the_root(log4_steps: int, width: int) -> None:
    image = countdown()
    tree = SparseTree([step.record for step in steps_of(image)], log4_steps, width)
    for log4_chunk in range(1, 8):
        execution = Execution(image, b"", log4_steps, width, log4_chunk)
        trace = prove(execution)
        assert (trace.root, trace.outcome) == (tree.root, Outcome("HALT", 327))
        for chunks in (1, 3, 1000):
            spread = proved_by_workers(execution, chunks)
            assert (spread.root, spread.outcome) == (trace.root, trace.outcome)


@pytest.mark.parametrize("log4_chunk", [1, 2, 3, 5])
def test_a_trace_answers_like_the_whole_tree(log4_chunk: int) -> None:
    image = countdown()
    tree = SparseTree([step.record for step in steps_of(image)], 5, 20)
    trace = prove(Execution(image, b"", 5, 20, log4_chunk))
    for level in range(root_level(5) + 1):
        for index in range(1 << (root_level(5) - level)):
            assert trace.node(level, index) == tree.node(level, index)
    for index in range(4**4):
        assert trace.block(index) == tree.block(index)
    for level, index in ((-1, 0), (9, 0), (8, 1), (0, 256)):
        with pytest.raises(IndexError):
            trace.node(level, index)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_prove_to_the_reference_root(seed: int) -> None:
    image = random_program(Random(2000 + seed))
    tree = SparseTree([step.record for step in steps_of(image)], 6, 32)
    trace = prove(Execution(image, b"", 6, 32, 1 + seed % 6))
    assert trace.root == tree.root
    for step in (0, 100, trace.steps - 1, 4**6 - 1):
        assert check_opening(trace.root, trace.open(step))


@pytest.mark.parametrize("log4_steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("log4_chunk", [1, 2, 5])
def test_a_run_into_the_limit(log4_steps: int, log4_chunk: int) -> None:
    image = program("loop:\naddi a0, a0, 1\nj loop")
    limit = 4**log4_steps
    records = [step.record for step, _ in zip(machine.trace(image), range(limit), strict=False)]
    execution = Execution(image, b"", log4_steps, 20, log4_chunk)
    trace = prove(execution)
    assert trace.outcome == Outcome("LIMIT", limit)
    assert trace.root == SparseTree(records, log4_steps, 20).root
    assert proved_by_workers(execution, 2).root == trace.root
    assert trace.open(limit - 1).record == records[-1]


@pytest.mark.parametrize("steps", [4, 16, 17, 64, 4096, 4097, 16384, 65537])
def test_ends_at_the_borders_of_tiles_and_chunks(steps: int) -> None:
    """nop sleds of an exact length, against the same root from other chunk sizes."""
    source = f"li t0, {(steps - 6) // 2}\n" if steps >= 16 else ""
    source += "loop:\naddi t0, t0, -1\nbne t0, zero, loop\n" if steps >= 16 else ""
    source += "nop\n" * (1 + steps % 2 if steps >= 16 else steps - 3)
    execution = [Execution(program(source + EXIT), b"", 9, 20, m) for m in (2, 6, 8, 9)]
    traces = [prove(e) for e in execution]
    assert {trace.steps for trace in traces} == {steps}
    assert len({trace.root for trace in traces}) == 1
    assert proved_by_workers(execution[2], 1).root == traces[0].root


def test_one_chunk_by_its_checkpoint() -> None:
    execution = Execution(countdown(), b"", 5, 20, 3)
    trace = prove(execution)
    for task in PrePass(execution, 1):
        assert task.checkpoint.step == 64 * task.first
        assert prove_chunk(execution, task.checkpoint) == trace.node(4, task.first)


def test_tasks_carry_only_written_pages() -> None:
    source = f"li s0, {DATA_BASE}\nli t0, 64\nloop:\nsw t0, 0(s0)\nlui t1, 1\nadd s0, s0, t1\n"
    source += "addi t0, t0, -1\nbne t0, zero, loop\n" + EXIT
    execution = Execution(program(source, size=1 << 20), b"", 6, 20, 2)
    tasks = list(PrePass(execution, 1))
    assert [len(task.checkpoint.pages) for task in tasks[:3]] == [0, 3, 6]
    assert len(tasks[-1].checkpoint.pages) == 64
    one, other = tasks[10].checkpoint.pages, tasks[20].checkpoint.pages
    assert all(other[number] is page for number, page in one.items())


@pytest.mark.parametrize(("log4_chunk", "reason"), [(0, "1 to 10"), (11, "1 to 10")])
def test_impossible_shapes_are_refused(log4_chunk: int, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        Execution(countdown(), log4_chunk=log4_chunk)
    with pytest.raises(ImageError, match="1 to 15"):
        Execution(countdown(), log4_steps=16)
    with pytest.raises(ImageError, match="20 or 32"):
        Execution(countdown(), width=24)


def brute_force_pointers(steps: list[Step], index: int) -> tuple[ReadPointer, ...]:
    writers = {step.record.waddr: at for at, step in enumerate(steps[:index])}
    return tuple(
        ReadPointer(0, 0, INIT)
        if read == UNUSED
        else ReadPointer(read.address, read.value, writers.get(read.address, INIT))
        for read in steps[index].reads
    )


@pytest.mark.parametrize("seed", range(4))
def test_read_pointers_by_brute_force(seed: int) -> None:
    image = countdown() if seed == 0 else random_program(Random(3000 + seed), blocks=4)
    steps = steps_of(image)
    trace = prove(Execution(image, b"", 6, 20, 2))
    for index in {*range(0, len(steps), 5), *range(len(steps) - 5, len(steps))}:
        found = trace.step(index)
        assert (found.pc, found.opcode, found.record) == (
            steps[index].pc,
            steps[index].opcode,
            steps[index].record,
        )
        assert found.reads == brute_force_pointers(steps, index)


def test_read_pointers_across_checkpoints_by_brute_force() -> None:
    """A run over several checkpoints: constants never written, words written long ago, loops."""
    image = load_elf(guest_elf("hash"))
    data = (600).to_bytes(4, "big") + bytes(32) + b"seed"
    trace = prove(Execution(image, data))
    assert trace.steps > 3 * CHECKPOINT_STEPS
    written = Machine(image, data).record(trace.steps).waddr[: trace.steps]
    seen: set[int] = set()
    near_borders = [border * CHECKPOINT_STEPS + by for border in (1, 2, 3) for by in (-1, 0, 1)]
    for index in (*near_borders, *range(trace.steps - 300, trace.steps)):
        for read in trace.step(index).reads:
            if read.address:
                writers = np.flatnonzero(written[:index] == read.address)
                assert read.last == (int(writers[-1]) if len(writers) else INIT)
                seen.add((index - read.last) // CHECKPOINT_STEPS if read.last != INIT else INIT)
    assert {INIT, 0, 3} <= seen


def test_steps_behind_the_end_absorb() -> None:
    trace = prove(Execution(program("ebreak"), b"", 3))
    found = trace.step(50)
    assert (found.pc, found.opcode, found.record) == (TRAP, 0, (NOWRITE, 0, TRAP))
    assert found.reads == (ReadPointer(0, 0, INIT),) * 3
    with pytest.raises(IndexError):
        trace.step(64)


def forged_records(image: ProgramImage, forgery: Forgery, limit: int) -> list[Record]:
    twin = machine.Machine(image)
    records = []
    while not twin.ended and twin.steps < limit:
        if twin.steps == forgery.step:
            twin.apply(forgery.record)
            records.append(forgery.record)
        else:
            records.append(twin.step().record)
    return records


FORGERIES = [
    Forgery(0, Record(REGISTER_BASE + 40, 7, TEXT_BASE + 4)),
    Forgery(100, Record(REGISTER_BASE + 4 * 6, 99, TEXT_BASE + 28)),
    Forgery(101, Record(DATA_BASE + 8, 0xDEAD, TEXT_BASE + 32)),
    Forgery(63, Record(NOWRITE, 0, TEXT_BASE + 44)),
    Forgery(64, Record(NOWRITE, 0, TRAP)),
    Forgery(90, Record(NOWRITE, 5, TEXT_BASE + 16)),
]


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: f"step {forgery.step}")
def test_a_forged_trace_goes_on_honestly(forgery: Forgery) -> None:
    image = countdown()
    records = forged_records(image, forgery, 4**5)
    tree = SparseTree(records, 5, 20)
    assert tree.root != prove(Execution(image, b"", 5)).root
    for log4_chunk in (1, 3, 5):
        execution = Execution(image, b"", 5, 20, log4_chunk, forgery)
        trace = prove(execution)
        assert trace.root == proved_by_workers(execution, 2).root == tree.root
        assert trace.block(forgery.step // 4) == tree.block(forgery.step // 4)
        assert trace.open(forgery.step).record == forgery.record
    honest = trace.step(forgery.step)
    assert honest.record != forgery.record


def test_pointers_lead_to_the_forged_write() -> None:
    """The loop reads the word that the round before it stored."""
    image = countdown()
    steps = steps_of(image)
    store = next(at for at in range(100, 120) if steps[at].record.waddr % 4096 in range(64, 256))
    address, _, next_pc = steps[store].record
    forgery = Forgery(store, Record(address, 0xDEAD, next_pc))
    trace = prove(Execution(image, b"", 5, forgery=forgery))
    load = trace.step(store + 6)
    assert load.reads[1] == ReadPointer(address, 0xDEAD, store)
    assert load.reads[0].last == store + 5


def test_a_forgery_that_leads_nowhere_is_refused() -> None:
    forgery = Forgery(5, Record(NOWRITE, 0, 0x10))
    with pytest.raises(ImageError, match="no place to go on"):
        prove(Execution(countdown(), b"", 5, forgery=forgery))


def test_a_checkpoint_log_stays_within_its_capacity() -> None:
    """A program that writes every page of a megabyte, again and again."""
    source = f"loop2:\nli s0, {DATA_BASE}\nli t0, 256\nloop:\nsw t0, 0(s0)\nlui t1, 1\n"
    source += "add s0, s0, t1\naddi t0, t0, -1\nbne t0, zero, loop\nj loop2"
    image = program(source, size=1 << 20)
    whole = Machine(image)
    log = CheckpointLog(interval=256, capacity=8 << 20)
    states: list[Checkpoint] = []
    for _ in range(100):
        states.append(log.take(whole))
        whole.run(256)
    kept = {log.before(step).step for step in range(0, 25600, 64)}
    assert 2 < len(kept) < 50
    for step in (0, 255, 256, 5000, 25599, 30000):
        near = log.before(step)
        assert near.step <= step
        expected = states[near.step // 256]
        assert (near.pc, near.registers, near.pages) == (
            expected.pc,
            expected.registers,
            expected.pages,
        )
        again = Machine(image)
        again.restore(near)
        again.run(25600 - near.step)
        assert (again.pc, again.registers) == (whole.pc, whole.registers)
        assert again.core.memory.tobytes() == whole.core.memory.tobytes()


def test_progress_is_reported() -> None:
    heard: list[int] = []
    trace = prove(Execution(countdown(), b"", 12, 20, 4), heard.append)
    assert heard[-1] == trace.steps


def test_a_chunk_task_is_small() -> None:
    task = next(iter(PrePass(Execution(countdown()), 1)))
    assert isinstance(task, ChunkTask)
    assert len(pickle.dumps(task)) < 1000
