"""MuSig2 (BIP327) over coincurve's libsecp256k1: many signers, one BIP340 key and signature.

Everyone sends a public nonce, then a partial signature; whoever has them all adds them up.

    aggregate = AggregateKey(key_sort([alice.point, bob.point])).tweaked(tap_tweak)
    nonce     = SecretNonce(alice, aggregate, secrets.token_bytes, message)
    session   = Session(aggregate, [nonce.public, bobs_public_nonce], message)
    partial   = session.sign(nonce, alice)
    signature = session.aggregate([partial, bobs_partial])

libsecp256k1 ends the process (abort) where it is misused: a secret nonce used twice, a key that is
not the nonce's, an empty list. All of that is refused here, before the library sees it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from protocol.crypto.keys import CURVE_ORDER, SecretKey, verify
from protocol.errors import SignatureError

POINT_BYTES: Final = 33
NONCE_BYTES: Final = 66
PARTIAL_BYTES: Final = 32

LIBRARY_NAMES: Final = (
    "secp256k1_ec_pubkey_parse",
    "secp256k1_ec_pubkey_serialize",
    "secp256k1_ec_seckey_tweak_add",
    "secp256k1_ec_seckey_tweak_mul",
    "secp256k1_keypair_create",
    "secp256k1_keypair_sec",
    "secp256k1_musig_aggnonce_serialize",
    "secp256k1_musig_nonce_agg",
    "secp256k1_musig_nonce_gen",
    "secp256k1_musig_nonce_process",
    "secp256k1_musig_partial_sig_agg",
    "secp256k1_musig_partial_sig_parse",
    "secp256k1_musig_partial_sig_serialize",
    "secp256k1_musig_partial_sig_verify",
    "secp256k1_musig_partial_sign",
    "secp256k1_musig_pubkey_agg",
    "secp256k1_musig_pubkey_ec_tweak_add",
    "secp256k1_musig_pubkey_get",
    "secp256k1_musig_pubkey_xonly_tweak_add",
    "secp256k1_musig_pubnonce_parse",
    "secp256k1_musig_pubnonce_serialize",
)
"""What is used of coincurve's private module, here and in ``keys``: another release may lack it."""

_ctx: Final = GLOBAL_CONTEXT.ctx


def key_sort(points: Iterable[bytes]) -> tuple[bytes, ...]:
    """BIP327's KeySort: the order that all signers arrive at without talking."""
    return tuple(sorted(points))


class AggregateKey:
    """The key that all of ``points`` together sign for, their order and the tweaks included."""

    __slots__ = ("_cache", "point", "points")

    def __init__(self, points: Sequence[bytes]) -> None:
        """BIP327's KeyAgg of compressed public keys (33 bytes, ``SecretKey.point``).

        SignatureError naming the signer, from 0, whose key is none.
        """
        if not points:
            raise SignatureError("a MuSig2 key needs at least one signer")
        parsed = [_parse_point(point, signer) for signer, point in enumerate(points)]
        self.points = tuple(points)
        self._cache = ffi.new("secp256k1_musig_keyagg_cache *")
        keys = ffi.new("secp256k1_pubkey *[]", parsed)
        _require(
            lib.secp256k1_musig_pubkey_agg(_ctx, ffi.NULL, self._cache, keys, len(parsed)),
            "these public keys have no sum",
        )
        self.point = _aggregate_point(self._cache)
        """33 bytes; signatures verify under the last 32."""

    @property
    def public(self) -> bytes:
        """The x-only key (32 bytes) that the signature verifies under."""
        return self.point[1:]

    def tweaked(self, tweak: bytes, *, x_only: bool = True) -> "AggregateKey":
        """This key with 32 bytes of ``tweak`` added, x-only as Taproot tweaks an internal key.

        SignatureError for a tweak at or above the curve order, or one that leaves no key.
        """
        if len(tweak) != 32 or int.from_bytes(tweak) >= CURVE_ORDER:
            raise SignatureError("a tweak is 32 bytes below the curve order")
        other = object.__new__(AggregateKey)
        other.points = self.points
        other._cache = ffi.new("secp256k1_musig_keyagg_cache *", self._cache[0])
        add = (
            lib.secp256k1_musig_pubkey_xonly_tweak_add
            if x_only
            else lib.secp256k1_musig_pubkey_ec_tweak_add
        )
        _require(add(_ctx, ffi.NULL, other._cache, tweak), "this tweak leaves no key")
        other.point = _aggregate_point(other._cache)
        return other


