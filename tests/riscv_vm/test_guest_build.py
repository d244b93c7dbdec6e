"""``python -m riscv_vm.guest.build`` on a copy of the package, with a stand-in compiler or none."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import riscv_vm
from riscv_vm.guest.build import COMPILER, LINKER

# Answers --version; otherwise copies the prebuilt ELF that its -o argument names.
STAND_IN = """#!/bin/sh
for argument; do
  case "$argument" in
    --version) echo "{version}"; exit 0;;
    *broken.c) echo "broken.c:1: error: expected ';'" >&2; exit 1;;
  esac
  target="$argument"
done
{copy} "prebuilt/${{target##*/}}" "$target"
"""


@dataclass
class Checkout:
    """A copy of the package and a PATH of its own."""

    root: Path
    programs: Path = field(init=False)

    def __post_init__(self) -> None:
        shutil.copytree(
            Path(riscv_vm.__file__).parent,
            self.root / "riscv_vm",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        self.programs = self.root / "bin"
        self.programs.mkdir()

    @property
    def guest(self) -> Path:
        return self.root / "riscv_vm" / "guest"

    def manifest(self) -> dict[str, object]:
        manifest: dict[str, object] = json.loads((self.guest / "manifest.json").read_text())
        return manifest

    def install_toolchain(self, compiler: str | None = None) -> None:
        """Stand-ins that copy the prebuilt ELFs, by default with the manifest's versions."""
        manifest = self.manifest()
        versions = {COMPILER: compiler or manifest["compiler"], LINKER: manifest["linker"]}
        for name, version in versions.items():
            program = self.programs / name
            program.write_text(STAND_IN.format(version=version, copy=shutil.which("cp")))
            program.chmod(0o755)

    def build(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "riscv_vm.guest.build", *arguments],
            cwd=self.root,
            env={**os.environ, "PATH": str(self.programs)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.returncode, done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_without_a_compiler_the_hashes_are_checked(checkout: Checkout) -> None:
    code, output = checkout.build()
    assert (code, output.count("\n")) == (0, 1)
    assert output.startswith(f"{COMPILER} not found: to rebuild the guests, apt-get install gcc-")
    elf = checkout.guest / "prebuilt" / "sort.elf"
    elf.write_bytes(elf.read_bytes() + b"\0")
    code, output = checkout.build()
    assert code == 1
    assert "sort.elf differs from the manifest" in output


def test_without_a_compiler_nothing_can_be_updated(checkout: Checkout) -> None:
    before = checkout.manifest()
    code, output = checkout.build("--update")
    assert (code, output.count("\n")) == (1, 1)
    assert "apt-get install" in output
    assert checkout.manifest() == before


def test_the_same_bytes_again(checkout: Checkout) -> None:
    checkout.install_toolchain()
    code, output = checkout.build()
    assert code == 0
    assert "settle: rebuilt, " in output
    assert "guests match manifest.json" in output


def test_other_bytes_by_the_same_compiler_are_an_error(checkout: Checkout) -> None:
    checkout.install_toolchain()
    prebuilt = checkout.guest / "prebuilt"
    program = checkout.programs / COMPILER
    program.write_text(program.read_text().replace("prebuilt/${target##*/}", "prebuilt/sort.elf"))
    code, output = checkout.build()
    assert code == 1
    assert "settle: the rebuilt ELF differs from the committed one" in output
    assert "sort: rebuilt" in output
    assert (prebuilt / "settle.elf").read_bytes() != (prebuilt / "sort.elf").read_bytes()


def test_another_compiler_is_not_compared(checkout: Checkout) -> None:
    checkout.install_toolchain("riscv64-unknown-elf-gcc 99")
    code, output = checkout.build()
    assert code == 0
    assert "bytes not compared: built with riscv64-unknown-elf-gcc 99" in output


def test_a_changed_source_asks_for_an_update_and_gets_it(checkout: Checkout) -> None:
    checkout.install_toolchain()
    source = checkout.guest / "settle.c"
    source.write_text(source.read_text() + "\n")
    code, output = checkout.build()
    assert code == 1
    assert "settle.c differs from the manifest" in output
    assert "--update" in output
    code, output = checkout.build("--update")
    assert code == 0
    assert checkout.build()[0] == 0


def test_a_source_that_does_not_compile_changes_nothing(checkout: Checkout) -> None:
    checkout.install_toolchain()
    manifest = checkout.guest / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sort.c"', '"broken.c"'))
    before = manifest.read_text()
    code, output = checkout.build("--update")
    assert code == 1
    assert output.startswith("sort does not compile:\nbroken.c:1: error")
    assert manifest.read_text() == before


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed")
def test_the_real_compiler_reproduces_the_committed_bytes() -> None:
    root = Path(riscv_vm.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "riscv_vm.guest.build"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
