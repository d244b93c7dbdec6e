"""RIPEMD-160's published vectors, with and without OpenSSL's own."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto import hashes

# The table of the RIPEMD-160 paper, appendix B.
VECTORS = {
    b"": "9c1185a5c5e9fc54612808977ee8f548b2258d31",
    b"a": "0bdc9d2d256b3ee9daae347be6f4dc835a467ffe",
    b"abc": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    b"message digest": "5d0689ef49d2fae572b881b123a85ffa21595f36",
    b"abcdefghijklmnopqrstuvwxyz": "f71c27109c692c1b56bbdceb5b9d2865b3708dbc",
    b"1234567890" * 8: "9b752e45573d4b39f4dbd3323cab82bf63326bfb",
}


def no_ripemd160(name: str, *_: Any, **__: Any) -> Any:
    raise ValueError(f"unsupported hash type {name}")


@pytest.mark.parametrize("without_openssl", [False, True])
@pytest.mark.parametrize("message", VECTORS, ids=lambda m: f"{len(m)}bytes")
def test_vectors(message: bytes, without_openssl: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if without_openssl:
        monkeypatch.setattr(hashes, "_RIPEMD160", None)
    assert hashes.ripemd160(message).hex() == VECTORS[message]


def test_the_fallback_is_what_runs_without_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    monkeypatch.setattr(hashlib, "new", no_ripemd160)
    monkeypatch.setattr(hashes, "_RIPEMD160", hashes._ripemd160())
    monkeypatch.setattr(hashes, "ripemd160_python", lambda data: seen.append(data) or bytes(20))
    assert hashes.hash160(b"key") == bytes(20)
    assert seen == [hashes.sha256(b"key")]


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_fallback_equals_the_default(data: bytes) -> None:
    assert hashes.ripemd160_python(data) == hashes.ripemd160(data)


def test_hash160_of_the_generator() -> None:
    """The best known key hash: secret key 1, compressed."""
    key = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    assert hashes.hash160(key).hex() == "751e76e8199196d454941c45d1b3a323f1433bd6"


def test_hash256() -> None:
    assert hashes.hash256(b"hello").hex() == (
        "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"
    )
