"""What a scenario does to a chain, written down in words that every backend must repeat."""

from collections.abc import Sequence

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import hash_hex, txid
from protocol.errors import ChainError, ConsensusError
from regtest.chain import ANYONE, BlockRef, Chain, Verdict, rule_broken

AUX = bytes(32)


class Record:
    """A chain at work. Every call is the chain's own, and a line of ``lines``."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)

    def mine(
        self, count: int = 1, *, to: bytes = ANYONE, txs: Sequence[CTransaction] | None = None
    ) -> BlockRef:
        """As ``Chain.mine``; the last block."""
        block = self.chain.mine(count, to=to, txs=txs)[-1]
        held = [hash_hex(txid(tx)) for tx in self.chain.block(block.height)[1:]]
        self.note(f"mined {block}, time {block.time}, with {', '.join(held) or 'nothing'}")
        return block

    def reorg(self, depth: int, *, txs: Sequence[CTransaction] = ()) -> BlockRef:
        tip = self.chain.reorg(depth, txs=txs)
        self.note(f"reorganised {depth} blocks to {tip}")
        self.waiting()
        return tip

    def waiting(self) -> None:
        """Note the mempool."""
        held = [hash_hex(txid(tx)) for tx in self.chain.mempool()]
        self.note(f"waiting: {', '.join(held) or 'nothing'}")

    def broadcast(self, *txs: CTransaction) -> None:
        for tx in txs:
            self.chain.broadcast(tx)
            self.note(f"broadcast {hash_hex(txid(tx))}")

    def valid(self, name: str, tx: CTransaction) -> Verdict:
        """The next block may hold it."""
        verdict = self.chain.check(tx)
        expect(verdict.consensus, f"{name} is valid, not refused for {verdict.consensus_reason}")
        self.note(f"{name}: valid")
        return verdict

    def invalid(self, name: str, tx: CTransaction, rule: str) -> None:
        """``check``, ``broadcast`` and a block refuse it, for breaking ``rule``; nothing moves."""
        before = self.chain.tip, self.chain.mempool()
        verdict = self.chain.check(tx)
        expect(not verdict.consensus and verdict.policy is None, f"{name} is invalid")
        reasons = [verdict.consensus_reason]
        for attempt in (lambda: self.chain.broadcast(tx), lambda: self.chain.mine(txs=[tx])):
            try:
                attempt()
            except ConsensusError as error:
                reasons.append(str(error))
        expect(
            [rule_broken(reason) for reason in reasons] == [rule] * 3,
            f"{name} breaks {rule!r} three times, not: {reasons}",
        )
        expect(before == (self.chain.tip, self.chain.mempool()), f"{name} changes nothing")
        self.note(f"{name}: invalid, {rule}")

    def refused(self, name: str, raw: bytes, rule: str) -> None:
        """A block that breaks ``rule``."""
        tip = self.chain.tip
        try:
            self.chain.submit_block(raw)
        except ConsensusError as error:
            found = rule_broken(str(error))
        else:
            found = "nothing"
        expect(found == rule, f"the block with {name} breaks {rule!r}, not {found!r}")
        expect(self.chain.tip == tip, f"the block with {name} changes nothing")
        self.note(f"a block with {name}: invalid, {rule}")


def expect(holds: bool, claim: str) -> None:
    """ChainError unless ``claim`` ``holds``."""
    if not holds:
        raise ChainError(f"conformance: expected that {claim}")
