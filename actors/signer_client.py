"""A node's way to its signer. The node holds no key: what may be signed is decided over there.

    signer = open_signer(operator)     a child of its own, or the one behind [signer] socket
    signer.oracle(public)              a Guard, and the ``sign`` that belongs to it
    signer.identity(public)            seals the frames of the network

Journal and signature are one request: ``OracleKey.record`` returns once the signature is made, and
``sign`` hands it out for the hash that a pure node asks for. A hash never crosses the socket.
"""

import asyncio
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

from actors.operator import Operator
from actors.signer_dial import ChildDial, Dial, Line, SocketDial
from actors.signer_frames import (
    STANDING,
    WELCOME,
    Answer,
    AskStanding,
    Fault,
    Hello,
    Ping,
    Recall,
    Request,
    Require,
    Resume,
    Role,
    Seal,
    Settle,
    Sign,
    Standing,
    Welcome,
)
from protocol.errors import ConfigError, EncodingError, GuardError, ProtocolError, SignerError
from protocol.oracle import expiry, signing
from protocol.oracle.exercise import MAGIC as EXERCISE
from protocol.oracle.heartbeat import Heartbeat
from protocol.oracle.layout import ZERO32

T = TypeVar("T")

RETRY_S: Final = 0.25
RETRY_CAP_S: Final = 8.0
"""Between two attempts to reach a signer that is gone: doubled each time up to the cap."""
START_S: Final = 60.0
"""How long a signer that starts at the same time may take to listen."""
SIGNATURE: Final = 64
_UNUSED: Final = 64
"""Signatures that were made and that nobody has asked for yet, at most."""


def open_signer(operator: Operator) -> "Signer":
    """The signer of an operator: the one behind its socket, or a child that ends with this process.
    ConfigError and GuardError as the signer has them, SignerError if none answers."""
    if operator.signer is None:
        return Signer(ChildDial(operator.folder, operator.keys, operator.log))
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            return Signer(SocketDial(operator.signer))
        except SignerError as error:
            if time.monotonic() > deadline_s:
                raise SignerError(
                    f"[signer] socket: {error}; start `oracle-vm signer run`"
                ) from None
            time.sleep(RETRY_S)


