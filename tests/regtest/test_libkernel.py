"""What would abort the process is refused in Python; what the library parses is checked."""

import subprocess
import sys

import pytest
from bitcoin.core import CTransaction, CTxIn, CTxOut
from bitcoin.core.script import CScript

from protocol.bitcoin.tx import outpoint, serialize, transaction, txin, txout
from protocol.errors import ChainError, EncodingError
from regtest.libkernel import (
    ALL_FLAGS,
    failing_input,
    fast_block,
    fast_script,
    fast_tx,
    verify_input,
)

TWO_INPUTS = transaction([txin(outpoint(b"\x01" * 32, n)) for n in range(2)], [txout(1, b"\x51")])
TRUE, FALSE = txout(10, b"\x51"), txout(10, b"\x00")

ABORTING = {
    "an input index out of range": (2, 2, ALL_FLAGS),
    "fewer spent outputs than inputs": (0, 1, ALL_FLAGS),
    "more spent outputs than inputs": (0, 3, ALL_FLAGS),
    "an unknown flag": (0, 2, ALL_FLAGS | 1 << 30),
    "a negative index": (-1, 2, ALL_FLAGS),
    "negative flags": (0, 2, -1),
}

UNGUARDED = """
import sys, pbk
from pbk.script import PrecomputedTransactionData
index, spent, flags = map(int, sys.argv[1:4])
tx = pbk.Transaction(bytes.fromhex(sys.argv[4]))
script = pbk.ScriptPubkey(b"\\x51")
outputs = [pbk.TransactionOutput(script, 10)] * spent
script.verify(10, tx, PrecomputedTransactionData(tx, outputs), index, flags)
"""


@pytest.mark.parametrize("name", ABORTING)
def test_guard(name: str) -> None:
    index, spent, flags = ABORTING[name]
    with pytest.raises(ChainError, match=r"input|flag"):
        verify_input(TWO_INPUTS, index, [TRUE] * spent, flags)


@pytest.mark.parametrize("name", ABORTING)
def test_the_guard_is_needed(name: str) -> None:
    """The library itself kills a process that asks the same."""
    arguments = [*map(str, ABORTING[name]), serialize(TWO_INPUTS).hex()]
    run = subprocess.run([sys.executable, "-c", UNGUARDED, *arguments], capture_output=True)
    assert run.returncode == -6


def test_flags_that_cannot_be_combined() -> None:
    with pytest.raises(ChainError, match="INVALID_FLAGS_COMBINATION"):
        verify_input(TWO_INPUTS, 0, [TRUE, TRUE], 1 << 11)


def test_verdicts() -> None:
    assert verify_input(TWO_INPUTS, 0, [TRUE, FALSE])
    assert not verify_input(TWO_INPUTS, 1, [TRUE, FALSE])
    assert failing_input(TWO_INPUTS, [TRUE, FALSE]) == 1
    assert failing_input(TWO_INPUTS, [TRUE, TRUE]) is None
    assert failing_input(TWO_INPUTS, [txout(1, b""), TRUE]) == 0


@pytest.mark.parametrize("raw", [b"", b"\0", bytes(10), bytes(200), serialize(TWO_INPUTS)[:-1]])
def test_bytes_that_are_no_transaction(raw: bytes) -> None:
    """Ten zero bytes parse as an empty transaction in the library."""
    with pytest.raises(EncodingError):
        fast_tx(raw)


@pytest.mark.parametrize("raw", [b"", bytes(79), bytes(80), bytes(80) + b"\xff" * 9])
def test_bytes_that_are_no_block(raw: bytes) -> None:
    with pytest.raises(EncodingError):
        fast_block(raw)


def test_large_things_parse_fast() -> None:
    """3.9 MB through a Python tuple would take most of a second; an empty script is a script."""
    script = CScript(b"\x61" * 3_900_000)
    tx = CTransaction([CTxIn()], [CTxOut(1, script)])
    assert len(fast_tx(serialize(tx)).outputs) == 1
    assert bytes(fast_script(b"")) == b""


def test_numbers_that_do_not_fit() -> None:
    with pytest.raises(EncodingError, match="does not fit"):
        serialize(CTransaction([CTxIn()], [CTxOut(2**63, CScript())]))
