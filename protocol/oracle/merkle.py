"""The oracle's Merkle tree: tagged leaves and nodes, an odd node is promoted unchanged."""

from collections.abc import Sequence

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError


def leaf(data: bytes) -> bytes:
    """The leaf hash of ``data``."""
    return tagged_hash("btcfi/merkle/leaf/v1", data)


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two children."""
    return tagged_hash("btcfi/merkle/node/v1", left + right)


def root(leaves: Sequence[bytes]) -> bytes:
    """The root of leaf hashes in order; a single leaf is its own root. EncodingError if empty."""
    if not leaves:
        raise EncodingError("merkle tree needs at least one leaf")
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
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
    pairs = [node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + level[len(pairs) * 2 :]
