"""What an option pays, in integers: the same numbers as riscv_vm/guest/payoff.c.

    call    q * (S - K) // S sats        binary call   q sats if S > K
    put     q * (K - S) // S sats        binary put    q sats if S < K

0 when negative, never above the collateral, and 0 for a knock-out whose barrier the certified price
touched (options.md 1). q is the quantity in sats, S the settlement price, K the strike.

A contract commits to a payout in whole units, one output per bit of their number: the collateral
split into 2^bits - 1 units. What does not fill a unit stays with the writer.
"""

from dataclasses import dataclass
from typing import Final

from protocol.errors import TermsError
from protocol.options.instrument import Barrier, KnockOut, OptionKind
from protocol.units import U64_MAX, PriceE8, Sats

PAYOUT_BITS: Final = 16
PAYOUT_BITS_MIN: Final = 8
PAYOUT_BITS_MAX: Final = 20
UNIT_SATS_MIN: Final = 1_000
"""The smallest output: the dust limit of 330 sats and the cost of sweeping it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payoff:
    """What an option pays on a price. TermsError unless the numbers are u64 above 0, the collateral
    covers what a call or a binary can pay (a cap below would hide; a put's is a term), and a
    barrier leaves something to pay."""

    kind: OptionKind
    strike_e8: PriceE8
    quantity_sats: Sats
    collateral_sats: Sats
    is_binary: bool = False
    barrier: Barrier | None = None

    def __post_init__(self) -> None:
        for field in ("strike_e8", "quantity_sats", "collateral_sats"):
            _require_u64(field, getattr(self, field))
        is_bounded = self.is_binary or self.kind is OptionKind.CALL
        if is_bounded and self.quantity_sats > self.collateral_sats:
            what = "binary" if self.is_binary else "call"
            raise TermsError(
                f"quantity_sats {self.quantity_sats} of a {what} is above collateral_sats"
                f" {self.collateral_sats}: raise the collateral to the quantity"
            )
        if self.barrier is not None:
            self._require_barrier(self.barrier)

    def _require_barrier(self, barrier: Barrier) -> None:
        if self.is_binary:
            raise TermsError("barrier: a binary option has none, remove one of them")
        _require_u64("barrier level_e8", barrier.level_e8)
        is_up, is_call = barrier.direction is KnockOut.UP, self.kind is OptionKind.CALL
        if is_up == is_call and (
            barrier.level_e8 <= self.strike_e8 if is_up else barrier.level_e8 >= self.strike_e8
        ):
            raise TermsError(
                f"barrier level_e8 {barrier.level_e8}: the option is knocked out before it pays;"
                f" the level must lie {'above' if is_up else 'below'} the strike {self.strike_e8}"
            )

    def sats(self, price_e8: PriceE8, high_e8: PriceE8, low_e8: PriceE8) -> Sats:
        """What the writer owes the holder when ``price_e8`` is certified, with the highest and the
        lowest price of the window. TermsError for a price that is no u64 above 0."""
        for field, value in (("price_e8", price_e8), ("high_e8", high_e8), ("low_e8", low_e8)):
            _require_u64(field, value)
        is_call = self.kind is OptionKind.CALL
        gain_e8 = price_e8 - self.strike_e8 if is_call else self.strike_e8 - price_e8
        if gain_e8 <= 0 or self._is_knocked_out(high_e8, low_e8):
            return Sats(0)
        if self.is_binary:
            return self.quantity_sats
        return Sats(min(self.quantity_sats * gain_e8 // price_e8, self.collateral_sats))

    def _is_knocked_out(self, high_e8: PriceE8, low_e8: PriceE8) -> bool:
        if self.barrier is None:
            return False
        if self.barrier.direction is KnockOut.UP:
            return high_e8 >= self.barrier.level_e8
        return low_e8 <= self.barrier.level_e8


def unit_of(collateral_sats: Sats, bits: int = PAYOUT_BITS) -> Sats:
    """The sats in one of 2^bits - 1 units. TermsError if that is too little to be an output; it
    names the number of bits that fit."""
    if not PAYOUT_BITS_MIN <= bits <= PAYOUT_BITS_MAX:
        raise TermsError(
            f"payout_bits {bits}: it must lie between {PAYOUT_BITS_MIN} and {PAYOUT_BITS_MAX}"
        )
    unit = collateral_sats // units_max(bits)
    if unit < UNIT_SATS_MIN:
        raise TermsError(
            f"payout_bits {bits}: a unit of {unit} sats is below {UNIT_SATS_MIN}: use"
            f" {bits_that_fit(collateral_sats)} bits"
        )
    return Sats(unit)


def bits_that_fit(collateral_sats: Sats) -> int:
    """The most bits, up to the default of 16, whose unit is large enough to be an output.
    TermsError if not even 8 are."""
    for bits in range(PAYOUT_BITS, PAYOUT_BITS_MIN - 1, -1):
        if collateral_sats // units_max(bits) >= UNIT_SATS_MIN:
            return bits
    raise TermsError(
        f"collateral_sats {collateral_sats} is below"
        f" {units_max(PAYOUT_BITS_MIN) * UNIT_SATS_MIN}, {PAYOUT_BITS_MIN} bits of the smallest"
        " unit: raise it"
    )


def units_max(bits: int) -> int:
    """All bits set: the largest payout in units."""
    return (1 << bits) - 1


def units_of(payoff: Sats, unit_sats: Sats, bits: int) -> int:
    """Whole units in ``payoff`` sats, at most all of them: 2^bits - 1 units may be a little less
    than the collateral, because the unit was rounded down."""
    return min(payoff // unit_sats, units_max(bits))


def _require_u64(field: str, value: int) -> None:
    if not 0 < value <= U64_MAX:
        raise TermsError(f"{field} {value}: it must lie above 0 and fit 64 bits")
