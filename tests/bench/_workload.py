"""The programs that the machine is measured on: a SHA-256 chain of any length, one signature."""

import csv
import hashlib
import struct
from pathlib import Path

from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, load_elf

CHAIN_ELF = guest_elf("hash")
_SEED = b"abc"
_VECTORS = Path(__file__).parents[1] / "vectors" / "bip340" / "test-vectors.csv"
ROUNDS_100_M = 18_800
"""Rounds of the chain that take a little more than 100 million steps."""
ENDLESS = 0xFFFF_FFFF
"""Rounds that no step limit ever reaches the end of."""


def chain_image() -> ProgramImage:
    """Loads, stores, shifts, calls and branches in the mix of real C code."""
    return load_elf(CHAIN_ELF)


def chain_input(rounds: int) -> bytes:
    """The input with which the chain of ``rounds`` hashes halts; ENDLESS: with which it runs on."""
    digest = bytes(32)
    if rounds != ENDLESS:
        digest = _SEED
        for _ in range(rounds):
            digest = hashlib.sha256(digest).digest()
    return struct.pack(">I", rounds) + digest + _SEED


def signatures() -> list[bytes]:
    """Inputs of the guest ``schnorr``: the valid vectors of BIP340."""
    with _VECTORS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["verification result"] == "TRUE"]
    return [bytes.fromhex(row["public key"] + row["signature"] + row["message"]) for row in rows]
