"""Games in a ledger: blocks with time locks and double spends refused, and no Script at all.

For what is read from blocks: it is quick, and can hold what no chain would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import SEQUENCE_REPLACEABLE, Coin, outpoint_key, txid
from protocol.dispute.claim import Party
from protocol.dispute.play import Play
from protocol.settlement.contract import Contract
from protocol.settlement.dispute.story import Story, story_of
from protocol.settlement.funding import Contribution, contract_outpoint, fund_needs, fund_tx
from protocol.settlement.reading import Reader
from protocol.settlement.terms import ContractTerms, Role
from regtest.chain import BlockRef, TxRef, Verdict
from riscv_vm.image import ProgramImage
from tests.builders.contracts import NONFINAL, SPENT, Deal, coin, contract_of, deal
from tests.builders.dispute_chain import Setting, Table


@dataclass
class Ledger:
    """A chain for tests, as ``Stage`` and ``View`` want one."""

    blocks: list[tuple[CTransaction, ...]] = field(default_factory=lambda: [()])

    @property
    def chain(self) -> "Ledger":
        return self

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def tx(self, wanted: bytes) -> TxRef | None:
        return next((seen for seen in self._all() if seen.txid == wanted), None)

    def spender(self, point: COutPoint) -> TxRef | None:
        key = outpoint_key(point)
        return next((seen for seen in self._all() if key in _spent(seen.tx)), None)

    def check(self, tx: CTransaction) -> Verdict:
        """Locks and double spends only."""
        reason = ""
        for spend in tx.vin:
            parent = self.tx(bytes(spend.prevout.hash))
            if self.spender(spend.prevout) is not None:
                reason = SPENT
            elif parent is not None and spend.nSequence < SEQUENCE_REPLACEABLE:
                ripe = parent.block.height + spend.nSequence <= self.height + 1
                reason = reason if ripe else f"{NONFINAL}, too early"
        if tx.nLockTime > self.height:
            reason = f"{NONFINAL}, too early"
        return Verdict(not reason, reason, True, "", "model")

    def refused(self, tx: CTransaction, reason: str) -> None:
        assert self.check(tx).consensus_reason.startswith(reason)

    def mine(self, count: int = 1, txs: Sequence[CTransaction] = ()) -> None:
        self.blocks += [tuple(txs), *[()] * (count - 1)]

    def broadcast(self, *txs: CTransaction) -> None:
        """In a block each, whatever it says."""
        for tx in txs:
            self.mine(txs=[tx])

    def _all(self):
        for height, block in enumerate(self.blocks):
            for number, tx in enumerate(block):
                yield TxRef(txid(tx), tx, BlockRef(height, height.to_bytes(32), 0), number)


class Trusting(Table):
    """A game whose players are taken at their word: what the rules refuse, no chain is asked."""

    def refuse(self, move: object, party: Party) -> bool:
        return True


def seated(about: Setting) -> Table:
    """A new ledger with FUND in it, and both sides before their first move."""
    made, fund = signed(about.terms, about.judge)
    ledger = Ledger()
    ledger.broadcast(fund)
    return Trusting(ledger, about, made, Play(about.premises), Reader(made.graph))


def read(table: Table) -> Story:
    """What the ledger tells."""
    return story_of(table.graph, table.stage)


@lru_cache(maxsize=8)
def signed(terms: ContractTerms, judge: ProgramImage | None) -> tuple[Deal, CTransaction]:
    """A contract with all signatures, and its FUND from coins that no chain knows."""
    contract = contract_of(terms, judge)
    fund = fund_tx(contract, *(_contribution(contract, role) for role in Role))
    return deal(terms, contract_outpoint(fund), judge), fund


def _contribution(contract: Contract, role: Role) -> Contribution:
    script = contract.terms.party(role).script
    enough = fund_needs(contract, role, 1) + 100_000
    return Contribution((_coin(enough, script, role),), script)


def _coin(sats: int, script: bytes, role: Role) -> Coin:
    return coin(sats, script, list(Role).index(role))


def _spent(tx: CTransaction) -> set[bytes]:
    return {outpoint_key(spend.prevout) for spend in tx.vin}
