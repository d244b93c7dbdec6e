"""The oracle's Merkle tree: tagged leaves and nodes, an odd node is promoted unchanged."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from protocol.crypto.tagged import Bytes, tagged_hash, tagged_rows
from protocol.errors import EncodingError

DEPTH: Final = 16
"""Siblings in a path, at most: trees here have fewer than 2^16 leaves."""

_LEAF: Final = "btcfi/merkle/leaf/v1"
_NODE: Final = "btcfi/merkle/node/v1"


def leaf(data: bytes) -> bytes:
    """The leaf hash of ``data``."""
    return tagged_hash(_LEAF, data)


def leaves_of(rows: Bytes) -> Bytes:
    """``leaf`` of each row of a matrix (item, byte), as a matrix (item, 32)."""
    return tagged_rows(_LEAF, rows)


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two children."""
    return tagged_hash(_NODE, left + right)


def root(leaves: Sequence[bytes]) -> bytes:
    """The root of leaf hashes in order; a single leaf is its own root. EncodingError if empty."""
    if not leaves:
        raise EncodingError("merkle tree needs at least one leaf")
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def root_of(leaves: Bytes) -> bytes:
    """``root`` of a matrix (leaf, 32)."""
    if not len(leaves):
        raise EncodingError("merkle tree needs at least one leaf")
    level = leaves
    while len(level) > 1:
        pairs = len(level) // 2
        parents = tagged_rows(_NODE, level[: 2 * pairs].reshape(pairs, 64))
        level = np.concatenate((parents, level[2 * pairs :]))
    return level.tobytes()


def roots(columns: Sequence[Bytes]) -> Bytes:
    """The ``root`` of each of many small trees of one shape: ``columns[i][k]`` is leaf i of tree k.
    EncodingError without a column."""
    if not columns:
        raise EncodingError("merkle tree needs at least one leaf")
    level = list(columns)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        parents = [tagged_rows(_NODE, np.concatenate(pair, axis=1)) for pair in pairs]
        level = [*parents, *level[len(parents) * 2 :]]
    return level[0]


def path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The siblings from leaf ``index`` up to the root; a promoted node has none on that level."""
    if not 0 <= index < len(leaves):
        raise EncodingError(f"merkle index {index} is outside {len(leaves)} leaves")
    siblings = []
    level = list(leaves)
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level = _parents(level)
        index //= 2
    return tuple(siblings)


def root_from_path(leaf_hash: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bytes:
    """The root that a leaf at ``index`` of ``count`` and its ``path`` lead to. EncodingError if the
    path has not exactly the length that (index, count) fixes."""
    if not 0 <= index < count:
        raise EncodingError(f"merkle index {index} is outside {count} leaves")
    rest = list(siblings)
    current = leaf_hash
    while count > 1:
        if index ^ 1 < count:
            if not rest:
                raise EncodingError("merkle path is too short")
            sibling = rest.pop(0)
            current = node(sibling, current) if index & 1 else node(current, sibling)
        index //= 2
        count = (count + 1) // 2
    if rest:
        raise EncodingError(f"merkle path has {len(rest)} siblings too many")
    return current


def _parents(level: list[bytes]) -> list[bytes]:
    parents = [node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return parents + level[len(parents) * 2 :]
