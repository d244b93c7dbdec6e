"""The exercise of an American option, as far as oracles take part in it (options.md 2).

An oracle knows no contracts. It is shown the preimage of the contract id (the terms and the hash of
the program that judges them) and reads two fields at its beginning; the rest may be anything:

    preimage  magic 4 | holder's x-only key 32 | expiry round u64 | ...
              contract_id = tagged("btcfi/contract/v1", preimage)
    subject   tagged("btcfi/exercise/v1", contract_id | exercise_round u64)
    EXN       "EXN1" | exercise_round u64 | holder's signature 64 | preimage
              signed: tagged("btcfi/exercise-notice/v1", contract_id | exercise_round u64)

The holder names a round ahead of it, so nobody looks back, and an oracle settles a contract in one
round ever: that of the first notice in time, or the expiry round if there was none.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Self

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConfigError, EncodingError, GuardError, TermsError
from protocol.oracle import quorum as q
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import exercise_subject
from protocol.oracle.layout import require_bytes, require_uint
from protocol.oracle.proposal import Reason, Refusal
from protocol.oracle.round import Guard

MAGIC: Final = b"EXN1"
LEAD_MIN_MS: Final = 60_000
"""A notice comes at least so long before its round begins."""
PREIMAGE_MAX: Final = 4096
"""Bytes of a contract's preimage, at most."""

_HOLDER: Final = slice(4, 36)
_EXPIRY: Final = slice(36, 44)
_PREIMAGE_MIN: Final = 44
_HEAD: Final = len(MAGIC) + 8 + 64


@dataclass(frozen=True, slots=True)
class American:
    """What an oracle reads of an American contract; EncodingError unless ``preimage`` has 44 to
    4096 bytes."""

    preimage: bytes

    def __post_init__(self) -> None:
        size = len(self.preimage)
        if not _PREIMAGE_MIN <= size <= PREIMAGE_MAX:
            raise EncodingError(
                f"contract preimage: {size} bytes, it has {_PREIMAGE_MIN} to {PREIMAGE_MAX}"
            )

    @property
    def contract_id(self) -> bytes:
        """What ``protocol.settlement.terms.contract_id`` gives, 32 bytes."""
        return tagged_hash("btcfi/contract/v1", self.preimage)

    @property
    def holder(self) -> bytes:
        """The x-only key that may exercise."""
        return self.preimage[_HOLDER]

    @property
    def expiry_round(self) -> int:
        """The last round that can be exercised, and the one that counts without a notice."""
        return int.from_bytes(self.preimage[_EXPIRY])

    def subject(self, exercise_round: int) -> bytes:
        """The subject of the expiry that settles this contract in ``exercise_round``."""
        return exercise_subject(self.contract_id, exercise_round)


def notice_message(contract_id: bytes, exercise_round: int) -> bytes:
    """The 32 bytes that the holder signs to exercise."""
    return tagged_hash("btcfi/exercise-notice/v1", contract_id + exercise_round.to_bytes(8))


