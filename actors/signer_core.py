"""What a signer holds and what it decides: the keys of one node, each oracle key with its guard.

A request shows the bytes of a message; the message's magic says which rule applies. What is
recorded is on disk before the key is used. A key signs its own kinds and nothing else: an oracle
key the messages of ``protocol.oracle.signing``, an identity key frames of the network.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from actors.journal import SignGuard, read_owner
from actors.keyfile import keys_of, load_keys
from actors.signer_frames import (
    STANDING,
    WELCOME,
    AskStanding,
    Ping,
    Recall,
    Request,
    Require,
    Resume,
    Role,
    Seal,
    Settle,
    Sign,
    Standing,
    Welcome,
)
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, EncodingError, GuardError
from protocol.oracle import exercise, signing
from protocol.oracle.expiry import Expiry, ExpirySlot, exercise_subject
from protocol.oracle.layout import ZERO32
from protocol.wire import frame

GUARD_FILE = "guard.journal"


@dataclass(frozen=True, slots=True)
class OracleKey:
    """An oracle's key and the memory of what it has signed."""

    key: SecretKey
    guard: SignGuard


@dataclass(frozen=True, slots=True)
class SignerCore:
    """The keys by x-only public key. ``SignerCore.open`` reads them."""

    identities: Mapping[bytes, SecretKey]
    oracles: Mapping[bytes, OracleKey] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, keys: Mapping[str, Path]) -> Self:
        """The keys of the files by purpose ("oracle", "oracle[1]", ...), with the sign guards in
        ``folder``. ConfigError or GuardError name the file that is wrong or in use."""
        loaded = load_keys(keys, {})
        folder.mkdir(parents=True, exist_ok=True)
        oracles: dict[bytes, OracleKey] = {}
        try:
            for key in keys_of(loaded, "oracle"):
                path = guard_path(folder, key.public)
                oracles[key.public] = OracleKey(key, SignGuard.open(path, key.public))
        except BaseException:
            for held in oracles.values():
                held.guard.close()
            raise
        return cls({key.public: key for key in keys_of(loaded, "identity")}, oracles)

    def close(self) -> None:
        """Releases the guards' locks."""
        for held in self.oracles.values():
            held.guard.close()

    @property
    def is_broken(self) -> bool:
        """Whether a guard could not write: what its disk holds is known after the next start."""
        return any(held.guard.is_broken for held in self.oracles.values())

    @property
    def welcome(self) -> bytes:
        """The answer to a hello."""
        return WELCOME.encode(Welcome(tuple(self.identities), tuple(self.oracles), os.getpid()))

    def answer(self, role: Role, request: Request) -> bytes:
        """The data of the answer. GuardError if the sign guard refuses, EncodingError if it is
        nothing that this key signs, or not on this connection, ConfigError for an unknown key."""
        if isinstance(request, Ping):
            return b""
        if isinstance(request, Seal) and role is Role.FRAMES:
            return self._seal(request)
        if role is not Role.GUARD:
            raise EncodingError(f"{type(request).__name__}: not on a connection for {role}")
        match request:
            case Sign():
                return self._sign(request)
            case Settle(public, contract, round_id):
                guard = self._oracle(public).guard
                guard.record_once(exercise.MAGIC, contract, round_id.to_bytes(8))
                return _standing(guard)
            case Recall(public, kind, slot, feed):
                return self._oracle(public).guard.recall(kind, slot, feed) or b""
            case AskStanding(public):
                return _standing(self._oracle(public).guard)
            case Require(public, number, round_id):
                self._oracle(public).guard.require_seq(number, round_id)
                return _standing(self._oracle(public).guard)
            case Resume(public, number, floor):
                return self._resume(self._oracle(public).guard, number, floor)
        raise EncodingError(f"{type(request).__name__}: not on a connection for {role}")

    def _sign(self, request: Sign) -> bytes:
        held, message = self._oracle(request.public), signing.decode(request.message)
        if isinstance(message, Expiry):
            _require_settled(held.guard, message.slot)
        signing.record(held.guard, message)
        signature = held.key.sign(signing.digest(message), secrets.token_bytes(32))
        return signature + held.guard.seq.to_bytes(8)

    def _seal(self, request: Seal) -> bytes:
        key = self.identities.get(request.public)
        if key is None:
            raise ConfigError(f"[keys] identity: no key {request.public.hex()} here")
        frame.read(request.envelope)
        return key.sign(frame.digest(request.envelope), secrets.token_bytes(32))

    def _resume(self, guard: SignGuard, number: int, floor: int) -> bytes:
        if not guard.is_restored:
            raise GuardError("this sign guard was not restored: it has nothing to resume")
        guard.resume(number, floor)
        return _standing(guard)

    def _oracle(self, public: bytes) -> OracleKey:
        if public not in self.oracles:
            raise ConfigError(f"[keys] oracle: no key {public.hex()} here")
        return self.oracles[public]


def guard_path(folder: Path, public: bytes) -> Path:
    """The file of this key's sign guard: FOLDER/guard.journal, or one with the key in its name if
    that one belongs to another key. GuardError if it cannot be read."""
    first, own = folder / GUARD_FILE, folder / f"guard-{public.hex()[:16]}.journal"
    if own.exists() or (first.exists() and read_owner(first) not in (None, public)):
        return own
    return first


def _require_settled(guard: SignGuard, slot: ExpirySlot) -> None:
    """GuardError unless the contract of the slot, if it is an American one, is recorded to be
    settled in this round and so in no other."""
    contracts = guard.slots(exercise.MAGIC, slot.target_round.to_bytes(8))
    subjects = (exercise_subject(contract, slot.target_round) for contract in contracts)
    if slot.subject != ZERO32 and slot.subject not in subjects:
        raise GuardError(
            f"EXP1 of round {slot.target_round}: no contract with subject {slot.subject.hex()} is"
            " recorded to be settled in it"
        )


def _standing(guard: SignGuard) -> bytes:
    return STANDING.encode(Standing(guard.seq, guard.floor, int(guard.is_restored)))
