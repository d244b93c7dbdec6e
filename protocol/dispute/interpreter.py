"""What a script does: the most it can hold on the stack, and a run on concrete values.

Only the opcodes that our leaves use. Bitcoin Core is the judge; this one says where a script went
wrong, and is compared with Core case by case in the tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import number_bytes, operations, parse_number
from protocol.bitcoin.winternitz_script import MAX_STACK_ITEMS
from protocol.crypto.hashes import hash160, sha256
from protocol.errors import ScriptError

_EFFECTS: Final[dict[int, tuple[int, int]]] = {
    **dict.fromkeys((Op.TOALTSTACK, Op.VERIFY, Op.DROP, Op.IF, Op.NOTIF), (1, 0)),
    **dict.fromkeys((Op.FROMALTSTACK, Op.DEPTH), (0, 1)),
    **dict.fromkeys((Op.NOP, Op.ELSE, Op.ENDIF), (0, 0)),
    **dict.fromkeys((Op.DROP2, Op.EQUALVERIFY, Op.NUMEQUALVERIFY, Op.CHECKSIGVERIFY), (2, 0)),
    **dict.fromkeys((Op.DUP, Op.SIZE), (1, 2)),
    **dict.fromkeys((Op.ADD1, Op.SUB1, Op.NEGATE, Op.ABS, Op.NOT, Op.NOTEQUAL0, Op.PICK), (1, 1)),
    **dict.fromkeys((Op.SHA256, Op.HASH160, Op.CHECKSEQUENCEVERIFY), (1, 1)),
    Op.CHECKLOCKTIMEVERIFY: (1, 1),
    **dict.fromkeys((Op.ROLL,), (1, 0)),
    **dict.fromkeys((Op.ADD, Op.SUB, Op.BOOLAND, Op.BOOLOR, Op.MIN, Op.MAX, Op.EQUAL), (2, 1)),
    **dict.fromkeys((Op.NUMEQUAL, Op.NUMNOTEQUAL, Op.LESSTHAN, Op.GREATERTHAN), (2, 1)),
    **dict.fromkeys((Op.LESSTHANOREQUAL, Op.GREATERTHANOREQUAL, Op.NIP, Op.CHECKSIG), (2, 1)),
    **dict.fromkeys((Op.SWAP,), (2, 2)),
    **dict.fromkeys((Op.OVER, Op.TUCK), (2, 3)),
    Op.DUP2: (2, 4),
    Op.DUP3: (3, 6),
    Op.ROT: (3, 3),
    Op.WITHIN: (3, 1),
    Op.OVER2: (4, 6),
    Op.SWAP2: (4, 4),
}
"""What each opcode takes from the stack and puts there; no opcode here does it by the values."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a piece of script does to the two stacks, wherever they stand when it begins.

    ``takes``: how many values it needs there; ``net``: how many more there are behind it (each for
    the stack and the altstack); ``rise``: the most values, of both together, above the beginning.
    """

    takes: tuple[int, int] = (0, 0)
    net: tuple[int, int] = (0, 0)
    rise: int = 0

    def then(self, other: "Effect") -> "Effect":
        """The effect of this piece and ``other`` behind it."""
        takes = [max(a, b - n) for a, b, n in zip(self.takes, other.takes, self.net, strict=True)]
        net = [a + b for a, b in zip(self.net, other.net, strict=True)]
        rise = max(self.rise, sum(self.net) + other.rise)
        return Effect((takes[0], takes[1]), (net[0], net[1]), rise)


@dataclass(frozen=True, slots=True)
class Bound:
    """The most values at once (both stacks), and how many are left on each at the end."""

    peak: int
    left: int
    alt_left: int


def stack_bound(witness_items: int, *parts: bytes) -> Bound:
    """How many values a script, given in parts, can hold when it starts with ``witness_items``.

    Exact, because both ways of every IF must leave equally many: ScriptError if not, if the script
    takes more than there is, or for an opcode that is not known here. A part has whole IFs.
    """
    whole = reduce(Effect.then, map(effect, parts), Effect())
    if whole.takes[0] > witness_items or whole.takes[1]:
        raise ScriptError(f"the script takes more values than the {witness_items} of its witness")
    return Bound(witness_items + whole.rise, witness_items + whole.net[0], whole.net[1])


@lru_cache(maxsize=4096)
def effect(code: bytes) -> Effect:
    """The effect of ``code``, kept: long parts, hashes and messages, occur in many leaves."""
    main = alt = rise = 0
    main_takes = alt_takes = 0
    branches: list[tuple[int, int, tuple[int, int] | None]] = []
    for opcode, data in operations(code):
        takes, leaves = _effect(opcode, data)
        main_takes = max(main_takes, takes - main)
        main += leaves - takes
        if opcode == Op.TOALTSTACK:
            alt += 1
        elif opcode == Op.FROMALTSTACK:
            alt -= 1
            alt_takes = max(alt_takes, -alt)
        rise = max(rise, main + alt)
        if opcode in _FLOW:
            main, alt = _branched(opcode, branches, (main, alt))
    if branches:
        raise ScriptError("an IF has no ENDIF")
    return Effect((main_takes, alt_takes), (main, alt), rise)


def _branched(
    opcode: int, branches: list[tuple[int, int, tuple[int, int] | None]], now: tuple[int, int]
) -> tuple[int, int]:
    """The heights of both stacks behind IF, ELSE or ENDIF, given those before it."""
    if opcode in (Op.IF, Op.NOTIF):
        branches.append((*now, None))
        return now
    if not branches:
        raise ScriptError(f"{_name(opcode)} without its IF")
    main, alt, end = branches.pop()
    if opcode == Op.ELSE and end is None:
        branches.append((main, alt, now))
        return main, alt
    if opcode == Op.ELSE or now != (end or (main, alt)):
        raise ScriptError("the two ways of an IF leave different numbers of values")
    return now


SignatureCheck = Callable[[bytes, bytes], bool]
"""Whether a signature (first) by a key (second) is good; the transaction is the caller's."""


