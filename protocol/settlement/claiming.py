"""The way of a party that claims: when it begins, and its moves INPUT_1 .. KICKOFF in order.

A claim begins when the other side did not close together, and never so late that REFUND could
overtake it. What it reveals is kept before the first byte is on its way, and there is no other.
"""

from typing import Final

from bitcoin.core import CTransaction

from protocol.crypto.winternitz import OneTimeGuard
from protocol.dispute.sides import Strategy
from protocol.errors import TermsError
from protocol.options.payoff import units_max
from protocol.settlement import record
from protocol.settlement.claim import Claim, claim_of
from protocol.settlement.dispute.game import Game
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.lifecycle import Position, prover_of
from protocol.settlement.messages import Effect, Event, Note, Prove, Retrace
from protocol.settlement.move import Move
from protocol.settlement.onetime import ROOT, claim_digits
from protocol.settlement.patience import Due, feerate_sat_vb
from protocol.settlement.policy import Close, Policy
from protocol.settlement.presign import assemble
from protocol.settlement.reading import read_messages
from protocol.settlement.terms import UNITS_SIZE, Role
from protocol.settlement.view import View

_URGENT_BLOCKS: Final = 2
"""So close to the deadline it claims without further patience."""


class Claiming:
    """One side as prover."""

    def __init__(
        self, knowledge: Knowledge, policy: Policy, guard: OneTimeGuard, strategy: Strategy
    ) -> None:
        self._knowledge = knowledge
        self._policy = policy
        self._guard = guard
        self._strategy = strategy
        self.asked = False
        """Whether the proof is under way."""
        self._late = False
        self._ready_ms: int | None = None
        """Since when the contract could be closed together, as far as this process saw."""

    def advance(
        self, position: Position, view: View, now_ms: int, *, refused: bool
    ) -> list[Effect]:
        """Prove, once it is time to claim; Retrace where the strategy claims something else.
        ``refused``: the other side will not close together."""
        facts = self._knowledge.facts
        known = facts.known
        if known is None or facts.proof is not None or self.asked:
            return []
        if not self._under_way(position):
            if not self._policy.claims or not position.funded(self._policy.depth):
                return []
            if not self._gains(known) or self._forward[0].tx.nLockTime > view.height:
                return []
            if self._is_late(view):
                return self._say_late()
            if not refused and not self._is_silent(known, position, view, now_ms):
                return []
        self.asked = True
        claim, data = claim_of(self._knowledge.terms, known.certificate), self._claimed(known)
        return [Prove(claim) if data == claim.encode() else Retrace(data)]

    def claims(self, data: bytes) -> bool:
        """Whether this party claims, or would claim, that ``data`` is right."""
        known = self._knowledge.facts.known
        return known is not None and data == self._claimed(known)

    def proved(self, data: bytes, root: bytes, position: Position, view: View) -> list[Effect]:
        """Keeps the proof, so that the claim begins. TermsError for another claim or root."""
        facts, terms = self._knowledge.facts, self._knowledge.terms
        if not self.claims(data):
            raise TermsError("this is no proof of the claim that this party makes")
        if len(root) != terms.chain.width:
            raise TermsError(f"a root of {len(root)} bytes: these terms want {terms.chain.width}")
        proof = record.Proof(data, self._strategy.root(data, root))
        if facts.proof is not None and facts.proof != proof:
            raise TermsError("another root was proved before: the machine must be deterministic")
        if facts.proof is not None:
            return []
        if not self._under_way(position):
            if not position.funded(self._policy.depth):
                self.asked = False
                return []
            if self._is_late(view):
                return self._say_late()
        return [self._knowledge.keep(record.proof(proof))]

    def require_consistent(self, claim: Claim, position: Position) -> None:
        """TermsError if this party has revealed another claim: blocks may show it when the machine
        that began it is lost."""
        knowledge = self._knowledge
        if knowledge.graph is None or prover_of(position) is not knowledge.role:
            return
        terms = knowledge.terms
        data = self._strategy.claim(claim.encode())
        said = claim_digits(terms, knowledge.role, data, bytes(terms.chain.width))
        forward = {move.name: move for move in self._forward}
        for placed in position.path[1:]:
            if placed.name not in forward:
                continue
            for label, shown in read_messages(forward[placed.name], placed.tx).items():
                if label.field != ROOT and shown.digits != said[label]:
                    raise TermsError(
                        "this party has revealed a claim with other signatures of the oracles:"
                        " bring that certificate"
                    )

    def next_move(self, game: Game | None, position: Position, view: View) -> Due | None:
        """What this party reveals next, if the next block may hold it. GuardError if it revealed
        something else before."""
        if self._knowledge.facts.proof is None:
            return None
        if game is not None and self._strategy.silent(game.play):
            return None
        forward, chain = self._forward, self._knowledge.terms.chain
        if position.funded(self._policy.depth):
            if forward[0].tx.nLockTime > view.height:
                return None
            left = chain.refund_height - view.height
            return Due(*self._signed(forward[0]), self._rate(left))
        last = position.last
        names = [move.name for move in forward]
        if last is None or last.name not in names[:-1] or not last.opens(1, view):
            return None
        assert last.height is not None, "an output opens once a block holds it"
        left = last.height + chain.move_window - 1 - view.height
        return Due(*self._signed(forward[names.index(last.name) + 1]), self._rate(left))

    def _rate(self, left: int) -> int:
        """In sat/vB, for a move that one of the next ``left`` blocks should hold; what has waited
        pays more all the same (``Patience``)."""
        chain = self._knowledge.terms.chain
        return feerate_sat_vb(self._policy, chain, chain.feerate_sat_vb, 0, left)

    def _signed(self, move: Move) -> tuple[str, CTransaction]:
        knowledge, proof = self._knowledge, self._knowledge.facts.proof
        assert proof is not None, "a claim follows its proof"
        said = claim_digits(knowledge.terms, knowledge.role, proof.data, proof.root)
        revealed = {label: said[label] for label in move.messages}
        messages = knowledge.one_time.sign(revealed, self._guard)
        return move.name, assemble(move, knowledge.signatures, messages)

    def _claimed(self, known: record.Known) -> bytes:
        """The machine's whole input as this party publishes it."""
        claim = claim_of(self._knowledge.terms, known.certificate)
        return self._strategy.claim(claim.encode())

    @property
    def _forward(self) -> list[Move]:
        assert self._knowledge.graph is not None, "the contract is funded"
        return list(self._knowledge.graph.forward(self._knowledge.role))

    def _under_way(self, position: Position) -> bool:
        """Whether blocks hold a claim of this party that is not complete: it must go on."""
        last = position.last
        return last is not None and last.name in [move.name for move in self._forward[:-1]]

    def _gains(self, known: record.Known) -> bool:
        """Whether what it claims gives this party anything."""
        terms = self._knowledge.terms
        units = int.from_bytes(self._claimed(known)[:UNITS_SIZE])
        if self._knowledge.role is Role.HOLDER:
            return units > 0
        return units < units_max(terms.claim.payout_bits)

    def _last_start(self) -> int:
        """The height at which a claim begins at the latest."""
        return self._knowledge.terms.chain.refund_height - self._policy.claim_margin_blocks

    def _is_late(self, view: View) -> bool:
        return view.height > self._last_start()

    def _say_late(self) -> list[Effect]:
        if self._late:
            return []
        self._late = True
        height = self._knowledge.terms.chain.refund_height
        return [Note(Event.LATE, f"no claim: REFUND may be in a block from {height + 1} on")]

    def _is_silent(self, known: record.Known, position: Position, view: View, now_ms: int) -> bool:
        """Whether the other side had its time to close together: since this party knew the
        certificate and FUND counted."""
        policy, fund = self._policy, position.fund
        assert fund is not None and fund.height is not None, "FUND counts"
        if self._ready_ms is None:
            self._ready_ms = now_ms
        blocks = view.height - max(known.height, fund.height + policy.depth - 1)
        return (
            policy.close is Close.NEVER
            or now_ms - max(known.at_ms, self._ready_ms) >= policy.claim_after_ms
            or blocks >= policy.claim_after_blocks
            or view.height > self._last_start() - _URGENT_BLOCKS
        )
