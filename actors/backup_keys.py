"""The keys of a backup: a map of files in one box that a passphrase opens.

sealed   a fresh 32-byte key under the passphrase (``sealed_seed``: scrypt, authenticated)
         | nonce 12 | ChaCha20-Poly1305 (RFC 8439) of JSON {path: hex}, bound to the digest of the
         manifest: who has no passphrase cannot put other files beside the keys
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from actors.keyfile import write_new
from actors.sealed_seed import seal, unseal
from protocol.errors import ConfigError

KEYS: Final = "keys.sealed"
BOUND: Final = b"oracle-vm backup keys v1"
_SEALED: Final = 1 + 16 + 32 + 32
_NONCE: Final = 12


def seal_keys(files: Mapping[str, Path], passphrase: str, manifest: bytes) -> bytes:
    """The files in a box, beside a manifest of this digest. ConfigError if one cannot be read or
    the passphrase is too short."""
    try:
        found = {name: path.read_bytes().hex() for name, path in files.items()}
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read ({error.strerror})") from None
    key, nonce = secrets.token_bytes(32), secrets.token_bytes(_NONCE)
    box = ChaCha20Poly1305(key).encrypt(nonce, json.dumps(found).encode(), BOUND + manifest)
    return seal(key, passphrase, BOUND) + nonce + box


def unseal_keys(sealed: bytes, passphrase: str, manifest: bytes, into: Path) -> None:
    """Write the files of a box below ``into``, mode 600. ConfigError if the passphrase is wrong or
    box or manifest were changed, EncodingError if it is none."""
    head, nonce, box = sealed[:_SEALED], sealed[_SEALED:][:_NONCE], sealed[_SEALED + _NONCE :]
    key = unseal(head, passphrase, BOUND)
    try:
        found = json.loads(ChaCha20Poly1305(key).decrypt(nonce, box, BOUND + manifest))
    except InvalidTag:
        raise ConfigError(f"{KEYS}: it or the manifest was altered; take another backup") from None
    for name, data in found.items():
        write_new(into / name, bytes.fromhex(data))
