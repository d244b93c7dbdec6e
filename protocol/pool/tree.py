"""Bucket trees: what a 32-byte key holds, or that it holds nothing, by opening one bucket.

A key's bucket is its first 16 bits, big-endian. A bucket's leaf is TH("bucket", its datums in
ascending key order, each after its one-byte tag), of an empty one TH("bucket", nothing); a node is
TH("node", left | right); 16 levels up is the root. A bucket holds at most 16 datums.
"""

from collections.abc import Iterator
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from protocol.pool.layout import th

DEPTH: Final = 16
BUCKET_MAX: Final = 16


class Datum(Protocol):
    """What a tree holds."""

    tag: ClassVar[int]

    @property
    def key(self) -> bytes:
        """Its place: 32 bytes."""

    def encode(self) -> bytes:
        """Its bytes without the tag."""


T = TypeVar("T", bound=Datum)


def bucket_of(key: bytes) -> int:
    """The index of the key's bucket."""
    return key[0] << 8 | key[1]


def leaf_hash(bucket: bytes) -> bytes:
    """The leaf of a bucket's bytes."""
    return th("bucket", bucket)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two nodes or leaves."""
    return th("node", left, right)


def _empty_nodes() -> tuple[bytes, ...]:
    nodes = [leaf_hash(b"")]
    for _ in range(DEPTH):
        nodes.append(node_hash(nodes[-1], nodes[-1]))
    return tuple(nodes)


EMPTY: Final = _empty_nodes()
"""The node over nothing at each height, 0 (a leaf) to 16 (the root of an empty tree)."""


class BucketTree(Generic[T]):
    """Datums by key. Writes are cheap; the hashes of what changed are made when one is asked."""

    def __init__(self) -> None:
        self._datums: dict[bytes, T] = {}
        self._buckets: dict[int, list[bytes]] = {}
        self._nodes: list[dict[int, bytes]] = [{} for _ in range(DEPTH + 1)]
        self._stale: set[int] = set()

    def __len__(self) -> int:
        return len(self._datums)

    def __iter__(self) -> Iterator[T]:
        """All datums, keys ascending."""
        return (self._datums[key] for key in sorted(self._datums))

    def get(self, key: bytes) -> T | None:
        """The datum under a key."""
        return self._datums.get(key)

    def has_room(self, key: bytes) -> bool:
        """Whether ``put`` of this key would not overfill its bucket."""
        return key in self._datums or len(self._buckets.get(bucket_of(key), ())) < BUCKET_MAX

    def put(self, key: bytes, datum: T) -> None:
        """Writes ``datum`` under its ``key``, which has room."""
        index = bucket_of(key)
        if key not in self._datums:
            self._buckets.setdefault(index, []).append(key)
        self._datums[key] = datum
        self._stale.add(index)

    def delete(self, key: bytes) -> None:
        """Takes the datum under ``key`` out; KeyError if there is none."""
        del self._datums[key]
        index = bucket_of(key)
        self._buckets[index].remove(key)
        if not self._buckets[index]:
            del self._buckets[index]
        self._stale.add(index)

    def bucket(self, index: int) -> bytes:
        """The bytes of a bucket: tag and datum of each, keys ascending."""
        parts: list[bytes] = []
        for key in sorted(self._buckets.get(index, ())):
            datum = self._datums[key]
            parts += (bytes([datum.tag]), datum.encode())
        return b"".join(parts)

    def node(self, height: int, index: int) -> bytes:
        """The hash ``height`` levels above the leaves, the ``index``-th from the left."""
        self._refresh()
        return self._nodes[height].get(index, EMPTY[height])

    def root(self) -> bytes:
        """The hash over everything."""
        return self.node(DEPTH, 0)

    def _refresh(self) -> None:
        if not self._stale:
            return
        stale = self._stale
        for index in stale:
            self._set(0, index, leaf_hash(self.bucket(index)))
        for height in range(DEPTH):
            below, empty = self._nodes[height], EMPTY[height]
            stale = {index >> 1 for index in stale}
            for index in stale:
                left, right = below.get(2 * index, empty), below.get(2 * index + 1, empty)
                self._set(height + 1, index, node_hash(left, right))
        self._stale = set()

    def _set(self, height: int, index: int, value: bytes) -> None:
        if value == EMPTY[height]:
            self._nodes[height].pop(index, None)
        else:
            self._nodes[height][index] = value
