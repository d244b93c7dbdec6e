"""The Merkle tree against its definition, and its paths against every other position."""

import pytest

from protocol.errors import EncodingError
from protocol.oracle.merkle import leaf, node, path, root, root_from_path

LEAVES = [leaf(bytes([i])) for i in range(9)]


def test_shapes_by_hand() -> None:
    a, b, c, d, e = LEAVES[:5]
    assert root([a]) == a
    assert root([a, b]) == node(a, b)
    assert root([a, b, c]) == node(node(a, b), c)
    assert root([a, b, c, d, e]) == node(node(node(a, b), node(c, d)), e)


def test_leaves_are_no_nodes() -> None:
    assert leaf(LEAVES[0] + LEAVES[1]) != node(LEAVES[0], LEAVES[1])


@pytest.mark.parametrize("count", range(1, 10))
def test_paths(count: int) -> None:
    leaves = LEAVES[:count]
    for index in range(count):
        siblings = path(leaves, index)
        assert root_from_path(leaves[index], index, count, siblings) == root(leaves)
        for other in range(count):
            if other != index:
                assert root_from_path(leaf(b"?"), index, count, siblings) != root(leaves)
        with pytest.raises(EncodingError, match="siblings too many"):
            root_from_path(leaves[index], index, count, (*siblings, bytes(32)))
        if siblings:
            with pytest.raises(EncodingError, match="too short"):
                root_from_path(leaves[index], index, count, siblings[:-1])


def test_positions_outside() -> None:
    with pytest.raises(EncodingError, match="at least one leaf"):
        root([])
    for index in (-1, 3):
        with pytest.raises(EncodingError, match="outside 3 leaves"):
            path(LEAVES[:3], index)
        with pytest.raises(EncodingError, match="outside 3 leaves"):
            root_from_path(LEAVES[0], index, 3, ())
