"""What one key signs for contracts: one expiry a slot, and one round a contract, ever.

A signer belongs to one configuration. After a rotation the old key lives on as nothing but this,
until the last contract of its epoch is settled or refunded: an expiry carries the digest of the
contract's epoch, whichever epochs certified the rounds behind it.
"""

from collections.abc import Callable, Sequence

from protocol.errors import ProtocolError, QuorumError
from protocol.oracle import expiry as exp
from protocol.oracle.config import OracleConfig
from protocol.oracle.exercise import American, NoticeBook
from protocol.oracle.expiry import Expiry, ExpirySlot, expiry_of
from protocol.oracle.layout import ZERO32
from protocol.oracle.messages import ExpiryAnswer, ExpiryRefused, ExpiryRequest
from protocol.oracle.report import Report
from protocol.oracle.round import Guard


class ExpirySigner:
    """The expiries of the oracle ``index`` of ``config``. ``sign`` maps a 32-byte message to its
    BIP340 signature and is called only after ``guard`` has recorded what is signed; ``notices``
    keeps the exercise notices in the same guard."""

    def __init__(
        self,
        config: OracleConfig,
        index: int,
        sign: Callable[[bytes], bytes],
        guard: Guard,
        notices: NoticeBook,
    ) -> None:
        self.config = config
        self.index = index
        self.notices = notices
        self._sign = sign
        self._guard = guard

    def answer(
        self, request: ExpiryRequest, reports: Sequence[Report]
    ) -> ExpiryAnswer | ExpiryRefused:
        """``sign``, or its error as a message to the one who asked."""
        try:
            return self.sign(request, reports)
        except ProtocolError as error:
            return ExpiryRefused(self.index, request.slot, str(error))

    def sign(self, request: ExpiryRequest, reports: Sequence[Report]) -> ExpiryAnswer:
        """The signed expiry of the slot that was asked for; a second call, even after a crash,
        gives the first one again.

        ``reports`` as for ``expiry_of``. QuorumError: they do not give this expiry, or the contract
        is settled in another round. GuardError: the sign guard refuses. EncodingError: ``contract``
        is no preimage.
        """
        slot = request.slot
        if slot.config_digest != self.config.digest:
            raise QuorumError(
                f"expiry of configuration {slot.config_digest.hex()}: this key signs for"
                f" {self.config.digest.hex()}; ask the oracles of the contract's epoch"
            )
        recorded = self._guard.recall_once(exp.MAGIC, slot.slot_id)
        expiry = self._first(request, reports) if recorded is None else Expiry.decode(recorded)
        return ExpiryAnswer(self.index, expiry, self._sign(expiry.hash))

    def _first(self, request: ExpiryRequest, reports: Sequence[Report]) -> Expiry:
        slot = request.slot
        lapsing = None if slot.subject == ZERO32 else self._lapsing(slot, request.contract)
        expiry = expiry_of(slot, request.grace_rounds, reports)
        # Only now is it certified that expiry has come: before, a notice could still arrive.
        if lapsing is not None:
            self.notices.lapse(lapsing)
        self._guard.record_once(exp.MAGIC, slot.slot_id, expiry.encode())
        return expiry

    def _lapsing(self, slot: ExpirySlot, preimage: bytes) -> American | None:
        """The contract, if it ends unexercised with this expiry; QuorumError if the slot is not
        that of the one round that settles it."""
        if not preimage:
            raise QuorumError(
                "expiry with a subject: send the preimage of the contract id along (contract)"
            )
        contract, target = American(preimage), slot.target_round
        if slot.subject != contract.subject(target):
            raise QuorumError(
                f"expiry subject {slot.subject.hex()} is not that of the contract in target_round"
                f" {target}"
            )
        settled = self.notices.exercise_round(contract.contract_id)
        if target == (contract.expiry_round if settled is None else settled):
            return contract if settled is None else None
        if settled is None:
            raise QuorumError(
                f"expiry: no notice for round {target} came in time; unexercised, the contract is"
                f" settled in its expiry round {contract.expiry_round}: ask for that target_round"
            )
        raise QuorumError(
            f"expiry: the contract is settled in round {settled}: ask for that target_round"
        )
