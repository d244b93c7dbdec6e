"""The secret side of one party in one contract: three signing keys and its one-time keys.

All of them follow from one seed of 32 random bytes that no other contract uses:

    key              closes, refunds, and signs the notices of an exercise
    prover_key       moves forward where this party proves
    challenger_key   answers where the other party proves

What answers the other party's claim, ``challenger_key`` and the one-time keys for it, follows from
``tower_seed``, which a watchtower may hold: from that seed nothing else follows.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.crypto.winternitz import Label
from protocol.errors import SignatureError, TermsError
from protocol.settlement.onetime import OneTimeKeys, OneTimePublics, answers_seed
from protocol.settlement.terms import ContractTerms, Role

_TAG: Final = "btcfi/party/v1"
SEED_BYTES: Final = 32


class PartyKeys:
    """What one party signs with. Never printed, pickled or compared."""

    __slots__ = ("_one_time_seed", "challenger_key", "key", "prover_key", "tower_seed")

    key: SecretKey
    prover_key: SecretKey
    challenger_key: SecretKey

    def __init__(self, seed: bytes) -> None:
        """Derive everything from 32 secret random bytes; SignatureError for another length."""
        if len(seed) != SEED_BYTES:
            raise SignatureError(f"the seed of a party's keys is {SEED_BYTES} bytes")
        self.key = _signing_key(seed, b"key")
        self.prover_key = _signing_key(seed, b"prover")
        self._one_time_seed = tagged_hash(_TAG, seed + b"one-time")
        self.tower_seed = answers_seed(self._one_time_seed)
        self.challenger_key = _signing_key(self.tower_seed, b"challenger")

    def __repr__(self) -> str:
        return f"PartyKeys(key={self.key.public.hex()})"

    def __reduce__(self) -> NoReturn:
        raise SignatureError("a party's keys do not travel: pass the path of their file")

    def signer(self, public: bytes) -> SecretKey:
        """The key whose x-only public key is ``public``; SignatureError if it is none of these."""
        for key in (self.key, self.prover_key, self.challenger_key):
            if key.public == public:
                return key
        raise SignatureError(f"{public.hex()} is no key of this party: are the terms another's?")

    def one_time(self, terms: ContractTerms, role: Role) -> OneTimeKeys:
        """The one-time keys of ``role`` under these terms."""
        return OneTimeKeys(self._one_time_seed, terms, role)

    def one_time_over(self, labels: Iterable[Label], *, proving: bool) -> OneTimeKeys:
        """The one-time keys of ``labels``, which are of a claim or of answers to one."""
        return OneTimeKeys.over(self._one_time_seed if proving else self.tower_seed, labels)


class TowerKeys(PartyKeys):
    """What a watchtower signs with for one party: answers to the other party's claim, and nothing
    else. ``key`` and ``prover_key`` have their public halves only."""

    __slots__ = ("_one_time",)

    def __init__(
        self, seed: bytes, terms: ContractTerms, role: Role, public: OneTimePublics
    ) -> None:
        """``seed`` is the party's ``tower_seed``, ``public`` all its one-time keys. TermsError or
        SignatureError if they do not belong to ``role`` under these terms."""
        seat = terms.party(role)
        self.tower_seed = seed
        self.challenger_key = _signing_key(seed, b"challenger")
        if self.challenger_key.public != seat.challenger_key:
            raise TermsError(f"this is not the watchtower's seed of the {role.value}")
        self.key, self.prover_key = _Elsewhere(seat.key), _Elsewhere(seat.prover_key)
        self._one_time = OneTimeKeys.answering(seed, role, public)

    def one_time(self, terms: ContractTerms, role: Role) -> OneTimeKeys:
        """The one-time keys that the seed gives: those of answers."""
        return self._one_time


class _Elsewhere(SecretKey):
    """A key whose secret half is on another machine."""

    __slots__ = ()

    def __init__(self, public: bytes) -> None:
        self.public, self.point = public, b"\x02" + public

    def _refuse(self, *_: Any) -> NoReturn:
        raise SignatureError("a watchtower does not hold this key: only the party signs this")

    sign: Callable[..., NoReturn] = _refuse
    tweaked: Callable[..., NoReturn] = _refuse
    keypair: Callable[..., NoReturn] = _refuse


def _signing_key(seed: bytes, name: bytes) -> SecretKey:
    """Its point is even, as MuSig2 reads the x-only keys of the terms: the tweak 0 negates."""
    return SecretKey(tagged_hash(_TAG, seed + name)).tweaked(bytes(32))
