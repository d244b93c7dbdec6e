"""What a party keeps of what the other side reveals on the chain, and what it takes for itself.

What the other side revealed in a block is kept before it is used: a reorganisation cannot take the
evidence away again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bitcoin.core import CTransaction

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.tx import outpoint, txid, vsize, wtxid
from protocol.crypto.winternitz import digits_number
from protocol.settlement import record
from protocol.settlement.contract import REFUND
from protocol.settlement.dispute.game import mover_of
from protocol.settlement.graph import Graph
from protocol.settlement.keys import TowerKeys
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.lifecycle import Placed, Position, is_settle, prover_of
from protocol.settlement.messages import Keep
from protocol.settlement.onetime import SignedMessage, payout_label
from protocol.settlement.patience import Due, feerate_sat_vb
from protocol.settlement.payout import payout_of
from protocol.settlement.policy import Policy
from protocol.settlement.presign import assemble
from protocol.settlement.reading import name_of, read_messages
from protocol.settlement.settle import sweep_name
from protocol.settlement.spending import sweep_tx
from protocol.settlement.terms import Role
from protocol.settlement.view import View, confirmations


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the other side revealed, read once."""

    seen: tuple[tuple[str, CTransaction], ...] = ()
    wtxids: frozenset[bytes] = frozenset()
    payouts: tuple[SignedMessage, ...] = ()
    """Every payout that it signed in a block. There is one, unless it signed twice: then each
    serves."""


_Sweep = tuple[bytes, frozenset[int], SignedMessage | None, int]
"""Of which SETTLE what is taken, by which evidence, at how many sat/vB."""


