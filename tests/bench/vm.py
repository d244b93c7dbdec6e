"""The machine, side by side with unicorn and hashlib: ``python -m tests.bench.vm [--json]``.

Each figure is the best of several. What runs on one thread is measured by that thread's CPU time;
pools by the wall. A peer that did not run gives null, and so does every ratio to it.
"""

import json
import os
import platform
import subprocess
import sys
from hashlib import blake2s
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
from llvmlite import binding

from riscv_vm.fast import Machine, run
from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, input_region, load_elf
from riscv_vm.isa import INPUT_BASE, STACK_BASE, STACK_BYTES, STACK_TOP
from riscv_vm.jit import vector_lanes
from riscv_vm.prove import Execution, Trace, prove, warm_up
from riscv_vm.tree import WIDTHS
from tests.bench._report import best, cpu_seconds, finish, hardware, say
from tests.bench._workload import ENDLESS, chain_image, chain_input, signatures

ROOT = Path(__file__).parents[2]
PLAIN_STEPS = 1 << 25
TREE_STEPS = 1 << 24
PEER_STEPS = 1 << 18
REPEATS = 7
_PAGE = 4096
NARROWER = {
    "avx2": ("haswell", "+avx2,+avx,+sse4.2,+sse2,+bmi,+bmi2,+popcnt"),
    "sse2": ("generic", "+sse2"),
}
"""LLVM's processor and features that a child is limited to."""

METHODS = {
    "plain_mips": f"{PLAIN_STEPS} steps of a SHA-256 chain in C, no records; million a second",
    "unicorn_mips": "the same program and number of steps on unicorn, stopped by its count"
    " argument, end state compared with ours",
    "commit_steps_per_second": f"records and BLAKE3 tree of {TREE_STEPS} steps; the slower width",
    "commit_steps_per_second_limited": "the same when LLVM may use no more than these features",
    "hashlib_steps_per_second": f"the tree alone over {PEER_STEPS} of the same records, ready in"
    " memory: hashlib.blake2s of each 48-byte block and of each pair of nodes; the faster width",
    "prove_2_24_seconds": f"prove() of {TREE_STEPS} real steps, width 20",
    "workers_speedup": "wall time of one prover and the driver pinned to one core over that of two"
    " provers free on all cores; 100 M steps, processes started and compiled before",
    "growth_mb": "peak resident memory of a process that loads the kernels and proves 100 M steps,"
    " above that of the same process before; 10^6 bytes",
    "growth_warm_mb": "the same above the process with its kernels loaded",
    "open_ms": "opening a step of the 2^24 trace: the slowest of 24 random steps and the last 96,"
    " which read constants that nothing ever wrote; each step its best of 3; wall",
    "pointers_ms": "a step of that trace with its read pointers: the slowest of the same; wall",
    "bip340_steps": "most steps of the guest `schnorr` over the valid vectors of BIP340",
}


def plain_mips(image: ProgramImage, data: bytes) -> float:
    def once() -> float:
        machine = Machine(image, data)
        return cpu_seconds(lambda: machine.run(PLAIN_STEPS))

    return PLAIN_STEPS / best(REPEATS, once) / 1e6


