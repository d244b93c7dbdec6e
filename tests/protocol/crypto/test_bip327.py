"""BIP327's vectors, against the reference in Python and against libsecp256k1 through our guards.

libsecp256k1 hides secret nonces and signs 32-byte messages only: the vectors' secret nonces are
written into its structure here, and other messages run on the reference alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from coincurve import PublicKey
from coincurve._libsecp256k1 import ffi
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import SecretKey, verify
from protocol.crypto.musig2 import AggregateKey, SecretNonce, Session, key_sort, nonce_agg
from protocol.errors import SignatureError
from tests.builders import bip327

FOLDER = Path(__file__).parents[2] / "vectors" / "bip327"
NAMES = ("key_sort", "key_agg", "nonce_gen", "nonce_agg", "sign_verify", "tweak", "det_sign")
VECTORS = {
    name: json.loads((FOLDER / f"{name}_vectors.json").read_text()) for name in (*NAMES, "sig_agg")
}


class Case:
    """One row of a vector file, its indices looked up."""

    def __init__(self, name: str, row: dict[str, Any]) -> None:
        self.data, self.row = VECTORS[name], row

    def __getitem__(self, field: str) -> Any:
        return self.row[field]

    def pick(self, table: str, indices: str) -> list[bytes]:
        return [bytes.fromhex(self.data[table][n]) for n in self.row[indices]]

    def one(self, table: str, index: str) -> bytes:
        return bytes.fromhex(self.data[table][self.row[index]])

    @property
    def keys(self) -> list[bytes]:
        return self.pick("pubkeys", "key_indices")

    @property
    def nonces(self) -> list[bytes]:
        return self.pick("pnonces", "nonce_indices")

    @property
    def x_only(self) -> list[bool]:
        return list(self.row.get("is_xonly", ()))

    @property
    def tweaks(self) -> list[bytes]:
        if "tweak_indices" in self.row:
            return self.pick("tweaks", "tweak_indices")
        return [bytes.fromhex(tweak) for tweak in self.row.get("tweaks", ())]

    @property
    def message(self) -> bytes:
        return (
            bytes.fromhex(self.data["msg"]) if "msg" in self.data else self.one("msgs", "msg_index")
        )

    @property
    def aggregate(self) -> AggregateKey:
        return tweaked(AggregateKey(self.keys), self.tweaks, self.x_only)

    def reference(self, aggnonce: bytes) -> bip327.Session:
        return bip327.Session(aggnonce, self.keys, self.tweaks, self.x_only, self.message)

    def blames(self, word: str) -> str:
        """What the error of our side says, from the BIP's description of it."""
        error = self.row["error"]
        if error["type"] == "value":
            return word
        signer = error["signer"]
        return word if signer is None else f"of signer {signer} "


def rows(name: str, kind: str = "valid_test_cases") -> list[Any]:
    return [
        pytest.param(Case(name, row), id=f"{name}-{n}") for n, row in enumerate(VECTORS[name][kind])
    ]


def tweaked(key: AggregateKey, tweaks: Sequence[bytes], x_only: Sequence[bool]) -> AggregateKey:
    for tweak, only_x in zip(tweaks, x_only, strict=True):
        key = key.tweaked(tweak, x_only=only_x)
    return key


def library_nonce(secret: bytes, public: bytes) -> SecretNonce:
    """A nonce with BIP327's 97 secret bytes, in the layout of libsecp256k1 0.6.

    magic 4 | k1 32 | k2 32 | public key as in secp256k1_pubkey 64
    """
    key = SecretKey(b"\x01" * 32)
    made = SecretNonce(key, AggregateKey([key.point]), lambda n: b"\x01" * n)
    structure = made._spend()
    point = ffi.buffer(PublicKey(secret[64:]).public_key)[:]
    ffi.buffer(structure)[4:] = secret[:64] + point
    made._secret.append(structure)
    made.point, made.public = secret[64:], public
    return made


def test_the_layout_of_a_secret_nonce() -> None:
    """Reads the library's own nonce back: the vectors below go where they are meant to go."""
    key = SecretKey(b"\x07" * 32)
    nonce = SecretNonce(key, AggregateKey([key.point]), lambda n: b"\x02" * n)
    raw = ffi.buffer(nonce._spend())[:]
    scalars = [int.from_bytes(raw[4:36]), int.from_bytes(raw[36:68])]
    points = [bip327.cbytes(bip327.mul(bip327.G, k)) for k in scalars]
    assert b"".join(points) == nonce.public
    assert raw[68:] == ffi.buffer(PublicKey(key.point).public_key)[:]


def test_the_vectors_are_all_there() -> None:
    counts = {
        name: sum(len(v) for k, v in data.items() if k.endswith("test_cases"))
        for name, data in VECTORS.items()
    }
    assert counts == {
        "key_sort": 0,
        "key_agg": 9,
        "nonce_gen": 4,
        "nonce_agg": 5,
        "sign_verify": 17,
        "tweak": 6,
        "det_sign": 9,
        "sig_agg": 5,
    }


# Keys


