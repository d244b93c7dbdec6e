"""One side of one contract, pure: from the first proposal to the last sweep.

    party = Party(role, keys, policy, guard, entropy, records)
    effects = party.open(view, now_ms)              once, then one call for everything that happens

Every call returns effects (``messages.Effect``) that are carried out in order. ``records`` are what
``Keep`` was told, oldest first: a party made of them goes on where the last one stopped, and says
again what it last said. What a call refuses changes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import txid, witness_stack
from protocol.crypto.winternitz import OneTimeGuard
from protocol.dispute.play import Wait
from protocol.dispute.rules import History
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ChainError, GuardError, ProtocolError, TermsError
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement import record
from protocol.settlement.certified import require_certificate
from protocol.settlement.claim import Claim, claim_of
from protocol.settlement.claiming import Claiming
from protocol.settlement.contract import ANCHOR_BYTES, CLOSE
from protocol.settlement.cooperation import Cooperation
from protocol.settlement.dispute.game import Game
from protocol.settlement.disputing import Dispute, Disputing
from protocol.settlement.funding import Contribution
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.lifecycle import Position, Stage, position_of, stage_of
from protocol.settlement.messages import (
    Broadcast,
    Bump,
    CloseAnswer,
    CloseOffer,
    CloseRefusal,
    Effect,
    Event,
    Message,
    Note,
)
from protocol.settlement.move import FUND
from protocol.settlement.negotiation import RECLAIM, Negotiation
from protocol.settlement.patience import Due, Patience
from protocol.settlement.policy import Policy
from protocol.settlement.terms import ChainTerms, ClaimTerms, ContractTerms, Role
from protocol.settlement.view import View, confirmations
from protocol.settlement.watching import Watching
from riscv_vm.image import ProgramImage

_NOWHERE: Final = Position(())


class Party:
    """The holder's or the writer's machine. One thread at a time."""

    def __init__(
        self,
        role: Role,
        keys: PartyKeys,
        policy: Policy,
        guard: OneTimeGuard,
        entropy: Callable[[int], bytes],
        records: Sequence[bytes] = (),
        *,
        strategy: Strategy = HONEST,
        judge: ProgramImage | None = None,
    ) -> None:
        """``entropy(n)`` gives n fresh random bytes; ``judge`` is the program that both parties
        judge a claim by, the settlement guest unless given. EncodingError for records that are
        none, TermsError for those of another party."""
        self.role = role
        self._policy = policy
        self._knowledge = Knowledge(role, keys, records, judge)
        self._negotiation = Negotiation(self._knowledge, policy, entropy)
        self._cooperation = Cooperation(self._knowledge, policy, entropy)
        self._claiming = Claiming(self._knowledge, policy, guard, strategy)
        self._watching = Watching(self._knowledge, policy, entropy)
        self._disputing = Disputing(self._knowledge, policy, guard, entropy, strategy)
        self._patience = Patience(policy)
        self._outcome = ""
        self._over = False
        self._noted: set[str] = set()
        self._sent: dict[bytes, tuple[int, int]] = {}
        """When each transaction was last broadcast: height and time."""

    # What it is

    @property
    def stage(self) -> Stage:
        """As of the last look."""
        return self._knowledge.facts.stage

    @property
    def facts(self) -> record.Facts:
        """Everything that it has kept."""
        return self._knowledge.facts

    @property
    def terms(self) -> ContractTerms | None:
        """None until they are agreed."""
        return self._knowledge.facts.terms

    @property
    def graph(self) -> Graph | None:
        """None until both parties' keys and coins are known."""
        return self._knowledge.graph

    @property
    def outcome(self) -> str:
        """How the contract ends as far as the chain shows: CLOSE, REFUND, ``holder:SETTLE``,
        ``writer:TIMEOUT`` ..., RECLAIM; empty while open."""
        return self._outcome

    @property
    def dispute(self) -> Dispute | None:
        """The game about the claim on the chain, as of the last look; None while nobody claims."""
        return self._disputing.shown

    @property
    def over(self) -> bool:
        """Whether nothing is left to do but for a reorganisation deeper than ``policy.depth``."""
        return self._over

    # What happens to it

    def open(self, view: View, now_ms: int) -> list[Effect]:
        """After every start, and when the other party is there again: looks, says again what it
        last said and asks for what is missing."""
        self._resume()
        return self._do(lambda: [], view, now_ms)

    def look(self, view: View, now_ms: int) -> list[Effect]:
        """Time passed, or a block came. Call it after every block and at least every second."""
        return self._do(lambda: [], view, now_ms)

    def propose(
        self, claim: ClaimTerms, chain: ChainTerms, view: View, now_ms: int
    ) -> list[Effect]:
        """The holder begins; without effect once it has. TermsError for terms that it would not
        agree to itself."""
        return self._do(lambda: self._negotiation.propose(claim, chain, view), view, now_ms)

    def hear(self, message: Message, view: View, now_ms: int) -> list[Effect]:
        """A message of the other party, whatever it holds: Note(REFUSED) says why one is refused.
        Who sent it is the transport's to know. ChainError as the view raises it."""
        try:
            return self._do(lambda: self._hear(message, view, now_ms), view, now_ms)
        except ChainError:
            raise
        except ProtocolError as error:
            return [Note(Event.REFUSED, f"{type(message).__name__}: {error}")]

    def coins(self, contribution: Contribution, view: View, now_ms: int) -> list[Effect]:
        """The answer to NeedCoins. TermsError if it is not enough."""
        return self._do(lambda: self._negotiation.coins(contribution), view, now_ms)

    def coins_signed(self, tx: CTransaction, view: View, now_ms: int) -> list[Effect]:
        """The answer to SignCoins: the same transaction with this party's witnesses in it.
        TermsError or SignatureError if it is not that."""
        return self._do(lambda: self._negotiation.coins_signed(tx, now_ms), view, now_ms)

    def settle(
        self, certificate: ExpiryCertificate, view: View, now_ms: int, *, anchor: bytes = b""
    ) -> list[Effect]:
        """The oracles have spoken. The first certificate is kept for ever, another set of signers
        of the same expiry changes nothing. ``anchor`` is what CLOSE may carry (32 bytes).

        TermsError, QuorumError or SignatureError if it does not settle this contract.
        """
        return self._do(lambda: self._certify(certificate, anchor, view, now_ms), view, now_ms)

    def proved(self, claim: Claim, root: bytes, view: View, now_ms: int) -> list[Effect]:
        """The answer to Prove: ``root`` of the machine's trace on this claim. TermsError for
        another one."""

        def keep() -> list[Effect]:
            position = self._patience.look(self._position(view), view)
            return self._claiming.proved(claim.encode(), root, position, view)

        return self._do(keep, view, now_ms)

    def retraced(self, data: bytes, history: History, view: View, now_ms: int) -> list[Effect]:
        """The answer to Retrace: the machine's honest trace of the input ``data``, as long as this
        party lives. TermsError for a trace of another shape."""

        def keep() -> list[Effect]:
            self._disputing.retraced(data, history)
            wanted = self._claiming.asked and self.facts.proof is None
            if not wanted or not self._claiming.claims(data):
                return []
            position = self._patience.look(self._position(view), view)
            return self._claiming.proved(data, history.root, position, view)

        return self._do(keep, view, now_ms)

    def unrelayed(self, name: str, reason: str) -> list[Effect]:
        """The node's policy refused the broadcast of ``name``: says so once."""
        detail = f"{name}: {reason}; a block may hold it, give it to a miner"
        return self._note(Event.UNRELAYED, detail)

    # What it does

    def _do(self, work: Callable[[], list[Effect]], view: View, now_ms: int) -> list[Effect]:
        """``work`` and all that is due then. Where either fails, nothing was done: what was to be
        kept is not known, and what was to be said will be said again."""
        facts, asked = self._knowledge.facts, (self._claiming.asked, self._disputing.asked)
        try:
            return work() + self._advance(view, now_ms)
        except ProtocolError:
            if self._knowledge.facts is not facts:
                self._knowledge.restore(facts)
                self._resume()
            self._claiming.asked, self._disputing.asked = asked
            raise

    def _resume(self) -> None:
        self._negotiation.resume()
        self._cooperation.resume()
        self._sent.clear()

    def _certify(
        self, certificate: ExpiryCertificate, anchor: bytes, view: View, now_ms: int
    ) -> list[Effect]:
        knowledge = self._knowledge
        if knowledge.facts.terms is None:
            raise TermsError("no contract is agreed: there is nothing to settle")
        require_certificate(knowledge.terms, certificate)
        if anchor and (len(anchor) != ANCHOR_BYTES or not knowledge.terms.chain.anchored):
            raise TermsError(f"anchor: {ANCHOR_BYTES} bytes, and only where the terms have one")
        known = knowledge.facts.known
        if known is None:
            claim = claim_of(knowledge.terms, certificate)
            self._claiming.require_consistent(claim, self._position(view))
            fact = record.Known(certificate, anchor, now_ms, view.height)
            return [knowledge.keep(record.known(fact))]
        if known.certificate.expiry != certificate.expiry:
            raise TermsError("the oracles certified two expiries: this party keeps to the first")
        return []

    def _hear(self, message: Message, view: View, now_ms: int) -> list[Effect]:
        if isinstance(message, CloseOffer):
            position = self._position(view)
            return self._cooperation.hear_offer(message, position, view, now_ms)
        if isinstance(message, CloseAnswer):
            return self._cooperation.hear_answer(message)
        if isinstance(message, CloseRefusal):
            return self._cooperation.hear_refusal(message)
        return self._negotiation.hear(message, view, now_ms)

    def _advance(self, view: View, now_ms: int) -> list[Effect]:
        """Everything that is due, whatever happened."""
        effects = self._negotiation.advance(view, now_ms)
        position = self._position(view) if self._knowledge.signed else _NOWHERE
        if self._knowledge.signed:
            effects += self._enforce(position, view, now_ms)
        else:
            effects += self._reach(self._settled_stage(position, view))
        self._conclude(position, view)
        return effects

    def _enforce(self, position: Position, view: View, now_ms: int) -> list[Effect]:
        """What both sides signed, on the chain: from FUND to the last sweep."""
        learned = self._learn(position)
        effects: list[Effect] = [*learned]
        game = self._disputing.look(position, view)
        effects += self._reach(self._settled_stage(position, view))
        effects += self._disputing.ask(game)
        if game is not None and game.play.wait not in (Wait.INPUT, Wait.WINDOW, Wait.OVER):
            detail = f"the {game.course.prover.value}'s claim was challenged"
            effects += self._note(Event.DISPUTED, detail)
        position = self._patience.look(position, view)
        effects += self._cooperation.advance(position, now_ms)
        refused = self._cooperation.refused
        effects += self._claiming.advance(position, view, now_ms, refused=refused)
        if not learned:  # what it answers is on disk before the guard knows of an answer
            effects += self._answer(game, position, view)
        due = [*self._due(position, view), *self._disputing.due(game, position, view)]
        effects += self._broadcasts(due, view, now_ms)
        return effects + self._guarded(game, position, view, now_ms)

    def _position(self, view: View) -> Position:
        graph = self._knowledge.graph
        return _NOWHERE if graph is None else position_of(graph, view)

    def _learn(self, position: Position) -> list[Effect]:
        """Keeps what the chain shows and this party may need again."""
        effects: list[Effect] = [*self._watching.learn(position)]
        fund = position.fund
        if self._knowledge.facts.fund is None and fund is not None and witness_stack(fund.tx, 0):
            fact = record.transaction_record("fund", fund.tx)
            effects.append(self._knowledge.keep(fact))
        return effects

    def _settled_stage(self, position: Position, view: View) -> Stage:
        facts, depth = self._knowledge.facts, self._policy.depth
        shown = stage_of(position, depth)
        if shown is not None:
            return shown
        if self._is_dead(position, view):
            return Stage.CANCELLED
        if (facts.witnessed is not None and self.role is Role.HOLDER) or facts.fund is not None:
            return Stage.SIGNED
        return Stage.CANCELLED if facts.declined else Stage.DRAFT

    def _is_dead(self, position: Position, view: View) -> bool:
        """Whether a coin of FUND went elsewhere, for good."""
        fund = self._knowledge.fund
        if fund is None or position.fund is not None:
            return False
        spenders = [view.spender(txin.prevout) for txin in fund.vin]
        return any(confirmations(seen, view) >= self._policy.depth for seen in spenders)

    def _reach(self, stage: Stage) -> list[Effect]:
        """Keeps a transition before anything that follows from it."""
        before = self.stage
        if stage is before:
            return []
        keep = self._knowledge.keep(record.stage(stage))
        return [keep, Note(Event.STAGE, f"{before} -> {stage}")]

    def _note(self, event: Event, detail: str) -> list[Effect]:
        """Says so once."""
        if detail in self._noted:
            return []
        self._noted.add(detail)
        return [Note(event, detail)]

    def _due(self, position: Position, view: View) -> Iterator[Due]:
        """The transactions that belong in the mempool by now."""
        facts = self._knowledge.facts
        if position.fund is None:
            if facts.fund is not None:
                yield Due(FUND, facts.fund)
            elif facts.reclaim is not None:
                yield Due(RECLAIM, facts.reclaim)
        elif facts.close is not None and position.last is None:
            yield Due(CLOSE, facts.close)
        if position.fund is not None:
            yield from self._watching.due(position, view)

    def _answer(self, game: Game | None, position: Position, view: View) -> list[Effect]:
        """This party's next move in a dispute, kept."""
        try:
            return [*self._disputing.answer(game, position, view)]
        except GuardError as error:
            return self._note(Event.GUARDED, str(error))

    def _guarded(
        self, game: Game | None, position: Position, view: View, now_ms: int
    ) -> list[Effect]:
        """This party's next move of its claim, through the one-time guard."""
        if position.fund is None:
            return []
        try:
            move = self._claiming.next_move(game, position, view)
        except GuardError as error:
            return self._note(Event.GUARDED, str(error))
        return [] if move is None else self._broadcasts([move], view, now_ms)

    def _broadcasts(self, due: Sequence[Due], view: View, now_ms: int) -> list[Effect]:
        """Those that the node does not know; once a block, and again after ``repeat_ms``."""
        effects: list[Effect] = []
        for one in due:
            name = txid(one.tx)
            last = self._sent.get(name)
            waits = last is not None and (
                last[0] == view.height and 0 <= now_ms - last[1] < self._policy.repeat_ms
            )
            effect = self._sending(one)
            if waits or (isinstance(effect, Broadcast) and view.tx(name) is not None):
                continue
            self._sent[name] = view.height, now_ms
            effects.append(effect)
        return effects

    def _sending(self, due: Due) -> Broadcast | Bump:
        graph = self._knowledge.graph
        if graph is None or due.name not in graph.moves:  # without an anchor
            return Broadcast(due.name, due.tx)
        chain = graph.contract.terms.chain
        rate = max(due.feerate_sat_vb, self._patience.feerate_sat_vb(chain))
        if rate > chain.feerate_sat_vb:
            return Bump(due.name, due.tx, rate)
        return Broadcast(due.name, due.tx)

    def _conclude(self, position: Position, view: View) -> None:
        """Sets ``outcome`` and ``over``."""
        depth, reclaim = self._policy.depth, self._knowledge.facts.reclaim
        placed = position.counted(depth)
        ends = placed is not None and self.stage in (Stage.SETTLED, Stage.REFUNDED)
        if placed is not None and ends:
            self._outcome = placed.name
            self._over = self._watching.is_swept(position, view)
            return
        dead = self.stage is Stage.CANCELLED
        self._outcome = RECLAIM if dead and reclaim is not None else ""
        self._over = dead
