"""Every leaf of the settlement program's dispute within the limits of consensus and of policy.

Bitcoin Core: 1000 values on both stacks, the witness included; 520 bytes a value; a signature check
for every 50 bytes of witness (BIP342); and to be relayed 80 bytes an item of a tapscript's witness
(MAX_STANDARD_TAPSCRIPT_STACK_ITEM_SIZE), 400,000 weight units a transaction, 10,000 vB under TRUC.
"""

from collections.abc import Iterator
from functools import lru_cache, partial

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import number_bytes, operations, push_data
from protocol.bitcoin.tx import weight
from protocol.crypto.winternitz import ELEMENT_BYTES, OneTimePublicKey, checksum_size
from protocol.dispute.leaves import catalog, execute, moves, verdict_assert
from protocol.dispute.leaves.execute import Borders
from protocol.dispute.leaves.template import Guard, Template, verified
from tests.builders.guest import guest_premises
from tests.builders.scripts import spend

BOTH, ALONE = Guard((bytes([1]) * 32, bytes([2]) * 32), 144), Guard((bytes([1]) * 32,), 144)
SIGNATURE_BYTES = 64
CONTROL_BLOCK_BYTES = 32 * 11
"""What a tree of up to 2^11 leaves adds to a control block."""

WIDEST = number_bytes(15)
EMPTY_SPEND = weight(spend(b"", [])) + 2 + CONTROL_BLOCK_BYTES
"""With the longer count of items and length of the leaf."""


@lru_cache(maxsize=64)
def key_of(digits: int) -> OneTimePublicKey:
    return OneTimePublicKey(digits, (bytes(ELEMENT_BYTES),) * (digits + checksum_size(digits)))


def presigned(width: int, log4_steps: int) -> Iterator[Template]:
    """What both sign before the contract: at most 10,000 vB each."""
    premises = guest_premises(width, log4_steps)
    borders = Borders.of(premises)
    yield from (execute.template(name, borders) for name in execute.names())
    yield from (moves.reveal(width, turn) for turn in range(1, log4_steps))
    yield moves.reveal_block(log4_steps)
    yield from (moves.digit(log4_steps, turn) for turn in range(1, log4_steps + 1))
    for shape in verdict_assert.shapes(log4_steps, width):
        path = verdict_assert.assert_path(shape)
        yield from [path] if path else []
        yield from verdict_assert.assert_leaves(shape)


def alone(width: int, log4_steps: int) -> Iterator[Template]:
    """What one side signs when it spends: relayed by default."""
    yield from catalog.verdict_leaves(guest_premises(width, log4_steps))
    for shape in verdict_assert.shapes(log4_steps, width):
        if shape.child == 0:
            yield from verdict_assert.refute_leaves(shape)


def measured(template: Template, guard: Guard) -> int:
    """The weight of a spend of the leaf; ScriptError if its stack can overflow."""
    keys = {message: key_of(message.digits) for message in template.messages}
    code = template.script(guard, keys)
    chains = sum(len(key.ends) for key in keys.values())
    items = [bytes(SIGNATURE_BYTES)] * len(guard.keys) + [WIDEST] * template.hints
    items += [bytes(ELEMENT_BYTES), WIDEST] * chains
    assert len(items) == template.witness_items + len(guard.keys)
    assert max(map(len, items)) <= 80
    checks = sum(map(signature_checks, template.filled(guard, partial(verified, keys))))
    assert checks == len(guard.keys)
    assert sum(map(len, items)) + len(code) + 50 >= 50 * checks
    return EMPTY_SPEND + sum(len(item) + 1 for item in items) + len(code)


@lru_cache(maxsize=4096)
def signature_checks(part: bytes) -> int:
    """How many there are; what a part pushes is pushed in its shortest form, and no too long."""
    count = 0
    for opcode, data in operations(part):
        count += opcode in (Op.CHECKSIG, Op.CHECKSIGVERIFY)
        assert data is None or (len(data) <= 520 and push_data(data)[0] == opcode)
    return count


SHAPES = pytest.mark.parametrize(
    ("width", "log4_steps"),
    [(20, 12), (32, 12), (32, 15)],
)


@SHAPES
def test_presigned_leaves(width: int, log4_steps: int) -> None:
    """Beside the leaf a transaction has outputs and an anchor: 1,000 units are left for them."""
    sizes = {t.name: measured(t, BOTH) for t in presigned(width, log4_steps)}
    assert len(sizes) > 58 + 2 * log4_steps
    assert max(sizes.values()) <= 40_000 - 1_000, max(sizes, key=sizes.__getitem__)


@SHAPES
def test_leaves_that_one_side_spends(width: int, log4_steps: int) -> None:
    sizes = {t.name: measured(t, ALONE) for t in alone(width, log4_steps)}
    assert len(sizes) > 400
    assert max(sizes.values()) < 400_000, max(sizes, key=sizes.__getitem__)
    small = [size for name, size in sizes.items() if not hashes(name)]
    assert max(small) < 20_000


def hashes(name: str) -> bool:
    return name.startswith(("NODE", "BLOCK", "REFUTE")) or (
        name.startswith("OPEN") and not name.startswith("OPEN near")
    )
