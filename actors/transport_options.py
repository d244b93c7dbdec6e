"""What an operator sets up a connection with: peers, limits, TLS; and the clock and entropy that
tests replace."""

import ipaddress
import random
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from protocol.errors import ConfigError
from protocol.wire.frame import MAX_SIZE


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Peer:
    """An operator of the roster: its x-only identity key, the URL where it listens (empty if it
    only dials), and the pin of its TLS key (``transport_tls``; None: authorities vouch for it)."""

    identity: bytes
    url: str = ""
    tls_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what a peer can make this process hold, do or wait for. Rates allow one second's
    worth at once; what exceeds them waits in the peer's own socket."""

    frame_bytes: int = MAX_SIZE
    frames_per_s: int = 2_000
    bytes_per_s: int = 16 << 20
    queue_frames: int = 1_024
    queue_bytes: int = 8 << 20
    write_bytes: int = 1 << 18
    """In a connection's write buffer, before frames queue."""
    skew_ms: int = 5_000
    """Between a frame's time and this clock."""
    open_s: float = 5.0
    """To connect and prove the identity."""
    close_s: float = 1.0
    ping_s: float = 1.0
    silence_s: float = 3.0
    """Without a byte from a peer, or without one that it reads, before it counts as gone."""
    retry_s: float = 0.05
    retry_cap_s: float = 2.0
    strangers: int = 64
    """Connections that have not proved an identity; the oldest makes room for a new one."""
    observers: int = 10_000

    def for_observers(self) -> "Limits":
        """The same for one observer: it only answers pings, and if it is slow it gets the newest
        certificate alone."""
        return replace(
            self,
            frames_per_s=10,
            queue_frames=1,
            write_bytes=min(self.write_bytes, 1 << 14),
            ping_s=20.0,
            silence_s=60.0,
        )


@dataclass(frozen=True, slots=True)
class Host:
    """Clock (unix ms), entropy (n bytes) and jitter (uniform between two numbers)."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 10**6
    entropy: Callable[[int], bytes] = secrets.token_bytes
    uniform: Callable[[float, float], float] = random.uniform


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files: the authorities to trust (None: the system's), and the certificate chain
    and key to listen with."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def client(self) -> ssl.SSLContext:
        """The context to dial with; ConfigError names the file that is wrong."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls.ca: {self.ca} holds no certificates ({error})") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def server(self) -> ssl.SSLContext:
        """The context to listen with; ConfigError names the file that is wrong."""
        if self.cert is None or self.key is None:
            raise ConfigError("tls.cert, tls.key: both are needed to listen beyond loopback")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            mode = self.key.stat().st_mode & 0o777
            if mode & 0o077:
                raise ConfigError(f"tls.key: {self.key} has mode {mode:o}; chmod 600 it")
            context.load_cert_chain(self.cert, self.key)
        except OSError as error:  # of which ssl.SSLError is one
            raise ConfigError(f"tls.cert, tls.key: {self.cert}, {self.key}: {error}") from None
        return context


def is_loopback(host: str) -> bool:
    """Whether a host name or address cannot leave this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_address(name: str, text: str) -> Address:
    """The address in the field ``name``; ConfigError unless it is HOST:PORT."""
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port is not None and parts.netloc == text and "@" not in text:
            return Address(parts.hostname, parts.port)
    except ValueError:
        pass
    raise ConfigError(f"{name}: {text!r}: write HOST:PORT, for example 127.0.0.1:7001")


def parse_url(name: str, url: str) -> WebSocketURI:
    """The URL of field ``name``; ConfigError unless it is wss://, or ws:// on loopback."""
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError):
        raise ConfigError(f"{name}: no WebSocket URL; write wss://HOST:PORT") from None
    if uri.user_info is not None:
        raise ConfigError(f"{name}: leave the user and password out, keys identify operators")
    if not uri.secure and not is_loopback(uri.host):
        raise ConfigError(f"{name}: {url} is not encrypted; use wss:// beyond loopback")
    return uri
