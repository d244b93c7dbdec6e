"""What an option pays at expiry, in integers: the same as ``payoff`` in riscv_vm/guest/settle.c.

call: q * (S - K) // S sats, put: q * (K - S) // S sats, 0 when that is negative, never above the
collateral (options.md 1). q is the quantity in sats, S the settlement price, K the strike.
"""

from protocol.errors import TermsError
from protocol.options.instrument import OptionKind
from protocol.units import U64_MAX, PriceE8, Sats


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


def _require_u64(field: str, value: int) -> None:
    if not 0 < value <= U64_MAX:
        raise TermsError(f"{field} {value}: it must lie above 0 and fit 64 bits")