@dataclass(frozen=True, slots=True)
class ExerciseNotice:
    """The holder of the contract with this preimage exercises in ``exercise_round``; ``signature``
    is BIP340, 64 bytes. EncodingError on a wrong size. It obliges nobody until checked."""

    preimage: bytes
    exercise_round: int
    signature: bytes

    def __post_init__(self) -> None:
        American(self.preimage)
        require_uint("exercise notice exercise_round", self.exercise_round, 64)
        require_bytes("exercise notice signature", self.signature, 64)

    @property
    def contract(self) -> American:
        return American(self.preimage)

    def encode(self) -> bytes:
        """The ``EXN1`` bytes, 76 and the preimage."""
        return MAGIC + self.exercise_round.to_bytes(8) + self.signature + self.preimage

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The notice of exactly these bytes; EncodingError names the field that is wrong."""
        if data[: len(MAGIC)] != MAGIC:
            raise EncodingError(
                f"exercise notice version: magic {data[:4]!r} is unknown, expected EXN1"
            )
        return cls(data[_HEAD:], int.from_bytes(data[4:12]), data[12:_HEAD])


def check_notice(
    notice: ExerciseNotice, config: OracleConfig, now_ms: int, lead_ms: int, relayed: bool
) -> Refusal | None:
    """Why a notice that arrives at ``now_ms`` does not count, or None.

    From the holder it must come ``lead_ms`` before its round begins. From a peer half of that is
    enough: a peer may take it in the last moment and still has the other half to tell everybody. A
    holder with a dishonest oracle can aim between two clocks and split the others; that strands
    nobody's contract but the holder's own (``require_agreement``).
    """
    contract = notice.contract
    if notice.exercise_round > contract.expiry_round:
        return Refusal(
            Reason.ROUND,
            f"exercise round {notice.exercise_round} is after the expiry round"
            f" {contract.expiry_round} of the contract",
        )
    needed_ms = lead_ms // 2 if relayed else lead_ms
    ahead_ms = config.starts_ms(notice.exercise_round) - now_ms
    if ahead_ms < needed_ms:
        return Refusal(
            Reason.STALE,
            f"the notice for round {notice.exercise_round} came {ahead_ms} ms before it, needed"
            f" are {needed_ms}: name a later round",
        )
    message = notice_message(contract.contract_id, notice.exercise_round)
    if not keys.verify(contract.holder, message, notice.signature):
        return Refusal(Reason.SIGNATURE, "the exercise notice is not signed by the holder")
    return None


class NoticeBook:
    """In which round each contract is settled, decided once, in the sign guard. ``refused`` counts
    notices by reason."""

    def __init__(self, config: OracleConfig, guard: Guard, lead_ms: int = LEAD_MIN_MS) -> None:
        """ConfigError if ``lead_ms`` is under a minute."""
        if lead_ms < LEAD_MIN_MS:
            raise ConfigError(f"notice_lead_ms: write {LEAD_MIN_MS} or more, got {lead_ms}")
        self.refused: Counter[Reason] = Counter()
        self._config = config
        self._guard = guard
        self._lead_ms = lead_ms

    def receive(self, notice: ExerciseNotice, now_ms: int, relayed: bool = False) -> bool:
        """True if this is the contract's first valid notice: pass it on to all peers. False if it
        is known, or refused (``check`` says why)."""
        contract_id = notice.contract.contract_id
        if self.exercise_round(contract_id) == notice.exercise_round:
            return False
        refusal = self.check(notice, now_ms, relayed)
        if refusal is None:
            try:
                self._record(contract_id, notice.exercise_round)
            except GuardError as error:
                refusal = Refusal(Reason.GUARD, str(error))
        if refusal is not None:
            self.refused[refusal.reason] += 1
        return refusal is None

    def check(self, notice: ExerciseNotice, now_ms: int, relayed: bool) -> Refusal | None:
        """Why a notice does not count, or None. DUPLICATE if the contract is settled already."""
        settled = self.exercise_round(notice.contract.contract_id)
        if settled is not None:
            return Refusal(
                Reason.DUPLICATE, f"the contract is settled in round {settled}: the first counts"
            )
        return check_notice(notice, self._config, now_ms, self._lead_ms, relayed)

    def exercise_round(self, contract_id: bytes) -> int | None:
        """The contract's round, None while nothing is decided."""
        recorded = self._guard.recall_once(MAGIC, contract_id)
        return None if recorded is None else int.from_bytes(recorded)

    def lapse(self, contract: American) -> None:
        """Decides for the expiry round: from now on no notice counts. GuardError if one did."""
        self._record(contract.contract_id, contract.expiry_round)

    def _record(self, contract_id: bytes, exercise_round: int) -> None:
        self._guard.record_once(MAGIC, contract_id, exercise_round.to_bytes(8))


def require_agreement(config: OracleConfig, quorum: int) -> None:
    """TermsError if two quorums of this size may share no honest oracle: an American contract
    could then be certified in two rounds."""
    needed = q.thresholds(len(config.oracles), config.faults).agreement
    if quorum < needed:
        raise TermsError(
            f"quorum {quorum}: an American contract takes floor((n + f) / 2) + 1 = {needed} of"
            f" {len(config.oracles)} oracles with {config.faults} faults"
        )
