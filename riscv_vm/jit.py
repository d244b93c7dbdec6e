"""Compiling with numba: on first call, from a cache on disk where there is one."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from llvmlite import binding
from numba import config, njit
from numba.core import event

Kernel = Callable[..., Any]


def _fingerprint() -> int:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return zlib.crc32(b"".join(path.read_bytes() for path in sources))


SOURCES: Final = _fingerprint()
"""A number that changes with the machine's source. Every kernel closes over it: numba's cache key
covers what a function closes over, but not the files that its callees and constants come from."""


def jit(function: Kernel) -> Kernel:
    """Compile ``function`` on its first call; without a cache if none can be written."""
    try:
        return cast(Kernel, njit(function, cache=True, error_model="numpy", nogil=True))
    except RuntimeError:  # numba found no folder to write to
        return cast(Kernel, njit(function, error_model="numpy", nogil=True))


def inline(function: Kernel) -> Kernel:
    """Compile ``function`` into each of its callers."""
    return cast(Kernel, njit(function, forceinline=True, error_model="numpy"))


class _Once(event.Listener):
    """Calls ``notice`` when the first compilation starts."""

    def __init__(self, notice: Callable[[], None]) -> None:
        self._notice: Callable[[], None] | None = notice

    def on_start(self, _: Any) -> None:
        notice, self._notice = self._notice, None
        if notice:
            notice()

    def on_end(self, _: Any) -> None:
        pass


@contextmanager
def on_compilation(notice: Callable[[], None]) -> Iterator[None]:
    """Call ``notice`` once if a kernel is compiled meanwhile; loading one from the cache is not."""
    with event.install_listener("numba:compile", _Once(notice)):
        yield


@cache
def vector_lanes() -> int:
    """How many BLAKE3 messages to hash at once on this host: 16 with AVX2 or AVX-512, else 8.

    NUMBA_CPU_FEATURES, which limits what numba emits, limits this too.
    """
    limit: str | None = getattr(config, "CPU_FEATURES", None)
    try:
        text = binding.get_host_cpu_features().flatten() if limit is None else limit
    except RuntimeError:  # LLVM does not know this host
        text = ""
    return 16 if {"+avx2", "+avx512f"} & set(text.split(",")) else 8