class Watching:
    """One side as the chain shows it: evidence, sweeps and REFUND."""

    def __init__(
        self, knowledge: Knowledge, policy: Policy, entropy: Callable[[int], bytes]
    ) -> None:
        self._knowledge = knowledge
        self._policy = policy
        self._entropy = entropy
        self._read_already = _Evidence()
        self._made: dict[_Sweep, CTransaction] = {}

    def learn(self, position: Position) -> list[Keep]:
        """Keeps the other side's moves that blocks hold and that reveal something."""
        knowledge, prover = self._knowledge, prover_of(position)
        if prover is None:
            return []
        return [
            knowledge.keep(record.seen(placed.name, placed.tx))
            for placed in position.in_blocks.path[1:]
            if mover_of(placed.name, prover) is knowledge.role.other
            and self._graph.move(placed.name).messages
            and wtxid(placed.tx) not in self._evidence.wtxids
        ]

    def due(self, position: Position, view: View) -> Iterator[Due]:
        """What this party may take or end by now."""
        prover, last = prover_of(position), position.last
        if last is None:
            yield from self._refund(position, view)
        elif prover is not None and is_settle(last.name) and last.confirmed:
            yield from self._sweeps(prover, last, view)

    def is_swept(self, position: Position, view: View) -> bool:
        """Whether nothing of SETTLE is left for this party: every locked output that it may come
        to own is spent, and that counts."""
        prover, last = prover_of(position), position.last
        if prover is None or last is None or not is_settle(last.name):
            return True
        mine = self._locked(prover)
        if prover is not self._knowledge.role:
            mine = self._shown_mine(last)
        spenders = (view.spender(outpoint(txid(last.tx), number)) for number in mine)
        return all(confirmations(seen, view) >= self._policy.depth for seen in spenders)

    @property
    def _evidence(self) -> _Evidence:
        seen = self._knowledge.facts.seen
        if seen is not self._read_already.seen:
            label = payout_label(self._knowledge.terms, self._knowledge.role.other)
            kickoff = self._graph.move(f"{self._knowledge.role.other.value}:KICKOFF")
            read = [read_messages(kickoff, tx) for name, tx in seen if name == kickoff.name]
            self._read_already = _Evidence(
                seen,
                frozenset(wtxid(tx) for _, tx in seen),
                tuple(messages[label] for messages in read),
            )
        return self._read_already

    # What is due

    def _refund(self, position: Position, view: View) -> Iterator[Due]:
        """REFUND, unless this party's own claim is on its way."""
        knowledge, fund = self._knowledge, position.fund
        refund = self._graph.move(REFUND)
        height = refund.tx.nLockTime
        if knowledge.facts.proof is not None:
            height += self._policy.claim_margin_blocks
        if fund is not None and fund.confirmed and view.height >= height:
            yield Due(REFUND, assemble(refund, knowledge.signatures))

    def _sweeps(self, prover: Role, settle: Placed, view: View) -> Iterator[Due]:
        knowledge, move = self._knowledge, self._graph.move(settle.name)
        own = prover is knowledge.role
        if own and isinstance(knowledge.keys, TowerKeys):
            return
        if not settle.opens(knowledge.terms.chain.sweep_delay if own else 1, view):
            return
        free = self._free(prover, settle, view)
        if own and free:
            yield from self._sweep(settle, free, None, view)
        for payout in () if own else self._evidence.payouts:
            units = digits_number(payout.digits)
            taken = free & set(payout_of(self._graph, move, units).sweeps[knowledge.role])
            if taken:
                yield from self._sweep(settle, taken, payout, view)
            free -= taken

    def _free(self, prover: Role, settle: Placed, view: View) -> set[int]:
        """The outputs that no block has spent. The prover leaves those that the other side is about
        to take: it has shown that they are its own."""
        own = prover is self._knowledge.role
        free = set()
        for number in self._locked(prover):
            seen = view.spender(outpoint(txid(settle.tx), number))
            waits = seen is not None and seen.block is None
            if seen is None or (waits and (not own or self._is_own(seen.tx, prover))):
                free.add(number)
        return free

    def _is_own(self, tx: CTransaction, prover: Role) -> bool:
        return name_of(self._graph, tx) == sweep_name(prover, self._knowledge.role)

    def _sweep(
        self, settle: Placed, outputs: set[int], payout: SignedMessage | None, view: View
    ) -> Iterator[Due]:
        """Takes ``outputs`` at what that should pay by now, and at more than what waits in the
        mempool for the same, as far as they pay for it. Nothing where that is its own and pays
        enough."""
        prover = self._graph.move(settle.name).prover
        assert prover is not None, "a SETTLE has a prover"
        rate = self._rate_sat_vb(prover, settle, view)
        points = (outpoint(txid(settle.tx), number) for number in outputs)
        waiting = {txid(seen.tx): seen.tx for seen in map(view.spender, points) if seen is not None}
        if waiting:
            rivals = list(waiting.values())
            least = self._signed(settle, outputs, payout, self._base_sat_vb)
            size = self._fee_sats(least, view) // self._base_sat_vb
            paid = sum(self._fee_sats(tx, view) for tx in rivals)
            if paid >= rate * size and all(self._is_own(tx, prover) for tx in rivals):
                return
            rate = max(rate, self._outbidding(rivals, paid, size, view))
            held = int(least.vout[0].nValue) + self._base_sat_vb * size
            rate = min(rate, (held - dust_limit_sats(bytes(least.vout[0].scriptPubKey))) // size)
        name = sweep_name(prover, self._knowledge.role)
        yield Due(name, self._signed(settle, outputs, payout, rate))

    def _outbidding(self, rivals: list[CTransaction], paid: int, size: int, view: View) -> int:
        """The fee rate at which nodes prefer ``size`` virtual bytes to all ``rivals``, which have
        ``paid``: more in total (BIP125, rules 3 and 4), and more a byte than any of them."""
        dearest = max(self._fee_sats(tx, view) // vsize(tx) for tx in rivals)
        return max(-(-paid // size), dearest) + 1

    def _rate_sat_vb(self, prover: Role, settle: Placed, view: View) -> int:
        """What a sweep should pay by now. The prover may take everything from ``sweep_delay`` on:
        until then the other side's has to be in a block."""
        chain, own = self._knowledge.terms.chain, prover is self._knowledge.role
        assert settle.height is not None, "only a SETTLE in a block is swept"
        first = settle.height + (chain.sweep_delay if own else 1)
        left = None if own else settle.height + chain.sweep_delay - 1 - view.height
        waited = view.height + 1 - first
        return feerate_sat_vb(self._policy, chain, self._base_sat_vb, waited, left)

    @property
    def _base_sat_vb(self) -> int:
        return self._policy.fresh_feerate_sat_vb(self._knowledge.terms.chain)

    def _fee_sats(self, tx: CTransaction, view: View) -> int:
        """Of a transaction whose parents the node knows; less where it does not."""
        parents = ((view.tx(bytes(spends.prevout.hash)), spends.prevout.n) for spends in tx.vin)
        held = sum(int(seen.tx.vout[n].nValue) for seen, n in parents if seen is not None)
        return max(held - sum(int(out.nValue) for out in tx.vout), 0)

    def _signed(
        self, settle: Placed, outputs: set[int], payout: SignedMessage | None, rate: int
    ) -> CTransaction:
        """The sweep at this fee rate, signed once."""
        key = txid(settle.tx), frozenset(outputs), payout, rate
        if key not in self._made:
            self._made[key] = sweep_tx(
                self._graph,
                self._graph.move(settle.name),
                self._knowledge.role,
                sorted(outputs),
                self._knowledge.keys,
                self._entropy(32),
                payout=payout,
                feerate_sat_vb=rate,
            )
        return self._made[key]

    def _locked(self, prover: Role) -> set[int]:
        return set(range(len(self._graph.contract.splits[prover].locks)))

    def _shown_mine(self, settle: Placed) -> set[int]:
        """The outputs that any payout of the other side gives this party."""
        mine: set[int] = set()
        for payout in self._evidence.payouts:
            units = digits_number(payout.digits)
            move = self._graph.move(settle.name)
            mine |= set(payout_of(self._graph, move, units).sweeps[self._knowledge.role])
        return mine

    @property
    def _graph(self) -> Graph:
        assert self._knowledge.graph is not None, "the contract is funded"
        return self._knowledge.graph
