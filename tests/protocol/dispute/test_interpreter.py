"""The interpreter against Bitcoin Core's on random scripts, and exact stack bounds."""

from random import Random

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.dispute.interpreter import effect, run, satisfied, stack_bound
from protocol.errors import ScriptError
from tests.builders.scripts import core_holds

PLAIN = [
    *(Op.DUP, Op.DROP, Op.SWAP, Op.OVER, Op.ROT, Op.TUCK, Op.NIP, Op.DUP2, Op.DUP3, Op.DROP2),
    *(Op.OVER2, Op.SWAP2, Op.PICK, Op.ROLL, Op.DEPTH, Op.SIZE, Op.TOALTSTACK, Op.FROMALTSTACK),
    *(Op.ADD1, Op.SUB1, Op.NEGATE, Op.ABS, Op.NOT, Op.NOTEQUAL0, Op.ADD, Op.SUB, Op.BOOLAND),
    *(Op.BOOLOR, Op.NUMEQUAL, Op.NUMNOTEQUAL, Op.LESSTHAN, Op.GREATERTHAN, Op.LESSTHANOREQUAL),
    *(Op.GREATERTHANOREQUAL, Op.MIN, Op.MAX, Op.WITHIN, Op.EQUAL, Op.HASH160, Op.SHA256),
    *(Op.VERIFY, Op.EQUALVERIFY, Op.NUMEQUALVERIFY, Op.NOP, Op.IF, Op.NOTIF, Op.ELSE, Op.ENDIF),
]
WITNESS_ITEMS = [
    b"",
    b"\x01",
    b"\x02",
    b"\x81",
    b"\x80",
    b"\0",
    b"\x05\0",
    b"\xff\xff\xff\x7f",
    b"abcde",
]


def test_random_scripts_end_as_in_core() -> None:
    """Most fail somewhere; the verdicts agree, and some of them are that the spend is good."""
    rng = Random(75)
    good = 0
    for _ in range(4_000):
        parts: list[Op | int | bytes] = [
            rng.choice(PLAIN) if rng.random() < 0.75 else rng.randint(-2, 3)
            for _ in range(rng.randint(1, 10))
        ]
        if rng.random() < 0.5:
            parts += [Op.TOALTSTACK, *[Op.DROP] * rng.randint(0, 4), Op.FROMALTSTACK]
        witness = [rng.choice(WITNESS_ITEMS) for _ in range(rng.randint(0, 5))]
        code = script(*parts)
        ours = satisfied(code, witness)
        assert core_holds(code, witness) == ours, (code.hex(), witness)
        good += ours
    assert good > 50


def test_a_bound_is_the_peak_of_every_way() -> None:
    code = script(Op.IF, 1, 2, 3, Op.DROP2, Op.ELSE, 1, Op.ENDIF, Op.TOALTSTACK)
    bound = stack_bound(2, code)
    assert (bound.peak, bound.left, bound.alt_left) == (4, 1, 1)
    assert run(code, [b"", b"\x01"]).peak == 4
    assert run(code, [b"", b""]).peak == 2


def test_the_effect_of_parts_is_that_of_the_whole() -> None:
    rng = Random(76)
    simple = [op for op in PLAIN if op not in (Op.IF, Op.NOTIF, Op.ELSE, Op.ENDIF)]
    for _ in range(300):
        pieces = [script(*rng.choices(simple, k=rng.randint(0, 8))) for _ in range(3)]
        first, second, third = map(effect, pieces)
        assert first.then(second).then(third) == effect(b"".join(pieces))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((Op.IF, 1, Op.ENDIF), "different numbers"),
        ((Op.IF, 1, Op.ELSE, 1, 1, Op.ENDIF), "different numbers"),
        ((Op.IF, Op.ELSE, Op.ELSE, Op.ENDIF), "different numbers"),
        ((Op.IF,), "no ENDIF"),
        ((Op.ENDIF,), "without its IF"),
        ((Op.CHECKSIGADD,), "not known"),
        ((Op.ADD, Op.ADD), "more values"),
        ((Op.FROMALTSTACK,), "more values"),
    ],
)
def test_what_has_no_bound(parts: tuple[Op | int, ...], reason: str) -> None:
    with pytest.raises(ScriptError, match=reason):
        stack_bound(2, script(*parts))


def test_a_failure_names_its_place() -> None:
    with pytest.raises(ScriptError, match="operation 2, NUMEQUALVERIFY: not true"):
        run(script(1, 2, Op.NUMEQUALVERIFY), [])
    with pytest.raises(ScriptError, match="operation 1, PICK: nothing lies 5 below"):
        run(script(5, Op.PICK), [b""])
    with pytest.raises(ScriptError, match="operation 0, CHECKSIG: the signature is not good"):
        run(script(Op.CHECKSIG), [b"\x01" * 64, b"\x02" * 32])


def test_signatures_are_the_callers() -> None:
    code = script(b"\x02" * 32, Op.CHECKSIGVERIFY, 1)
    assert satisfied(code, [b"good"], lambda signature, key: signature == b"good")
    assert not satisfied(code, [b"bad"], lambda signature, key: signature == b"good")
    assert not satisfied(code, [b""])
    assert run(script(b"\x02" * 32, Op.CHECKSIG), [b""]).stack == [b""]
