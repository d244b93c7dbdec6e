"""The committed ELFs: they are the manifest's, and they are what the Harvard machine can run."""

from pathlib import Path

import pytest

import riscv_vm.guest as guest
from riscv_vm.image import ImageError
from tests.builders.unicorn_guest import segments

NAMES = guest.guest_names()


def test_the_guests() -> None:
    assert {"settle", "sort", "crc32", "hash", "bigmul"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_elf_and_its_sources_are_those_of_the_manifest(name: str) -> None:
    manifest = guest.load_manifest()
    for source, digest in (manifest["common"] | manifest["guests"][name]["sources"]).items():
        assert guest.file_sha256(guest.FOLDER / source) == digest, f"{source}: {guest.REBUILD}"
    assert guest.guest_elf(name) == guest.elf_path(name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_text_and_data_are_apart_and_whole_words(name: str) -> None:
    entry, loaded = segments(guest.guest_elf(name))
    text = [segment for segment in loaded if segment.flags & 1]
    assert len(text) == 1
    assert text[0].address == entry == 0x10000
    assert len(text[0].data) == text[0].size
    assert not text[0].flags & 2
    for segment in loaded:
        assert segment.address % 4 == len(segment.data) % 4 == segment.size % 4 == 0
        assert segment.flags & 1 or 0x100000 <= segment.address < 0x200000
    words = {text[0].data[i : i + 4] for i in range(0, text[0].size, 4)}
    assert all(word[0] & 3 == 3 for word in words), "a compressed instruction"
    assert bytes(4) not in words


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_the_building_machine_is_inside(name: str) -> None:
    elf = guest.guest_elf(name)
    assert all(trace not in elf for trace in (b"/tmp", b"/home", b"/work", b".c\0", b"GCC:"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ImageError, match="no guest named 'setle': choose one of settle, sort"):
        guest.guest_elf("setle")


def test_a_changed_elf_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elf = guest.guest_elf("sort")
    guest.guest_elf.cache_clear()
    (tmp_path / "sort.elf").write_bytes(elf + b"\0")
    monkeypatch.setattr(guest, "elf_path", lambda name: tmp_path / f"{name}.elf")
    for name in ("sort", "crc32"):  # changed, missing
        with pytest.raises(ImageError, match=rf"{name}\.elf is not the ELF in the manifest"):
            guest.guest_elf(name)
