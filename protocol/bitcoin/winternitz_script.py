"""Tapscript that verifies Winternitz-signed messages and leaves their digits (dispute.md 5).

A message is pairs in the witness, (element, digit) with the digit above, bottom to top: the pairs
of its checksum, then of its digits from left to right. Per pair the script bounds the digit, hashes
the element 15 times, picks the hash that the digit points at and compares it with the chain's end.
Of several messages, the one that the script verifies first lies on top.

    message    chains   items   script bytes: first, again   witness, at most
    1 digit       2        4           148     140                  46 bytes
    16 bits       6       12           452     428                 138
    4 bytes      10       20           748     708                 230
    20 bytes     43       86         3,198   3,026                 989
    32 bytes     67      134         4,974   4,706               1,541
    160 bytes   324      648        23,999  22,703               7,452

A byte of either weighs one unit: 25.1, 24.4 and 23.6 units a signed bit in the last three rows.

Consensus takes numbers that are not minimal, and so does :func:`read_message`; policy does not
relay them. Everything else here is within the default policy of nodes: items of at most 80 bytes.
The digits that the script leaves are minimal, whatever the witness held.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, TypeVar

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import number_bytes, parse_number, script
from protocol.crypto.winternitz import (
    BASE,
    ELEMENT_BYTES,
    TOP,
    Digits,
    OneTimePublicKey,
    checksum_size,
    with_checksum,
)
from protocol.errors import ScriptError, SignatureError

_T = TypeVar("_T")

MAX_STACK_ITEMS: Final = 1_000
"""Consensus: stack and altstack together, the initial witness included (BIP342)."""

WORKING_ITEMS: Final = TOP + 2
"""The most that verifying adds to the items of the witness: 15 hashes, an index, a constant."""

_CHAIN: Final = script(*[Op.DUP, Op.HASH160] * TOP)
_DROP_CHAIN: Final = script(*[Op.DROP2] * (BASE // 2))
_TIMES_16: Final = script(*[Op.DUP, Op.ADD] * 4)
_SIZED: Final = script(Op.SIZE, ELEMENT_BYTES, Op.EQUALVERIFY)


def _around_end(first: bool) -> tuple[bytes, bytes]:
    """What verifies a pair, (element digit -- ), the digit to the altstack: before and behind the
    chain's end.

    A digit above 15 becomes 16, which picks the digit itself: no number equals 20 bytes. OP_PICK
    refuses a negative one. OP_MIN leaves it minimal.
    """
    head = script(BASE, Op.MIN, Op.SWAP) + (_SIZED if first else b"") + _CHAIN
    head += script(BASE, Op.PICK, Op.PICK) + bytes([ELEMENT_BYTES])
    return head, script(Op.EQUALVERIFY) + _DROP_CHAIN + script(Op.TOALTSTACK)


_AROUND_END: Final = {first: _around_end(first) for first in (False, True)}


def verify_message(
    key: OneTimePublicKey, *, first: bool, keep: Collection[int] | None = None
) -> bytes:
    """Fail unless the witness holds a message signed by ``key``; leave its digits on the stack.

    ``keep`` are the places of the digits to leave (0 is the leftmost; default all, ``()`` none),
    the rightmost on top. ``first`` tells whether this leaf is where the signer shows the message
    for the first time: it then refuses elements that are not 20 bytes, with which a signer could
    make the other side's later use of the same bytes dear or not relayable. Where the other side
    presents what it was shown, those 4 bytes a chain are spared.
    """
    head, tail = _AROUND_END[first]
    pairs = (tail + head).join(_spending_order(key.digits, key.ends))
    kept = None if keep is None else frozenset(keep)
    return b"".join((head, pairs, tail, _verify_sum(key.digits, kept)))


@lru_cache(maxsize=256)
def _verify_sum(digits: int, keep: frozenset[int] | None) -> bytes:
    """Digits and checksum from the altstack: together they make 15 a digit."""
    kept = range(digits) if keep is None else keep
    if any(not 0 <= place < digits for place in kept):
        raise ScriptError(f"the digits of this message are numbered 0 to {digits - 1}")
    parts = [script(Op.FROMALTSTACK)]
    parts += [_TIMES_16 + script(Op.FROMALTSTACK, Op.ADD)] * (checksum_size(digits) - 1)
    for place in range(digits):
        tuck = [Op.TUCK] if place in kept else []
        parts.append(script(Op.FROMALTSTACK, *tuck, Op.ADD))
    return b"".join(parts) + script(TOP * digits, Op.NUMEQUALVERIFY)


def to_altstack(digits: int) -> bytes:
    """Move that many digits away, to verify the next message; they come back leftmost first."""
    return bytes([Op.TOALTSTACK]) * digits


def verify_constant(key: OneTimePublicKey, digits: Sequence[int], *, first: bool) -> bytes:
    """Fail unless the witness holds ``key``'s signature of exactly ``digits``; leave nothing.

    Its witness is :func:`constant_items`, 21 bytes a chain; the script has 22 to 37 bytes a chain,
    and 4 more with ``first``.
    """
    if len(digits) != key.digits:
        raise ScriptError(f"this key signs {key.digits} digits, not {len(digits)}")
    sized = _SIZED if first else b""
    chains = zip(key.ends, with_checksum(digits), strict=True)
    checks = [
        sized + script(*[Op.HASH160] * (TOP - digit), end, Op.EQUALVERIFY) for end, digit in chains
    ]
    return b"".join(_spending_order(key.digits, checks))


def require_bit(bit: int, value: bool) -> bytes:
    """(digit -- ): fail unless ``bit`` (0 to 3, 0 the lowest) of a verified digit is ``value``."""
    if not 0 <= bit <= 3:
        raise ScriptError(f"a base-16 digit has bits 0 to 3, not {bit}")
    lowered = [
        script(Op.DUP, 1 << above, Op.GREATERTHANOREQUAL, *[Op.DUP, Op.ADD] * above, Op.SUB)
        for above in range(3, bit, -1)
    ]
    test = Op.GREATERTHANOREQUAL if value else Op.LESSTHAN
    return b"".join(lowered) + script(1 << bit, test, Op.VERIFY)


def verify_bit(key: OneTimePublicKey, bit: int, value: bool, *, first: bool) -> bytes:
    """Fail unless ``key`` signed a number whose ``bit`` (0 the lowest) is ``value``; leave nothing.

    The number is the whole message, as ``winternitz.number_digits`` writes it: the payout units.
    """
    if not 0 <= bit < 4 * key.digits:
        raise ScriptError(f"a message of {key.digits} digits has no bit {bit}")
    place = key.digits - 1 - bit // 4
    return verify_message(key, first=first, keep=(place,)) + require_bit(bit % 4, value)


def message_items(digits: Sequence[int], signature: Sequence[bytes]) -> tuple[bytes, ...]:
    """The witness items of :func:`verify_message`, bottom to top."""
    signed = with_checksum(digits)
    if len(signature) != len(signed):
        raise ScriptError(f"{len(digits)} digits have {len(signed)} chains, not {len(signature)}")
    pairs = [(element, number_bytes(d)) for element, d in zip(signature, signed, strict=True)]
    return tuple(item for pair in _bottom_up(len(digits), pairs) for item in pair)


def constant_items(key: OneTimePublicKey, signature: Sequence[bytes]) -> tuple[bytes, ...]:
    """The witness items of :func:`verify_constant`, bottom to top."""
    return tuple(_bottom_up(key.digits, signature))


def read_message(key: OneTimePublicKey, items: Sequence[bytes]) -> tuple[Digits, tuple[bytes, ...]]:
    """Digits and signature from the items that satisfied :func:`verify_message` with ``first``.

    It takes exactly what Script takes, numbers that are not minimal too; :func:`message_items`
    then writes them minimally. SignatureError if Script would have refused the items.
    """
    if len(items) != 2 * len(key.ends):
        raise SignatureError(f"a message of this key has {2 * len(key.ends)} witness items")
    checksum = 2 * (len(key.ends) - key.digits)
    ordered = [*items[checksum:], *items[:checksum]]
    signature = tuple(ordered[::2])
    digits = key.recover(signature)
    try:
        claimed = tuple(parse_number(item) for item in ordered[1::2])
    except ScriptError as error:
        raise SignatureError("a digit of the message is no script number") from error
    if claimed != with_checksum(digits):
        raise SignatureError("the digits of the message are not those that its elements sign")
    return digits, signature


def require_stack(items: int) -> None:
    """ScriptError if verifying messages in a witness of ``items`` items overflows the stack."""
    if items + WORKING_ITEMS > MAX_STACK_ITEMS:
        raise ScriptError(
            f"{items} witness items and {WORKING_ITEMS} working ones exceed {MAX_STACK_ITEMS}:"
            " split the message over more transactions"
        )


def _bottom_up(digits: int, chains: Sequence[_T]) -> list[_T]:
    """Per-chain things in the witness's order: the checksum's below the message's."""
    return [*chains[digits:], *chains[:digits]]


def _spending_order(digits: int, chains: Sequence[_T]) -> list[_T]:
    """The same in the script's order, which takes them from the top."""
    return _bottom_up(digits, chains)[::-1]
