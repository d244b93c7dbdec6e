"""Bucket trees against the definition computed over all 65,536 buckets."""

from hashlib import sha256
from random import Random

import pytest

from protocol.pool.account import AccountDatum
from protocol.pool.tree import (
    BUCKET_MAX,
    DEPTH,
    EMPTY,
    BucketTree,
    bucket_of,
    leaf_hash,
    node_hash,
)


def datum(n):
    return AccountDatum(sha256(b"%d" % n).digest(), nonce=n)


def whole_root(datums):
    """The root by docs/pool.md, "State", with nothing left out."""
    buckets = [b""] * 2**DEPTH
    for found in sorted(datums, key=lambda d: d.key):
        buckets[int.from_bytes(found.key[:2])] += bytes([3]) + found.encode()
    level = [leaf_hash(bucket) if bucket else EMPTY[0] for bucket in buckets]
    while len(level) > 1:
        level = [node_hash(*level[i : i + 2]) for i in range(0, len(level), 2)]
    return level[0]


def test_an_empty_tree():
    assert BucketTree().root() == EMPTY[DEPTH] == whole_root([])


def test_the_root_follows_every_change_and_forgets_none():
    tree, rng, held = BucketTree(), Random(1), {}
    for n in range(300):
        found = datum(rng.randrange(60))
        if found.key in held and rng.random() < 0.5:
            tree.delete(found.key)
            del held[found.key]
        else:
            held[found.key] = AccountDatum(found.owner, nonce=n)
            tree.put(found.key, held[found.key])
        if n % 60 == 59:
            assert tree.root() == whole_root(held.values())
    assert list(tree) == [held[key] for key in sorted(held)]
    for key in held:
        tree.delete(key)
    assert tree.root() == EMPTY[DEPTH]
    assert len(tree) == 0
    assert not any(tree._nodes)  # what is empty takes no memory


def test_a_bucket_and_its_path_lead_to_the_root():
    tree = BucketTree()
    for n in range(200):
        tree.put(datum(n).key, datum(n))
    index = bucket_of(datum(7).key)
    node = leaf_hash(tree.bucket(index))
    for height in range(DEPTH):
        sibling = tree.node(height, index ^ 1)
        node = node_hash(sibling, node) if index & 1 else node_hash(node, sibling)
        index >>= 1
    assert node == tree.root()


def test_a_bucket_has_room_for_sixteen():
    tree = BucketTree()
    keys = [b"\x12\x34" + bytes([n]) * 30 for n in range(BUCKET_MAX + 1)]
    for n, key in enumerate(keys[:-1]):
        assert tree.has_room(key)
        tree.put(key, datum(n))
    assert not tree.has_room(keys[-1])
    assert tree.has_room(keys[0])
    assert tree.has_room(b"\x12\x35" + bytes(30))
    tree.delete(keys[3])
    assert tree.has_room(keys[-1])


def test_order_of_arrival_does_not_matter():
    forward, backward = BucketTree(), BucketTree()
    keys = [b"\0\0" + bytes([n]) * 30 for n in range(8)]
    for n in range(8):
        forward.put(keys[n], datum(n))
        backward.put(keys[7 - n], datum(7 - n))
    assert forward.root() == backward.root()


def test_nothing_to_delete():
    with pytest.raises(KeyError):
        BucketTree().delete(bytes(32))
