"""Who the oracles are: every key comes with a proof that its operator holds the secret one.

Without the proof an operator could enter a key that nobody holds, or somebody else, and so weaken
the quorum. The proof is bound to purpose and name: copied, it proves nothing.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConfigError, SignatureError
from protocol.oracle.schedule import Schedule

ROSTER_TAG: Final = "btcfi/network/roster/v1"

PURPOSES: Final = ("oracle", "identity")
"""What a key is for: "oracle" signs observations, reports and expiries, "identity" is the
operator's on the network."""

TAG: Final = "btcfi/keys/possession/v1"
TLS_TAG: Final = "btcfi/keys/tls/v1"
_NAME: Final = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


def possession_message(purpose: str, name: str, public: bytes) -> bytes:
    """The 32 bytes that the x-only key ``public`` signs to show that the operator ``name`` holds
    it for ``purpose``: ``tagged(TAG, u8 length | purpose | u8 length | name | key 32)``.

    ConfigError for an unknown purpose, a name that is not 1 to 32 of a-z, 0-9 and "-", or no key.
    """
    if purpose not in PURPOSES:
        raise ConfigError(f"purpose {purpose!r}: a key is for one of {', '.join(PURPOSES)}")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name {name!r}: write 1 to 32 of a-z, 0-9 and -")
    if not keys.is_public(public):
        raise ConfigError(
            f"{name}'s {purpose} key {public.hex()}: not 32 bytes or no curve point; ask the"
            " operator for the x-only public key again"
        )
    return tagged_hash(TAG, _text(purpose) + _text(name) + public)


def check_possession(purpose: str, name: str, public: bytes, signature: bytes) -> None:
    """Returns if ``signature`` (BIP340, 64 bytes) proves possession. SignatureError if not,
    ConfigError as ``possession_message``."""
    if not keys.verify(public, possession_message(purpose, name, public), signature):
        raise SignatureError(
            f"{name}'s {purpose} key {public.hex()}: the proof of possession does not verify; it"
            " must be made with this key, for this name and purpose"
        )


def tls_key_message(name: str, pin: bytes) -> bytes:
    """The 32 bytes that an operator's identity key signs to say that its TLS key is the one with
    this pin (SHA-256 of the SubjectPublicKeyInfo): ``tagged(TLS_TAG, u8 length | name | pin 32)``.
    """
    return tagged_hash(TLS_TAG, bytes([len(name)]) + name.encode() + pin)


def check_tls_key(identity: bytes, name: str, pin: bytes, signature: bytes) -> None:
    """Returns if ``signature`` of the x-only key ``identity`` binds the pin to this operator;
    SignatureError if not."""
    if not keys.verify(identity, tls_key_message(name, pin), signature):
        raise SignatureError(
            f"{name}'s tls_key {pin.hex()}: tls_proof is not its operator's; ask for both again"
            " (`oracle-vm network tls` prints them)"
        )


def require_distinct(entries: Iterable[tuple[str, str, bytes]]) -> None:
    """ConfigError if in these (name, purpose, x-only key) a key appears twice, so would serve two
    operators or two purposes, or an operator has two keys for one purpose."""
    owners: dict[bytes, str] = {}
    taken: set[tuple[str, str]] = set()
    for name, purpose, public in entries:
        owner = f"{name}'s {purpose} key"
        if public in owners:
            raise ConfigError(f"{owner} is also {owners[public]}: every purpose has its own key")
        if (name, purpose) in taken:
            raise ConfigError(f"{owner} is listed twice; give every operator its own name")
        owners[public] = owner
        taken.add((name, purpose))


def roster_digest(
    members: Sequence[tuple[str, bytes]],
    aggregator: bytes,
    symbols: Sequence[str],
    schedule: Schedule,
) -> bytes:
    """The 32 bytes that stand for what all operators agree on besides the configuration: name and
    identity key of each oracle by index, the aggregator's identity key, feeds and schedule. URLs
    are left out: an operator may reach another by its own way.

        tagged(ROSTER_TAG, u8 n | n x (u8 length, name, key 32) | key 32
               | u16 feeds | each (u8 length, symbol)
               | schedule_ms, deviation_bps, takeover_ms, collect_ms u32)
    """
    s = schedule
    times = (s.schedule_ms, s.deviation_bps, s.takeover_ms, s.collect_ms)
    return tagged_hash(
        ROSTER_TAG,
        b"".join(
            (
                bytes([len(members)]),
                *(_text(name) + identity for name, identity in members),
                aggregator,
                len(symbols).to_bytes(2),
                *map(_text, symbols),
                *(value.to_bytes(4) for value in times),
            )
        ),
    )


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("ascii")
