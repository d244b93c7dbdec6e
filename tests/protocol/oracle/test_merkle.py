"""The Merkle tree against its definition, and its paths against every other position."""

import numpy as np
import pytest

from protocol.errors import EncodingError
from protocol.oracle.merkle import (
    leaf,
    leaves_of,
    node,
    path,
    root,
    root_from_path,
    root_of,
    roots,
)

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


def matrix(hashes: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


@pytest.mark.parametrize("count", [*range(1, 140), 500, 1000])
def test_a_matrix_has_the_root_of_its_leaves(count: int) -> None:
    items = [count.to_bytes(4) + i.to_bytes(4) for i in range(count)]
    rows = np.frombuffer(b"".join(items), np.uint8).reshape(count, 8)
    leaves = [leaf(item) for item in items]
    assert [row.tobytes() for row in leaves_of(rows)] == leaves
    assert root_of(leaves_of(rows)) == root(leaves)


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("trees", [1, 5, 100])
def test_trees_of_one_shape_are_hashed_together(count: int, trees: int) -> None:
    columns = [[leaf(bytes([i]) + k.to_bytes(2)) for k in range(trees)] for i in range(count)]
    expected = [root([column[k] for column in columns]) for k in range(trees)]
    assert [row.tobytes() for row in roots([*map(matrix, columns)])] == expected


def test_a_matrix_without_leaves_has_no_root() -> None:
    with pytest.raises(EncodingError, match="at least one leaf"):
        root_of(np.empty((0, 32), dtype=np.uint8))
    with pytest.raises(EncodingError, match="at least one leaf"):
        roots([])
