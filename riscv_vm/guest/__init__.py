"""The guest programs: C sources, and their prebuilt ELFs, which nobody needs a compiler for.

``manifest.json`` names every guest with its sources, the flags and the toolchain, and holds the
SHA-256 of each file.
"""

import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, TypedDict, cast

from riscv_vm.image import ImageError

FOLDER: Final = Path(__file__).parent
MANIFEST: Final = FOLDER / "manifest.json"
REBUILD: Final = "run `python -m riscv_vm.guest.build --update` and commit the result"


class Guest(TypedDict):
    """One program: file name -> SHA-256 of its own sources, and the SHA-256 of its ELF."""

    sources: dict[str, str]
    elf_sha256: str


class Manifest(TypedDict):
    """How the ELFs were built. ``common`` sources go into every guest."""

    compiler: str
    linker: str
    flags: list[str]
    common: dict[str, str]
    guests: dict[str, Guest]


def load_manifest() -> Manifest:
    """The committed manifest."""
    return cast(Manifest, json.loads(MANIFEST.read_text("utf-8")))


def guest_names() -> tuple[str, ...]:
    """Names that ``guest_elf`` takes, in the manifest's order."""
    return tuple(load_manifest()["guests"])


def elf_path(name: str) -> Path:
    """Where the prebuilt ELF of a guest lies."""
    return FOLDER / "prebuilt" / f"{name}.elf"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex; of no bytes when there is no such file."""
    return sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


@lru_cache(maxsize=16)
def guest_elf(name: str) -> bytes:
    """The prebuilt ELF of a guest; ImageError if it is unknown or not the one in the manifest."""
    guest = load_manifest()["guests"].get(name)
    if guest is None:
        raise ImageError(f"no guest named {name!r}: choose one of {', '.join(guest_names())}")
    path = elf_path(name)
    if file_sha256(path) != guest["elf_sha256"]:
        raise ImageError(
            f"{path.name} is not the ELF in the manifest: restore it from git, or {REBUILD}"
        )
    return path.read_bytes()
