"""Leaves judged: by Bitcoin Core's interpreter, and by ours, which must agree case by case."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.script import number_bytes
from protocol.bitcoin.taproot import (
    NUMS_KEY,
    TapLeaf,
    TaprootOutput,
    key_path_script,
    taproot_output,
)
from protocol.bitcoin.tx import Coin, outpoint, transaction, txin, txout, with_witness
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets.word import Word, items, require_equal
from protocol.dispute.interpreter import SignatureCheck, satisfied
from regtest.libkernel import verify_input

NOWHERE = Coin(outpoint(b"\x07" * 32, 0), txout(100_000, b""))


@lru_cache(maxsize=64)
def locked(code: bytes) -> TaprootOutput:
    """An output that only ``code`` spends."""
    return taproot_output(NUMS_KEY, TapLeaf(code))


def spend(
    code: bytes, witness: Sequence[bytes], coin: Coin = NOWHERE, blocks: int = 0xFFFF
) -> CTransaction:
    """A spend of ``coin``, which ``code`` locks, that claims an age of ``blocks``."""
    out = txout(90_000, key_path_script(NUMS_KEY))
    stack = [*witness, code, locked(code).control_block(TapLeaf(code))]
    return with_witness(transaction([txin(coin.outpoint, blocks)], [out]), [stack])


def core_holds(code: bytes, witness: Sequence[bytes]) -> bool:
    """Whether Bitcoin Core's interpreter lets ``witness`` satisfy the leaf."""
    spent: list[CTxOut] = [txout(100_000, locked(code).script_pubkey)]
    return verify_input(spend(code, witness), 0, spent)


def holds(
    code: bytes,
    witness: Sequence[bytes | int],
    check_signature: SignatureCheck = lambda signature, key: False,
) -> bool:
    """The verdict of both interpreters, which must be the same. Numbers are written minimally."""
    stack = [number_bytes(w) if isinstance(w, int) else w for w in witness]
    core = core_holds(code, stack)
    assert core == satisfied(code, stack, check_signature), "the interpreters disagree"
    return core


def nibbles(value: int, count: int = 8) -> list[int]:
    """A word as a witness holds it here: most significant nibble first, so lowest on top."""
    return [value >> 4 * n & 15 for n in reversed(range(count))]


def flat(*values: int) -> list[int]:
    """The witness of several words."""
    return [n for value in values for n in nibbles(value)]


def words_in(asm: Assembler, count: int) -> list[Word]:
    """The first ``count`` words of the witness."""
    return [tuple(asm.stack[8 * n : 8 * n + 8][::-1]) for n in range(count)]


Gadget = Callable[..., Word | Item | None]


def calling(gadget: Gadget, words: int, *, results: int = 8, hints: int = 0) -> bytes:
    """A leaf that applies ``gadget`` to words of the witness and compares what it returns.

    Witness: the words, ``results`` nibbles of the expected result (most significant first; none
    for a gadget that only verifies), and the hint on top. ``gadget(asm, *words)`` or
    ``gadget(asm, *words, hint)`` returns a word or one number.
    """
    asm = Assembler([f"in[{n}]" for n in range(8 * words + results + hints)])
    arguments: list[object] = list(words_in(asm, words))
    expected: Word = tuple(asm.stack[8 * words : 8 * words + results][::-1])
    if hints:
        arguments.append(tuple(asm.stack[8 * words + results :]))
    result = gadget(asm, *arguments)
    if isinstance(result, Item):
        result = (result,)
    if result is not None:
        require_equal(asm, result, expected)
    assert len(asm.stack) == len(set(items(tuple(asm.stack))))
    return asm.finish()
