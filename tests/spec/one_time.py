"""Known answers of one-time signatures: keys from seeds, digits, checksums, Script."""

from typing import Any

from protocol.bitcoin.winternitz_script import (
    constant_items,
    message_items,
    verify_bit,
    verify_constant,
    verify_message,
)
from protocol.crypto.winternitz import Label, OneTimeKey, digits_of, with_checksum
from protocol.settlement.keys import PartyKeys
from protocol.settlement.onetime import labels_of
from protocol.settlement.terms import Role
from tests.spec import fixed

SEED = bytes(range(32))
CONTRACT_ID = bytes(range(32, 64))
MESSAGES = (
    ("digit", 1, (3,)),
    ("payout", 2, (0, 15)),
    ("payout", 4, (9, 0, 15, 1)),
    ("root", 40, digits_of(bytes(range(20)))),
    ("zeros", 17, (0,) * 17),
    ("fifteens", 17, (15,) * 17),
)
"""17 digits: all zero, their checksum is 255, which just fits two digits."""


def answers() -> dict[str, Any]:
    return {
        "about": "docs/spec/one-time.md",
        "seed": SEED.hex(),
        "keys": [_key(*message) for message in MESSAGES],
        "parties": [_party(role) for role in Role],
    }


def _key(field: str, size: int, digits: tuple[int, ...]) -> dict[str, Any]:
    label = Label(CONTRACT_ID, "holder", "writer", 7, field, size)
    key = OneTimeKey(SEED, label)
    signature = key.sign(digits, {})
    found = {
        "label": label.encode().hex(),
        "field": field,
        "digits": list(digits),
        "signed": list(with_checksum(digits)),
        "ends": [end.hex() for end in key.public.ends],
        "signature": [element.hex() for element in signature],
    }
    if size <= 4:
        found |= _scripts(key, digits, signature)
    return found


def _scripts(
    key: OneTimeKey, digits: tuple[int, ...], signature: tuple[bytes, ...]
) -> dict[str, Any]:
    public = key.public
    return {
        "first": verify_message(public, first=True).hex(),
        "again": verify_message(public, first=False).hex(),
        "nothing_left": verify_message(public, first=True, keep=()).hex(),
        "bit_1_is_set": verify_bit(public, 1, True, first=False).hex(),
        "constant": verify_constant(public, digits, first=False).hex(),
        "witness": [item.hex() for item in message_items(digits, signature)],
        "constant_witness": [item.hex() for item in constant_items(public, signature)],
    }


def _party(role: Role) -> dict[str, Any]:
    """The keys of one party of the fixed contract, and the end of its bundle."""
    seed, terms = fixed.SEEDS[role.value], fixed.terms()
    keys = PartyKeys(seed)
    bundle = keys.one_time(terms, role).public.encode()
    labels = labels_of(terms, role)
    return {
        "role": role.value,
        "seed": seed.hex(),
        "key": keys.key.public.hex(),
        "prover_key": keys.prover_key.public.hex(),
        "challenger_key": keys.challenger_key.public.hex(),
        "tower_seed": keys.tower_seed.hex(),
        "bundle_bytes": len(bundle),
        "first_ends": bundle[:40].hex(),
        "last_ends": bundle[-40:].hex(),
        "labels": [
            f"{label.direction} {label.role} {label.round} {label.field} {label.digits}"
            for label in labels
        ],
    }
