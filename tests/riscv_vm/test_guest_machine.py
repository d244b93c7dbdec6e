"""The guests on our machines: loaded, and ended in the same step and way as on unicorn."""

import struct
import zlib
from hashlib import sha256

import pytest

from protocol.crypto.keys import SecretKey
from protocol.settlement.claim import Check
from protocol.settlement.terms import settlement_image
from riscv_vm import fast, machine
from riscv_vm.guest import guest_elf, guest_names
from riscv_vm.image import ProgramImage, load_elf
from riscv_vm.isa import A0, HALT, TRAP
from riscv_vm.record import Record
from tests.builders.claims import C_UNITS, claim_at, patched
from tests.builders.terms import contract_terms
from tests.builders.unicorn_guest import UnicornGuest

TERMS = contract_terms()
HONEST = claim_at(TERMS).encode()
TEXT = b"the quick brown fox"
INPUTS = [
    ("settle", HONEST),  # without terms
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


def records_agree(image: ProgramImage, data: bytes) -> None:
    """The reference machine's record of every step, one by one, is the fast machine's."""
    slow, quick = machine.Machine(image, data), fast.Machine(image, data)
    while not slow.ended:
        steps = [slow.step().record for _ in range(4096) if not slow.ended]
        tile = quick.record(len(steps))
        for name, ours, theirs in zip(Record._fields, zip(*steps, strict=True), tile, strict=True):
            assert theirs[: len(steps)].tolist() == list(ours), f"{name} before step {slow.steps}"
    assert quick.ended


@pytest.mark.parametrize(("name", "data"), INPUTS)
def test_both_machines_agree_on_every_step_of_the_guests(name: str, data: bytes) -> None:
    records_agree(load_elf(guest_elf(name)), data)


@pytest.mark.slow
def test_both_machines_agree_on_every_step_of_a_settlement() -> None:
    records_agree(settlement_image(TERMS), HONEST)


def test_a_signature_ends_on_the_fast_machine_as_on_unicorn() -> None:
    key = SecretKey(bytes(31) + b"\x07")
    data = key.public + key.sign(bytes(32), bytes(32)) + bytes(32)
    for signed, sentinel in ((data, HALT), (data + b"\0", TRAP)):
        ended = UnicornGuest(guest_elf("schnorr")).run(signed)
        quick = fast.Machine(load_elf(guest_elf("schnorr")), signed)
        quick.run(ended.steps + 1)
        assert end_state(quick) == (ended.steps, ended.code, sentinel)


def test_the_number_of_the_failed_check_is_in_a0() -> None:
    lie = fast.Machine(settlement_image(TERMS), patched(HONEST, C_UNITS, bytes(4)))
    lie.run(machine.step_limit(12))
    assert Check(lie.register(A0)) is Check.PAYOUT
