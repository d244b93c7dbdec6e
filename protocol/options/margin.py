"""What the writer of a contract may come to owe, against what is locked for it.

Every contract is covered: its collateral is in FUND before it is open, so nobody is ever called for
more. What moves is how much of it the holder could claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.options.instrument import Instrument, OptionKind
from protocol.options.payoff import Payoff
from protocol.units import PriceE8, Sats


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Sats: ``collateral_sats`` is locked; ``mark_sats`` is what the option is worth now,
    ``intrinsic_sats`` what it would pay at the index, ``most_sats`` all that it can ever pay.
    ``cap_e8`` is the price below which a put pays no more: its collateral ends there."""

    collateral_sats: Sats
    mark_sats: Sats
    intrinsic_sats: Sats
    most_sats: Sats
    cap_e8: PriceE8 | None = None

    @property
    def free_sats(self) -> Sats:
        """Collateral beyond what the option is worth now."""
        return Sats(self.collateral_sats - self.mark_sats)


def payoff_of(instrument: Instrument, quantity_sats: Sats, collateral_sats: Sats) -> Payoff:
    """What a contract on the instrument pays; the errors of ``Payoff``."""
    return Payoff(
        kind=instrument.kind,
        strike_e8=instrument.strike_e8,
        quantity_sats=quantity_sats,
        collateral_sats=collateral_sats,
        is_binary=instrument.is_binary,
        barrier=instrument.barrier,
    )


def margin_of(payoff: Payoff, index_e8: PriceE8, mark_sats: Sats, *, is_out: bool) -> Margin:
    """Of an open contract at this index; ``is_out`` once its barrier was touched."""
    if is_out:
        zero = Sats(0)
        return Margin(
            collateral_sats=payoff.collateral_sats,
            mark_sats=zero,
            intrinsic_sats=zero,
            most_sats=zero,
        )
    is_put = payoff.kind is OptionKind.PUT and not payoff.is_binary
    q, c = payoff.quantity_sats, payoff.collateral_sats
    return Margin(
        collateral_sats=c,
        mark_sats=Sats(min(mark_sats, c)),
        intrinsic_sats=payoff.sats(index_e8, index_e8, index_e8),
        most_sats=c if is_put else q,
        cap_e8=PriceE8(q * payoff.strike_e8 // (q + c)) if is_put else None,
    )


def total(margins: Iterable[Margin]) -> Margin:
    """Of all of them together."""
    found = list(margins)
    return Margin(
        collateral_sats=Sats(sum(margin.collateral_sats for margin in found)),
        mark_sats=Sats(sum(margin.mark_sats for margin in found)),
        intrinsic_sats=Sats(sum(margin.intrinsic_sats for margin in found)),
        most_sats=Sats(sum(margin.most_sats for margin in found)),
    )
