"""Script: bytes and stack items of every gadget and leaf; time to build a contract's leaves.

    python -m tests.bench.script [--json]

A leaf is measured with its keys, as a spend: script, witness, and the weight that both add to a
transaction. Sizes depend on the program's borders and on N; here the settlement guest, N = 4^12.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, balanced, taproot_output
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets import bits, blake3, divide, lookup, multiply, shift, word
from protocol.dispute.gadgets.word import Word
from protocol.dispute.interpreter import effect
from protocol.dispute.leaves import catalog, execute, moves, verdict_assert
from protocol.dispute.leaves.template import Guard, Template
from protocol.dispute.premises import InputLayout, Premises
from riscv_vm.guest import guest_elf
from riscv_vm.image import load_elf
from tests.bench._report import OUT, hardware, say
from tests.builders.leaves import one_time_key, public_keys

LOG4_STEPS = 12
INPUT_BYTES = 324
KEY = bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
ONE, TWO = Guard((KEY,), 1), Guard((KEY, KEY), 1)
SIGNATURE = bytes(64)


def logic(name: str, asm: Assembler, a: Word, b: Word) -> None:
    table = bits.logic_table(asm, name)
    bits.logic(asm, table, a, b)
    bits.drop_table(asm, table)


def by_value(gadget: Callable[..., Word], asm: Assembler, a: Word, b: Word) -> None:
    low, high = b[:2]
    assert isinstance(low, Item) and isinstance(high, Item)
    gadget(asm, a, (*bits.bits(asm, low), bits.bits(asm, high)[0]))


def divided(gadget: Callable[..., Any], asm: Assembler, a: Word, b: Word) -> None:
    gadget(asm, a, b, tuple(asm.stack[: divide.HINT_ITEMS]))


GADGETS: dict[str, Callable[[Assembler, Word, Word], object]] = {
    "add": word.add,
    "subtract": word.subtract,
    "less than, unsigned": word.less_than,
    "less than, signed": word.less_than_signed,
    "equal": word.equal,
    "within two constants": lambda asm, a, b: word.within(asm, a, 0x1_0000, 0x7FFF_FFFC),
    "range check of 8 nibbles": lambda asm, a, b: word.range_checked(asm, word.items(a)),
    "and, or, xor": partial(logic, "xor"),
    "shift left by 13": lambda asm, a, b: shift.shift_left(asm, a, 13),
    "shift right by 13": lambda asm, a, b: shift.shift_right(asm, a, 13),
    "shift left by value": partial(by_value, shift.shift_left_by),
    "shift right by value": partial(by_value, shift.shift_right_by),
    "shift right by value, signed": partial(by_value, shift.shift_right_signed_by),
    "sign extension of a byte": lambda asm, a, b: shift.sign_extend(asm, a[:2]),
    "multiply, low half": lambda asm, a, b: multiply.multiply(asm, a, b, 8),
    "multiply, 64 bits": multiply.multiply,
    "high half, signed": partial(multiply.high_half, signed_a=True, signed_b=True),
    "divide, unsigned": partial(divided, divide.divide),
    "divide, signed": partial(divided, divide.divide_signed),
    "look-up in a page of 64 words": lambda asm, a, b: lookup.require_not_at(
        asm, lookup.Page(0x1_0000, tuple(0x9E37_79B9 * n & 0xFFFF_FFFF for n in range(64))), a, b
    ),
}


def gadget_rows() -> Iterator[dict[str, Any]]:
    """Bytes of each gadget and how many items it adds at most to those that it finds."""
    for name, gadget in GADGETS.items():
        asm = Assembler(f"w{n}" for n in range(32))
        a, b = (tuple(asm.stack[at : at + 8][::-1]) for at in (16, 24))
        gadget(asm, a, b)
        code = asm.code()
        yield {"name": name, "bytes": len(code), "rise": effect(code).rise}
    for size, width in ((40, 20), (48, 20), (48, 32), (64, 32)):
        asm = Assembler(f"m{n}" for n in range(2 * size))
        blake3.blake3(asm, asm.stack, width)
        code = asm.code()
        yield {
            "name": f"BLAKE3 of {size} bytes, {width} kept",
            "bytes": len(code),
            "rise": effect(code).rise,
        }


def leaf_row(template: Template, guard: Guard) -> dict[str, Any]:
    """One leaf with its keys."""
    code = template.script(guard, public_keys(template))
    zeros = {
        m: ((0,) * m.digits, one_time_key(m).sign((0,) * m.digits, {})) for m in template.messages
    }
    hints = [1] * template.hints
    witness = template.witness([SIGNATURE] * len(guard.keys), zeros, hints)
    peak = len(witness) + effect(code).rise
    return {
        "name": template.name,
        "script": len(code),
        "body": len(template.body),
        "witness": sum(1 + len(item) for item in witness),
        "weight": len(code) + sum(1 + len(item) for item in witness),
        "peak": peak,
    }


def measured_leaves(premises: Premises) -> Iterator[tuple[Template, Guard]]:
    """Every EXECUTE leaf and move; of the verdicts one of each size."""
    borders = execute.Borders.of(premises)
    for name in execute.names():
        yield execute.template(name, borders), TWO
    width = premises.width
    forward = [moves.reveal(width, 1), moves.reveal_block(LOG4_STEPS), moves.digit(LOG4_STEPS, 1)]
    deep = next(verdict_assert.shapes(LOG4_STEPS, width))
    path = verdict_assert.assert_path(deep)
    forward += [path] if path else []
    yield from ((template, TWO) for template in (*forward, *verdict_assert.assert_leaves(deep)))
    yield from ((template, ONE) for template in verdict_assert.refute_leaves(deep))
    seen: set[tuple[str, int]] = set()
    for template in catalog.verdict_leaves(premises):
        kind = template.name.split()[0], len(template.body) // 500
        if kind not in seen:
            seen.add(kind)
            yield template, ONE


def build_times(premises: Premises) -> dict[str, Any]:
    """All leaves of one direction with keys, and the two large trees: first time and again."""
    borders = execute.Borders.of(premises)

    def build() -> dict[str, Any]:
        begin = time.perf_counter()
        steps = [execute.template(name, borders) for name in execute.names()]
        verdicts = list(catalog.verdict_leaves(premises))
        assembled = time.perf_counter()
        scripts = [t.script(TWO, public_keys(t)) for t in steps]
        proofs = [t.script(ONE, public_keys(t)) for t in verdicts]
        filled = time.perf_counter()
        for codes in (scripts, proofs):
            taproot_output(NUMS_KEY, balanced([TapLeaf(code) for code in codes]))
        done = time.perf_counter()
        return {
            "execute leaves": len(scripts),
            "verdict leaves": len(proofs),
            "megabytes": sum(map(len, (*scripts, *proofs))) / 1e6,
            "assemble s": assembled - begin,
            "fill in keys s": filled - assembled,
            "trees s": done - filled,
        }

    return {"cold": build(), "warm": build()}


def measure() -> dict[str, Any]:
    """Everything, as JSON."""
    result: dict[str, Any] = {"gadgets": list(gadget_rows())}
    for width in (20, 32):
        say(f"leaves at {width} bytes a node")
        layout = InputLayout.whole(INPUT_BYTES)
        premises = Premises(load_elf(guest_elf("settle")), layout, LOG4_STEPS, width)
        result[f"build_{width}"] = build_times(premises)
        result[f"leaves_{width}"] = [leaf_row(*pair) for pair in measured_leaves(premises)]
    return {**result, "hardware": hardware()}


def show(result: dict[str, Any]) -> None:
    """The tables for a person."""
    for title, rows in result.items():
        if not isinstance(rows, list):
            continue
        columns = list(rows[0])
        print(f"\n{title:34}" + "".join(f"{column:>9}" for column in columns[1:]))
        for row in rows:
            print(f"{row['name']:34}" + "".join(f"{row[column]:9,}" for column in columns[1:]))
    for width in (20, 32):
        for when, numbers in result[f"build_{width}"].items():
            shown = ", ".join(f"{name} {number:,.4g}" for name, number in numbers.items())
            print(f"\n{when}, {width} bytes: {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.script")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    as_json = parser.parse_args().json
    result = measure()
    OUT.mkdir(exist_ok=True)
    (OUT / "script.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result)) if as_json else show(result)


if __name__ == "__main__":
    main()
