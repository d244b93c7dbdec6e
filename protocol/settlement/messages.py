"""What two parties say to each other, and what a pure ``Party`` wants done.

``deal`` is the holder's 16-byte nonce: it names one negotiation before there is a contract id. The
bytes on the wire are ``protocol.wire``'s; none of these messages exceeds ``PIECE_BYTES`` by more
than a few hundred bytes. Each says the same whenever it is repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bitcoin.core import CTransaction, CTxOut

from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.claim import Claim
from protocol.settlement.terms import ContractTerms, Role

DEAL_BYTES: Final = 16
SESSION_BYTES: Final = 16
PIECE_BYTES: Final = 256 * 1024
"""Of one ``Piece``: far below what a wire frame holds."""
MAX_PIECES: Final = 64


class Step(StrEnum):
    """What a party sends between Accept and FUND, in this order."""

    KEYS = "keys"
    """Its bundle of one-time public keys."""
    COINS = "coins"
    """Its ``Contribution`` to FUND."""
    SIGNATURES = "signatures"
    """Its signature of every pre-signed transaction."""
    WITNESSES = "witnesses"
    """The holder's, for its inputs of FUND: the writer signs last."""


@dataclass(frozen=True, slots=True)
class Propose:
    """The holder wants this contract. The writer's seat in ``terms`` is vacant (negotiation)."""

    deal: bytes
    terms: ContractTerms


@dataclass(frozen=True, slots=True)
class Accept:
    """The writer agrees: the proposed terms with its own side in them."""

    deal: bytes
    terms: ContractTerms


@dataclass(frozen=True, slots=True)
class Decline:
    """There will be no contract; final."""

    deal: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Part ``index`` of ``count`` of what belongs to ``step``: at most PIECE_BYTES each."""

    deal: bytes
    step: Step
    index: int
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """``step`` has not come, or not whole: say it again."""

    deal: bytes
    step: Step


@dataclass(frozen=True, slots=True)
class CloseOffer:
    """Close together at what ``certificate`` says. ``nonce`` is a public MuSig2 nonce, good for
    this session alone; ``anchor`` is 32 bytes for CLOSE's OP_RETURN, or empty."""

    deal: bytes
    session: bytes
    certificate: ExpiryCertificate
    anchor: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True)
class CloseAnswer:
    """The other half: its nonce and its partial signature. The offering side broadcasts."""

    deal: bytes
    session: bytes
    nonce: bytes
    partial: bytes


@dataclass(frozen=True, slots=True)
class CloseRefusal:
    """No cooperative close, for now or ever: claim if you want to."""

    deal: bytes
    session: bytes
    reason: str


Message = Propose | Accept | Decline | Piece | Ask | CloseOffer | CloseAnswer | CloseRefusal


@dataclass(frozen=True, slots=True)
class Keep:
    """``record`` is on disk before the next effect of the list is looked at."""

    record: bytes


@dataclass(frozen=True, slots=True)
class Say:
    """To the other party. It may get lost: what matters is said again."""

    message: Message


@dataclass(frozen=True, slots=True)
class Broadcast:
    """``tx`` belongs in the mempool. Refused or lost: the party asks for it again."""

    name: str
    tx: CTransaction


@dataclass(frozen=True, slots=True)
class Bump:
    """``tx`` waits for a block, or what waits keeps it out: broadcast it with a child through its
    anchor (``spending.bump_tx``) with which both pay ``feerate_sat_vb``."""

    name: str
    tx: CTransaction
    feerate_sat_vb: int


@dataclass(frozen=True, slots=True)
class Prove:
    """Run the machine on ``claim.encode()`` and answer with ``Party.proved``; a party that was
    started anew asks again."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Retrace:
    """Run the machine on the whole input ``data``, to whatever end, and answer with
    ``Party.retraced``; a party that was started anew asks again."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NeedCoins:
    """Answer with ``Party.coins``: a contribution of n coins that hold ``needs(n)`` sats."""

    role: Role
    needs: Callable[[int], int] = field(compare=False)


@dataclass(frozen=True, slots=True)
class SignCoins:
    """Sign the inputs ``mine`` of ``tx`` and answer with ``Party.coins_signed``. ``name`` is FUND,
    or RECLAIM: the same coins back, because the quote has run out. ``spent`` are the outputs
    that all its inputs spend."""

    name: str
    tx: CTransaction
    spent: tuple[CTxOut, ...]
    mine: range


class Event(StrEnum):
    """What a person may want to know."""

    REFUSED = "refused"
    """A message that does not belong here, and why: nothing changed."""
    DECLINED = "declined"
    STAGE = "stage"
    """The contract reached another stage, or fell back in a reorganisation."""
    DISPUTED = "disputed"
    """A claim is false, or was challenged."""
    LATE = "late"
    """Too late to claim before the refund."""
    GUARDED = "guarded"
    """The one-time guard refused: another message was revealed before."""
    UNRELAYED = "unrelayed"
    """The node does not relay a transaction that a block may hold: give it to a miner."""


@dataclass(frozen=True, slots=True)
class Note:
    """For the log."""

    event: Event
    detail: str


Effect = Keep | Say | Broadcast | Bump | Prove | Retrace | NeedCoins | SignCoins | Note
"""What a party wants done, in this order. If one cannot be done, drop the rest of the list and make
the party anew from what was kept."""
