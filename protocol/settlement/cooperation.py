"""CLOSE by both: one side offers with a fresh nonce, the other answers with its partial signature.

    CloseOffer (session, certificate, anchor, nonce)   ->
                                                       <-   CloseAnswer (nonce, partial) or refusal
    the offering side signs, adds up and broadcasts

Nonces live in memory and sign once. A restart begins a new session: both sessions sign the same
split, because the certificate is kept before anything is signed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bitcoin.core import CTransaction

from protocol.crypto.musig2 import SecretNonce
from protocol.errors import ProtocolError, TermsError
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement import record
from protocol.settlement.certified import require_certificate
from protocol.settlement.claim import payout_units
from protocol.settlement.closing import (
    close_nonce,
    close_session,
    close_tx,
    finish_close,
    require_partial,
)
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.lifecycle import Position
from protocol.settlement.messages import (
    SESSION_BYTES,
    CloseAnswer,
    CloseOffer,
    CloseRefusal,
    Effect,
    Event,
    Note,
    Say,
)
from protocol.settlement.policy import Close, Policy
from protocol.settlement.terms import Role
from protocol.settlement.view import View

_PATIENCE: Final = 3
"""Who has answered offers nothing of its own for so many times ``repeat_ms``."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """An open session of this party, whose nonce has not signed."""

    message: CloseOffer
    nonce: SecretNonce
    tx: CTransaction


class Cooperation:
    """One side of the cooperative close. Sessions are never kept."""

    def __init__(
        self, knowledge: Knowledge, policy: Policy, entropy: Callable[[int], bytes]
    ) -> None:
        self._knowledge = knowledge
        self._policy = policy
        self._entropy = entropy
        self._offer: _Offer | None = None
        self._offered_ms: int | None = None
        self._answer: tuple[CloseOffer, CloseAnswer] | None = None
        self._answered_ms: int | None = None
        self.refused = False
        """Whether the other side said that it does not close together."""

    def resume(self) -> None:
        """The offer is said again at once, if one is open."""
        self._offered_ms = None

    def advance(self, position: Position, now_ms: int) -> list[Effect]:
        """The offer, when it is time to say it (again)."""
        facts, policy = self._knowledge.facts, self._policy
        if facts.known is None or facts.close is not None or policy.close is not Close.OFFER:
            return []
        if self.refused or not position.funded(policy.depth):
            return []
        if _within(now_ms, self._answered_ms, _PATIENCE * policy.repeat_ms):
            return []
        if _within(now_ms, self._offered_ms, policy.repeat_ms):
            return []
        self._offered_ms = now_ms
        if self._offer is None:
            self._offer = self._open(facts.known)
        return [Say(self._offer.message)]

    def hear_offer(
        self, offer: CloseOffer, position: Position, view: View, now_ms: int
    ) -> list[Effect]:
        """Answers, or refuses. TermsError for an offer that comes too early or too late."""
        knowledge, policy = self._knowledge, self._policy
        if offer.deal != knowledge.deal or knowledge.facts.terms is None:
            raise TermsError("the offer is of another deal")
        if self._answer is not None and self._answer[0] == offer:
            return [Say(self._answer[1])]
        if policy.close is Close.NEVER:
            return self._refuse(offer, "this party does not close together")
        if not position.funded(policy.depth):
            raise TermsError("FUND does not count here, or it is spent: offer again later")
        if self._offer is not None and knowledge.role is Role.HOLDER:
            raise TermsError("the holder's own offer comes first")
        try:
            self._require_agreement(offer)
            answer = self._sign(offer)
        except ProtocolError as error:
            return self._refuse(offer, str(error))
        self._offer, self._answer, self._answered_ms = None, (offer, answer), now_ms
        effects: list[Effect] = []
        if knowledge.facts.known is None:
            known = record.Known(offer.certificate, offer.anchor, now_ms, view.height)
            effects.append(knowledge.keep(record.known(known)))
        return [*effects, Say(answer)]

    def hear_answer(self, answer: CloseAnswer) -> list[Effect]:
        """Completes CLOSE. TermsError for an answer to no open offer, SignatureError for a wrong
        one: the offer stays open."""
        offer, knowledge = self._offer, self._knowledge
        if offer is None or answer.deal != knowledge.deal:
            raise TermsError("no offer of this party waits for an answer")
        if answer.session != offer.message.session:
            raise TermsError("the answer is to another session")
        contract = knowledge.contract
        assert contract is not None, "an offer is of a funded contract"
        role, other = knowledge.role, knowledge.role.other
        nonces = {role: offer.nonce.public, other: answer.nonce}
        session = close_session(contract, offer.tx, nonces)
        require_partial(contract, session, other, answer.partial)
        self._offer = None
        partials = {role: session.sign(offer.nonce, knowledge.keys.key), other: answer.partial}
        close = finish_close(contract, offer.tx, session, partials)
        return [knowledge.keep(record.transaction_record("close", close))]

    def hear_refusal(self, refusal: CloseRefusal) -> list[Effect]:
        """No more offers. TermsError for a refusal of no open offer."""
        offer = self._offer
        if offer is None or (refusal.deal, refusal.session) != (
            self._knowledge.deal,
            offer.message.session,
        ):
            raise TermsError("this refuses no offer of this party")
        self._offer, self.refused = None, True
        return [Note(Event.DECLINED, f"no cooperative close: {refusal.reason}")]

    def _open(self, known: record.Known) -> _Offer:
        contract = self._knowledge.contract
        assert contract is not None, "an offer is of a funded contract"
        tx = self._close(known.certificate, known.anchor)
        nonce = close_nonce(contract, tx, self._knowledge.keys.key, self._entropy)
        session = self._entropy(SESSION_BYTES)
        message = CloseOffer(
            self._knowledge.deal, session, known.certificate, known.anchor, nonce.public
        )
        return _Offer(message, nonce, tx)

    def _require_agreement(self, offer: CloseOffer) -> None:
        """TermsError, QuorumError or SignatureError unless this party comes to the same payout."""
        require_certificate(self._knowledge.terms, offer.certificate)
        known = self._knowledge.facts.known
        if known is not None and offer.certificate.expiry != known.certificate.expiry:
            raise TermsError("this party knows another certificate")

    def _sign(self, offer: CloseOffer) -> CloseAnswer:
        """The partial signature of CLOSE, under a nonce that nothing else is signed with."""
        contract, keys = self._knowledge.contract, self._knowledge.keys
        assert contract is not None, "the contract is funded"
        role = self._knowledge.role
        tx = self._close(offer.certificate, offer.anchor)
        nonce = close_nonce(contract, tx, keys.key, self._entropy)
        session = close_session(contract, tx, {role: nonce.public, role.other: offer.nonce})
        return CloseAnswer(offer.deal, offer.session, nonce.public, session.sign(nonce, keys.key))

    def _close(self, certificate: ExpiryCertificate, anchor: bytes) -> CTransaction:
        contract, graph = self._knowledge.contract, self._knowledge.graph
        assert contract is not None and graph is not None, "the contract is funded"
        terms = self._knowledge.terms
        payout = terms.claim.payout_sats(payout_units(terms, certificate.expiry))
        return close_tx(contract, graph.fund, payout, anchor or None)

    def _refuse(self, offer: CloseOffer, reason: str) -> list[Effect]:
        return [
            Note(Event.REFUSED, f"close offer: {reason}"),
            Say(CloseRefusal(offer.deal, offer.session, reason)),
        ]


def _within(now_ms: int, then_ms: int | None, span_ms: int) -> bool:
    """Whether less than ``span_ms`` have passed; not if the clock was set back."""
    return then_ms is not None and 0 <= now_ms - then_ms < span_ms
