"""A demo day on a chain: deposits before a batch, the batch as an ADVANCE of STATE, and its games.

Bitcoin is a regtest node in this process. Whoever signs for the vault re-runs the batch in the
pool's guest first; ``actors.pool_chain`` plays them all.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from actors.config import Chain
from actors.pool_chain import PoolChain, Route, Settled, retrace
from actors.pool_config import PoolTerms
from actors.pool_sequencer import Ran
from protocol.errors import ChainError
from protocol.pool.batch import Deposit, sats_unit
from protocol.pool.image import PoolTerms as Page
from protocol.pool.image import image_of
from protocol.pool.operation import SignedOperation
from protocol.pool.pool import Pool
from protocol.pool.witness import guest_input
from protocol.settlement.pool.batch import Batch
from protocol.settlement.pool.graph import batch_premises
from protocol.settlement.pool.judge import PoolJudge

MARGIN_BPS: Final = 500
"""What an owner deposits above the last price: the batch's may be lower. The rest comes back."""


@dataclass(frozen=True, slots=True)
class Proved:
    """A batch in the guest: how many steps it took, and the root of its trace."""

    seq: int
    steps: int
    root: bytes


@dataclass(slots=True)
class DemoVault:
    """The pool's STATE on a chain and what has happened to it, in sats. ``settled`` holds every
    batch; ``lie`` is told about the next one, before it is settled."""

    pool_chain: PoolChain
    judge: PoolJudge
    settled: list[Settled] = field(default_factory=list)
    deposits: list[Deposit] = field(default_factory=list)
    paid_sats: int = 0
    lie: str = ""
    convicted: Settled | None = None

    @classmethod
    def open(
        cls, chain: Chain, seed: bytes, terms: PoolTerms, said: Callable[[str], None]
    ) -> "DemoVault":
        """The first STATE in a block, with the pool's root before the first batch."""
        judge = PoolJudge(image_of(Page(terms.params, terms.oracles)))
        made = PoolChain(chain, seed, judge=judge, said=said)
        pool = terms.genesis()
        made.open(pool.root(), pool.vault.vault_sats)
        return cls(made, judge)

    def deposit(self, needs: dict[bytes, int]) -> list[Deposit]:
        """A deposit of every owner in ``needs`` (sats), in blocks; outpoints ascending."""
        made = [self.pool_chain.deposit(owner, sats) for owner, sats in needs.items()]
        self.deposits += made
        return sorted(made, key=lambda deposit: deposit.outpoint)

    def settle(self, ran: Ran) -> Proved:
        """The batch on the chain, and what the guest made of it. A lie about it comes first, and
        has to lose. ChainError if the STATE in the end is not the pool's."""
        data = guest_input(ran.before, ran.batch, ran.certificate)
        payments = ran.result.payments
        batch = self.pool_chain.batch(self.judge.image, data, payments)
        if self.lie:
            self.convicted = self._lie(batch)
        settled = self.pool_chain.settle(batch)
        self.paid_sats += sum(payment.sats for payment in payments)
        self.settled.append(settled)
        if settled.state.root != ran.result.journal.new_root:
            raise ChainError(
                f"batch {ran.result.journal.seq}: STATE commits to {settled.state.root.hex()}, not"
                f" to {ran.result.journal.new_root.hex()}"
            )
        trace = retrace(batch_premises(self.pool_chain.vault, batch))
        return Proved(ran.result.journal.seq, trace.outcome.steps, trace.root)

    def _lie(self, batch: Batch) -> Settled:
        """The lie is told in blocks; STATE stays where it was."""
        lie, self.lie = self.lie, ""
        before = self.pool_chain.state
        found = self.pool_chain.settle(batch, lie=lie)
        if found.route is not Route.CONVICTED or found.state != before:
            raise ChainError(f"--lie {lie}: the liar was not convicted ({found.route})")
        return found


def needs_of(pool: Pool, operations: Sequence[SignedOperation]) -> dict[bytes, int]:
    """The sats that every owner has to bring for these operations, by the pool's last BTC price and
    a margin; owners in the order of their first operation."""
    found: Counter[bytes] = Counter()
    for signed in operations:
        operation = signed.operation
        amount = getattr(operation, "deposit", 0) or getattr(operation, "amount", 0)
        if amount:
            found[operation.owner] += amount
    price = pool.quotes[pool.params.btc_token].min_price
    return {owner: sats_for(pool, amount, price) for owner, amount in found.items()}


def sats_for(pool: Pool, amount: int, price: int) -> int:
    """So many sats are worth ``amount`` micro-USDC and a margin at ``price``."""
    return -(-amount * sats_unit(pool) * (10_000 + MARGIN_BPS) // (10_000 * price))
