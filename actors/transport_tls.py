"""TLS keys of operators: what a roster pins, who presents it, and certificates made here.

A pin is the SHA-256 of a key's SubjectPublicKeyInfo (RFC 7469): it outlives a renewed certificate.
Whom a pinned key belongs to is said by the roster, so a self-signed certificate is as good as any;
names and dates in it are not looked at.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from actors.keyfile import write_new
from protocol.errors import ConfigError

DAYS: Final = 3650
"""What a certificate made here is valid for, before those who look at dates."""
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What certificates can be that others have made."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says: the pin of its key, its names, and its last second (unix s)."""

    pin: bytes
    names: tuple[str, ...]
    expires_s: int


def read_certificate(path: Path) -> Certificate:
    """The first certificate in a PEM file; ConfigError if there is none."""
    try:
        return _described(x509.load_pem_x509_certificate(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except _UNREADABLE as error:
        raise ConfigError(f"{path}: holds no certificate in PEM ({error})") from None


def pin_of(der: bytes) -> bytes:
    """The pin of the key in a certificate; ConfigError if it is none."""
    try:
        return _pin(x509.load_der_x509_certificate(der))
    except _UNREADABLE as error:
        raise ConfigError(f"no certificate ({error})") from None


def pin_fault(tls: ssl.SSLObject | None, pin: bytes) -> str | None:
    """Why the peer of a TLS connection is not the one with the pinned key; None if it is. That it
    holds the key of its certificate it has proved in the handshake of TLS."""
    der = None if tls is None else tls.getpeercert(binary_form=True)
    try:
        found = pin_of(der) if der else b""
    except ConfigError as error:
        return f"its TLS certificate is unreadable: {error}"
    if found == pin:
        return None
    return (
        f"its TLS key is {found.hex() or 'none'}, not the pinned {pin.hex()}: ask its operator for"
        " the new tls_key, if there is one; nothing was said to whoever answers there"
    )


def require_pin(path: Path, pin: bytes) -> None:
    """ConfigError if the certificate in ``path`` is not of the key that the roster pins."""
    found = read_certificate(path).pin
    if found != pin:
        raise ConfigError(
            f"tls.cert: {path}: its key is {found.hex()}, the roster pins {pin.hex()}: bring back"
            " the key of that pin, or have all operators change tls_key and tls_proof"
        )


def pinned_context() -> ssl.SSLContext:
    """To dial peers whose key is pinned; the caller asks ``pin_fault`` before it says a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def create_certificate(folder: Path, host: str) -> Certificate:
    """A new P-256 key (``tls-key.pem``, mode 600) and its self-signed certificate (``tls.pem``) for
    a host name or address. ConfigError if a file is there already or cannot be written."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(folder / "tls-key.pem", secret)
    write_new(folder / "tls.pem", certificate.public_bytes(Encoding.PEM))
    return _described(certificate)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pin(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _described(certificate: x509.Certificate) -> Certificate:
    names: list[Any] = []
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [name.value for name in extension.value]
    except x509.ExtensionNotFound:
        pass
    expires_s = int(certificate.not_valid_after_utc.timestamp())
    return Certificate(_pin(certificate), tuple(str(name) for name in names), expires_s)