def no_signature(signature: bytes, key: bytes) -> bool:
    """The check for scripts without signatures: none is good."""
    return False


@dataclass(slots=True)
class Run:
    """A script run on values: both stacks, and the most values that they held together."""

    stack: list[bytes]
    alt: list[bytes] = field(default_factory=list)
    peak: int = 0

    def numbers(self) -> list[int]:
        """The stack as numbers, bottom to top."""
        return [parse_number(item) for item in self.stack]


def run(
    code: bytes, witness: Sequence[bytes], check_signature: SignatureCheck = no_signature
) -> Run:
    """Run ``code`` on ``witness``, bottom to top.

    Time locks pass. ScriptError, with the place and the opcode, where the script fails.
    """
    state = Run(list(witness), peak=len(witness))
    stack, alt, ways = state.stack, state.alt, _Ways()
    for number, (opcode, data) in enumerate(_parsed(code)):
        try:
            if opcode in _FLOW:
                _FLOW[opcode](stack, ways)
            elif ways.skipping:
                continue
            elif data is not None:
                stack.append(data)
            elif opcode in _SIGNED:
                _check_signature(stack, opcode, check_signature)
            else:
                _HANDLERS[opcode](stack, alt)
        except (IndexError, KeyError, ScriptError) as error:
            raise ScriptError(f"operation {number}, {_name(opcode)}: {_reason(error)}") from error
        state.peak = max(state.peak, len(stack) + len(alt))
    if ways.taken:
        raise ScriptError("an IF has no ENDIF")
    return state


def satisfied(
    code: bytes, witness: Sequence[bytes], check_signature: SignatureCheck = no_signature
) -> bool:
    """Whether a tapscript spend with ``witness`` is valid: it runs and leaves one true value."""
    try:
        state = run(code, witness, check_signature)
    except ScriptError:
        return False
    return state.peak <= MAX_STACK_ITEMS and len(state.stack) == 1 and _truth(state.stack[0])


