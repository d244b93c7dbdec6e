"""A seed under a passphrase, as it lies in a contract file.

    sealed   log2 of scrypt's n u8 | salt 16 | seed XOR pad 32 | tag 32
    keys     64 bytes of scrypt (RFC 7914, r = 8, p = 1) of passphrase and salt: pad, then tag key
    tag      HMAC-SHA256 of bound | everything before the tag

The salt is fresh, so a pad is used once; the tag is checked before anything is decrypted, and
covers what the file says around the seed.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from protocol.errors import ConfigError, EncodingError

LOG_N: Final = 17
"""128 MB and half a second for each guess."""
LOG_N_MAX: Final = 20
SALT: Final = 16
SEED: Final = 32
TAG: Final = 32
PASSPHRASE_MIN: Final = 12
"""Characters; what a thief of the file has to guess."""


def seal(seed: bytes, passphrase: str, bound: bytes, log_n: int = LOG_N) -> bytes:
    """The 32-byte seed, encrypted; ``bound`` is authenticated with it. ConfigError for a passphrase
    that is too short."""
    if len(passphrase) < PASSPHRASE_MIN:
        raise ConfigError(f"passphrase: at least {PASSPHRASE_MIN} characters; five random words do")
    head = bytes([log_n]) + secrets.token_bytes(SALT)
    pad, key = _keys(passphrase, head)
    body = head + bytes(a ^ b for a, b in zip(seed, pad, strict=True))
    return body + hmac.digest(key, bound + body, "sha256")


def unseal(sealed: bytes, passphrase: str, bound: bytes) -> bytes:
    """The inverse; EncodingError for a malformed one, ConfigError if passphrase or file are not
    what they were."""
    if len(sealed) != 1 + SALT + SEED + TAG or not 1 <= sealed[0] <= LOG_N_MAX:
        raise EncodingError("contract file: there is no sealed seed in it; a watcher's file?")
    body, tag = sealed[:-TAG], sealed[-TAG:]
    pad, key = _keys(passphrase, body[: 1 + SALT])
    if not hmac.compare_digest(hmac.digest(key, bound + body, "sha256"), tag):
        raise ConfigError("passphrase: wrong, or the file was changed; try again")
    return bytes(a ^ b for a, b in zip(body[1 + SALT :], pad, strict=True))


def read_passphrase(file: Path) -> str:
    """The first line of a file; ConfigError if it cannot be read."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"passphrase file {file}: cannot be read ({error})") from None
    return lines[0] if lines else ""


def _keys(passphrase: str, head: bytes) -> tuple[bytes, bytes]:
    n = 1 << head[0]
    derived = hashlib.scrypt(
        passphrase.encode(), salt=head[1:], n=n, r=8, p=1, maxmem=256 * 8 * n, dklen=2 * SEED
    )
    return derived[:SEED], derived[SEED:]
