"""Nobody enters a key that he does not hold, and no key does two jobs."""

from dataclasses import dataclass
from hashlib import sha256

import pytest

from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, SignatureError
from protocol.oracle.roster import (
    PURPOSES,
    check_possession,
    possession_message,
    require_distinct,
)
from tests.builders.oracles import AUX, KEYS, make_config, observation

KEY, OTHER = KEYS[0], KEYS[1]
NO_POINT = bytes([3]) * 32


def proof(purpose: str = "oracle", name: str = "alice", key: SecretKey = KEY) -> bytes:
    return key.sign(possession_message(purpose, name, key.public), AUX)


def test_the_message_is_what_the_page_says() -> None:
    tag = sha256(b"btcfi/keys/possession/v1").digest()
    body = b"\x06oracle\x05alice" + KEY.public
    assert possession_message("oracle", "alice", KEY.public) == sha256(tag + tag + body).digest()


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_holder_of_the_secret_key_proves_it(purpose: str) -> None:
    check_possession(purpose, "alice", KEY.public, proof(purpose))


@dataclass
class Attack:
    signature: bytes
    purpose: str = "oracle"
    name: str = "alice"
    public: bytes = KEY.public


ATTACKS = {
    "another's proof under an own name": Attack(proof(name="bob")),
    "a proof for another purpose": Attack(proof("identity")),
    "another key's proof": Attack(proof(key=OTHER)),
    "another's key, signed with the own one": Attack(
        OTHER.sign(possession_message("oracle", "alice", KEY.public), AUX)
    ),
    "a signature of an observation": Attack(KEY.sign(observation().message, AUX)),
    "of the raw key": Attack(KEY.sign(sha256(KEY.public).digest(), AUX)),
    "cut short": Attack(proof()[:-1]),
    "nothing": Attack(b""),
    "zeros": Attack(bytes(64)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_borrowed_proof_proves_nothing(name: str) -> None:
    attack = ATTACKS[name]
    with pytest.raises(SignatureError, match=r"alice's oracle key [0-9a-f]{64}: the proof"):
        check_possession(attack.purpose, attack.name, attack.public, attack.signature)


def test_names_cannot_be_shifted_into_purposes() -> None:
    messages = {
        possession_message(purpose, name, KEY.public)
        for purpose in PURPOSES
        for name in ("a", "aa", "-a", "identity", "oracle")
    }
    assert len(messages) == 10


@pytest.mark.parametrize(
    ("purpose", "name", "public", "match"),
    [
        ("dlc", "alice", KEY.public, "purpose 'dlc'"),
        ("oracle", "", KEY.public, "name ''"),
        ("oracle", "Alice", KEY.public, "name 'Alice'"),
        ("oracle", "alice\n", KEY.public, "name"),
        ("oracle", "a" * 33, KEY.public, "name"),
        ("oracle", "аlice", KEY.public, "name"),  # a Cyrillic a
        ("oracle", "alice", NO_POINT, "alice's oracle key 0303.* no curve point"),
        ("oracle", "alice", KEY.public[:-1], "not 32 bytes"),
        ("identity", "alice", b"\x02" + KEY.public, "alice's identity key"),
    ],
)
def test_a_wrong_field_is_named(purpose: str, name: str, public: bytes, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        check_possession(purpose, name, public, bytes(64))


def test_every_purpose_and_operator_has_its_own_key() -> None:
    alice, bob = ("alice", "oracle", KEYS[0].public), ("bob", "oracle", KEYS[1].public)
    require_distinct([alice, bob, ("alice", "identity", KEYS[2].public)])
    with pytest.raises(ConfigError, match="alice's identity key is also alice's oracle key"):
        require_distinct([alice, bob, ("alice", "identity", KEYS[0].public)])
    with pytest.raises(ConfigError, match="carol's oracle key is also bob's oracle key"):
        require_distinct([alice, bob, ("carol", "oracle", KEYS[1].public)])
    with pytest.raises(ConfigError, match="alice's oracle key is listed twice"):
        require_distinct([alice, bob, ("alice", "oracle", KEYS[3].public)])


def test_a_configuration_takes_no_key_that_nobody_holds() -> None:
    with pytest.raises(ConfigError, match=r"oracles\[1\]: 0303.* no curve point"):
        make_config(oracles=(KEYS[0].public, NO_POINT, KEYS[2].public))
