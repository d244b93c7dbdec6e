"""From a proposal to FUND: what both parties exchange, and in which order each side signs.

    holder                          writer
    Propose                  ->
                             <-     Accept, with its own seat taken
    KEYS, COINS, SIGNATURES  <->    the same: each step once the step before it is known
    WITNESSES of its inputs  ->
                                    signs its inputs of FUND and broadcasts

Each side checks everything of a step before it keeps it, and has checked every signature of every
pre-signed transaction before it signs an input of FUND. What did not come is asked for again.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, singledispatchmethod
from typing import Any, Final

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.address import MAINNET, encode_address
from protocol.bitcoin.tx import (
    parse_tx,
    serialize,
    txid,
    with_witness,
    witness_stack,
)
from protocol.errors import TermsError
from protocol.settlement import record
from protocol.settlement.funding import Contribution, change_sats, fund_needs, fund_spent, fund_tx
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.messages import (
    Accept,
    Ask,
    Decline,
    Effect,
    Event,
    NeedCoins,
    Note,
    Piece,
    Propose,
    Say,
    SignCoins,
    Step,
)
from protocol.settlement.party_terms import NONCE_SIZE
from protocol.settlement.pieces import Incoming, cut, require_piece
from protocol.settlement.policy import Policy
from protocol.settlement.presign import (
    decode_signatures,
    encode_signatures,
    presign,
    require_signatures,
)
from protocol.settlement.terms import ChainTerms, ClaimTerms, ContractTerms, PartyTerms, Role
from protocol.settlement.vacant import VACANT
from protocol.settlement.view import View
from protocol.settlement.witnesses import only_witnesses, reclaim_tx, require_witnesses

FUND: Final = "FUND"
RECLAIM: Final = "RECLAIM"


class Negotiation:
    """One side of the exchange. It acts on ``knowledge`` alone."""

    def __init__(
        self, knowledge: Knowledge, policy: Policy, entropy: Callable[[int], bytes]
    ) -> None:
        self._knowledge = knowledge
        self._policy = policy
        self._entropy = entropy
        self.resume()

    def resume(self) -> None:
        """From now on: the last step is said again, the ones before it when asked for, and what is
        missing is asked for at once."""
        self._incoming = Incoming()
        self._early: set[Step] = set()
        """What came too early, and can be asked for once it is its turn."""
        self._said = set(list(self._available())[:-1])
        self._last_ms: dict[str, int] = {}
        self._waiting: Step | None = self._expected()

    @property
    def closed(self) -> bool:
        """Whether nothing is left to negotiate."""
        facts = self._knowledge.facts
        return facts.fund is not None or bool(facts.declined)

    # What happens

    def propose(self, claim: ClaimTerms, chain: ChainTerms, view: View) -> list[Effect]:
        """The holder begins; again: the same proposal. TermsError if its own limits refuse it."""
        if self._knowledge.role is not Role.HOLDER:
            raise TermsError("the holder proposes, the writer answers")
        if self._knowledge.facts.proposed is not None:
            return []
        terms = ContractTerms(claim=claim, chain=chain, holder=self._seat(), writer=VACANT)
        self._policy.require(terms, view.height)
        return [self._knowledge.keep(record.proposed(terms))]

    def coins(self, contribution: Contribution) -> list[Effect]:
        """What this party brings. TermsError if it is not enough, or not asked for."""
        facts, contract = self._knowledge.facts, self._knowledge.contract
        if contract is None or self.closed:
            raise TermsError("no contract waits for coins")
        role = self._knowledge.role
        if role in facts.coins:
            return []
        self._require_fund({**facts.coins, role: contribution})
        return [self._knowledge.keep(record.coins(role, contribution))]

    def coins_signed(self, tx: CTransaction, now_ms: int) -> list[Effect]:
        """This party's inputs are signed. SignatureError if they are not, TermsError if this is
        not what was to be signed."""
        knowledge, facts = self._knowledge, self._knowledge.facts
        fund, reclaim = knowledge.fund, self._reclaim()
        if reclaim is not None and txid(tx) == txid(reclaim):
            spent = self._own_outputs()
            require_witnesses(tx, spent, range(len(spent)))
            if facts.reclaim is not None:
                return []
            return [knowledge.keep(record.transaction_record("reclaim", tx))]
        if fund is None or not knowledge.signed or txid(tx) != txid(fund):
            raise TermsError("this is not the transaction that waits for signatures")
        if facts.fund is not None or self._has_signed or facts.declined or self._stale(now_ms):
            return []
        mine = self._inputs(knowledge.role)
        require_witnesses(tx, self._spent(), mine)
        if knowledge.role is Role.HOLDER:
            return [knowledge.keep(record.witnessed(only_witnesses(tx, mine), now_ms))]
        assert facts.witnessed is not None, "the writer signs last"
        stacks = [witness_stack(facts.witnessed, n) for n in range(mine.start)]
        stacks += [witness_stack(tx, n) for n in mine]
        return [knowledge.keep(record.transaction_record("fund", with_witness(fund, stacks)))]

    def advance(self, view: View, now_ms: int) -> list[Effect]:
        """Everything that can be said, asked or signed by now."""
        effects = self._expire(now_ms)
        if self._knowledge.facts.reclaim is None and self.reclaims(now_ms):
            effects += self._sign_reclaim(view, now_ms)
        if self.closed:
            return effects
        effects += self._presign()
        effects += self._say_available()
        return effects + self._want(now_ms)

    def reclaims(self, now_ms: int) -> bool:
        """Whether the holder takes its coins back: the writer had its witnesses for too long."""
        facts = self._knowledge.facts
        if facts.witnessed is None or self._knowledge.role is Role.WRITER or facts.fund is not None:
            return False
        late = now_ms - facts.witnessed_ms > self._policy.quote_ttl_ms
        return late or bool(facts.declined) or facts.reclaim is not None

    # Messages

    @singledispatchmethod
    def hear(self, message: Any, view: View, now_ms: int) -> list[Effect]:
        """A message of the other party; ProtocolError says why it is refused."""
        raise TermsError(f"{type(message).__name__} is no message between parties")

    @hear.register
    def _(self, message: Propose, view: View, now_ms: int) -> list[Effect]:
        facts, terms = self._knowledge.facts, message.terms
        if self._knowledge.role is not Role.WRITER:
            raise TermsError("the holder gets no proposals")
        if message.deal != terms.holder.nonce or terms.writer != VACANT:
            raise TermsError("a proposal is named by the holder's nonce, its writer is vacant")
        if facts.terms is not None:
            if replace(facts.terms, writer=VACANT) != terms:
                raise TermsError("this party is in another contract: start one party a contract")
            if facts.declined:
                return [Say(Decline(message.deal, facts.declined))]
            return [Say(Accept(message.deal, facts.terms))]
        try:
            self._policy.require(terms, view.height)
            agreed = replace(terms, writer=self._seat())
        except TermsError as error:
            return [Note(Event.DECLINED, str(error)), Say(Decline(message.deal, str(error)))]
        keep = self._knowledge.keep(record.accepted(agreed, now_ms))
        return [keep, Say(Accept(message.deal, agreed))]

    @hear.register
    def _(self, message: Accept, view: View, now_ms: int) -> list[Effect]:
        facts, terms = self._knowledge.facts, message.terms
        if facts.proposed is None or message.deal != self._knowledge.deal:
            raise TermsError("this party proposed no such contract")
        if replace(terms, writer=VACANT) != facts.proposed:
            raise TermsError("the accepted terms are not the proposed ones")
        if terms.writer == VACANT:
            raise TermsError("the writer's seat is still vacant")
        if facts.terms is not None and facts.terms != terms:
            raise TermsError("other terms were accepted before")
        if facts.terms is not None or facts.declined:
            return []
        return [self._knowledge.keep(record.accepted(terms, now_ms))]

    @hear.register
    def _(self, message: Decline, view: View, now_ms: int) -> list[Effect]:
        facts = self._require_deal(message.deal)
        if facts.fund is not None:
            raise TermsError("FUND is signed: it is too late to decline")
        if facts.declined:
            return []
        reason = message.reason or "no reason given"
        return [self._knowledge.keep(record.declined(reason)), Note(Event.DECLINED, reason)]

    @hear.register
    def _(self, message: Ask, view: View, now_ms: int) -> list[Effect]:
        self._require_deal(message.deal)
        return self._say(message.step) if message.step in self._available() else []

    @hear.register
    def _(self, message: Piece, view: View, now_ms: int) -> list[Effect]:
        self._require_deal(message.deal)
        require_piece(message)
        expected = self._expected()
        if self.closed or message.step in self._received():
            return []
        if message.step is not expected:
            self._early.add(message.step)
            raise TermsError(f"{message.step} came where {expected or 'nothing'} is expected")
        whole = self._incoming.add(message)
        return [] if whole is None else self._take(message.step, whole, view, now_ms)

    def _take(self, step: Step, data: bytes, view: View, now_ms: int) -> list[Effect]:
        """Checks what the other side sent for ``step``, and keeps it."""
        knowledge, other = self._knowledge, self._knowledge.role.other
        if step is Step.KEYS:
            knowledge.contract_with(data)
            return [knowledge.keep(record.bundle(data))]
        if step is Step.COINS:
            contribution = record.decode_contribution(data)
            self._require_coins(contribution, view)
            return [knowledge.keep(record.coins(other, contribution))]
        if step is Step.SIGNATURES:
            assert knowledge.graph is not None, "SIGNATURES are expected after both sides' coins"
            lent = knowledge.graph.lent(other)
            require_signatures(lent, other, decode_signatures(lent, data))
            return [knowledge.keep(record.signatures(other, data))]
        fund, witnessed = knowledge.fund, parse_tx(data)
        if fund is None or txid(witnessed) != txid(fund):
            raise TermsError("these are witnesses of another FUND")
        inputs = self._inputs(other)
        require_witnesses(witnessed, self._spent(), inputs)
        return [knowledge.keep(record.witnessed(only_witnesses(witnessed, inputs), now_ms))]

    # What can be said, and what is missing

    def _available(self) -> Iterator[Step]:
        """The steps that this party can say."""
        facts, role = self._knowledge.facts, self._knowledge.role
        if facts.terms is not None:
            yield Step.KEYS
        if role in facts.coins:
            yield Step.COINS
        if role in facts.signatures:
            yield Step.SIGNATURES
        if facts.witnessed is not None and role is Role.HOLDER:
            yield Step.WITNESSES

    def _received(self) -> Iterator[Step]:
        """The steps that the other side has said."""
        facts, other = self._knowledge.facts, self._knowledge.role.other
        if facts.bundle:
            yield Step.KEYS
        if other in facts.coins:
            yield Step.COINS
        if other in facts.signatures:
            yield Step.SIGNATURES
        if facts.witnessed is not None and other is Role.HOLDER:
            yield Step.WITNESSES

    def _expected(self) -> Step | None:
        """What the other side says next; None if nothing, or if it waits for this party."""
        facts, role = self._knowledge.facts, self._knowledge.role
        steps = [*Step] if role is Role.WRITER else [*Step][:-1]
        received = set(self._received())
        missing = next((step for step in steps if step not in received), None)
        if facts.terms is None or (missing is Step.SIGNATURES and role not in facts.coins):
            return None
        return None if missing is Step.WITNESSES and role not in facts.signatures else missing

    def _say(self, step: Step) -> list[Effect]:
        return [Say(piece) for piece in cut(self._knowledge.deal, step, self._data(step))]

    def _data(self, step: Step) -> bytes:
        facts, role = self._knowledge.facts, self._knowledge.role
        if step is Step.KEYS:
            return self._knowledge.one_time.public.encode()
        if step is Step.COINS:
            return record.encode_contribution(facts.coins[role])
        if step is Step.SIGNATURES:
            assert self._knowledge.graph is not None, "SIGNATURES are available"
            own = self._knowledge.signatures[role]
            return encode_signatures(self._knowledge.graph.lent(role), own)
        assert facts.witnessed is not None, "WITNESSES are available"
        return serialize(facts.witnessed)

    def _presign(self) -> list[Effect]:
        knowledge = self._knowledge
        if knowledge.graph is None or knowledge.role in knowledge.facts.signatures:
            return []
        signed = presign(knowledge.graph, knowledge.role, knowledge.keys, self._entropy(32))
        data = encode_signatures(knowledge.graph, signed)
        return [knowledge.keep(record.signatures(knowledge.role, data))]

    def _say_available(self) -> list[Effect]:
        effects: list[Effect] = []
        for step in self._available():
            if step not in self._said:
                self._said.add(step)
                effects += self._say(step)
        return effects

    def _want(self, now_ms: int) -> list[Effect]:
        """What this party waits for, from the other and from its own wallet."""
        knowledge, facts, role = self._knowledge, self._knowledge.facts, self._knowledge.role
        if facts.terms is None:
            proposed = facts.proposed
            if proposed is None or not self._due("propose", now_ms):
                return []
            return [Say(Propose(knowledge.deal, proposed))]
        effects: list[Effect] = []
        contract = knowledge.contract
        if contract is not None and role not in facts.coins and self._due("coins", now_ms):
            effects.append(NeedCoins(role, partial(fund_needs, contract, role)))
        elif self._signs_next and self._due("sign", now_ms):
            effects += self._sign_fund()
        return effects + self._ask(now_ms)

    @property
    def _has_signed(self) -> bool:
        """Whether this party has signed its inputs of FUND."""
        facts = self._knowledge.facts
        holder = self._knowledge.role is Role.HOLDER
        return (facts.witnessed if holder else facts.fund) is not None

    @property
    def _signs_next(self) -> bool:
        """Whether FUND waits for this party: the writer signs last."""
        knowledge = self._knowledge
        first = knowledge.role is Role.HOLDER or knowledge.facts.witnessed is not None
        return knowledge.signed and first and not self._has_signed

    def _sign_fund(self) -> list[Effect]:
        knowledge = self._knowledge
        assert knowledge.fund is not None, "both sides' coins are known"
        return [SignCoins(FUND, knowledge.fund, self._spent(), self._inputs(knowledge.role))]

    def _ask(self, now_ms: int) -> list[Effect]:
        expected = self._expected()
        if expected is not self._waiting:
            self._waiting = expected
            self._last_ms["ask"] = now_ms
            if expected in self._early:
                del self._last_ms["ask"]
        if expected is None or not self._due("ask", now_ms):
            return []
        return [Say(Ask(self._knowledge.deal, expected))]

    def _due(self, what: str, now_ms: int) -> bool:
        """Whether ``what`` was not done for so long that it is done (again) now."""
        last = self._last_ms.get(what)
        if last is not None and 0 <= now_ms - last < self._policy.repeat_ms:
            return False
        self._last_ms[what] = now_ms
        return True

    # The quote runs out

    def _stale(self, now_ms: int) -> bool:
        accepted_ms = self._knowledge.facts.accepted_ms
        return now_ms - accepted_ms > self._policy.quote_ttl_ms

    def _expire(self, now_ms: int) -> list[Effect]:
        knowledge = self._knowledge
        if knowledge.facts.terms is None or self.closed or self._has_signed:
            return []
        if not self._stale(now_ms):
            return []
        reason = f"the quote ran out {self._policy.quote_ttl_ms} ms after it was accepted"
        return [
            knowledge.keep(record.declined(reason)),
            Note(Event.DECLINED, reason),
            Say(Decline(knowledge.deal, reason)),
        ]

    def _sign_reclaim(self, view: View, now_ms: int) -> list[Effect]:
        fund, reclaim = self._knowledge.fund, self._reclaim()
        assert fund is not None, "witnesses are of FUND"
        if reclaim is None or view.tx(txid(fund)) is not None or not self._due("reclaim", now_ms):
            return []
        spent = self._own_outputs()
        return [SignCoins(RECLAIM, reclaim, spent, range(len(spent)))]

    def _reclaim(self) -> CTransaction | None:
        """The holder's coins back to itself; None if that is worth less than its fee."""
        own = self._knowledge.facts.coins.get(Role.HOLDER)
        if self._knowledge.role is Role.WRITER or own is None:
            return None
        return reclaim_tx(own, self._knowledge.terms.chain.max_feerate_sat_vb)

    # Checks

    def _seat(self) -> PartyTerms:
        keys = self._knowledge.keys
        return PartyTerms(
            key=keys.key.public,
            prover_key=keys.prover_key.public,
            challenger_key=keys.challenger_key.public,
            script=self._policy.script,
            nonce=self._entropy(NONCE_SIZE),
        )

    def _require_deal(self, deal: bytes) -> record.Facts:
        if not self._knowledge.deal or deal != self._knowledge.deal:
            raise TermsError("the message is of another deal")
        return self._knowledge.facts

    def _require_coins(self, contribution: Contribution, view: View) -> None:
        """The other side's coins are there, in a block, and pay for what they must."""
        encode_address(contribution.change_script, MAINNET)
        for coin in contribution.coins:
            unspent = view.utxo(coin.outpoint)
            if unspent is None or unspent.height is None:
                raise TermsError("coins: one is spent or in no block yet; send it again later")
            if (unspent.sats, unspent.script) != (coin.sats, bytes(coin.output.scriptPubKey)):
                raise TermsError("coins: one is not what the chain says it is")
        other = self._knowledge.role.other
        self._require_fund({**self._knowledge.facts.coins, other: contribution})

    def _require_fund(self, coins: dict[Role, Contribution]) -> None:
        contract = self._knowledge.contract
        assert contract is not None, "coins come after keys"
        for role, contribution in coins.items():
            change_sats(contract, role, contribution)
        if len(coins) == len(Role):
            fund_tx(contract, coins[Role.HOLDER], coins[Role.WRITER])

    def _inputs(self, role: Role) -> range:
        """Which inputs of FUND are ``role``'s."""
        coins = self._knowledge.facts.coins
        first, last = len(coins[Role.HOLDER].coins), len(coins[Role.WRITER].coins)
        return range(first) if role is Role.HOLDER else range(first, first + last)

    def _spent(self) -> tuple[CTxOut, ...]:
        coins = self._knowledge.facts.coins
        return fund_spent(coins[Role.HOLDER], coins[Role.WRITER])

    def _own_outputs(self) -> tuple[CTxOut, ...]:
        coins = self._knowledge.facts.coins[self._knowledge.role].coins
        return tuple(coin.output for coin in coins)
