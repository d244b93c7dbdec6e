"""The assembler tracks what it writes; its bounds are exact; mistakes are refused."""

from random import Random

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import number_bytes, parse_number, script
from protocol.dispute.assembler import OPERANDS, Assembler, Item
from protocol.dispute.interpreter import run, stack_bound
from protocol.errors import ScriptError
from tests.builders.scripts import core_holds, holds


def test_the_example_of_the_module() -> None:
    asm = Assembler(["a", "b"])
    a, b = asm.stack
    total = asm.op(Op.ADD, asm.copy(a), b)
    asm.verify(Op.NUMEQUAL, total, 7)
    assert asm.layout() == "a"
    code = asm.finish()
    assert code == script(Op.OVER, Op.ADD, 7, Op.NUMEQUALVERIFY, Op.DROP, 1)
    assert holds(code, [3, 4]) and not holds(code, [3, 5])


@pytest.mark.parametrize("seed", range(60))
def test_values_stay_what_they_are_wherever_they_lie(seed: int) -> None:
    """Random moves, copies and drops: each tracked value is the one that the run finds there."""
    rng = Random(seed)
    count = rng.randint(2, 30)
    values = {}
    asm = Assembler(f"v{n}" for n in range(count))
    for n, item in enumerate(asm.stack):
        values[item] = 100 + n
    for _ in range(40):
        choice = rng.choice(["copy", "bring", "drop", "alt", "push", "add", "back"])
        some = rng.sample(asm.stack, rng.randint(0, min(4, len(asm.stack))))
        if choice == "copy" and some:
            values[asm.copy(some[0])] = values[some[0]]
        elif choice == "bring":
            asm.bring(*some)
            assert asm.stack[len(asm.stack) - len(some) :] == some
        elif choice == "drop" and len(asm.stack) > 6:
            asm.drop(*some)
        elif choice == "alt" and len(asm.stack) > 6:
            asm.to_alt(*some)
            assert asm.alt[len(asm.alt) - len(some) :] == some[::-1]
        elif choice == "push":
            number = rng.choice([-1, 0, 1, 16, 17, 128, 70_000])
            values[asm.push(number)] = number
        elif choice == "add" and len(some) > 1:
            values[asm.op(Op.ADD, some[0], some[1])] = values[some[0]] + values[some[1]]
        elif choice == "back" and asm.alt:
            asm.from_alt(1)
    ran = run(asm.code(), [number_bytes(100 + n) for n in range(count)])
    assert ran.numbers() == [values[item] for item in asm.stack]
    assert [parse_number(item) for item in ran.alt] == [values[item] for item in asm.alt]
    assert ran.peak == stack_bound(count, asm.code()).peak


@pytest.mark.parametrize("op", [op for op, takes in OPERANDS.items() if takes == 2])
@pytest.mark.parametrize("shape", ["xy", "yx", "x5", "5x", "x1", "xx"])
def test_operands_keep_their_order(op: Op, shape: str) -> None:
    """Swapped, mirrored or fused with a constant: the result is that of the operation as named."""
    for x, y in [(3, 9), (9, 3), (5, 5), (0, 1), (1, 1), (5, 1)]:
        asm = Assembler(["x", "y", "expected"])
        first, second, expected = asm.stack
        named: dict[str, tuple[Item | int, Item | int]] = {
            "xy": (first, second),
            "yx": (second, first),
            "x5": (first, 5),
            "5x": (5, first),
            "x1": (first, 1),
            "xx": (first, asm.copy(first) if shape == "xx" else first),
        }
        operands = named[shape]
        result = asm.op(op, *operands)
        asm.verify(Op.EQUAL, result, expected)
        numbers = [{first: x, second: y}.get(o, x) if isinstance(o, Item) else o for o in operands]
        right = run(script(*numbers, op), []).stack[0]
        code = asm.finish()
        assert holds(code, [x, y, right])
        assert not holds(code, [x, y, right + b"\x01"])


