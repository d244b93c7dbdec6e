"""The guests on our machines: loaded, and ended in the same step and way as on unicorn."""

import struct
import zlib
from hashlib import sha256

import pytest

from protocol.crypto.keys import SecretKey
from protocol.settlement.claim import Check
from riscv_vm import fast, machine
from riscv_vm.guest import guest_elf, guest_names
from riscv_vm.image import load_elf
from riscv_vm.isa import A0, HALT, INPUT_BASE, TRAP
from tests.builders.claims import C_PAYOUT, claim_terms, honest_claim, patched
from tests.builders.unicorn_guest import UnicornGuest

HONEST = honest_claim(claim_terms()).encode()
TEXT = b"the quick brown fox"
INPUTS = [
    ("settle", HONEST),
    ("settle", patched(HONEST, C_PAYOUT, bytes(8))),
    ("settle", HONEST[:-1]),
    ("settle", b""),
    ("sort", struct.pack(">2I", 60, 7)),
    ("crc32", struct.pack(">2I", 5, zlib.crc32(TEXT * 5)) + TEXT),
    ("crc32", struct.pack(">2I", 5, 1) + TEXT),
    ("hash", struct.pack(">I", 1) + sha256(TEXT).digest() + TEXT),
    ("bigmul", struct.pack(">2I", 2, 2) + b"".join(n.to_bytes(8) for n in (3, 5 << 32, 75))),
]


@pytest.mark.parametrize("name", guest_names())
def test_the_loader_accepts_every_guest(name: str) -> None:
    image = load_elf(guest_elf(name))
    assert image.entry == image.text_base == 0x10000


def end_state(ours: machine.Machine | fast.Machine) -> tuple[int, int, int]:
    """Steps, exit code and the sentinel that the run ended in."""
    return ours.steps, ours.register(A0), ours.pc


@pytest.mark.parametrize(("name", "data"), INPUTS)
def test_both_machines_end_as_unicorn_does(name: str, data: bytes) -> None:
    ended = UnicornGuest(guest_elf(name)).run(data)
    assert ended.code is not None
    expected = (ended.steps, ended.code, HALT if ended.code == 0 else TRAP)
    quick = fast.Machine(load_elf(guest_elf(name)), data)
    quick.run(ended.steps + 1)
    assert end_state(quick) == expected
    slow = machine.Machine(load_elf(guest_elf(name)), data)
    while not slow.ended:
        slow.step()
    assert end_state(slow) == expected


def test_an_honest_settlement_reads_every_input_word() -> None:
    steps = machine.trace(load_elf(guest_elf("settle")), HONEST)
    words = {read.address for step in steps for read in step.reads}
    assert set(range(INPUT_BASE, INPUT_BASE + 4 + len(HONEST), 4)) <= words


def test_a_signature_ends_on_the_fast_machine_as_on_unicorn() -> None:
    key = SecretKey(bytes(31) + b"\x07")
    data = key.public + key.sign(bytes(32), bytes(32)) + bytes(32)
    for signed, sentinel in ((data, HALT), (data + b"\0", TRAP)):
        ended = UnicornGuest(guest_elf("schnorr")).run(signed)
        quick = fast.Machine(load_elf(guest_elf("schnorr")), signed)
        quick.run(ended.steps + 1)
        assert end_state(quick) == (ended.steps, ended.code, sentinel)


def test_the_number_of_the_failed_check_is_in_a0() -> None:
    lie = fast.Machine(load_elf(guest_elf("settle")), patched(HONEST, C_PAYOUT, bytes(8)))
    lie.run(machine.step_limit(12))
    assert Check(lie.register(A0)) is Check.PAYOUT
