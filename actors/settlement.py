"""The life of one contract as a record: what the coordinator writes to disk before it acts.

    draft -> signed -> funded -> claimed -> disputed -> decided
                          |         |                      |
                          |         |-----> settled <------|
                          `---------`-----> refunded <-----' (if the claiming side fell silent)

Each `Settlement` is a whole state: the last one on disk is all that a restart needs. A dispute that
was interrupted is played again or ends in a refund.
"""

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

import msgpack

from protocol.errors import EncodingError, TermsError


class Stage(StrEnum):
    """Where a contract stands."""

    DRAFT = "draft"
    SIGNED = "signed"  # FUND and REFUND are signed by both; FUND may be broadcast
    FUNDED = "funded"  # FUND is in a block
    CLAIMED = "claimed"  # a payout and a root are claimed
    DISPUTED = "disputed"  # the other side challenged the claim
    DECIDED = "decided"  # the game has a winner
    SETTLED = "settled"  # CLOSE may be broadcast
    REFUNDED = "refunded"  # REFUND may be broadcast


NEXT: Final = {
    Stage.DRAFT: {Stage.SIGNED},
    Stage.SIGNED: {Stage.FUNDED},
    Stage.FUNDED: {Stage.CLAIMED, Stage.REFUNDED},
    Stage.CLAIMED: {Stage.DISPUTED, Stage.SETTLED, Stage.REFUNDED},
    Stage.DISPUTED: {Stage.DECIDED, Stage.REFUNDED},
    Stage.DECIDED: {Stage.SETTLED, Stage.REFUNDED},
    Stage.SETTLED: set[Stage](),
    Stage.REFUNDED: set[Stage](),
}


@dataclass(frozen=True, slots=True)
class Settlement:
    """One contract: its stage and everything already signed or claimed (raw transactions, consensus
    encoding; ``claim`` is the guest input of protocol.settlement.claim)."""

    stage: Stage = Stage.DRAFT
    fund_tx: bytes = b""
    refund_tx: bytes = b""
    claim: bytes = b""
    root: bytes = b""
    log4_steps: int = 0
    width: int = 0
    payout_sats: int = 0
    close_tx: bytes = b""
    winner: str = ""
    fault: str = ""

    def to(self, stage: Stage, **changes: Any) -> "Settlement":
        """The next state; TermsError if the life of a contract does not go that way."""
        if stage not in NEXT[self.stage]:
            raise TermsError(f"a contract that is {self.stage} cannot become {stage}")
        if self.stage is Stage.DECIDED and (stage is Stage.REFUNDED) is not self.silenced:
            raise TermsError(f"the game was decided by {self.fault}: {stage} does not follow")
        return replace(self, stage=stage, **changes)

    @property
    def silenced(self) -> bool:
        """True if the claiming side lost the game by silence: then the contract is refunded."""
        return (self.winner, self.fault) == ("challenger", "TIMEOUT")

    def encode(self) -> bytes:
        """The state as one msgpack map."""
        packed: bytes = msgpack.packb({f.name: getattr(self, f.name) for f in fields(self)})
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "Settlement":
        """The state in ``data``; EncodingError if it is anything else."""
        try:
            record = msgpack.unpackb(data, strict_map_key=True)
            stage = Stage(record.pop("stage"))
            state = cls(stage=stage, **record)
        except (ValueError, TypeError, AttributeError, KeyError, msgpack.UnpackException) as error:
            raise EncodingError(f"not a settlement state: {error}") from None
        if any(type(getattr(state, f.name)) is not type(f.default) for f in fields(cls)):
            raise EncodingError("not a settlement state: a field has another type")
        return state
