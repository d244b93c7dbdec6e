"""Tagged SHA-256 as BIP340 defines it: ``sha256(sha256(tag) || sha256(tag) || message)``."""

from functools import lru_cache
from hashlib import sha256


@lru_cache(maxsize=64)
def _prefix(tag: str) -> bytes:
    digest = sha256(tag.encode()).digest()
    return digest + digest


def tagged_hash(tag: str, message: bytes) -> bytes:
    """The 32-byte tagged hash of ``message`` under ``tag`` (BIP340, "Design")."""
    return sha256(_prefix(tag) + message).digest()
