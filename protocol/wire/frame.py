"""The signed envelope of a message between two operators.

    frame     = envelope | signature 64
    envelope  = msgpack map: version, config, sender, counter, time_ms, kind, body
    signature = BIP340 by the sender's identity key over tagged("btcfi/wire/frame/v1", envelope)

The signature is checked before the envelope is parsed. ``notice`` is what observers get: a message
that proves itself, without an envelope.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, SignatureError
from protocol.wire import strict
from protocol.wire.fields import Integer, Raw, Record, Text, raw, uint

VERSION: Final = 1
TAG: Final = "btcfi/wire/frame/v1"
MAX_SIZE: Final = 1 << 20
"""Bytes of a frame, at most."""
SIGNATURE: Final = 64

_VERSION: Final = Integer(VERSION, VERSION)
_KIND: Final = Text(32)
_BODY: Final = Raw(0, MAX_SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """``config`` names network and epoch (a 32-byte digest), ``sender`` is an oracle's index or
    AGGREGATOR, ``counter`` grows with every frame of a connection, ``time_ms`` is the sender's
    unix time, ``kind`` and ``body`` are those of ``messages``."""

    config: bytes
    sender: int
    counter: int
    time_ms: int
    kind: str
    body: bytes
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to observers, who have no key."""

    kind: str
    body: bytes
    version: int = VERSION

    def encode(self) -> bytes:
        """The bytes of one WebSocket message."""
        return _NOTICE.encode(self)

    @staticmethod
    def decode(data: bytes) -> "Notice":
        """The reverse; EncodingError for anything else."""
        notice: Notice = _read(_NOTICE, data)
        return notice


_FRAME: Final = Record(
    Frame,
    version=_VERSION,
    config=raw(32),
    sender=uint(8),
    counter=uint(64),
    time_ms=uint(64),
    kind=_KIND,
    body=_BODY,
)
_NOTICE: Final = Record(Notice, version=_VERSION, kind=_KIND, body=_BODY)


def read(envelope: bytes) -> Frame:
    """The frame of an envelope; EncodingError for what is malformed."""
    _require_size(len(envelope) + SIGNATURE)
    frame: Frame = _read(_FRAME, envelope)
    return frame


def digest(envelope: bytes) -> bytes:
    """The 32 bytes that the sender's identity key signs."""
    return tagged_hash(TAG, envelope)


def seal(frame: Frame, sign: Callable[[bytes], bytes]) -> bytes:
    """The bytes of a frame; ``sign`` maps its envelope to the BIP340 signature of its ``digest``.
    EncodingError if they would be more than MAX_SIZE."""
    envelope = _FRAME.encode(frame)
    _require_size(len(envelope) + SIGNATURE)
    return envelope + sign(envelope)


def unseal(data: bytes, public: bytes) -> Frame:
    """The frame, if the x-only identity key ``public`` signed it: SignatureError if it did not,
    and only then EncodingError for what is malformed."""
    _require_size(len(data))
    envelope, signature = data[:-SIGNATURE], data[-SIGNATURE:]
    if not keys.verify(public, digest(envelope), signature):
        raise SignatureError("the frame is not signed by this peer's identity key")
    return read(envelope)


def peek(data: bytes) -> Frame:
    """What a frame claims, without its signature: to find the key of a peer that is not known yet.
    EncodingError for what is malformed."""
    _require_size(len(data))
    return read(data[:-SIGNATURE])


def require_successor(frame: Frame, last: Frame) -> None:
    """Returns if ``frame`` is a later one than ``last`` of the same sender under the same
    configuration; SignatureError says what it is instead."""
    if frame.sender != last.sender:
        raise SignatureError(f"the frame names {frame.sender} as sender, this is {last.sender}")
    if frame.config != last.config:
        raise SignatureError("the frame is of another configuration (network or epoch)")
    if frame.counter <= last.counter:
        raise SignatureError(f"counter {frame.counter} after {last.counter}: a replayed frame")


def _require_size(size: int) -> None:
    if size > MAX_SIZE:
        raise EncodingError(f"frame: {size} bytes are more than {MAX_SIZE}")


def _read(record: Record, data: bytes) -> Any:
    plain = strict.unpack(data)
    # First, because another version may have other fields.
    version = plain.get("version") if isinstance(plain, dict) else None
    if version != VERSION:
        shown = version if type(version) is int else "unknown"
        raise EncodingError(f"version {shown}: this program speaks {VERSION}; upgrade one side")
    return record.unpack(record.kind.__name__.lower(), plain)
