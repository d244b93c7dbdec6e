"""Batches for tests of the chain: a program of a few steps that finds a batch right.

    data    digest of roots, deposits and payments 32 | a u32 | b u32 | padding

It halts if a = b; so a right batch has equal words, and everything else about it is arbitrary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bitcoin.core import CTransaction

from actors.pool_chain import PoolChain, Settled
from protocol.bitcoin.tx import parse_hash
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.dispute.play import Challenge, Wait
from protocol.dispute.sides import Strategy
from protocol.errors import TermsError
from protocol.pool.batch import Deposit, Payment
from protocol.settlement.pool.batch import Batch, State
from protocol.settlement.pool.member import CommitteeMember
from protocol.settlement.pool.sequencer import Sequencer
from protocol.settlement.pool.terms import VaultTerms
from regtest.chain import rule_broken
from regtest.kernel import KernelChain
from riscv_vm.image import ProgramImage
from tests.builders.programs import DATA_BASE, program

WORD = 7


@lru_cache(maxsize=4)
def small_image(turns: int = 1) -> ProgramImage:
    """Reads two words of the batch and some of its own; about 20 steps and 2 a turn."""
    return program(
        f"""
    lui s2, 0x40000
    la s0, {DATA_BASE}
    lw t0, 36(s2)
    lw t1, 40(s2)
    lw t2, 0(s0)
    add t2, t2, t0
    sw t2, 4(s0)
    addi a3, zero, {turns}
again:
    addi a3, a3, -1
    bne a3, zero, again
    lbu a1, 5(s0)
    bne t0, t1, wrong
    addi a0, zero, 0
    addi a7, zero, 93
    ecall
wrong:
    addi a0, zero, 1
    addi a7, zero, 93
    ecall
""",
        bytes(range(1, 17)),
        64,
    )


@dataclass(frozen=True)
class SmallJudge:
    """What its input says about a batch: everything but its own two words."""

    turns: int = 1

    @property
    def image(self) -> ProgramImage:
        return small_image(self.turns)

    def require(self, vault: VaultTerms, batch: Batch) -> None:
        if batch.data[:32] != summary(batch):
            raise TermsError("data: the claim is of another batch")


def summary(batch: Batch) -> bytes:
    parts = [batch.old.root, batch.new_root, batch.new_vault_sats.to_bytes(8)]
    parts += [deposit.encode() for deposit in batch.deposits]
    parts += [payment.encode() for payment in batch.payments]
    return tagged_hash("test", b"".join(parts))


def small_batch(
    old: State,
    new_root: bytes,
    deposits: tuple[Deposit, ...] = (),
    payments: tuple[Payment, ...] = (),
    *,
    right: bool = True,
    turns: int = 1,
) -> Batch:
    """A batch of these; its program does not halt on one that is not ``right``."""
    left = old.vault_sats + sum(d.sats for d in deposits) - sum(p.sats for p in payments)
    batch = Batch(
        old=old,
        new_root=new_root,
        new_vault_sats=left,
        deposits=deposits,
        payments=tuple(sorted(payments, key=lambda payment: payment.owner)),
        image=small_image(turns),
        data=b"",
    )
    words = WORD.to_bytes(4, "little") + (WORD + (not right)).to_bytes(4, "little")
    return replace(batch, data=summary(batch) + words + bytes(8))


# A pool on a chain

OWNER, OTHER = (SecretKey(bytes([n]) * 32) for n in (5, 6))
ROOT = b"\x01" * 32
WINDOW = 3
SMALL = 3
"""4^3 steps: every leaf but an assertion's."""
AUX = bytes(32)


def payment(sats: int, key: SecretKey = OWNER) -> Payment:
    return Payment(key.public, sats)


@contextmanager
def opened_pool(
    folder: Path, log4_steps: int = SMALL, turns: int = 1, **terms: Any
) -> Iterator[PoolChain]:
    """A pool of three members and a quorum of two, on a chain of its own; its windows are short."""
    fields: dict[str, Any] = {
        "move_window": WINDOW,
        "challenge_window": WINDOW,
        "deposit_window": 200,
        **terms,
    }
    with KernelChain(folder) as chain:
        judge = SmallJudge(turns)
        yield PoolChain(chain, b"\x01" * 32, judge=judge, log4_steps=log4_steps, **fields)


def next_batch(
    pool: PoolChain, *deposits: Deposit, pays: int = 0, right: bool = True, turns: int = 1
) -> Batch:
    """A batch on the newest STATE that pays that much to OWNER; its root is new."""
    root = tagged_hash("test", pool.state.root)
    payments = (payment(pays),) if pays else ()
    return small_batch(pool.state, root, tuple(deposits), payments, right=right, turns=turns)


def silent_at(wait: Wait, digits: int) -> Strategy:
    """Honest until the game waits for this."""
    return Strategy(silent=lambda play: (play.wait, len(play.said.digits)) == (wait, digits))


IDLE = Strategy(silent=lambda play: True)
"""A member that sleeps, or is the sequencer's friend."""
SHAM = Strategy(challenger=lambda play, _: Challenge() if play.wait is Wait.WINDOW else None)
"""It challenges anything, and then loses on purpose."""


@dataclass
class Pledged:
    """A batch whose PLEDGE is in a block, with everybody in it."""

    pool: PoolChain
    batch: Batch
    sequencer: Sequencer
    members: list[CommitteeMember]

    @classmethod
    def of(cls, pool: PoolChain, batch: Batch, *args) -> "Pledged":
        made = cls(pool, batch, *pool.roles(batch, *args))
        pool.pledge(batch, made.sequencer, made.members)
        return made

    @property
    def games(self):
        return self.sequencer.graph.games

    def play(self) -> Settled:
        return self.pool.play_out(self.batch, self.sequencer, self.members)

    def advances(self) -> list[CTransaction]:
        return [self.sequencer.advance(late, AUX) for late in (False, True)]

    def reason(self, tx: CTransaction) -> str:
        """Why the next block may not hold ``tx``; empty if it may."""
        verdict = self.pool.chain.check(tx)
        return "" if verdict.consensus else rule_broken(verdict.consensus_reason)

    def tx(self, settled: Settled, name: str) -> CTransaction:
        """The transaction of that name."""
        row = next(row for row in settled.txs if row.name == name)
        return self.pool.chain.tx(parse_hash(row.txid)).tx


def paid_to(tx: CTransaction, script: bytes) -> int:
    return sum(int(out.nValue) for out in tx.vout if bytes(out.scriptPubKey) == script)
