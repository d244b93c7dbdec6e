"""A connection between two operators: the handshake of ``protocol.wire.handshake``, then frames."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from actors.logs import event
from actors.transport_options import Host, Limits, Peer
from actors.transport_queue import Meter, Tally
from actors.transport_socket import Socket
from protocol import wire
from protocol.crypto.keys import SecretKey
from protocol.errors import EncodingError, SignatureError, SignerError
from protocol.wire import handshake
from protocol.wire.frame import Frame, require_successor
from protocol.wire.handshake import HELLO, PROOF, Hello

log = logging.getLogger(__name__)

STRANGER: Final = -1
"""The address of a caller that has not named itself."""
COUNTER_SHIFT: Final = 20
"""The first counter of a process is its start time in ms, shifted: later than all of the last."""


@dataclass(slots=True)
class Traffic(Tally):
    """What was exchanged with one peer since the start; ``fault`` is why it is not, or was last
    not, connected."""

    connected: bool = False
    connects: int = 0
    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    unsent: int = 0
    """Frames for it while it was not connected, and frames that were too large."""
    refused: Counter[str] = field(default_factory=Counter)
    """Frames that were not delivered, by reason: "skew", "message"."""
    fault: str | None = None


class Sealer(Protocol):
    """An identity key that another process may hold (``actors.signer_client.IdentityKey``)."""

    @property
    def public(self) -> bytes:
        """The x-only key."""

    def seal(self, envelope: bytes) -> bytes:
        """The signature of a frame. SignerError if there is none now."""


class OwnSealer:
    """An identity key in this process."""

    def __init__(self, key: SecretKey, host: Host) -> None:
        self.public = key.public
        self._key = key
        self._host = host

    def seal(self, envelope: bytes) -> bytes:
        """``Sealer.seal``."""
        return self._key.sign(wire.digest(envelope), self._host.entropy(32))


class Identity:
    """This operator on the network: seals what it says with its identity key."""

    def __init__(self, me: int, key: SecretKey | Sealer, digest: bytes, host: Host) -> None:
        self.me = me
        self.digest = digest
        self.host = host
        self._key = OwnSealer(key, host) if isinstance(key, SecretKey) else key
        self._counter = host.now_ms() << COUNTER_SHIFT

    def seal(self, kind: str, body: bytes) -> bytes:
        """The next frame. EncodingError if it is too large, SignerError if nobody signs it."""
        self._counter += 1
        frame = Frame(
            config=self.digest,
            sender=self.me,
            counter=self._counter,
            time_ms=self.host.now_ms(),
            kind=kind,
            body=body,
        )
        return wire.seal(frame, self._key.seal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """What the links of one process share. ``callers`` may dial us; ``joined`` and ``left`` are
    told of links whose peer is proved, ``receive`` gets what a peer says."""

    identity: Identity
    roster: Mapping[int, Peer]
    callers: frozenset[int]
    limits: Limits
    meters: Mapping[int, Meter]
    traffic: Mapping[int, Traffic]
    joined: Callable[["Link"], None]
    left: Callable[["Link", str], None]
    receive: Callable[[int, Any], None]


class Link:
    """One end of a connection. A dialer knows its ``peer`` from the start; in both directions it
    is proved once ``joined`` was called."""

    def __init__(self, station: Station, peer: int | None = None) -> None:
        self.peer = STRANGER if peer is None else peer
        self._station = station
        self._dials = peer is not None
        self._proved = False
        self._step: Callable[[bytes], Any] = self._take_hello
        self._socket: Socket
        self._hello = b""
        self._session = b""
        self._last: Frame
        self._complaints: set[str] = set()

    def send(self, sealed: bytes) -> None:
        """Puts a sealed frame on the way; never blocks."""
        traffic = self._station.traffic[self.peer]
        traffic.frames_out += 1
        traffic.bytes_out += len(sealed)
        self._socket.send(sealed)

    def close(self, reason: str) -> None:
        """Tells the peer why, and ends the connection."""
        self._socket.close(reason)

    # What the socket calls.

    def opened(self, socket: Socket) -> None:
        """The dialer speaks first."""
        self._socket = socket
        if self._dials:
            try:
                self._say_hello()
            except SignerError as error:
                socket.close(str(error))

    def received(self, data: bytes) -> None:
        """A handshake message or a frame; whatever breaks the rules ends the connection."""
        try:
            message = self._step(data)
        except (EncodingError, SignatureError, SignerError) as error:
            self._socket.close(str(error))
            return
        if message is not None:
            self._station.receive(self.peer, message)

    def ended(self, reason: str) -> None:
        """The connection is over."""
        if self._proved:
            self._station.left(self, reason)
        if self._proved or self._dials:
            self._station.traffic[self.peer].fault = reason

    # The handshake.

    def _say_hello(self) -> None:
        identity = self._station.identity
        hello = Hello(self.peer, identity.host.entropy(32))
        self._hello = identity.seal(HELLO, hello.encode())
        self._socket.send(self._hello)

    def _take_hello(self, data: bytes) -> None:
        station, identity = self._station, self._station.identity
        expected = frozenset({self.peer}) if self._dials else station.callers
        self._last = handshake.read_hello(
            data,
            identity.me,
            identity.digest,
            lambda address: station.roster[address].identity if address in expected else None,
        )
        skew_ms = self._skew_ms(self._last)
        if abs(skew_ms) > station.limits.skew_ms:
            raise EncodingError(f"the clocks differ by {skew_ms} ms: set both by NTP")
        self._step = self._take_proof
        if self._dials:
            self._session = handshake.session_id(self._hello, data)
        else:
            self.peer = self._last.sender
            self._say_hello()
            self._session = handshake.session_id(data, self._hello)
            self._prove()

    def _prove(self) -> None:
        self._socket.send(self._station.identity.seal(PROOF, self._session))

    def _take_proof(self, data: bytes) -> None:
        station = self._station
        key = station.roster[self.peer].identity
        self._last = handshake.read_proof(data, self._last, key, self._session)
        if self._dials:
            self._prove()
        self._step = self._take_frame
        self._proved = True
        self._socket.admit(station.limits, station.meters[self.peer], station.traffic[self.peer])
        station.joined(self)

    # Frames.

    def _take_frame(self, data: bytes) -> Any:
        """The message, or None if the frame is genuine and not acceptable."""
        frame = wire.unseal(data, self._station.roster[self.peer].identity)
        require_successor(frame, self._last)
        self._last = frame
        traffic = self._station.traffic[self.peer]
        traffic.frames_in += 1
        traffic.bytes_in += len(data)
        skew_ms = self._skew_ms(frame)
        if abs(skew_ms) > self._station.limits.skew_ms:
            return self._refuse("skew", f"{skew_ms} ms from this clock")
        try:
            return wire.decode(frame.kind, frame.body)
        except EncodingError as error:
            return self._refuse("message", str(error))

    def _skew_ms(self, frame: Frame) -> int:
        return frame.time_ms - self._station.identity.host.now_ms()

    def _refuse(self, reason: str, detail: str) -> None:
        self._station.traffic[self.peer].refused[reason] += 1
        if reason not in self._complaints:  # one line a connection, whatever the peer does
            self._complaints.add(reason)
            event(log, "frame refused", logging.WARNING, peer=self.peer, reason=reason, what=detail)
