"""Key files: one hex secret, readable by its owner alone. Keys travel as paths, never as values."""

import os
import secrets
from pathlib import Path

from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, SignatureError


def create_key(path: Path) -> SecretKey:
    """A fresh key in a new file with mode 0600; ConfigError if the file exists already."""
    secret = SecretKey.random_secret(secrets.token_bytes)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} exists: a key is never overwritten; move it") from None
    with os.fdopen(handle, "w") as file:
        file.write(secret.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return SecretKey(secret)


def load_key(path: Path) -> SecretKey:
    """The key in ``path``; ConfigError when it is missing, open to others or not 64 hex digits."""
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no readable key file ({type(error).__name__})") from None
    if mode & 0o077:
        raise ConfigError(f"{path} has mode {mode:o}: others can read the key; chmod 600 it")
    try:
        return SecretKey(bytes.fromhex(text))
    except (ValueError, SignatureError):
        raise ConfigError(f"{path} does not hold one secret key of 64 hex digits") from None
