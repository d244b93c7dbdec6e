"""What every benchmark shares: best of several, the hardware it ran on, its JSON and its table."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding

OUT = Path(__file__).parent / "out"
_FEATURES = ("neon", "sse2", "ssse3", "sse4.1", "sse4.2", "avx", "avx2", "avx512f", "avx512vl")


def best(repeats: int, once: Callable[[], float]) -> float:
    """The least of ``repeats`` results of ``once``, in seconds: other load only ever adds."""
    return min(once() for _ in range(repeats))


def cpu_seconds(work: Callable[[], object]) -> float:
    """The CPU time that this thread spends in ``work``."""
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def hardware() -> dict[str, Any]:
    """Processor, cores and features, versions, and how busy the machine is now."""
    features = binding.get_host_cpu_features()
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "features": [name for name in _FEATURES if features.get(name)],
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "numba": numba.__version__,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({binding.get_host_cpu_name()})"


def say(what: str) -> None:
    """Progress, on stderr."""
    print(f"... {what}", file=sys.stderr, flush=True)


def finish(name: str, measure: Callable[[], dict[str, Any]]) -> None:
    """Run a benchmark as a command: JSON in tests/bench/out, and on stdout JSON or a table."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{name}")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    as_json = parser.parse_args().json
    result = measure()
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    if as_json:
        print(json.dumps(result))
        return
    for field, value in result.items():
        if field == "methods":
            continue
        parts = value.items() if isinstance(value, dict) else (("", value),)
        for part, item in parts:
            text = f"{item:,.4g}" if isinstance(item, float) and item < 1e4 else item
            text = f"{text:,.0f}" if isinstance(text, float) else text
            print(f"{f'{field} {part}'.strip():>40}  {'not run' if text is None else text}")
    print(f"how each was measured: {OUT / name}.json")
