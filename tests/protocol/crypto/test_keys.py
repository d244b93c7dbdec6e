"""BIP340's test vectors against ``protocol.crypto.keys``."""

import csv
import pickle
from pathlib import Path

import pytest

from protocol.crypto.keys import CURVE_ORDER, SecretKey, verify
from protocol.errors import SignatureError

with (Path(__file__).parents[2] / "vectors" / "bip340" / "test-vectors.csv").open() as file:
    ROWS = list(csv.DictReader(file))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["index"])
def test_bip340_verify(row: dict[str, str]) -> None:
    public, message = bytes.fromhex(row["public key"]), bytes.fromhex(row["message"])
    expected = row["verification result"] == "TRUE"
    assert verify(public, message, bytes.fromhex(row["signature"])) is expected


SIGNED = [row for row in ROWS if row["secret key"] and len(row["message"]) == 64]


@pytest.mark.parametrize("row", SIGNED, ids=lambda row: row["index"])
def test_bip340_sign(row: dict[str, str]) -> None:
    key = SecretKey(bytes.fromhex(row["secret key"]))
    assert key.public.hex().upper() == row["public key"]
    signature = key.sign(bytes.fromhex(row["message"]), bytes.fromhex(row["aux_rand"]))
    assert signature.hex().upper() == row["signature"]


def test_the_vectors_are_all_there() -> None:
    assert len(ROWS) == 19
    assert len(SIGNED) == 4


def test_a_key_refuses_what_is_no_key() -> None:
    for secret in (b"", bytes(32), CURVE_ORDER.to_bytes(32), b"\x01" * 31, b"\x01" * 33):
        with pytest.raises(SignatureError):
            SecretKey(secret)


def test_a_key_neither_prints_nor_travels() -> None:
    key = SecretKey(b"\x05" * 32)
    assert (b"\x05" * 32).hex() not in repr(key)
    with pytest.raises(SignatureError):
        pickle.dumps(key)
    with pytest.raises(SignatureError):
        key.sign(bytes(31), bytes(32))
    with pytest.raises(SignatureError):
        key.sign(bytes(32), b"")


def test_wrong_lengths_do_not_verify() -> None:
    key = SecretKey(b"\x05" * 32)
    signature = key.sign(bytes(32), bytes(32))
    assert verify(key.public, bytes(32), signature)
    assert not verify(key.public, bytes(32), signature[:63])
    assert not verify(b"\x02" + key.public, bytes(32), signature)
