"""What operators say to each other, as bytes: pure, strict, in one canonical form.

strict      the part of msgpack that is spoken here, and nothing else
fields      one field of a message; records of fields
messages    every message that travels, by kind: ``encode``, ``decode``
frame       the signed envelope around a message: ``seal``, ``unseal``
handshake   how two operators prove their identity keys to each other

Bytes from outside raise EncodingError or SignatureError, never anything else.
"""

from protocol.wire.frame import Frame, Notice, seal, unseal
from protocol.wire.messages import decode, encode

__all__ = ["Frame", "Notice", "decode", "encode", "seal", "unseal"]
