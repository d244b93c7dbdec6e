"""Whether a machine can run what is here."""

import ctypes
import hashlib
import os
import platform
import re
import resource
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from actors.doctor import Finding, fail, findings_of, ok, warn

DISTRIBUTION: Final = "oracle-vm"
PYTHON: Final = ((3, 11), (3, 14))
"""From the first on, before the second."""
MIB: Final = 1 << 20
GIB: Final = 1 << 30
MEMORY_WARN: Final = 2 * GIB
MEMORY_FAIL: Final = 256 * MIB
DISK_WARN: Final = 5 * GIB
DISK_FAIL: Final = 256 * MIB
FILES_WARN: Final = 4096
SHM_WARN: Final = 512 * MIB
NATIVE: Final = ("coincurve", "cryptography.x509", "msgpack", "msgspec", "websockets", "numpy")
"""Imported, as they are compiled; the others are looked for."""
_UNSYNCHRONISED: Final = 0x40
_ERROR: Final = 5


def machine(folder: Path) -> Iterator[Finding]:
    """The checks of the machine; disk is that of ``folder``."""
    return findings_of(
        (
            ("python", _python),
            ("packages", _packages),
            ("ripemd160", _ripemd160),
            ("kernel", _kernel),
            ("cores", _cores),
            ("memory", _memory),
            ("disk", lambda: disk(folder)),
            ("open files", _open_files),
            ("clock", _clock),
            ("shared memory", _shared_memory),
            ("ray token", _ray_token),
        )
    )


def disk(folder: Path) -> Finding:
    """Room where ``folder`` is."""
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free, status = shutil.disk_usage(there).free, os.statvfs(there)
    detail = f"{free / GIB:.1f} GiB free at {there}"
    remedy = "make room: without it nothing is recorded, and so nothing is signed"
    if status.f_files and status.f_favail < 1000:
        return fail("disk", f"{status.f_favail} files can still be made at {there}", remedy)
    if free < DISK_FAIL:
        return fail("disk", detail, remedy)
    return warn("disk", detail, remedy) if free < DISK_WARN else ok("disk", detail)


def _python() -> Finding:
    found, (first, after) = sys.version_info[:2], PYTHON
    if first <= found < after:
        return ok("python", platform.python_version())
    span = f"{first[0]}.{first[1]} to {after[0]}.{after[1] - 1}"
    return fail("python", platform.python_version(), f"install Python {span} and run `uv sync`")


def _packages() -> Finding:
    remedy = "run `uv sync` in the checkout, or install the wheel again"
    try:
        names = [_name(row) for row in requires(DISTRIBUTION) or () if ";" not in row]
    except PackageNotFoundError:
        return fail("packages", f"{DISTRIBUTION} is not installed", remedy)
    missing = [name for name in names if not _is_installed(name)]
    for module in NATIVE:
        try:
            __import__(module)
        except ImportError as error:
            missing.append(f"{module} ({error})")
    if missing:
        return fail("packages", f"missing or broken: {', '.join(missing)}", remedy)
    shown = ", ".join(f"{name} {version(name)}" for name in ("ray", "coincurve", "websockets"))
    return ok("packages", f"{DISTRIBUTION} {version(DISTRIBUTION)}, {len(names)} packages: {shown}")


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found[0] if found else requirement


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _ripemd160() -> Finding:
    try:
        hashlib.new("ripemd160", b"")
    except ValueError:
        return ok("ripemd160", "not in this OpenSSL: the slower one in Python is used")
    return ok("ripemd160", "OpenSSL's")


def _kernel() -> Finding:
    name = f"{platform.system()} {platform.release()} {platform.machine()}"
    if platform.system() == "Linux":
        return ok("kernel", name)
    return warn("kernel", name, "run oracles on Linux: `up`, locks and limits are tested there")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0))
    if count >= 2:
        return ok("cores", str(count))
    return warn("cores", str(count), "give it two: signing waits behind feeds on one")


def _memory() -> Finding:
    rows = dict(row.split(":", 1) for row in Path("/proc/meminfo").read_text().splitlines())
    free = 1024 * int(rows["MemAvailable"].split()[0])
    detail = f"{free / GIB:.1f} GiB available"
    remedy = "end something else, or give the machine more memory"
    if free < MEMORY_FAIL:
        return fail("memory", detail, remedy)
    return warn("memory", detail, remedy) if free < MEMORY_WARN else ok("memory", detail)


def _open_files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit >= FILES_WARN:
        return ok("open files", f"limit {limit}")
    remedy = f"`ulimit -n {FILES_WARN}` or more, LimitNOFILE= in the unit: each observer is a file"
    return warn("open files", f"limit {limit}", remedy)


def _clock() -> Finding:
    """adjtimex(2), asked and not told anything: its status and its estimate of the error."""
    fields = (ctypes.c_long * 64)()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(fields))
    if state < 0:
        why = os.strerror(ctypes.get_errno())
        return warn("clock", f"the kernel does not say ({why})", "check with `chronyc tracking`")
    status = ctypes.cast(fields, ctypes.POINTER(ctypes.c_int))[2 * _STATUS_AT]
    worst_ms = fields[_MAXERROR_AT] / 1000
    if state == _ERROR or status & _UNSYNCHRONISED:
        remedy = "run chronyd or systemd-timesyncd on this machine, or on its host"
        return warn("clock", "the kernel does not know it as synchronised", remedy)
    return ok("clock", f"synchronised, within {worst_ms:.0f} ms")


_MAXERROR_AT: Final = 3
_STATUS_AT: Final = 5
"""Fields of struct timex, in longs: modes, offset, freq, maxerror, esterror, status."""


def _shared_memory() -> Finding:
    shm = Path("/dev/shm")
    if not shm.is_dir():
        return warn("shared memory", "no /dev/shm", "mount one: Ray keeps its objects there")
    size = shutil.disk_usage(shm).total
    detail = f"{size / GIB:.1f} GiB"
    if size >= SHM_WARN:
        return ok("shared memory", detail)
    return warn("shared memory", detail, "mount it larger (`--shm-size`): Ray falls back to disk")


def _ray_token() -> Finding:
    if find_spec("ray") is None:
        return ok("ray token", "no Ray here")
    if "RAY_AUTH_TOKEN" in os.environ:
        remedy = "put it into a file of mode 600 (RAY_AUTH_TOKEN_PATH): children see environments"
        return warn("ray token", "in the environment", remedy)
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if not path.exists():
        return ok("ray token", "none: this machine is no node of a Ray cluster")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return fail("ray token", f"{path} has mode {mode:o}", f"chmod 600 {path}, then change it")
    if os.environ.get("RAY_AUTH_MODE") not in (None, "token"):
        remedy = "RAY_AUTH_MODE=token in every unit and shell that starts Ray"
        return fail("ray token", f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']!r}", remedy)
    return ok("ray token", f"{path}, mode {mode:o}")
