"""What an option pays at expiry, in integers: the same numbers as riscv_vm/guest/payoff.c.

call: q * (S - K) // S sats, put: q * (K - S) // S sats, 0 when that is negative, never above the
collateral (options.md 1). q is the quantity in sats, S the settlement price, K the strike.

A contract commits to a payout in whole units, one output per bit of their number: the collateral
split into 2^bits - 1 units. What does not fill a unit stays with the writer.
"""

from typing import Final

from protocol.errors import TermsError
from protocol.options.instrument import OptionKind
from protocol.units import U64_MAX, PriceE8, Sats

PAYOUT_BITS: Final = 16
PAYOUT_BITS_MIN: Final = 8
PAYOUT_BITS_MAX: Final = 20
UNIT_SATS_MIN: Final = 1_000
"""The smallest output: the dust limit of 330 sats and the cost of sweeping it."""


def check_payoff_terms(
    kind: OptionKind, strike_e8: PriceE8, quantity_sats: Sats, collateral_sats: Sats
) -> None:
    """TermsError unless all are u64 above 0 and a call's collateral covers its quantity.

    A call pays up to its quantity, which a cap below would hide; a put's cap is a term.
    """
    _require_u64("strike_e8", strike_e8)
    _require_u64("quantity_sats", quantity_sats)
    _require_u64("collateral_sats", collateral_sats)
    if kind is OptionKind.CALL and quantity_sats > collateral_sats:
        raise TermsError(
            f"quantity_sats {quantity_sats} of a call is above collateral_sats {collateral_sats}: "
            "raise the collateral to the quantity"
        )


def payoff_sats(
    kind: OptionKind,
    spot_e8: PriceE8,
    strike_e8: PriceE8,
    quantity_sats: Sats,
    collateral_sats: Sats,
) -> Sats:
    """What the writer owes the holder when the certified price is ``spot_e8``.

    TermsError for a value that is not a u64 above 0, or a call with less collateral than quantity.
    """
    check_payoff_terms(kind, strike_e8, quantity_sats, collateral_sats)
    _require_u64("spot_e8", spot_e8)
    gain_e8 = spot_e8 - strike_e8 if kind is OptionKind.CALL else strike_e8 - spot_e8
    return Sats(min(quantity_sats * max(gain_e8, 0) // spot_e8, collateral_sats))


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
