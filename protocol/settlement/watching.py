"""What a party reads of the other side's claim on the chain, and what it takes for itself.

Only what a block holds is answered. What the other side revealed is kept before it is used: a
reorganisation cannot take the evidence away again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import outpoint, txid, wtxid
from protocol.crypto.winternitz import Label, digits_number
from protocol.errors import EncodingError, SignatureError
from protocol.settlement import record
from protocol.settlement.certified import claim_fault
from protocol.settlement.claim import payout_units
from protocol.settlement.contract import REFUND
from protocol.settlement.graph import Graph
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.lifecycle import Placed, Position, field_of, prover_of
from protocol.settlement.messages import Keep
from protocol.settlement.onetime import SignedMessage, payout_label
from protocol.settlement.payout import payout_of
from protocol.settlement.policy import Policy
from protocol.settlement.presign import assemble
from protocol.settlement.reading import read_messages
from protocol.settlement.settle import sweep_name
from protocol.settlement.spending import sweep_tx, timeout_tx
from protocol.settlement.terms import Role
from protocol.settlement.view import View, confirmations

Due = tuple[str, CTransaction]
"""A transaction that the next block may hold, and its name."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the other side revealed in ``seen``, read once."""

    seen: tuple[tuple[str, CTransaction], ...] = ()
    wtxids: frozenset[bytes] = frozenset()
    payouts: tuple[SignedMessage, ...] = ()
    """Every payout that it signed in a block. There is one, unless it signed twice: then each
    serves."""


