"""The commitment: the sparse tree, openings, and everything an opening's verifier must refuse."""

from dataclasses import replace
from random import Random

import pytest

from riscv_vm.image import ImageError
from riscv_vm.isa import HALT, NOWRITE, TRAP
from riscv_vm.record import BLOCK_RECORDS, Record, absorbing, encode_block
from riscv_vm.tree import (
    Opening,
    SparseTree,
    block_node,
    check_opening,
    check_width,
    join,
    open_step,
    root_level,
    subtree,
)

WIDTHS = (20, 32)


def random_records(rng: Random, count: int, end: int | None = HALT) -> list[Record]:
    records = [Record(*(rng.getrandbits(32) for _ in range(3))) for _ in range(count)]
    return [*records[:-1], absorbing(end)] if end else records


def full_tree(records: list[Record], log4_steps: int, width: int) -> list[list[bytes]]:
    """Every node of every level, the plain way."""
    tail = [absorbing(records[-1].next_pc)] * (4**log4_steps - len(records))
    everything = [*records, *tail]
    nodes = [
        block_node(encode_block(everything[at : at + BLOCK_RECORDS]), width)
        for at in range(0, len(everything), BLOCK_RECORDS)
    ]
    levels = [nodes]
    while len(nodes) > 1:
        nodes = [join(a, b) for a, b in zip(nodes[::2], nodes[1::2], strict=True)]
        levels.append(nodes)
    return levels


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("log4_steps", [1, 2, 3, 4])
@pytest.mark.parametrize("end", [HALT, TRAP])
def test_a_sparse_tree_is_the_whole_tree(log4_steps: int, width: int, end: int) -> None:
    rng = Random(log4_steps)
    limit = 4**log4_steps
    for count in {1, 3, 4, 5, limit // 2 + 1, limit - 1, limit} & set(range(1, limit + 1)):
        records = random_records(rng, count, end)
        tree = SparseTree(records, log4_steps, width)
        levels = full_tree(records, log4_steps, width)
        assert len(levels) == root_level(log4_steps) + 1
        assert tree.root == levels[-1][0] == subtree(levels[0])
        for level, nodes in enumerate(levels):
            assert [tree.node(level, index) for index in range(len(nodes))] == nodes
        everything = records + [absorbing(end)] * (limit - count)
        for index in range(limit // BLOCK_RECORDS):
            at = BLOCK_RECORDS * index
            assert tree.block(index) == tuple(everything[at : at + BLOCK_RECORDS])


def test_a_full_list_needs_no_sentinel() -> None:
    records = random_records(Random(1), 16, end=None)
    assert SparseTree(records, 2, 20).block(3) == tuple(records[12:])


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "nothing to pad with"),
        ([Record(NOWRITE, 0, 0x1_0000)], "nothing to pad with"),
        ([absorbing(HALT)] * 17, "17 records do not fit into 16"),
    ],
)
def test_impossible_record_lists_are_refused(records: list[Record], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        SparseTree(records, 2, 20)


@pytest.mark.parametrize("width", [0, 19, 21, 33, 64])
def test_other_widths_are_refused(width: int) -> None:
    with pytest.raises(ImageError, match="--width 20 or 32"):
        check_width(width)
    with pytest.raises(ImageError, match="--width 20 or 32"):
        SparseTree([absorbing(HALT)], 1, width)


@pytest.mark.parametrize(("level", "index"), [(-1, 0), (5, 0), (0, 16), (4, 1), (2, -1)])
def test_there_is_nothing_outside_the_tree(level: int, index: int) -> None:
    tree = SparseTree([absorbing(HALT)], 3, 20)
    with pytest.raises(IndexError):
        tree.node(level, index)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("log4_steps", [1, 3])
def test_every_step_opens(log4_steps: int, width: int) -> None:
    records = random_records(Random(2), 4**log4_steps - 3)
    tree = SparseTree(records, log4_steps, width)
    for step in range(4**log4_steps):
        opening = open_step(tree, step)
        expected = records[step] if step < len(records) else absorbing(HALT)
        assert opening.record == expected
        assert check_opening(tree.root, opening)
        data = opening.encode()
        assert len(data) == 7 + 48 + width * root_level(log4_steps)
        assert Opening.decode(data) == opening


def opened() -> tuple[bytes, Opening]:
    tree = SparseTree(random_records(Random(3), 50), 3, 20)
    return tree.root, open_step(tree, 21)


def test_every_flipped_byte_of_an_opening_is_noticed() -> None:
    root, opening = opened()
    data = opening.encode()
    for offset in range(len(data)):
        changed = bytearray(data)
        changed[offset] ^= 0x01
        try:
            other = Opening.decode(bytes(changed))
        except ImageError:
            continue
        same_block = other == replace(opening, step=opening.step ^ 1)
        assert check_opening(root, other) == same_block, f"byte {offset}"


def test_an_opening_is_bound_to_its_place_and_shape() -> None:
    root, opening = opened()
    assert check_opening(root, opening)
    swapped = (opening.siblings[1], opening.siblings[0], *opening.siblings[2:])
    first, second, *others = opening.block
    wrong = (
        replace(opening, step=opening.step + 4),
        replace(opening, step=-1),
        replace(opening, step=64),
        replace(opening, log4_steps=2),
        replace(opening, log4_steps=4),
        replace(opening, log4_steps=0),
        replace(opening, log4_steps=16),
        replace(opening, width=32),
        replace(opening, width=19),
        replace(opening, siblings=opening.siblings[:-1]),
        replace(opening, siblings=(*opening.siblings, bytes(20))),
        replace(opening, siblings=swapped),
        replace(opening, siblings=(opening.siblings[0] + b"\0", *opening.siblings[1:])),
        replace(opening, block=(second, first, others[0], others[1])),
    )
    for other in wrong:
        assert not check_opening(root, other)
    assert not check_opening(root[:-1], opening)
    assert not check_opening(root + b"\0", opening)
    assert not check_opening(b"", opening)
    assert not check_opening(bytes(20), opening)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"", "cut off"),
        (lambda data: data[:6], "cut off"),
        (lambda data: data[:-1], "134 bytes instead of 135"),
        (lambda data: data + b"\0", "136 bytes instead of 135"),
        (lambda data: b"\x02" + data[1:], "version 2"),
        (lambda data: data[:1] + b"\x10" + data[2:], "1 to 15"),
        (lambda data: data[:1] + b"\x00" + data[2:], "1 to 15"),
        (lambda data: data[:2] + b"\x15" + data[3:], "20 or 32"),
        (lambda data: data[:3] + b"\x40\0\0\0" + data[7:], "step 64 of only 4\\^3"),
    ],
)
def test_malformed_openings_are_refused(change, reason: str) -> None:
    _, opening = opened()
    with pytest.raises(ImageError, match=reason):
        Opening.decode(change(opening.encode()))
