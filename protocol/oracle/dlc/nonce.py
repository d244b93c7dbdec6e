"""Nonces from a seed: a restored backup gives those that were announced, and no others.

    k_i = tagged("btcfi/dlc/nonce/v1", seed 32 | length u16 | event id | i u16) mod n

The seed has a file of its own. An event id has one set of nonces for ever, so it must never be
announced or attested in two ways (``ledger``).
"""

from typing import Final

from protocol.crypto.keys import CURVE_ORDER, SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.oracle.dlc.descriptor import Descriptor
from protocol.oracle.dlc.event import Event
from protocol.oracle.layout import require_bytes, require_uint

TAG: Final = "btcfi/dlc/nonce/v1"


def nonce_scalar(seed: bytes, event_id: str, index: int) -> bytes:
    """The secret nonce of a signature, 32 bytes."""
    name = event_id.encode()
    hashed = tagged_hash(TAG, seed, len(name).to_bytes(2), name, index.to_bytes(2))
    return (int.from_bytes(hashed) % CURVE_ORDER).to_bytes(32)


def nonce_keys(seed: bytes, event_id: str, count: int) -> list[SecretKey]:
    """The secret nonces of an event; their ``public`` is what is announced. EncodingError unless
    the seed is 32 bytes and the id at most 65,535 bytes."""
    require_bytes("nonce seed", seed, 32)
    require_uint("event id length", len(event_id.encode()), 16)
    return [SecretKey(nonce_scalar(seed, event_id, index)) for index in range(count)]


def make_event(seed: bytes, event_id: str, maturity_s: int, descriptor: Descriptor) -> Event:
    """The event with the nonces of ``seed``; EncodingError on a malformed field."""
    nonces = nonce_keys(seed, event_id, descriptor.signatures)
    return Event(tuple(nonce.public for nonce in nonces), maturity_s, descriptor, event_id)