def test_key_sort() -> None:
    data = VECTORS["key_sort"]
    ordered = key_sort([bytes.fromhex(key) for key in data["pubkeys"]])
    assert [key.hex().upper() for key in ordered] == data["sorted_pubkeys"]


@pytest.mark.parametrize("case", rows("key_agg"))
def test_key_agg(case: Case) -> None:
    expected = bytes.fromhex(case["expected"])
    assert AggregateKey(case.keys).public == expected
    assert bip327.xbytes(bip327.key_agg(case.keys).Q) == expected


@pytest.mark.parametrize("case", rows("key_agg", "error_test_cases"))
def test_key_agg_refuses(case: Case) -> None:
    with pytest.raises(SignatureError, match=case.blames("tweak")):
        assert case.aggregate
    with pytest.raises(ValueError, match=r"signer|tweak"):
        bip327.key_agg(case.keys, case.tweaks, case.x_only)


# Nonces


@pytest.mark.parametrize("row", VECTORS["nonce_gen"]["test_cases"])
def test_nonce_gen(row: dict[str, Any]) -> None:
    """The reference only: libsecp256k1 takes a whole aggregate key, not its bytes."""
    names = ("rand_", "sk", "pk", "aggpk", "msg", "extra_in")
    arguments = [None if row[name] is None else bytes.fromhex(row[name]) for name in names]
    secret, public = bip327.nonce_gen(*arguments)  # type: ignore[arg-type]
    assert secret.hex().upper() == row["expected_secnonce"]
    assert public.hex().upper() == row["expected_pubnonce"]


@settings(max_examples=10, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.booleans(), st.integers(1, 2**250))
def test_our_nonces_are_the_references(random: bytes, known: bool, secret: int) -> None:
    key, message = SecretKey(secret.to_bytes(32)), b"\x0e" * 32 if known else None
    aggregate = AggregateKey([key.point, SecretKey(b"\x01" * 32).point])
    random = random if any(random) else b"\x01" * 32
    nonce = SecretNonce(key, aggregate, lambda n: random[:n], message)
    expected = bip327.nonce_gen(
        random, secret.to_bytes(32), key.point, aggregate.public, message, None
    )
    assert nonce.public == expected[1]


@pytest.mark.parametrize("case", rows("nonce_agg"))
def test_nonce_agg(case: Case) -> None:
    nonces = case.pick("pnonces", "pnonce_indices")
    assert nonce_agg(nonces).hex().upper() == case["expected"]
    assert bip327.nonce_agg(nonces) == nonce_agg(nonces)


@pytest.mark.parametrize("case", rows("nonce_agg", "error_test_cases"))
def test_nonce_agg_refuses(case: Case) -> None:
    nonces = case.pick("pnonces", "pnonce_indices")
    with pytest.raises(SignatureError, match=case.blames("")):
        nonce_agg(nonces)
    with pytest.raises(ValueError, match=f"pubnonce of signer {case['error']['signer']}"):
        bip327.nonce_agg(nonces)


# Partial signatures


@pytest.mark.parametrize("case", [*rows("sign_verify"), *rows("tweak")])
def test_sign_and_verify(case: Case) -> None:
    data, signer, expected = case.data, case["signer_index"], bytes.fromhex(case["expected"])
    secret = bytes.fromhex(data["secnonces"][0] if "secnonces" in data else data["secnonce"])
    key = SecretKey(bytes.fromhex(data["sk"]))
    aggnonce = bip327.nonce_agg(case.nonces)
    given_ = case.one("aggnonces", "aggnonce_index") if "aggnonces" in data else data["aggnonce"]
    assert aggnonce == (given_ if isinstance(given_, bytes) else bytes.fromhex(given_))
    reference = case.reference(aggnonce)
    assert bip327.sign(secret, bytes.fromhex(data["sk"]), reference) == expected
    assert bip327.partial_verify(expected, case.nonces, reference, signer)
    if len(case.message) != 32:
        with pytest.raises(SignatureError, match="32-byte messages"):
            Session(case.aggregate, case.nonces, case.message)
        return
    session = Session(case.aggregate, case.nonces, case.message)
    assert session.verify(signer, expected)
    nonce = library_nonce(secret, case.nonces[signer])
    assert session.sign(nonce, key) == expected


@pytest.mark.parametrize("case", rows("tweak", "error_test_cases"))
def test_tweak_refuses(case: Case) -> None:
    with pytest.raises(SignatureError, match="below the curve order"):
        assert case.aggregate
    with pytest.raises(ValueError, match="tweak must be less"):
        bip327.sign(b"", b"\x01" * 32, case.reference(bytes.fromhex(case.data["aggnonce"])))


@pytest.mark.parametrize("case", rows("sign_verify", "sign_error_test_cases"))
def test_sign_refuses(case: Case) -> None:
    """Our side makes the aggregate nonce itself and never takes one from outside."""
    reference = case.reference(case.one("aggnonces", "aggnonce_index"))
    secret = case.one("secnonces", "secnonce_index")
    words = r"must be included|pubkey of signer 2|invalid aggnonce|out of range"
    with pytest.raises(ValueError, match=words):
        bip327.sign(secret, bytes.fromhex(case.data["sk"]), reference)


