"""BIP340 Schnorr keys over coincurve's libsecp256k1."""

from collections.abc import Callable
from typing import Any

from coincurve import PrivateKey, PublicKeyXOnly
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from protocol.crypto.tagged import tagged_hash
from protocol.errors import SignatureError

CURVE_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class SecretKey:
    """A BIP340 signing key. Never printed, pickled or compared."""

    __slots__ = ("_key", "point", "public")

    def __init__(self, secret: bytes) -> None:
        """``secret`` is 32 bytes, 1 <= int < curve order; SignatureError otherwise."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret) < CURVE_ORDER:
            raise SignatureError("a secret key is 32 bytes between 1 and the curve order - 1")
        self._key = PrivateKey(secret)
        self.point: bytes = self._key.public_key.format(compressed=True)
        """33 bytes, with the parity that x-only keys leave out: the form of MuSig2 (BIP327)."""
        self.public: bytes = self.point[1:]

    @staticmethod
    def random_secret(entropy: Callable[[int], bytes]) -> bytes:
        """32 bytes from ``entropy(32)`` that are a valid secret key."""
        while not 0 < int.from_bytes(secret := entropy(32)) < CURVE_ORDER:
            continue
        return secret

    def __repr__(self) -> str:
        return f"SecretKey(public={self.public.hex()})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise SignatureError("a secret key does not travel: pass the path of its file")

    def tweaked(self, tweak: bytes) -> "SecretKey":
        """The key of the public key that 32 bytes of ``tweak`` turn this x-only key into (BIP341).

        SignatureError for a tweak that BIP341 refuses, which no hash ever is in practice.
        """
        t = int.from_bytes(tweak)
        if len(tweak) != 32 or t >= CURVE_ORDER:
            raise SignatureError("a tweak is 32 bytes below the curve order")
        return SecretKey(((int.from_bytes(self._even()) + t) % CURVE_ORDER).to_bytes(32))

    def keypair(self) -> Any:
        """libsecp256k1's own structure of this key, for ``protocol.crypto.musig2`` alone."""
        pair = ffi.new("secp256k1_keypair *")
        if not lib.secp256k1_keypair_create(GLOBAL_CONTEXT.ctx, pair, self._key.secret):
            raise SignatureError("libsecp256k1 refuses this secret key")
        return pair

    def sign(self, message: bytes, aux_rand: bytes) -> bytes:
        """The 64-byte BIP340 signature of a 32-byte ``message``; ``aux_rand`` is 32 bytes of fresh
        randomness (32 zero bytes in known-answer tests)."""
        if len(message) != 32 or len(aux_rand) != 32:
            raise SignatureError("BIP340 here signs 32-byte messages with 32 bytes of aux_rand")
        signature: bytes = self._key.sign_schnorr(message, aux_rand)
        return signature

    def sign_with(self, nonce: "SecretKey", message: bytes) -> bytes:
        """The BIP340 signature of a 32-byte ``message`` with a nonce that was announced before.

        A nonce that signs two messages reveals the key: only attestations, behind their ledger,
        are signed like this. The scalars stay in libsecp256k1.
        """
        e = challenge(nonce.public, self.public, message).to_bytes(32)
        s = ffi.new("unsigned char[32]", self._even())
        done = lib.secp256k1_ec_seckey_tweak_mul(
            GLOBAL_CONTEXT.ctx, s, e
        ) and lib.secp256k1_ec_seckey_tweak_add(GLOBAL_CONTEXT.ctx, s, nonce._even())
        if not done:  # s is zero: nobody has ever seen it
            raise SignatureError("this nonce gives no signature of this message")
        return nonce.public + bytes(ffi.buffer(s))

    def _even(self) -> bytes:
        """The secret of the point with this x and an even y."""
        d = self._key.to_int()
        return (d if self.point[0] == 2 else CURVE_ORDER - d).to_bytes(32)


def challenge(nonce: bytes, public: bytes, message: bytes) -> int:
    """The e of BIP340: s = k + e d. ``nonce`` and ``public`` are 32-byte x coordinates."""
    hashed = tagged_hash("BIP0340/challenge", nonce, public, message)
    return int.from_bytes(hashed) % CURVE_ORDER


def is_public(public: bytes) -> bool:
    """Whether these are 32 bytes and the x coordinate of a curve point: a key that can sign."""
    try:
        PublicKeyXOnly(public)
    except ValueError:
        return False
    return len(public) == 32


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """BIP340 verification: x-only key (32 bytes), message of any length, signature (64 bytes)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        return bool(PublicKeyXOnly(public).verify(signature, message))
    except ValueError:  # not the x coordinate of a curve point
        return False
