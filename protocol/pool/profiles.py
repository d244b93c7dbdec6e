"""Ready sets of parameters: ``brief``, whose numbers are those of the pool's first description, and
``gtrade``, which a live pool would start from (docs/pool.md, "Profiles")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocol.pool.muldiv import BPS

_TOKENS: Final[Mapping[str, Mapping[str, int]]] = {
    "BTC": {"qty_exp": 13, "max_utilization_bps": 8_000, "funding_ppm": 4_000},
    "ETH": {"qty_exp": 12, "max_utilization_bps": 8_000, "funding_ppm": 8_000},
    "ADA": {"qty_exp": 9, "max_utilization_bps": 7_000, "funding_ppm": 10_000},
    "SOL": {"qty_exp": 11, "max_utilization_bps": 7_000, "funding_ppm": 8_000},
    "MEME": {"qty_exp": 8, "max_utilization_bps": 5_000, "funding_ppm": 10_000},
}
_OTHER: Final = {"qty_exp": 9, "max_utilization_bps": 5_000, "funding_ppm": 10_000}


@dataclass(frozen=True, slots=True)
class Profile:
    """Fields of ``PoolParams`` and of every ``TokenParams`` that differ from their defaults."""

    pool: Mapping[str, Any]
    token: Mapping[str, int]

    def token_fields(self, symbol: str) -> dict[str, int]:
        """The fields of a token, of a symbol without its own as of the riskiest."""
        return {**_TOKENS.get(symbol, _OTHER), **self.token}


PROFILES: Final[Mapping[str, Profile]] = {
    "brief": Profile(pool={}, token={}),
    "gtrade": Profile(
        pool={"orders_only": True, "lp_fee_share_bps": 9_500, "insurance_fee_share_bps": 500},
        token={"max_profit_bps": 9 * BPS, "spread_bps": 4, "borrow_ppm": 100},
    ),
}
