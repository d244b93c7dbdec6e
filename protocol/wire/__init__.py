"""What operators say to each other, as bytes: pure, strict, in one canonical form.

strict      the part of msgpack that is spoken here, and nothing else
fields      one field of a message; records of fields
messages    every message that travels, by kind: ``encode``, ``decode``
frame       the signed envelope around a message: ``seal``, ``unseal``
handshake   how two operators prove their identity keys to each other

Bytes from outside raise EncodingError or SignatureError, never anything else.
"""

from typing import TYPE_CHECKING, Any

from protocol.wire.frame import Frame, Notice, digest, seal, unseal

if TYPE_CHECKING:
    from protocol.wire.messages import decode, encode

__all__ = ["Frame", "Notice", "decode", "digest", "encode", "seal", "unseal"]


def __getattr__(name: str) -> Any:
    # The messages take all of the settlement along; a signer reads no more than their envelopes.
    if name not in ("decode", "encode"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from protocol.wire import messages

    globals()[name] = getattr(messages, name)
    return globals()[name]
