"""Compiling with numba: on first call, from a cache on disk where there is one."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from llvmlite import binding
from numba import config, njit


def _fingerprint() -> int:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return zlib.crc32(b"".join(path.read_bytes() for path in sources))


SOURCES: Final = _fingerprint()
"""A number that changes with the machine's source. Every kernel closes over it: numba's cache key
covers what a function closes over, but not the files that its callees and constants come from."""


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` for the types of its first call; without a cache if none can be written."""
    options = {"error_model": "numpy", "nogil": True}
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder to write to
        compiled = njit(**options)(function)
    return compiled  # type: ignore[no-any-return]


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` into each of its callers."""
    return njit(forceinline=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def vector_lanes() -> int:
    """How many BLAKE3 messages to hash at once on this host: 16 with AVX2 or AVX-512, else 8.

    NUMBA_CPU_FEATURES, which limits what numba emits, limits this too.
    """
    if config.CPU_FEATURES is not None:
        features = {name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+")}
    else:
        features = {name for name, has in binding.get_host_cpu_features().items() if has}
    return 16 if features & {"avx2", "avx512f"} else 8