class Signer:
    """A session with a signer. Its two connections may be used from two threads.

    SignerError while the signer does not answer: ``fault`` says why, nothing is signed, and
    ``check`` looks for it, or starts another child. ``lost`` says why it never comes back: the node
    has to end.
    """

    def __init__(self, dial: Dial) -> None:
        """ConfigError or GuardError of the signer's own start, SignerError if there is none."""
        self.lost: str | None = None
        self.reconnects = 0
        self._dial = dial
        self._fault: str | None = None
        self._lines: dict[Role, Line] = {}
        self._lock = threading.Lock()
        self._oracles: dict[bytes, OracleKey] = {}
        self._failures, self._next_s = 0, 0.0
        try:
            self.welcome = self._connect()
        except BaseException:
            dial.close()
            raise

    @property
    def pid(self) -> int:
        """The signer's process."""
        return self.welcome.pid

    @property
    def fault(self) -> str | None:
        """Why nothing is signed now, None if it is."""
        if any(line.is_late for line in self._lines.values()):
            return "the signer does not answer in time"
        return self.lost or self._fault

    def require(self, purpose: str, public: bytes) -> None:
        """ConfigError unless the signer holds this x-only key for "oracle" or "identity"; the
        signer is not asked."""
        welcome = self.welcome
        held = welcome.oracles if purpose == "oracle" else welcome.identities
        if public not in held:
            raise ConfigError(
                f"[keys] {purpose}: the signer holds"
                f" {', '.join(key.hex() for key in held) or 'none'}, the roster says"
                f" {public.hex()}: name the file of that key and start the signer again"
            )

    def oracle(self, public: bytes) -> "OracleKey":
        """The oracle key with this x-only public key; ConfigError if the signer does not have it.
        One object a key: ask as often as you like."""
        self.require("oracle", public)
        if public not in self._oracles:
            self._oracles[public] = OracleKey(self, public)
        return self._oracles[public]

    def identity(self, public: bytes) -> "IdentityKey":
        """The identity key with this x-only public key; ConfigError if the signer does not have
        it."""
        self.require("identity", public)
        return IdentityKey(self, public)

    def ask(self, role: Role, request: Request) -> bytes:
        """The data of the answer. GuardError, EncodingError and ConfigError are the signer's own,
        SignerError means that it does not answer, or that another client has taken its place."""
        line = self._lines.get(role)
        if line is None:
            raise SignerError(self.fault or "there is no signer yet")
        try:
            answer = line.ask(request)
        except (OSError, EOFError, EncodingError) as error:
            # A frame that is late is lost, not the session: the guard's line decides about that.
            if role is Role.GUARD or not isinstance(error, TimeoutError):
                self._drop(f"the signer does not answer ({error})", line)
        else:
            if answer.fault is not Fault.FENCED:
                return _data(answer)
            self._lose(answer.text)
        raise SignerError(self.fault or "the signer did not answer")

    async def retry(self, work: Callable[[], T]) -> T:
        """The result of ``work``, once the signer answers all that it asks; somebody else has to
        ``check``. SignerError if it never does."""
        while True:
            if self.fault is None:
                with suppress(SignerError):
                    return work()
            if self.lost is not None:
                raise SignerError(self.lost)
            await asyncio.sleep(RETRY_S)

    def check(self) -> None:
        """Asks for a sign of life, or tries to reach a signer that is gone, from time to time.
        SignerError if it never comes back; blocks for as long as a request may."""
        if self._lines:
            for role in (Role.FRAMES, Role.GUARD):
                with suppress(SignerError):
                    self.ask(role, Ping())
        elif self.lost is None and time.monotonic() >= self._next_s:
            try:
                self.welcome = self._connect()
                self.reconnects += 1
            except SignerError as error:
                self._fault = str(error)
            except ProtocolError as error:  # an old guard, other keys, a newer node, no more tries
                self._lose(str(error))
        if self.lost is not None:
            raise SignerError(self.lost)

    def close(self) -> None:
        """End the session, and the signer if it is this node's own."""
        self._lose("the signer is closed")
        self._dial.close()

    def _connect(self) -> Welcome:
        session = secrets.token_bytes(16)
        lines: dict[Role, Line] = {}
        try:
            for role in Role:
                lines[role] = self._dial.line(role)
                welcome: Welcome = WELCOME.decode(_data(lines[role].ask(Hello(session, role))))
            self.welcome = welcome
            for key in self._oracles.values():
                self.require("oracle", key.public)
                key.meet(_data(lines[Role.GUARD].ask(Require(key.public, key.seq))))
        except (OSError, EOFError) as error:
            self._close_all(lines)
            self._failures += 1
            self._next_s = time.monotonic() + min(RETRY_CAP_S, RETRY_S * 2**self._failures)
            raise SignerError(f"no signer answers ({error or 'too late'})") from None
        except ProtocolError:
            self._close_all(lines)
            raise
        self._failures = 0
        self._lines, self._fault = lines, None
        return welcome

    def _drop(self, fault: str, line: Line | None = None) -> None:
        """End the session, unless ``line`` is of one that is over already."""
        with self._lock:
            if line is not None and line not in self._lines.values():
                return
            lines, self._lines = self._lines, {}
            if lines:
                self._fault = fault
        self._close_all(lines)

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self._drop(reason)

    @staticmethod
    def _close_all(lines: dict[Role, Line]) -> None:
        for line in lines.values():
            line.close()


def _data(answer: Answer) -> bytes:
    """What the answer holds; the error that it tells of."""
    match answer.fault:
        case Fault.NONE:
            return answer.data
        case Fault.CONFIG:
            raise ConfigError(answer.text)
        case Fault.GUARD | Fault.FENCED:
            raise GuardError(answer.text)
        case Fault.REFUSED:
            raise EncodingError(answer.text)


