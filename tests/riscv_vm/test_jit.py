"""Compilation: a cache that is used, no cache at all, narrower vector units than this host has."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from numba import config
from numba.core import caching

from riscv_vm.jit import jit, vector_lanes
from riscv_vm.prove import Execution, prove
from tests.builders.programs import random_program

START = """
import json
from random import Random
from riscv_vm.commit import HASHING
from riscv_vm.interpreter import run_plain, run_record, run_watch
from riscv_vm.jit import vector_lanes
from riscv_vm.prove import Execution, prove, warm_up
from tests.builders.programs import random_program

warm_up()
kernels = [run_plain, run_record, run_watch]
kernels += [kernel for width in (20, 32) for kernel in HASHING[vector_lanes(), width]]
misses = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
root = prove(Execution(random_program(Random(1)), log4_steps=8)).root.hex()
print(json.dumps({"misses": misses, "lanes": vector_lanes(), "root": root}))
"""


def start(**environment: str) -> dict[str, object]:
    """What a new process finds after ``warm_up``."""
    done = subprocess.run(
        [sys.executable, "-c", START],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def root() -> str:
    return prove(Execution(random_program(Random(1)), log4_steps=8)).root.hex()


def test_the_second_start_compiles_nothing() -> None:
    start()
    assert start() == {"misses": 0, "lanes": vector_lanes(), "root": root()}


def test_kernels_compile_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    triple = jit(lambda number: 3 * number)
    assert triple(14) == 42


@pytest.mark.parametrize(
    ("features", "lanes"),
    [("+sse2", 8), ("+avx2,+sse2", 16), ("-avx2,+sse2", 8), ("+avx512f", 16), ("", 8)],
)
def test_lanes_follow_the_features_that_numba_may_use(
    monkeypatch: pytest.MonkeyPatch, features: str, lanes: int
) -> None:
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    assert vector_lanes.__wrapped__() == lanes


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processors named are x86")
@pytest.mark.parametrize(
    ("cpu", "features", "lanes"),
    [("generic", "+sse2", 8), ("haswell", "+avx2,+avx,+sse4.2,+sse2,+bmi,+bmi2,+popcnt", 16)],
)
def test_narrower_vector_units_give_the_same_root(cpu: str, features: str, lanes: int) -> None:
    found = start(NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features)
    assert (found["lanes"], found["root"]) == (lanes, root())
