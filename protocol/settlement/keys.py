"""The secret side of one party in one contract: three signing keys and its one-time keys.

All of them follow from one seed of 32 random bytes that no other contract uses:

    key              closes, refunds, and signs the notices of an exercise
    prover_key       moves forward where this party proves
    challenger_key   answers where the other party proves
"""

from typing import Final, NoReturn

from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import SignatureError
from protocol.settlement.onetime import OneTimeKeys
from protocol.settlement.terms import ContractTerms, Role

_TAG: Final = "btcfi/party/v1"
SEED_BYTES: Final = 32


class PartyKeys:
    """What one party signs with. Never printed, pickled or compared."""

    __slots__ = ("_one_time_seed", "challenger_key", "key", "prover_key")

    def __init__(self, seed: bytes) -> None:
        """Derive everything from 32 secret random bytes; SignatureError for another length."""
        if len(seed) != SEED_BYTES:
            raise SignatureError(f"the seed of a party's keys is {SEED_BYTES} bytes")
        self.key = _signing_key(seed, b"key")
        self.prover_key = _signing_key(seed, b"prover")
        self.challenger_key = _signing_key(seed, b"challenger")
        self._one_time_seed = tagged_hash(_TAG, seed + b"one-time")

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


def _signing_key(seed: bytes, name: bytes) -> SecretKey:
    """Its point is even, as MuSig2 reads the x-only keys of the terms: the tweak 0 negates."""
    return SecretKey(tagged_hash(_TAG, seed + name)).tweaked(bytes(32))