class SecretNonce:
    """The secret half of one signer's nonce: used once, never copied, pickled or printed.

    Two signatures with one nonce give the secret key away. A fork() would copy it, unseen: sign in
    the process that made it.
    """

    __slots__ = ("_secret", "point", "public")

    def __init__(
        self,
        key: SecretKey,
        aggregate: AggregateKey,
        entropy: Callable[[int], bytes],
        message: bytes | None = None,
    ) -> None:
        """BIP327's NonceGen with 32 bytes of ``entropy(32)``, which must never repeat.

        ``public`` (66 bytes) is what the others need. Key, aggregate key and, where it is known
        already, the 32-byte message are mixed in.
        """
        random = entropy(32)
        if len(random) != 32:
            raise SignatureError("entropy for a nonce is 32 random bytes")
        if message is not None:
            _require_message(message)
        seckey = ffi.new("unsigned char[32]")
        lib.secp256k1_keypair_sec(_ctx, seckey, key.keypair())
        secret = ffi.new("secp256k1_musig_secnonce *")
        public = ffi.new("secp256k1_musig_pubnonce *")
        _require(
            lib.secp256k1_musig_nonce_gen(
                _ctx,
                secret,
                public,
                ffi.new("unsigned char[32]", random),
                seckey,
                _parse_point(key.point, 0),
                ffi.NULL if message is None else message,
                aggregate._cache,
                ffi.NULL,
            ),
            "entropy for a nonce is 32 random bytes, not zeros",
        )
        self._secret = [secret]
        self.point = key.point
        self.public = _serialized(lib.secp256k1_musig_pubnonce_serialize, public, NONCE_BYTES)

    def __repr__(self) -> str:
        state = "unused" if self._secret else "used"
        return f"SecretNonce(public={self.public.hex()}, {state})"

    def __reduce__(self) -> NoReturn:
        raise SignatureError("a secret nonce is neither copied nor sent: make another one")

    def _spend(self) -> Any:
        """The library's structure, the first time; pop() is atomic between threads."""
        try:
            return self._secret.pop()
        except IndexError:
            raise SignatureError("this nonce has signed: start again with new ones") from None


class Session:
    """One message that one set of nonces signs."""

    __slots__ = ("_nonces", "_session", "aggregate_key", "message", "public_nonces")

    def __init__(
        self, aggregate_key: AggregateKey, public_nonces: Sequence[bytes], message: bytes
    ) -> None:
        """``public_nonces`` are the signers', 66 bytes each, in the order of their keys.

        SignatureError naming the signer whose nonce is none, or for a message not of 32 bytes.
        """
        _require_message(message)
        signers = len(aggregate_key.points)
        if len(public_nonces) != signers:
            raise SignatureError(f"{signers} signers have no {len(public_nonces)} nonces")
        self.aggregate_key = aggregate_key
        self.public_nonces = tuple(public_nonces)
        self.message = message
        self._nonces = [_parse_nonce(nonce, n) for n, nonce in enumerate(public_nonces)]
        self._session = ffi.new("secp256k1_musig_session *")
        total = _sum_nonces(self._nonces)
        _require(
            lib.secp256k1_musig_nonce_process(
                _ctx, self._session, total, message, aggregate_key._cache
            ),
            "libsecp256k1 refuses these nonces",
        )

    def sign(self, nonce: SecretNonce, key: SecretKey) -> bytes:
        """``key``'s partial signature, 32 bytes. It uses ``nonce`` up.

        SignatureError, the nonce still unused, if it is another key's or not in this session; and
        if it has been used.
        """
        if nonce.point != key.point:
            raise SignatureError("this nonce was made for another key")
        if (key.point, nonce.public) not in zip(
            self.aggregate_key.points, self.public_nonces, strict=True
        ):
            raise SignatureError("this session has no signer with this key and nonce")
        pair, secret = key.keypair(), nonce._spend()
        partial = ffi.new("secp256k1_musig_partial_sig *")
        _require(
            lib.secp256k1_musig_partial_sign(
                _ctx, partial, secret, pair, self.aggregate_key._cache, self._session
            ),
            "libsecp256k1 refuses this nonce",
        )
        return _serialized(lib.secp256k1_musig_partial_sig_serialize, partial, PARTIAL_BYTES)

    def verify(self, signer: int, partial: bytes) -> bool:
        """Whether ``partial`` is what signer number ``signer`` (from 0) owes this session."""
        if not 0 <= signer < len(self._nonces):
            raise SignatureError(f"this session has {len(self._nonces)} signers, none is {signer}")
        parsed = _parse_partial(partial)
        return parsed is not None and self._verify(signer, parsed)

    def aggregate(self, partials: Sequence[bytes]) -> bytes:
        """The 64-byte BIP340 signature of the message under the aggregate key.

        ``partials`` are in the order of the keys; SignatureError names the signer whose one is
        wrong.
        """
        if len(partials) != len(self._nonces):
            raise SignatureError(f"{len(self._nonces)} signers owe as many partial signatures")
        parsed = []
        for signer, partial in enumerate(partials):
            one = _parse_partial(partial)
            if one is None or not self._verify(signer, one):
                raise SignatureError(f"the partial signature of signer {signer} is wrong")
            parsed.append(one)
        out = ffi.new("unsigned char[64]")
        pointers = ffi.new("secp256k1_musig_partial_sig *[]", parsed)
        _require(
            lib.secp256k1_musig_partial_sig_agg(_ctx, out, self._session, pointers, len(parsed)),
            "libsecp256k1 cannot add these partial signatures",
        )
        signature = bytes(ffi.buffer(out))
        if not verify(self.aggregate_key.public, self.message, signature):
            raise SignatureError("the partial signatures do not add up to a signature")
        return signature

    def _verify(self, signer: int, partial: Any) -> bool:
        point = _parse_point(self.aggregate_key.points[signer], signer)
        return bool(
            lib.secp256k1_musig_partial_sig_verify(
                _ctx,
                partial,
                self._nonces[signer],
                point,
                self.aggregate_key._cache,
                self._session,
            )
        )


