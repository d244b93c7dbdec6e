"""Three oracles of a demo: keys that it made, real signatures, and the price that is asked for.

Nothing of the oracle network runs here: who wants to see it, starts ``oracle-vm demo``.
"""

import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from actors.keyfile import load_key
from actors.network import Network, load_network
from actors.network_files import NAMES, Layout, write_network
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.oracle import expiry as exp
from protocol.oracle.expiry import Expiry, ExpiryCertificate, ExpirySlot
from protocol.oracle.price import VENUES
from protocol.settlement.terms import ClaimTerms
from protocol.units import E8, PriceE8

ORACLES: Final = 3
PRICE_MAX_E8: Final = 10**9 * E8
"""Where the search for a price ends: a billion dollars."""


@dataclass(frozen=True, slots=True)
class DemoOracles:
    """The network file in ``folder`` and the keys of its oracles."""

    file: Path
    network: Network
    keys: tuple[SecretKey, ...]

    @classmethod
    def create(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """New oracles in ``folder``, which must be new; their addresses are never dialled."""
        names = NAMES[:ORACLES]
        ports = range(1, ORACLES + 2)
        write_network(folder, Layout(names, ports, settings, dict.fromkeys(VENUES, "live")))
        keys = tuple(load_key(folder / "keys" / name / "oracle.key") for name in names)
        file = folder / "network.toml"
        return cls(file, load_network(file), keys)

    def certify(self, slot: ExpirySlot, quorum: int, price_e8: PriceE8) -> ExpiryCertificate:
        """What ``quorum`` of them sign after a history that stood at this price."""
        expiry = expiry_at(slot, price_e8)
        message = tagged_hash(exp.TAG, expiry.encode())
        signers = range(quorum)
        signed = ((i, self.keys[i].sign(message, secrets.token_bytes(32))) for i in signers)
        return ExpiryCertificate(expiry, tuple(signed))


def expiry_at(slot: ExpirySlot, price_e8: PriceE8) -> Expiry:
    """An expiry in the target round of ``slot`` after a history that stood at this price."""
    return Expiry(
        slot=slot,
        end_round=slot.target_round,
        price_e8=price_e8,
        high_e8=price_e8,
        low_e8=price_e8,
        rounds=slot.target_round - slot.start_round + 1,
        report_hash=tagged_hash("btcfi/demo/report/v1", price_e8.to_bytes(8)),
    )


def price_for(terms: ClaimTerms, units: int) -> PriceE8:
    """The price next to the strike at which the contract pays ``units`` or, where none does, as
    near as it gets. A payoff that falls or rises with the price is assumed (no barrier)."""
    prices = range(1, PRICE_MAX_E8)

    def pays(price_e8: int) -> int:
        return terms.units(expiry_at(terms.slot, PriceE8(price_e8)))

    sign = 1 if pays(prices[0]) < pays(prices[-1]) else -1
    first = bisect_left(prices, sign * units, key=lambda price: sign * pays(price))
    behind = bisect_right(prices, sign * units, key=lambda price: sign * pays(price))
    if first == behind:
        near = (prices[max(first - 1, 0)], prices[min(first, len(prices) - 1)])
        return PriceE8(min(near, key=lambda price: abs(pays(price) - units)))
    return PriceE8(min(max(terms.payoff.strike_e8, prices[first]), prices[behind - 1]))