@pytest.mark.parametrize("fused", [True, False])
def test_verify(fused: bool) -> None:
    asm = Assembler(["a", "b"])
    asm.verify(Op.NUMEQUAL if fused else Op.LESSTHAN, *asm.stack)
    code = asm.finish()
    assert holds(code, [2, 2] if fused else [2, 3])
    assert not holds(code, [2, 3] if fused else [2, 2])
    assert len(code) == 2 if fused else 3


def test_a_branch_joins_what_both_ways_return() -> None:
    asm = Assembler(["x", "y", "flag", "expected"])
    x, y, flag, expected = asm.stack
    (result,) = asm.branch(flag, lambda: [asm.op(Op.ADD, x, y)], lambda: [asm.op(Op.SUB, x, y)])
    asm.verify(Op.NUMEQUAL, result, expected)
    code = asm.finish()
    assert holds(code, [9, 4, 1, 13]) and holds(code, [9, 4, 0, 5])
    assert not holds(code, [9, 4, 1, 5]) and not holds(code, [9, 4, 2, 13])
    assert not holds(code, [9, 4, b"\x01\0", 13])


def test_a_branch_whose_ways_differ_is_refused() -> None:
    asm = Assembler(["x", "y", "flag"])
    x, y, flag = asm.stack
    with pytest.raises(ScriptError, match="as many"):
        asm.branch(flag, lambda: [x], lambda: [x, y])
    asm = Assembler(["x", "y", "flag"])
    x, y, flag = asm.stack
    with pytest.raises(ScriptError, match="in place"):
        asm.branch(flag, lambda: [x], lambda: [y])


@pytest.mark.parametrize("size", [1, 2, 15, 17, 48, 130, 256])
def test_every_index_of_a_table(size: int) -> None:
    values = [(7 * n) % 300 - 20 for n in range(size)]
    asm = Assembler(["index", "expected"])
    index, expected = asm.stack
    table = asm.table(values)
    asm.verify(Op.NUMEQUAL, asm.look_up(table, index), expected)
    asm.drop(*table.entries)
    code = asm.finish()
    for n, value in enumerate(values):
        assert core_holds(code, [number_bytes(n), number_bytes(value)])
        assert not core_holds(code, [number_bytes(n), number_bytes(value + 1)])


def test_a_value_is_used_once() -> None:
    asm = Assembler(["a", "b"])
    a, b = asm.stack
    asm.op(Op.ADD, a, b)
    with pytest.raises(ScriptError, match="consumed"):
        asm.copy(a)
    (total,) = asm.stack
    asm.to_alt(total)
    with pytest.raises(ScriptError, match="altstack"):
        asm.copy(total)
    with pytest.raises(ScriptError, match="twice"):
        Assembler([a]).drop(a, a)
    with pytest.raises(ScriptError, match="operands"):
        Assembler(["a"]).op(Op.ADD, 1)
    with pytest.raises(ScriptError, match="takes 2"):
        Assembler(["a"]).raw(script(Op.ADD), 2, ["sum"])


def test_the_limit_is_proved_at_build_time() -> None:
    """1000 values pass, 1001 do not, in Core as here; the altstack counts."""
    for witness, alt, fits in [
        (998, 0, True),
        (999, 0, False),
        (990, 300, True),
        (999, 300, False),
    ]:
        asm = Assembler(f"w{n}" for n in range(witness))
        asm.to_alt(*asm.stack[len(asm.stack) - alt :])
        asm.push(1)
        asm.push(2)
        if not fits:
            with pytest.raises(ScriptError, match="1000"):
                asm.finish()
            continue
        code = asm.finish()
        assert stack_bound(witness, code).peak == 1000 if alt == 0 else 992
        assert core_holds(code, [b"\x01"] * witness)


def test_tracking_that_went_wrong_is_noticed() -> None:
    asm = Assembler(["a"])
    asm.raw(script(Op.DUP), 1, ["one too few"])
    with pytest.raises(ScriptError, match="tracking"):
        asm.finish()
