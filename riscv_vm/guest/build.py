"""Rebuild the guest ELFs and compare them: ``python -m riscv_vm.guest.build [--update]``.

To add a guest: put its C file here, give it an entry with its sources in ``manifest.json`` (empty
hashes do), and run with ``--update``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from riscv_vm.guest import (
    FOLDER,
    MANIFEST,
    REBUILD,
    Manifest,
    elf_path,
    file_sha256,
    load_manifest,
)

COMPILER = "riscv64-unknown-elf-gcc"
LINKER = "riscv64-unknown-elf-ld"
INSTALL = f"{COMPILER} not found: to rebuild the guests, apt-get install gcc-riscv64-unknown-elf"


class BuildError(Exception):
    """A guest that does not compile; the message is the compiler's."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """First lines of ``--version`` of the compiler and the linker."""

    compiler: str
    linker: str


def find_toolchain() -> Toolchain | None:
    """The installed toolchain, or None."""
    if shutil.which(COMPILER) is None or shutil.which(LINKER) is None:
        return None
    return Toolchain(_first_line(COMPILER), _first_line(LINKER))


def _first_line(program: str) -> str:
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()[0]


def compile_guest(manifest: Manifest, name: str) -> bytes:
    """The ELF of one guest. The compiler runs inside the folder with relative names and a fixed
    locale, so that no path or date of this machine gets into the bytes."""
    sources = [*manifest["common"], *manifest["guests"][name]["sources"]]
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / f"{name}.elf"
        units = [source for source in sources if source.endswith((".S", ".c"))]
        command = [
            COMPILER,
            *manifest["flags"],
            "-T",
            "link.ld",
            *units,
            "-lgcc",
            "-o",
            str(target),
        ]
        environment = {**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
        done = subprocess.run(
            command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BuildError(f"{name} does not compile:\n{done.stderr.strip()}")
        return target.read_bytes()


def check_committed(manifest: Manifest) -> list[str]:
    """What the files on disk and the manifest disagree about; no compiler needed."""
    expected = {FOLDER / source: digest for source, digest in manifest["common"].items()}
    for name, guest in manifest["guests"].items():
        expected |= {FOLDER / source: digest for source, digest in guest["sources"].items()}
        expected[elf_path(name)] = guest["elf_sha256"]
    return [
        f"{path.name} differs from the manifest"
        for path, digest in sorted(expected.items())
        if file_sha256(path) != digest
    ]


def check_rebuilt(manifest: Manifest, toolchain: Toolchain) -> list[str]:
    """Build every guest; compare bytes if the toolchain is the manifest's. The differences."""
    same_toolchain = (toolchain.compiler, toolchain.linker) == (
        manifest["compiler"],
        manifest["linker"],
    )
    faults = []
    for name in manifest["guests"]:
        elf = compile_guest(manifest, name)
        if not same_toolchain:
            _say(f"{name}: compiles, {len(elf)} bytes")
        elif elf == elf_path(name).read_bytes():
            _say(f"{name}: rebuilt, {len(elf)} bytes, the same as committed")
        else:
            faults.append(f"{name}: the rebuilt ELF differs from the committed one")
    if not same_toolchain:
        _say(
            f"bytes not compared: built with {toolchain.compiler}, {toolchain.linker}; "
            f"the manifest has {manifest['compiler']}, {manifest['linker']}"
        )
    return faults


def update(manifest: Manifest, toolchain: Toolchain) -> None:
    """Build every guest; write the ELFs and the manifest only after all of them compiled."""
    elfs = {name: compile_guest(manifest, name) for name in manifest["guests"]}
    for name, elf in elfs.items():
        elf_path(name).parent.mkdir(exist_ok=True)
        elf_path(name).write_bytes(elf)
    updated: Manifest = {
        "compiler": toolchain.compiler,
        "linker": toolchain.linker,
        "flags": manifest["flags"],
        "common": _hashed(manifest["common"]),
        "guests": {
            name: {
                "sources": _hashed(guest["sources"]),
                "elf_sha256": file_sha256(elf_path(name)),
            }
            for name, guest in manifest["guests"].items()
        },
    }
    MANIFEST.write_text(json.dumps(updated, indent=2) + "\n", "utf-8")
    _say(f"wrote {len(elfs)} ELFs and {MANIFEST.name}")


def _hashed(sources: dict[str, str]) -> dict[str, str]:
    return {source: file_sha256(FOLDER / source) for source in sources}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 when something differs or does not compile."""
    parser = argparse.ArgumentParser(prog="python -m riscv_vm.guest.build", description=__doc__)
    parser.add_argument("--update", action="store_true", help="rewrite the ELFs and the manifest")
    options = parser.parse_args(arguments)
    manifest = load_manifest()
    toolchain = find_toolchain()
    try:
        if options.update:
            if toolchain is None:
                _say(INSTALL)
                return 1
            update(manifest, toolchain)
            return 0
        faults = check_committed(manifest)
        if toolchain is not None:
            faults += check_rebuilt(manifest, toolchain)
    except BuildError as error:
        _say(str(error))
        return 1
    if faults:
        _say("\n".join([*faults, f"if the change is meant, {REBUILD}"]))
        return 1
    verdict = f"the {len(manifest['guests'])} committed guests match {MANIFEST.name}"
    _say(verdict if toolchain else f"{INSTALL}; {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