class Watching:
    """One side as the chain shows it: evidence, time-outs, SETTLE, sweeps and REFUND."""

    def __init__(
        self, knowledge: Knowledge, policy: Policy, entropy: Callable[[int], bytes]
    ) -> None:
        self._knowledge = knowledge
        self._policy = policy
        self._entropy = entropy
        self._judged: dict[tuple[bytes, ...], str] = {}
        self._read_already = _Evidence()

    def learn(self, position: Position) -> list[Keep]:
        """Keeps the other side's moves that blocks hold and that reveal something."""
        knowledge = self._knowledge
        if prover_of(position) is not knowledge.role.other:
            return []
        return [
            knowledge.keep(record.seen(placed.name, placed.tx))
            for placed in self._revealing(position)
            if placed.confirmed and wtxid(placed.tx) not in self._evidence.wtxids
        ]

    def fault(self, position: Position) -> str:
        """Why the other side's claim on the path is false; empty if it is true, not there yet, or
        this party's own."""
        knowledge, prover = self._knowledge, prover_of(position)
        shown = [placed for placed in self._revealing(position) if placed.confirmed]
        if prover is not knowledge.role.other or not shown:
            return ""
        if field_of(shown[-1].name) != "KICKOFF":
            return ""
        key = tuple(wtxid(placed.tx) for placed in shown)
        if key not in self._judged:
            self._judged[key] = self._judge(prover, shown)
        return self._judged[key]

    def due(self, position: Position, view: View) -> Iterator[Due]:
        """What this party may take or end by now."""
        prover, last = prover_of(position), position.last
        if last is None:
            yield from self._refund(position, view)
        elif prover is not None and field_of(last.name) == "KICKOFF":
            yield from self._settle(position, prover, last, view)
        elif prover is self._knowledge.role.other and field_of(last.name).startswith("INPUT_"):
            yield from self._timeout(last, view)
        elif prover is not None and field_of(last.name) == "SETTLE" and last.confirmed:
            yield from self._sweeps(prover, last, view)

    def is_swept(self, position: Position, view: View) -> bool:
        """Whether nothing of SETTLE is left for this party: every locked output that it may come
        to own is spent, and that counts."""
        prover, last = prover_of(position), position.last
        if prover is None or last is None:
            return True
        mine = self._locked(prover)
        if prover is not self._knowledge.role:
            mine = self._shown_mine(prover)
        spenders = (view.spender(outpoint(txid(last.tx), number)) for number in mine)
        return all(confirmations(seen, view) >= self._policy.depth for seen in spenders)

    # What the other side revealed

    def _revealing(self, position: Position) -> list[Placed]:
        moves = self._graph.moves
        return [p for p in position.path if p.name in moves and moves[p.name].messages]

    def _read(self, name: str, tx: CTransaction) -> dict[Label, SignedMessage]:
        return read_messages(self._graph.move(name), tx)

    def _judge(self, prover: Role, shown: list[Placed]) -> str:
        knowledge = self._knowledge
        messages: dict[Label, SignedMessage] = {}
        try:
            for placed in shown:
                messages |= self._read(placed.name, placed.tx)
        except (EncodingError, SignatureError) as error:
            return str(error)
        fault = claim_fault(knowledge.terms, prover, messages)
        known = knowledge.facts.known
        units = digits_number(messages[payout_label(knowledge.terms, prover)].digits)
        if fault or known is None:
            return fault
        if units == payout_units(knowledge.terms, known.certificate.expiry):
            return ""
        return f"it claims {units} units, this party's certificate gives others"

    @property
    def _evidence(self) -> _Evidence:
        seen = self._knowledge.facts.seen
        if seen is not self._read_already.seen:
            read = [self._read(name, tx) for name, tx in seen]
            label = payout_label(self._knowledge.terms, self._knowledge.role.other)
            self._read_already = _Evidence(
                seen,
                frozenset(wtxid(tx) for _, tx in seen),
                tuple(messages[label] for messages in read if label in messages),
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
            yield REFUND, assemble(refund, knowledge.signatures(REFUND))

    def _settle(
        self, position: Position, prover: Role, kickoff: Placed, view: View
    ) -> Iterator[Due]:
        settle = self._graph.settle(prover)
        window = self._knowledge.terms.chain.challenge_window
        if kickoff.opens(window, view) and not self.fault(position):
            yield settle.name, assemble(settle, self._knowledge.signatures(settle.name))

    def _timeout(self, last: Placed, view: View) -> Iterator[Due]:
        if last.opens(self._knowledge.terms.chain.move_window, view):
            move = self._graph.move(last.name)
            tx = timeout_tx(
                self._graph,
                move,
                self._knowledge.keys,
                self._entropy(32),
                feerate_sat_vb=self._feerate_sat_vb,
            )
            yield last.name.replace("INPUT", "TIMEOUT_INPUT"), tx

    def _sweeps(self, prover: Role, settle: Placed, view: View) -> Iterator[Due]:
        own = prover is self._knowledge.role
        delay = self._knowledge.terms.chain.sweep_delay if own else 1
        if not settle.opens(delay, view):
            return
        point = txid(settle.tx)
        free = {n for n in self._locked(prover) if view.spender(outpoint(point, n)) is None}
        if own and free:
            yield self._sweep(prover, free, None)
        for payout in () if own else self._evidence.payouts:
            units = digits_number(payout.digits)
            taken = free & set(payout_of(self._graph, prover, units).sweeps[self._knowledge.role])
            if taken:
                yield self._sweep(prover, taken, payout)
            free -= taken

    def _sweep(self, prover: Role, outputs: set[int], payout: SignedMessage | None) -> Due:
        role = self._knowledge.role
        tx = sweep_tx(
            self._graph,
            prover,
            role,
            sorted(outputs),
            self._knowledge.keys,
            self._entropy(32),
            payout=payout,
            feerate_sat_vb=self._feerate_sat_vb,
        )
        return sweep_name(prover, role), tx

    def _locked(self, prover: Role) -> set[int]:
        return set(range(len(self._graph.contract.splits[prover].locks)))

    def _shown_mine(self, prover: Role) -> set[int]:
        """The outputs that any payout of the other side gives this party."""
        mine: set[int] = set()
        for payout in self._evidence.payouts:
            units = digits_number(payout.digits)
            mine |= set(payout_of(self._graph, prover, units).sweeps[self._knowledge.role])
        return mine

    @property
    def _feerate_sat_vb(self) -> int:
        """Of what is signed fresh: never so much that an output does not pay for its sweep."""
        chain, own = self._knowledge.terms.chain, self._policy.sweep_feerate_sat_vb
        return chain.feerate_sat_vb if own is None else min(own, chain.max_feerate_sat_vb)

    @property
    def _graph(self) -> Graph:
        assert self._knowledge.graph is not None, "the contract is funded"
        return self._knowledge.graph
