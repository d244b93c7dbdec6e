"""What a contract costs and when its transactions are valid.

chain 49   premium u64 | bond u64 | claim_fee u64 | feerate u32 | max_feerate u32
           | expiry_height u32 | refund_height u32 | move_window u16 | challenge_window u16
           | sweep_delay u16 | log4_steps u8 | width u8 | anchored u8 (0, 1)
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from protocol.bitcoin.script import LOCKTIME_THRESHOLD
from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.errors import EncodingError, TermsError
from protocol.options.payoff import UNIT_SATS_MIN
from protocol.oracle.layout import require_uint
from protocol.settlement.cursor import Cursor

MAX_FEERATE_SAT_VB: Final = 1_000
WINDOW_MAX: Final = 0xFFFF
"""A relative lock of BIP68 counts so many blocks at most."""

LOG4_STEPS_MAX: Final = 15
WIDTHS: Final = (20, 32)

_LAYOUT: Final = Struct(">QQQIIIIHHHBBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTerms:
    """What a contract costs and when its transactions are valid; TermsError names a wrong field.

    Each party posts ``bond_sats``; the holder pays ``premium_sats`` to the writer in FUND, and who
    would not close together pays the other ``claim_fee_sats`` (0 for none). Pre-signed transactions
    pay ``feerate_sat_vb``; ``max_feerate_sat_vb`` is what bonds and outputs are sized for. Windows
    are blocks: a move's, a challenge's, and the prover's wait before it sweeps. The trace has
    4^``log4_steps`` steps, its hashes ``width`` bytes. ``anchored`` lets CLOSE carry 32 bytes.
    """

    premium_sats: int
    bond_sats: int
    claim_fee_sats: int = 0
    feerate_sat_vb: int = 2
    max_feerate_sat_vb: int = 10
    expiry_height: int
    refund_height: int
    move_window: int = 6
    challenge_window: int = 12
    sweep_delay: int = 12
    log4_steps: int = 12
    width: int = 20
    anchored: bool = True

    def __post_init__(self) -> None:
        self._require_money()
        self._require_heights()
        for field in ("move_window", "challenge_window", "sweep_delay"):
            _require_between(field, getattr(self, field), 1, WINDOW_MAX)
        if self.sweep_delay < self.challenge_window:
            raise TermsError(
                f"sweep_delay {self.sweep_delay}: the other side needs the challenge window to"
                f" take its bits, give at least {self.challenge_window}"
            )
        _require_between("log4_steps", self.log4_steps, 1, LOG4_STEPS_MAX)
        if self.width not in WIDTHS:
            raise TermsError(f"width {self.width}: 20 or 32 bytes")

    def _require_money(self) -> None:
        _require_between("premium_sats", self.premium_sats, 0, MAX_MONEY_SATS // 4)
        _require_between("bond_sats", self.bond_sats, 1, MAX_MONEY_SATS // 8)
        _require_between("claim_fee_sats", self.claim_fee_sats, 0, MAX_MONEY_SATS // 8)
        if 0 < self.claim_fee_sats < UNIT_SATS_MIN:
            raise TermsError(
                f"claim_fee_sats {self.claim_fee_sats}: write 0 for none, or at least"
                f" {UNIT_SATS_MIN}, the smallest output"
            )
        _require_between("max_feerate_sat_vb", self.max_feerate_sat_vb, 1, MAX_FEERATE_SAT_VB)
        _require_between("feerate_sat_vb", self.feerate_sat_vb, 1, self.max_feerate_sat_vb)

    def _require_heights(self) -> None:
        for field in ("expiry_height", "refund_height"):
            _require_between(field, getattr(self, field), 1, LOCKTIME_THRESHOLD - 1)
        if self.refund_height <= self.expiry_height + self.move_window:
            raise TermsError(
                f"refund_height {self.refund_height}: a claim needs the move window from"
                f" expiry_height on, give more than {self.expiry_height + self.move_window}"
            )

    def encode(self) -> bytes:
        """49 bytes."""
        return _LAYOUT.pack(*(getattr(self, name) for name in self.__dataclass_fields__))

    @classmethod
    def read(cls, cursor: Cursor) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        *numbers, anchored = cursor.read(_LAYOUT)
        if anchored > 1:
            raise EncodingError(f"anchored {anchored}: expected 0 or 1")
        fields = cls.__dataclass_fields__
        return cls(**dict(zip(fields, (*numbers, bool(anchored)), strict=True)))


def _require_between(field: str, value: int, least: int, most: int) -> None:
    require_uint(field, value, 64)
    if not least <= value <= most:
        raise TermsError(f"{field} {value}: it must lie between {least} and {most}")
