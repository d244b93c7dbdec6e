"""Tagged SHA-256 as BIP340 defines it: ``sha256(sha256(tag) || sha256(tag) || message)``."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_MANY: Final = 32
"""From so many messages on, vector lanes are faster than one call a message."""


@lru_cache(maxsize=64)
def _prefix(tag: str) -> bytes:
    digest = sha256(tag.encode()).digest()
    return digest + digest


def tagged_hash(tag: str, *message: bytes) -> bytes:
    """The 32-byte tagged hash of ``message``, in one part or several, under ``tag`` (BIP340,
    "Design")."""
    state = sha256(_prefix(tag))
    for part in message:
        state.update(part)
    return state.digest()


def tagged_hashes(tag: str, messages: Iterable[bytes]) -> list[bytes]:
    """``tagged_hash`` of each message. The tag is compressed once, not once a message."""
    start = sha256(_prefix(tag)).copy
    digests = []
    for message in messages:
        state = start()
        state.update(message)
        digests.append(state.digest())
    return digests


def tagged_rows(tag: str, rows: Bytes) -> Bytes:
    """``tagged_hash`` of each row of a matrix (message, byte), as a matrix (message, 32)."""
    if len(rows) < _MANY:
        found = tagged_hashes(tag, map(np.ndarray.tobytes, rows))
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)
    # Not at the top: a node of one feed need not load a compiler.
    from protocol.crypto.sha256_lanes import hash_rows

    return hash_rows(_prefix(tag), rows)


def prepare(count: int) -> None:
    """Does now what ``tagged_rows`` of so many rows would do on its first call: it may compile."""
    tagged_rows("", np.zeros((count, 32), dtype=np.uint8))