def nonce_agg(public_nonces: Sequence[bytes]) -> bytes:
    """BIP327's NonceAgg, 66 bytes; SignatureError naming the signer whose nonce is none."""
    if not public_nonces:
        raise SignatureError("a MuSig2 session needs at least one signer")
    total = _sum_nonces([_parse_nonce(nonce, n) for n, nonce in enumerate(public_nonces)])
    return _serialized(lib.secp256k1_musig_aggnonce_serialize, total, NONCE_BYTES)


def _require(success: int, complaint: str) -> None:
    if not success:
        raise SignatureError(complaint)


def _require_message(message: bytes) -> None:
    if len(message) != 32:
        raise SignatureError(f"MuSig2 here signs 32-byte messages, not {len(message)} bytes")


def _parse_point(point: bytes, signer: int) -> Any:
    parsed = ffi.new("secp256k1_pubkey *")
    if len(point) != POINT_BYTES or not lib.secp256k1_ec_pubkey_parse(
        _ctx, parsed, point, POINT_BYTES
    ):
        raise SignatureError(f"the public key of signer {signer} is no compressed curve point")
    return parsed


def _parse_nonce(nonce: bytes, signer: int) -> Any:
    parsed = ffi.new("secp256k1_musig_pubnonce *")
    if len(nonce) != NONCE_BYTES or not lib.secp256k1_musig_pubnonce_parse(_ctx, parsed, nonce):
        raise SignatureError(f"the public nonce of signer {signer} is not two curve points")
    return parsed


def _parse_partial(partial: bytes) -> Any:
    parsed = ffi.new("secp256k1_musig_partial_sig *")
    if len(partial) != PARTIAL_BYTES:
        return None
    return parsed if lib.secp256k1_musig_partial_sig_parse(_ctx, parsed, partial) else None


def _sum_nonces(nonces: list[Any]) -> Any:
    total = ffi.new("secp256k1_musig_aggnonce *")
    pointers = ffi.new("secp256k1_musig_pubnonce *[]", nonces)
    _require(
        lib.secp256k1_musig_nonce_agg(_ctx, total, pointers, len(nonces)),
        "these nonces have no sum",
    )
    return total


def _aggregate_point(cache: Any) -> bytes:
    point = ffi.new("secp256k1_pubkey *")
    _require(lib.secp256k1_musig_pubkey_get(_ctx, point, cache), "these public keys have no sum")
    out, size = ffi.new("unsigned char[33]"), ffi.new("size_t *", POINT_BYTES)
    lib.secp256k1_ec_pubkey_serialize(_ctx, out, size, point, lib.SECP256K1_EC_COMPRESSED)
    return bytes(ffi.buffer(out))


def _serialized(write: Any, structure: Any, size: int) -> bytes:
    out = ffi.new("unsigned char[]", size)
    _require(write(_ctx, out, structure), "libsecp256k1 cannot serialize this")
    return bytes(ffi.buffer(out))