def unicorn_mips(image: ProgramImage, data: bytes) -> float | None:
    """None without unicorn."""
    try:
        import unicorn
        from unicorn import riscv_const
    except ImportError:
        return None
    expected = Machine(image, data)
    expected.run(PLAIN_STEPS)

    def once() -> float:
        peer = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        regions = [(image.text_base, image.text, len(image.text)), (STACK_BASE, b"", STACK_BYTES)]
        regions += [(segment.base, segment.content, segment.size) for segment in image.data]
        region = input_region(data)
        for base, content, size in [*regions, (INPUT_BASE, region, len(region))]:
            start = base // _PAGE * _PAGE
            peer.mem_map(start, -(-(base + size - start) // _PAGE) * _PAGE)
            peer.mem_write(base, content)
        peer.reg_write(riscv_const.UC_RISCV_REG_SP, STACK_TOP)
        seconds = cpu_seconds(lambda: peer.emu_start(image.entry, 0, count=PLAIN_STEPS))
        registers = [peer.reg_read(riscv_const.UC_RISCV_REG_X0 + i) for i in range(1, 32)]
        assert registers == [expected.register(i) for i in range(1, 32)], "unicorn went elsewhere"
        return seconds

    return PLAIN_STEPS / best(3, once) / 1e6


def commit_steps_per_second(image: ProgramImage, data: bytes, width: int) -> float:
    chunk = 1 << 16

    def once() -> float:
        machine = Machine(image, data)
        return cpu_seconds(lambda: machine.commit(TREE_STEPS // chunk, chunk, width))

    return TREE_STEPS / best(REPEATS, once)


def hashlib_steps_per_second(image: ProgramImage, data: bytes, width: int) -> float:
    tile = Machine(image, data).record(PEER_STEPS)
    records = np.array([plane[:PEER_STEPS] for plane in tile], dtype="<u4").T.tobytes()
    blocks = [records[at : at + 48] for at in range(0, len(records), 48)]

    def tree() -> None:
        nodes = [blake2s(block, digest_size=width).digest() for block in blocks]
        while len(nodes) > 1:
            nodes = [
                blake2s(left + right, digest_size=width).digest()
                for left, right in zip(nodes[::2], nodes[1::2], strict=True)
            ]

    return PEER_STEPS / best(3, lambda: cpu_seconds(tree))


def slowest_ms(trace: Trace, name: str) -> float:
    """The slowest of some random steps and the last, by the best of three rounds over them."""
    rng = Random(1)
    steps = [rng.randrange(trace.steps) for _ in range(24)]
    steps += range(trace.steps - 96, trace.steps)
    rng.shuffle(steps)
    ask = getattr(trace, name)
    found = dict.fromkeys(steps, float("inf"))
    for _ in range(3):
        for step in steps:
            begin = perf_counter()
            ask(step)
            found[step] = min(found[step], perf_counter() - begin)
    return 1e3 * max(found.values())


def child(module: str, *arguments: object, **environment: str) -> dict[str, Any] | None:
    """The JSON that a child process prints; None, and its last words on stderr, if it failed."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        say(f"{module} failed: {done.stderr.strip().splitlines()[-1:]}")
        return None
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def workers_speedup() -> float | None:
    """None where processes cannot be pinned or there is only one core."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return None
    one = child("_pool", "--workers", 1, "--core", cores[0])
    two = child("_pool", "--workers", 2)
    if one is None or two is None:
        return None
    assert one["root"] == two["root"], "the number of workers changed the root"
    return float(one["seconds"] / two["seconds"])


def growth_mb() -> dict[str, float | None]:
    """Both growths; None where the system does not tell a process its peak."""
    grown = child("_growth") or {}
    names = {"growth_mb": "from_imported", "growth_warm_mb": "from_warm"}
    return {field: grown[key] / 1e6 if key in grown else None for field, key in names.items()}


def narrower() -> dict[str, dict[str, float] | None]:
    """The commitment with less than this processor has; None where there is no such unit."""
    found: dict[str, dict[str, float] | None] = dict.fromkeys(NARROWER)
    if platform.machine() != "x86_64":
        return found
    for name, (cpu, features) in NARROWER.items():
        if f"+{name}" in binding.get_host_cpu_features().flatten().split(","):
            answer = child("_narrow", NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features)
            found[name] = answer["steps_per_second"] if answer else None
    return found


def bip340_steps() -> int:
    image = load_elf(guest_elf("schnorr"))
    outcomes = [run(image, data) for data in signatures()]
    assert all(outcome.end == "HALT" for outcome in outcomes)
    return max(outcome.steps for outcome in outcomes)


def measure() -> dict[str, Any]:
    result: dict[str, Any] = {"hardware": hardware(), "lanes": vector_lanes()}
    image, data = chain_image(), chain_input(ENDLESS)
    say("compiling or loading the machine")
    warm_up()
    say("plain execution, and unicorn")
    plain, unicorn = plain_mips(image, data), unicorn_mips(image, data)
    say("the commitment, and hashlib")
    commit = {str(width): commit_steps_per_second(image, data, width) for width in WIDTHS}
    peer = {str(width): hashlib_steps_per_second(image, data, width) for width in WIDTHS}
    execution = Execution(image, data, log4_steps=12)
    proved = best(REPEATS, lambda: cpu_seconds(lambda: prove(execution)))
    say("openings and read pointers")
    trace = prove(execution)
    result |= {
        "plain_mips": plain,
        "unicorn_mips": unicorn,
        "commit_steps_per_second": min(commit.values()),
        "commit_steps_per_second_by_width": commit,
        "hashlib_steps_per_second": max(peer.values()),
        "hashlib_steps_per_second_by_width": peer,
        "prove_2_24_seconds": proved,
        "open_ms": slowest_ms(trace, "open"),
        "pointers_ms": slowest_ms(trace, "step"),
        "bip340_steps": bip340_steps(),
    }
    say("one worker on one core, two on two")
    result["workers_speedup"] = workers_speedup()
    say("memory")
    result |= growth_mb()
    say("narrower vector units (the first time, they compile)")
    result["commit_steps_per_second_limited"] = narrower()
    result["ratios"] = {
        "plain_to_unicorn": plain / unicorn if unicorn else None,
        **{f"commit_to_hashlib_{width}": commit[width] / peer[width] for width in commit},
    }
    return result | {"methods": METHODS}


if __name__ == "__main__":
    finish("vm", measure)