class OracleKey:
    """One oracle key with its sign guard (``protocol.oracle.round.Guard``), in the signer."""

    _standing: Standing

    def __init__(self, signer: Signer, public: bytes) -> None:
        self.public = public
        self._signer = signer
        self._made: OrderedDict[bytes, bytes] = OrderedDict()
        self._stand(AskStanding(public))

    @property
    def seq(self) -> int:
        """The highest number that the guard has recorded."""
        return self._standing.seq

    @property
    def floor(self) -> int:
        """``SignGuard.floor``."""
        return self._standing.floor

    @property
    def is_restored(self) -> bool:
        """``SignGuard.is_restored``; nobody else can have changed it."""
        return bool(self._standing.is_restored)

    def next_seq(self) -> int:
        """``Guard.next_seq``; nobody else makes it record."""
        return self._standing.seq + 1

    def record(
        self, kind: bytes, config_digest: bytes, feed_id: bytes, round_id: int, message: bytes
    ) -> None:
        """Returns once the message is on disk as the only one of its slot, and signed; the signer
        reads the slot in the message itself. GuardError otherwise."""
        self._make(message)

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        """``Guard.recall``."""
        return self._ask(Recall(self.public, kind, config_digest, feed_id)) or None

    def record_once(self, kind: bytes, slot: bytes, message: bytes) -> None:
        """``record`` for an expiry or a rotation; the round of an exercise is journalled only."""
        if kind == EXERCISE:
            self._stand(Settle(self.public, slot, int.from_bytes(message)))
        else:
            self._make(message)

    def recall_once(self, kind: bytes, slot: bytes) -> bytes | None:
        """``Guard.recall_once``; what is recalled may be signed again."""
        message = self.recall(kind, slot, ZERO32)
        if message is not None and kind == expiry.MAGIC:
            self._make(message)
        return message

    def sign(self, message: bytes) -> bytes:
        """The signature of the 32-byte hash of what was just recorded or recalled. GuardError for
        any other: nothing is signed that was not journalled first."""
        try:
            return self._made.pop(message)
        except KeyError:
            raise GuardError(
                f"hash {message.hex()}: a message is recorded before it is signed"
            ) from None

    def beat(self, heartbeat: Heartbeat) -> bytes:
        """The signature of a heartbeat, which needs no guard."""
        return self._ask(Sign(self.public, heartbeat.encode()))[:SIGNATURE]

    def require_seq(self, peers_seq: int, round_id: int | None = None) -> None:
        """``SignGuard.require_seq``."""
        self._stand(Require(self.public, peers_seq, round_id))

    def resume(self, peers_seq: int, floor: int) -> None:
        """``SignGuard.resume``."""
        self._stand(Resume(self.public, peers_seq, floor))

    def meet(self, standing: bytes) -> None:
        """The guard of a signer that has come back. GuardError if it has forgotten something."""
        found: Standing = STANDING.decode(standing)
        if found.is_restored and not self.is_restored:
            raise GuardError(
                "the signer's guard was restored from a backup: this node has to start again and"
                " ask its peers"
            )
        self._standing = found

    def _stand(self, request: AskStanding | Settle | Require | Resume) -> None:
        self._standing = STANDING.decode(self._ask(request))

    def _make(self, message: bytes) -> None:
        data = self._ask(Sign(self.public, message))
        self._standing = replace(self._standing, seq=int.from_bytes(data[SIGNATURE:]))
        self._made[signing.digest(signing.decode(message))] = data[:SIGNATURE]
        while len(self._made) > _UNUSED:
            self._made.popitem(last=False)

    def _ask(self, request: Request) -> bytes:
        return self._signer.ask(Role.GUARD, request)


class IdentityKey:
    """An identity key, in the signer: the ``Sealer`` of a ``Transport``."""

    def __init__(self, signer: Signer, public: bytes) -> None:
        self.public = public
        self._signer = signer

    def seal(self, envelope: bytes) -> bytes:
        """The signature of a frame. SignerError while the signer does not answer."""
        return self._signer.ask(Role.FRAMES, Seal(self.public, envelope))
