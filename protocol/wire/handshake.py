"""How two operators prove their identity keys to each other before anything else is said.

    dialer    Hello(to, challenge)          sealed frame of kind "hello"
    listener  Hello(to, challenge), Proof   its own challenge, and a signature over both hellos
    dialer    Proof

Each hello names whom it is for, so a peer cannot pass it on to another; each proof signs both
hellos, with both fresh challenges, so nothing can be replayed. The counter of a proof is where the
peer's frames on this connection begin: no frame of an earlier one is accepted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, SignatureError
from protocol.wire.fields import Record, raw, uint
from protocol.wire.frame import Frame, peek, require_successor, unseal

TAG: Final = "btcfi/wire/session/v1"
MAX_SIZE: Final = 512
"""Bytes of a handshake frame, at most: nothing longer is read from a stranger."""
HELLO: Final = "hello"
PROOF: Final = "proof"


@dataclass(frozen=True, slots=True)
class Hello:
    """``to`` is the address that the sender believes to talk to; ``challenge`` 32 fresh bytes."""

    to: int
    challenge: bytes

    def encode(self) -> bytes:
        """The body of its frame."""
        return _HELLO.encode(self)


_HELLO: Final = Record(Hello, to=uint(8), challenge=raw(32))


def session_id(dialer_hello: bytes, listener_hello: bytes) -> bytes:
    """The 32 bytes that both prove: over the two sealed hellos, the dialer's first. They are the
    body of a proof."""
    return tagged_hash(TAG, sha256(dialer_hello).digest() + sha256(listener_hello).digest())


def read_hello(
    data: bytes, me: int, config: bytes, identity: Callable[[int], bytes | None]
) -> Frame:
    """The hello of a peer that is in the roster, addressed to ``me``, under the same configuration.

    ``identity`` maps an address to its x-only key, or None if it may not call. EncodingError and
    SignatureError say what to tell the peer.
    """
    _require_size(data)
    claimed = peek(data)
    if claimed.config != config:
        raise EncodingError(
            f"configuration {claimed.config.hex()[:16]} here is {config.hex()[:16]}: another"
            " network or epoch, load the same configuration and rotations"
        )
    public = identity(claimed.sender)
    if public is None:
        raise SignatureError(f"address {claimed.sender} may not call here: check the roster")
    frame = unseal(data, public)
    _require_kind(frame, HELLO)
    hello: Hello = _HELLO.decode(frame.body)
    if hello.to != me:
        raise SignatureError(f"hello is for address {hello.to}, this is {me}: check the url")
    return frame


def read_proof(data: bytes, hello: Frame, public: bytes, session: bytes) -> Frame:
    """The proof that the sender of ``hello``, with the key ``public``, takes part in this very
    session. SignatureError or EncodingError if it is none."""
    _require_size(data)
    frame = unseal(data, public)
    require_successor(frame, hello)
    _require_kind(frame, PROOF)
    if frame.body != session:
        raise SignatureError("the proof is for another connection: it is replayed")
    return frame


def _require_size(data: bytes) -> None:
    if len(data) > MAX_SIZE:
        raise EncodingError(f"handshake: {len(data)} bytes are more than {MAX_SIZE}")


def _require_kind(frame: Frame, kind: str) -> None:
    if frame.kind != kind:
        raise EncodingError(f"handshake: {frame.kind!r} came where {kind!r} belongs")
