"""The forward moves of a dispute that only sign something: REVEAL, the block, and C's digits.

Nothing that the prover reveals is checked here: a lie stands until its verdict. The challenger's
digits are checked to be 0 to 3, because EXECUTE must be able to answer every digit.
"""

from functools import lru_cache

from protocol.bitcoin.opcodes import Op
from protocol.dispute.claim import FAN
from protocol.dispute.leaves import said
from protocol.dispute.leaves.evidence import Evidence
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template


@lru_cache(maxsize=32)
def reveal(width: int, turn: int) -> Template:
    """The prover's four nodes of round ``turn``."""
    return signing(f"REVEAL {turn}", said.nodes(turn, width))


@lru_cache(maxsize=8)
def reveal_block(log4_steps: int) -> Template:
    """The prover's four records."""
    return signing("REVEAL records", said.records(log4_steps))


@lru_cache(maxsize=32)
def digit(log4_steps: int, turn: int) -> Template:
    """The challenger's digit of round ``turn``."""
    message = said.digit(turn)
    evidence = Evidence.begin(log4_steps, (message,), first=(message,))
    (picked,) = evidence.named[message]
    evidence.asm.verify(Op.LESSTHAN, picked, FAN)
    return evidence.finish(f"DIGIT {turn}")


def signing(name: str, messages: tuple[Said, ...]) -> Template:
    """The leaf of a spender who signs ``messages`` here for the first time, whatever they say."""
    every = frozenset(messages)
    return Template(name, messages, every, 0, (b"",), silent=every)
