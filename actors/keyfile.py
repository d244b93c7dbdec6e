"""Key files: one hex secret a file, one file a purpose, readable by its owner alone.

Keys travel as paths, never as values; no message here ever holds what a file contains.
"""

import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from actors.files import sync_folder, write_all
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, SignatureError

_HEX: Final = re.compile(rb"[0-9a-fA-F]{64}\n?")
_READ: Final = 80
"""Enough to see that a file is longer than a key."""


def create_key(path: Path) -> SecretKey:
    """A fresh key in a new file with mode 0600; ConfigError if the file exists already."""
    secret = SecretKey.random_secret(secrets.token_bytes)
    write_secret(path, secret)
    return SecretKey(secret)


def write_secret(path: Path, secret: bytes) -> None:
    """32 secret bytes into a new file with mode 0600, on disk; ConfigError if it exists."""
    write_new(path, secret.hex().encode() + b"\n")


def write_new(path: Path, data: bytes) -> None:
    """``data`` into a new file with mode 0600, on disk; ConfigError if it exists."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists: a key is never overwritten; move it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: no key written ({error.strerror})") from None
    try:
        write_all(fd, data)
        os.fsync(fd)
        sync_folder(path.parent)
    except OSError as error:
        path.unlink()
        raise ConfigError(f"{path}: no key written ({error.strerror})") from None
    finally:
        os.close(fd)


def load_key(path: Path) -> SecretKey:
    """The key in ``path``. ConfigError when it is missing, a symbolic link, open to others, not
    ours, or not exactly 64 hex digits."""
    try:
        return SecretKey(bytes.fromhex(_read(path).decode()))
    except SignatureError:
        raise ConfigError(f"{path} holds a number that is no key: create a new one") from None


def load_seed(path: Path) -> bytes:
    """The 32 secret bytes in a file that ``create_key`` made; errors as ``load_key``."""
    return bytes.fromhex(_read(path).decode())


def load_keys(paths: Mapping[str, Path], publics: Mapping[str, bytes]) -> dict[str, SecretKey]:
    """The keys by purpose; several of one purpose are "oracle", "oracle[1]", ... ConfigError names
    the purpose if a key cannot be read or serves two, or if none of it is the one of ``publics``
    (x-only, by purpose, as the roster has it)."""
    loaded: dict[str, SecretKey] = {}
    owners: dict[bytes, str] = {}
    for purpose, path in paths.items():
        try:
            key = load_key(path)
        except ConfigError as error:
            raise ConfigError(f"[keys] {purpose}: {error}") from None
        if key.public in owners:
            raise ConfigError(
                f"[keys] {purpose}: the same key as {owners[key.public]}; one key a purpose"
            )
        owners[key.public] = purpose
        loaded[purpose] = key
    for purpose, expected in publics.items():
        held = keys_of(loaded, purpose)
        if held and expected not in [key.public for key in held]:
            raise ConfigError(
                f"[keys] {purpose}: {paths[purpose]} holds {held[0].public.hex()}, the roster says"
                f" {expected.hex()}: name the file of that key"
            )
    return loaded


def keys_of(loaded: Mapping[str, SecretKey], purpose: str) -> list[SecretKey]:
    """All keys of one purpose."""
    return [key for name, key in loaded.items() if name.partition("[")[0] == purpose]


def _read(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path} is no readable key file ({error.strerror})") from None
    try:
        status = os.fstat(fd)
        data = os.read(fd, _READ) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(fd)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise ConfigError(f"{path} belongs to user {status.st_uid}: run as its owner, or chown it")
    if mode & 0o077:
        raise ConfigError(f"{path} has mode {mode:o}: others can read the key; chmod 600 it")
    if not _HEX.fullmatch(data):
        raise ConfigError(f"{path} does not hold one secret key of 64 hex digits")
    return data