@pytest.mark.parametrize("case", rows("sign_verify", "verify_fail_test_cases"))
def test_verify_fails(case: Case) -> None:
    psig, signer = bytes.fromhex(case["sig"]), case["signer_index"]
    reference = case.reference(bip327.nonce_agg(case.nonces))
    assert not bip327.partial_verify(psig, case.nonces, reference, signer)
    assert not Session(case.aggregate, case.nonces, case.message).verify(signer, psig)


@pytest.mark.parametrize("case", rows("sign_verify", "verify_error_test_cases"))
def test_verify_refuses(case: Case) -> None:
    with pytest.raises(SignatureError, match=case.blames("")):
        Session(case.aggregate, case.nonces, case.message)


# Signatures


@pytest.mark.parametrize("case", rows("sig_agg"))
def test_sig_agg(case: Case) -> None:
    psigs, expected = case.pick("psigs", "psig_indices"), bytes.fromhex(case["expected"])
    aggnonce = bytes.fromhex(case["aggnonce"])
    assert nonce_agg(case.nonces) == aggnonce
    assert bip327.partial_sig_agg(psigs, case.reference(aggnonce)) == expected
    session = Session(case.aggregate, case.nonces, case.message)
    assert session.aggregate(psigs) == expected
    assert verify(case.aggregate.public, case.message, expected)


@pytest.mark.parametrize("case", rows("sig_agg", "error_test_cases"))
def test_sig_agg_refuses(case: Case) -> None:
    psigs = case.pick("psigs", "psig_indices")
    session = Session(case.aggregate, case.nonces, case.message)
    # The vector gives signer 0 another one's, which the BIP does not look at, and ours does.
    with pytest.raises(SignatureError, match="of signer 0 is wrong"):
        session.aggregate(psigs)
    own = bytes.fromhex(case.data["psigs"][6])
    with pytest.raises(SignatureError, match="of signer 1 is wrong"):
        session.aggregate([own, psigs[1]])
    with pytest.raises(ValueError, match="of signer 1"):
        bip327.partial_sig_agg(psigs, case.reference(bytes.fromhex(case["aggnonce"])))


# Deterministic signing, which libsecp256k1 does not offer


@pytest.mark.parametrize("case", rows("det_sign"))
def test_det_sign(case: Case) -> None:
    session = case.reference(bytes.fromhex(case["aggothernonce"]))
    rand = None if case["rand"] is None else bytes.fromhex(case["rand"])
    made = bip327.deterministic_sign(bytes.fromhex(case.data["sk"]), rand, session)
    assert [part.hex().upper() for part in made] == case["expected"]


@pytest.mark.parametrize("case", rows("det_sign", "error_test_cases"))
def test_det_sign_refuses(case: Case) -> None:
    session = case.reference(bytes.fromhex(case["aggothernonce"]))
    error = case["error"]
    word = error.get("message") or f"{error['contrib']} of signer {error['signer']}"
    rand = None if case["rand"] is None else bytes.fromhex(case["rand"])
    with pytest.raises(ValueError, match=word):
        bip327.deterministic_sign(bytes.fromhex(case.data["sk"]), rand, session)


# Both sides together


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 4), st.lists(st.booleans(), max_size=3), st.binary(min_size=32, max_size=32))
def test_library_and_reference_sign_together(
    signers: int, x_only: list[bool], message: bytes
) -> None:
    """Signer 0 signs with the library, the others with the reference, over random tweaks."""
    secrets = [bip327.tagged("test/key", bytes([n]) + message) for n in range(signers)]
    keys = [SecretKey(secret) for secret in secrets]
    points = [key.point for key in keys]
    tweaks = [bip327.tagged("test/tweak", bytes([n]) + message) for n in range(len(x_only))]
    aggregate = tweaked(AggregateKey(points), tweaks, x_only)
    assert bip327.xbytes(bip327.key_agg(points, tweaks, x_only).Q) == aggregate.public
    mine = SecretNonce(keys[0], aggregate, lambda n: message[::-1] if any(message) else b"\1" * n)
    theirs = [
        bip327.nonce_gen(secret, secret, point, aggregate.public, message, None)
        for secret, point in zip(secrets[1:], points[1:], strict=True)
    ]
    nonces = [mine.public, *[public for _, public in theirs]]
    session = Session(aggregate, nonces, message)
    reference = bip327.Session(bip327.nonce_agg(nonces), points, tweaks, x_only, message)
    partials = [session.sign(mine, keys[0])]
    partials += [
        bip327.sign(nonce, secret, reference)
        for (nonce, _), secret in zip(theirs, secrets[1:], strict=True)
    ]
    for signer, partial in enumerate(partials):
        assert session.verify(signer, partial)
        assert bip327.partial_verify(partial, nonces, reference, signer)
    assert session.aggregate(partials) == bip327.partial_sig_agg(partials, reference)