@lru_cache(maxsize=16)
def _parsed(code: bytes) -> tuple[tuple[int, bytes | None], ...]:
    """Opcodes and what they push; a small constant as the bytes that it is."""
    small = {Op.NEGATE_1: -1, **{Op.TRUE + n - 1: n for n in range(1, 17)}}
    return tuple(
        (opcode, number_bytes(small[opcode]) if opcode in small else data)
        for opcode, data in operations(code)
    )


@dataclass(slots=True)
class _Ways:
    """The conditions of the IFs around us; nothing runs while one of them is false."""

    taken: list[bool] = field(default_factory=list)
    skipping: bool = False

    def begin(self, stack: list[bytes], wanted: bool) -> None:
        taken = False
        if not self.skipping:
            condition = stack.pop()
            if condition not in (b"", b"\x01"):
                raise ScriptError("tapscript takes only the empty string or 01 as a condition")
            taken = bool(condition) == wanted
        self._set([*self.taken, taken])

    def turn(self) -> None:
        *outer, last = self._inside()
        self._set([*outer, not last])

    def end(self) -> None:
        self._set(self._inside()[:-1])

    def _inside(self) -> list[bool]:
        if not self.taken:
            raise ScriptError("there is no IF")
        return self.taken

    def _set(self, taken: list[bool]) -> None:
        self.taken, self.skipping = taken, not all(taken)


_FLOW: Final[dict[int, Callable[[list[bytes], _Ways], None]]] = {
    Op.IF: lambda stack, ways: ways.begin(stack, True),
    Op.NOTIF: lambda stack, ways: ways.begin(stack, False),
    Op.ELSE: lambda stack, ways: ways.turn(),
    Op.ENDIF: lambda stack, ways: ways.end(),
}
_SIGNED: Final = frozenset({Op.CHECKSIG, Op.CHECKSIGVERIFY})
_Handler = Callable[[list[bytes], list[bytes]], None]


def _take(stack: list[bytes], count: int) -> list[bytes]:
    if count > len(stack):
        raise IndexError
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return taken


def _shuffle(takes: int, order: Sequence[int]) -> _Handler:
    def handle(stack: list[bytes], alt: list[bytes]) -> None:
        top = _take(stack, takes)
        stack.extend([top[n] for n in order])

    return handle


def _compute(takes: int, result: Callable[..., int]) -> _Handler:
    def handle(stack: list[bytes], alt: list[bytes]) -> None:
        numbers = [parse_number(item) for item in _take(stack, takes)]
        stack.append(number_bytes(int(result(*numbers))))

    return handle


def _require(test: Callable[..., bool], takes: int) -> _Handler:
    def handle(stack: list[bytes], alt: list[bytes]) -> None:
        if not test(*_take(stack, takes)):
            raise ScriptError("not true")

    return handle


def _from_depth(stack: list[bytes], take: Callable[[int], bytes]) -> None:
    depth = parse_number(stack.pop())
    if not 0 <= depth < len(stack):
        raise ScriptError(f"nothing lies {depth} below the top of {len(stack)} values")
    stack.append(take(-1 - depth))


def _equal_numbers(a: bytes, b: bytes) -> bool:
    return parse_number(a) == parse_number(b)


def _check_signature(stack: list[bytes], opcode: int, check: SignatureCheck) -> None:
    signature, key = _take(stack, 2)
    if signature and not check(signature, key):
        raise ScriptError("the signature is not good")
    if opcode == Op.CHECKSIG:
        stack.append(b"\x01" if signature else b"")
    elif not signature:
        raise ScriptError("there is no signature")


