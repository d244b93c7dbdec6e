"""What a node and its signer say to each other over a Unix socket, and nothing else is understood.

    frame     length u32, big-endian | msgpack map, at most FRAME_MAX bytes
    request   one of hello, sign, settle, recall, standing, require, resume, seal, ping
    answer    fault (empty: none), text, data

The first request of a connection is a hello. A session is two connections with one id: ``GUARD``
for what an oracle key signs, behind the sign guard, and ``FRAMES`` for the frames of the network,
which must not wait for the guard's disk. A newer session fences the one before it.
"""

import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.errors import EncodingError
from protocol.oracle.layout import ZERO32
from protocol.units import U64_MAX
from protocol.wire.fields import (
    Integer,
    Many,
    Member,
    OneOf,
    Optional,
    Raw,
    Record,
    Text,
    raw,
    uint,
)
from protocol.wire.frame import MAX_SIZE
from protocol.wire.strict import pack, unpack

VERSION: Final = 1
FRAME_MAX: Final = MAX_SIZE + 4096
MESSAGE_MAX: Final = 8192
"""Bytes of a message that an oracle key signs, at most."""
KEYS_MAX: Final = 64
TEXT_MAX: Final = 1000
_LENGTH: Final = 4


class Role(StrEnum):
    """What a connection is for."""

    GUARD = "guard"
    FRAMES = "frames"


class Fault(StrEnum):
    """Why there is no answer."""

    NONE = ""
    CONFIG = "config"
    """The signer cannot work: a key file or the folder is not what it should be."""
    GUARD = "guard"
    """The sign guard refuses."""
    REFUSED = "refused"
    """It is nothing that this key signs."""
    FENCED = "fenced"
    """A newer client has come; this one must stop."""


@dataclass(frozen=True, slots=True)
class Hello:
    """``session`` is 16 random bytes, the same on both connections of a client."""

    session: bytes
    role: Role
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Welcome:
    """The data of the answer to a hello: x-only keys that it signs with, and its process."""

    identities: tuple[bytes, ...]
    oracles: tuple[bytes, ...]
    pid: int


@dataclass(frozen=True, slots=True)
class Sign:
    """Journal and sign ``message``, canonical bytes of an oracle's; data: the signature and the
    guard's last number, u64. The same message again gives another signature of it, a second one for
    its slot never."""

    public: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class Settle:
    """Journal the one round that settles an American contract; nothing is signed. Data: the guard's
    ``Standing``."""

    public: bytes
    contract: bytes
    round: int


@dataclass(frozen=True, slots=True)
class Recall:
    """What was journalled last in a lane (``SignGuard.recall``); data: it, empty for nothing."""

    public: bytes
    kind: bytes
    slot: bytes
    feed: bytes = ZERO32


@dataclass(frozen=True, slots=True)
class AskStanding:
    """Data: the guard's ``Standing``."""

    public: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a sign guard has come: its last number, the round up to which it signs nothing (-1:
    none), and whether (1) it was restored and waits for its peers."""

    seq: int
    floor: int
    is_restored: int


@dataclass(frozen=True, slots=True)
class Require:
    """Peers have seen this number, in that round if it is known (``SignGuard.require_seq``). Data:
    the guard's ``Standing``."""

    public: bytes
    number: int
    round: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Peers have answered a restored guard (``SignGuard.resume``). Data: its ``Standing``."""

    public: bytes
    number: int
    floor: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Sign a frame of the network (its bytes before the signature); data: the signature."""

    public: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """Data: nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``text`` says why there is a fault, ``data`` is empty then."""

    fault: Fault = Fault.NONE
    text: str = ""
    data: bytes = b""


Request = Hello | Sign | Settle | Recall | AskStanding | Require | Resume | Seal | Ping

_KEY: Final = raw(32)
_KEYS: Final = Many(_KEY, KEYS_MAX)
_FLOOR: Final = Integer(-1, U64_MAX)
_REQUEST: Final = OneOf(
    hello=Record(Hello, session=raw(16), role=Member(Role), version=Integer(VERSION, VERSION)),
    sign=Record(Sign, public=_KEY, message=Raw(1, MESSAGE_MAX)),
    settle=Record(Settle, public=_KEY, contract=raw(32), round=uint(64)),
    recall=Record(Recall, public=_KEY, kind=raw(4), slot=raw(32), feed=raw(32)),
    standing=Record(AskStanding, public=_KEY),
    require=Record(Require, public=_KEY, number=uint(64), round=Optional(uint(64))),
    resume=Record(Resume, public=_KEY, number=uint(64), floor=uint(64)),
    seal=Record(Seal, public=_KEY, envelope=Raw(1, MAX_SIZE)),
    ping=Record(Ping),
)
_ANSWER: Final = Record(Answer, fault=Member(Fault), text=Text(TEXT_MAX), data=Raw(0, MESSAGE_MAX))
WELCOME: Final = Record(Welcome, identities=_KEYS, oracles=_KEYS, pid=uint(32))
STANDING: Final = Record(Standing, seq=uint(64), floor=_FLOOR, is_restored=Integer(0, 1))


def encode_request(request: Request) -> bytes:
    """The bytes of a request, without their length."""
    return pack(_REQUEST.pack(request))


def decode_request(data: bytes) -> Request:
    """The reverse; EncodingError for anything else."""
    request: Request = _REQUEST.unpack("request", unpack(data))
    return request


def encode_answer(answer: Answer) -> bytes:
    """The bytes of an answer, without their length."""
    return _ANSWER.encode(answer)


def decode_answer(data: bytes) -> Answer:
    """The reverse; EncodingError for anything else."""
    answer: Answer = _ANSWER.decode(data)
    return answer


def send(line: socket.socket, data: bytes) -> None:
    """Writes one frame; OSError if it cannot."""
    line.sendall(len(data).to_bytes(_LENGTH) + data)


def receive(line: socket.socket) -> bytes:
    """Reads one frame. EOFError at the end, OSError (TimeoutError) if nothing comes, EncodingError
    for one that is too long."""
    size = int.from_bytes(_exactly(line, _LENGTH))
    if size > FRAME_MAX:
        raise EncodingError(f"frame: {size} bytes are more than {FRAME_MAX}")
    return _exactly(line, size)


def _exactly(line: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = line.recv(size)
        if not part:
            raise EOFError("the other side hung up")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
