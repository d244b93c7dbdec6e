"""BIP340 Schnorr keys over coincurve's libsecp256k1."""

from collections.abc import Callable

from coincurve import PrivateKey, PublicKeyXOnly

from protocol.errors import SignatureError

CURVE_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class SecretKey:
    """A BIP340 signing key. Never printed, pickled or compared."""

    __slots__ = ("_key", "public")

    def __init__(self, secret: bytes) -> None:
        """``secret`` is 32 bytes, 1 <= int < curve order; SignatureError otherwise."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret) < CURVE_ORDER:
            raise SignatureError("a secret key is 32 bytes between 1 and the curve order - 1")
        self._key = PrivateKey(secret)
        self.public: bytes = PublicKeyXOnly.from_secret(secret).format()

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

    def sign(self, message: bytes, aux_rand: bytes) -> bytes:
        """The 64-byte BIP340 signature of a 32-byte ``message``; ``aux_rand`` is 32 bytes of fresh
        randomness (32 zero bytes in known-answer tests)."""
        if len(message) != 32 or len(aux_rand) != 32:
            raise SignatureError("BIP340 here signs 32-byte messages with 32 bytes of aux_rand")
        signature: bytes = self._key.sign_schnorr(message, aux_rand)
        return signature


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """BIP340 verification: x-only key (32 bytes), message of any length, signature (64 bytes)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        return bool(PublicKeyXOnly(public).verify(signature, message))
    except ValueError:  # not the x coordinate of a curve point
        return False