_HANDLERS: Final[dict[int, _Handler]] = {
    Op.NOP: _shuffle(0, ()),
    Op.CHECKSEQUENCEVERIFY: _shuffle(1, (0,)),
    Op.CHECKLOCKTIMEVERIFY: _shuffle(1, (0,)),
    Op.DROP: _shuffle(1, ()),
    Op.DROP2: _shuffle(2, ()),
    Op.DUP: _shuffle(1, (0, 0)),
    Op.DUP2: _shuffle(2, (0, 1, 0, 1)),
    Op.DUP3: _shuffle(3, (0, 1, 2, 0, 1, 2)),
    Op.NIP: _shuffle(2, (1,)),
    Op.OVER: _shuffle(2, (0, 1, 0)),
    Op.OVER2: _shuffle(4, (0, 1, 2, 3, 0, 1)),
    Op.ROT: _shuffle(3, (1, 2, 0)),
    Op.SWAP: _shuffle(2, (1, 0)),
    Op.SWAP2: _shuffle(4, (2, 3, 0, 1)),
    Op.TUCK: _shuffle(2, (1, 0, 1)),
    Op.PICK: lambda stack, alt: _from_depth(stack, stack.__getitem__),
    Op.ROLL: lambda stack, alt: _from_depth(stack, stack.pop),
    Op.TOALTSTACK: lambda stack, alt: alt.append(stack.pop()),
    Op.FROMALTSTACK: lambda stack, alt: stack.append(alt.pop()),
    Op.DEPTH: lambda stack, alt: stack.append(number_bytes(len(stack))),
    Op.SIZE: lambda stack, alt: stack.append(number_bytes(len(stack[-1]))),
    Op.HASH160: lambda stack, alt: stack.append(hash160(stack.pop())),
    Op.SHA256: lambda stack, alt: stack.append(sha256(stack.pop())),
    Op.ADD1: _compute(1, lambda a: a + 1),
    Op.SUB1: _compute(1, lambda a: a - 1),
    Op.NEGATE: _compute(1, lambda a: -a),
    Op.ABS: _compute(1, abs),
    Op.NOT: _compute(1, lambda a: a == 0),
    Op.NOTEQUAL0: _compute(1, lambda a: a != 0),
    Op.ADD: _compute(2, lambda a, b: a + b),
    Op.SUB: _compute(2, lambda a, b: a - b),
    Op.BOOLAND: _compute(2, lambda a, b: a != 0 and b != 0),
    Op.BOOLOR: _compute(2, lambda a, b: a != 0 or b != 0),
    Op.NUMEQUAL: _compute(2, lambda a, b: a == b),
    Op.NUMNOTEQUAL: _compute(2, lambda a, b: a != b),
    Op.LESSTHAN: _compute(2, lambda a, b: a < b),
    Op.GREATERTHAN: _compute(2, lambda a, b: a > b),
    Op.LESSTHANOREQUAL: _compute(2, lambda a, b: a <= b),
    Op.GREATERTHANOREQUAL: _compute(2, lambda a, b: a >= b),
    Op.MIN: _compute(2, min),
    Op.MAX: _compute(2, max),
    Op.WITHIN: _compute(3, lambda x, low, high: low <= x < high),
    Op.EQUAL: lambda stack, alt: stack.append(b"\x01" if stack.pop() == stack.pop() else b""),
    Op.EQUALVERIFY: _require(lambda a, b: a == b, 2),
    Op.NUMEQUALVERIFY: _require(_equal_numbers, 2),
    Op.VERIFY: _require(lambda a: _truth(a), 1),
}


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "this interpreter does not know it: our leaves do not use it"
    return str(error) if isinstance(error, ScriptError) else "too few values on the stack"


def _effect(opcode: int, data: bytes | None) -> tuple[int, int]:
    if data is not None or opcode == Op.NEGATE_1 or Op.TRUE <= opcode <= Op.N16:
        return 0, 1
    try:
        return _EFFECTS[opcode]
    except KeyError:
        raise ScriptError(f"{_name(opcode)} is not known: our leaves do not use it") from None


def _truth(item: bytes) -> bool:
    """False are zeros, and zeros with the sign bit (-0)."""
    return any(item[:-1]) or item[-1:] not in (b"", b"\0", b"\x80")


def _name(opcode: int) -> str:
    return Op(opcode).name if opcode in set(Op) else f"0x{opcode:02x}"
