"""The reference model of GMX v1 and our pool, side by side on the same actions.

Comparable are a reserve of the whole size, no funding and borrow, no spread, no minProfit, fees
beside the liquidity as GMX keeps them. A GMX long with USDC as collateral (family
``long-usdc-patched``) holds its collateral inside the vault's pool; ours is outside.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from protocol.pool.draft import Accepted, Rejected
from protocol.pool.params import FULL_RESERVE
from protocol.pool.reject import RejectCode
from tests.builders import gmx
from tests.builders.gmx_vectors import Vector, config_of
from tests.builders.pool import ADA, BTC, ETH, LONG, PRICES, SHORT, USDC, World, owner_of

NAMES: Final = {BTC: "BTC", ETH: "ETH", ADA: "ADA"}
IDS: Final = {name: token for token, name in NAMES.items()}
UNIT: Final = gmx.USD // USDC
"""GMX's USD in a micro-USDC."""
SLACK: Final = 2
"""Of an amount, micro-USDC: what our 1e-6 may lose against GMX's 1e-30, never gain, on the actions
of the file. One action rounds at most three times (value, its share, fee), so no action ever loses
three."""
OVERFLOW: Final = "SafeMath: subtraction overflow"
CODES: Final = {
    "Vault: reserve exceeds pool": {RejectCode.UTILIZATION, RejectCode.GLOBAL_CAP},
    "Vault: insufficient collateral for fees": {RejectCode.LEVERAGE, RejectCode.FEE},
    "Vault: _size must be more than _collateral": {RejectCode.SIZE_BELOW_COLLATERAL},
    "Vault: empty position": {RejectCode.NO_POSITION},
    "Vault: position size exceeded": {RejectCode.SIZE_TOO_LARGE},
    "Vault: position collateral exceeded": {RejectCode.COLLATERAL_TOO_LARGE},
    "Vault: position cannot be liquidated": {RejectCode.HEALTHY, RejectCode.NO_POSITION},
}
UNHEALTHY: Final = {
    RejectCode.LIQUIDATABLE,
    RejectCode.LEVERAGE,
    RejectCode.LOSS_EXCEEDS_COLLATERAL,
    RejectCode.COLLATERAL_TOO_LARGE,
    RejectCode.FEE,
    RejectCode.MIN_COLLATERAL,
}


def comparable_config(vector: Vector | None = None, **changes: int) -> gmx.Config:
    """The vector's configuration, or ours, without funding and minProfit."""
    fields = {"margin_fee_bps": 30, "liquidation_fee": 5 * gmx.USD, "max_leverage_bps": 500_000}
    if vector is not None:
        config = config_of(vector)
        fields = {name: getattr(config, name) for name in fields}
    return gmx.Config(
        **{**fields, **changes},
        mint_burn_fee_bps=0,
        funding_factor=0,
        funding_interval=28_800,
        min_profit_time=0,
        min_profit_bps={},
        spread_bps=0,
    )


def our_world(config: gmx.Config, liquidity: int) -> World:
    token = {
        "max_profit_bps": FULL_RESERVE,
        "max_utilization_bps": 10_000,
        "funding_ppm": 0,
        "fee_bps": config.margin_fee_bps,
        "liquidation_fee": config.liquidation_fee // UNIT,
        "max_leverage_bps": config.max_leverage_bps,
        "min_collateral": 1,
    }
    pool = {"lp_fee_share_bps": 0, "global_cap_bps": 10_000}
    return World(token=token, pool=pool, liquidity=liquidity)


@dataclass(slots=True)
class Twin:
    """Both pools. ``worst`` is the largest deviation seen, by what deviated. Every action begins at
    our collateral; with ``same_average`` at our average price too, which else drifts by less than a
    micro-USDC an increase."""

    config: gmx.Config
    liquidity: int
    slack: int = SLACK
    same_average: bool = False
    world: World = field(init=False)
    vault: gmx.Vault = field(init=False)
    worst: dict[str, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = our_world(self.config, self.liquidity)
        self.vault = gmx.Vault(self.config, self.world.now)
        books = gmx.Collateral(self.liquidity, balance=self.liquidity)
        self.vault.tokens["USDC"] = books
        self.price({NAMES[token]: price for token, price in PRICES.items()})

    def price(self, prices_e8: dict[str, int]) -> None:
        """The same prices, a second later, for both."""
        self.vault.prices |= {name: price * 10**22 for name, price in prices_e8.items()}
        self.vault.prices["USDC"] = gmx.USD
        self.world.advance(**{name: p for name, p in prices_e8.items() if name in IDS})
        self.vault.now = self.world.now

    def increase(self, key: gmx.Key, amount: int, size: int) -> bool:
        return self._both(
            key,
            lambda: self.world.increase(key.user, amount, size, *_at(key)),
            lambda vault: vault.increase(key, amount, size * UNIT),
        )

    def decrease(self, key: gmx.Key, collateral: int, size: int) -> bool:
        return self._both(
            key,
            lambda: self.world.decrease(key.user, size, collateral, *_at(key)),
            lambda vault: vault.decrease(key, collateral * UNIT, size * UNIT),
        )

    def liquidate(self, key: gmx.Key) -> bool:
        """Only a position over its leverage is treated alike: it is closed as by its owner.

        One that cannot pay its fees meets GMX's bugs (S13, S15, S21): there, ours leaves the LPs
        no less.
        """
        position = self.vault.positions.get(key)
        if position is None or self.vault.liquidation(key, position, strict=False)[0] != 1:
            return self._both(
                key,
                lambda: self.world.liquidate(key.user, *_at(key)),
                lambda vault: vault.liquidate(key),
            )
        liquidity, pool = self.world.liquidity, self.vault.tokens["USDC"].pool
        inside = -(-position.collateral // UNIT) if key.is_long else 0
        self.world.ok(self.world.liquidate(key.user, *_at(key)))
        self.vault.liquidate(key)
        theirs = self.vault.tokens["USDC"].pool - (pool - inside)
        assert self.world.liquidity - liquidity >= theirs
        return True

    def _both(
        self,
        key: gmx.Key,
        act: Callable[[], Accepted | Rejected],
        act_gmx: Callable[[gmx.Vault], gmx.Trade],
    ) -> bool:
        """One action on both, compared. Whether both accepted it."""
        vault = deepcopy(self.vault)
        try:
            trade = act_gmx(vault)
        except gmx.Revert as error:
            if str(error) == OVERFLOW:
                # GMX's S23 and S15-02: what is left does not exceed the fee, or the loss is larger.
                return False
            refusal = act()
            assert isinstance(refusal, Rejected), f"GMX refuses: {error}"
            assert refusal.code in CODES.get(str(error), UNHEALTHY), (refusal, error)
            return False
        liquidity, pool = self.world.liquidity, self.vault.tokens["USDC"].pool
        result = act()
        if isinstance(result, Rejected):
            assert result.code in UNHEALTHY and self._margin(vault, key) <= 8, (result, trade)
            return False
        self.vault = vault
        # Where what goes out equals the fee, GMX takes the fee from one place or the other: a unit
        # decides, and only payout and collateral together are comparable.
        if not (key in vault.positions and trade.payout <= self.slack < result.outflow):
            self._note("payout", Fraction(result.outflow - trade.payout))
        self._note("worth", self._collateral(key, vault) + result.outflow - trade.payout)
        self._note("fee", Fraction(trade.fee, UNIT) - result.fee)
        if not key.is_long:
            ours = self.world.liquidity - liquidity
            self._note("liquidity", Fraction(vault.tokens["USDC"].pool - pool - ours))
        self._compare(key)
        return True

    def _collateral(self, key: gmx.Key, vault: gmx.Vault) -> Fraction:
        """Our collateral less GMX's."""
        found = self.world.pool.position(owner_of(key.user), *_at(key))
        theirs = vault.positions.get(key, gmx.NONE).collateral
        return (found.collateral if found else 0) - Fraction(theirs, UNIT)

    def _compare(self, key: gmx.Key) -> None:
        position = self.vault.positions.get(key)
        found = self.world.pool.position(owner_of(key.user), *_at(key))
        assert (position is None) == (found is None)
        if position and found:
            assert found.size * UNIT == position.size
            assert found.reserve == position.reserve
            unit = self.world.params(found.token).unit
            average = Fraction(found.size * unit * gmx.USD, found.base * 10**8)
            assert abs(average / position.average_price - 1) < Fraction(1, 10**8)
            # The next action is compared by itself: both go on from the same position.
            position = replace(position, collateral=found.collateral * UNIT)
            if self.same_average:
                exact = found.size * unit * gmx.USD
                average = exact // (found.base * 10**8) + (found.side == SHORT)
                position = replace(position, average_price=average)
            self.vault.positions[key] = position
            longs = [p for k, p in self.vault.positions.items() if k.is_long]
            self.vault.tokens["USDC"].guaranteed = sum(p.size - p.collateral for p in longs)

    def _note(self, what: str, deviation: Fraction) -> None:
        """``deviation``: ours less GMX's, as its owner sees it; it must be in [-slack, 0]."""
        assert -self.slack <= deviation <= 0, (what, deviation)
        self.worst[what] = min(self.worst.get(what, Fraction(0)), deviation)

    def _margin(self, vault: gmx.Vault, key: gmx.Key) -> Fraction:
        """How far GMX's position is from a liquidation, micro-USDC."""
        position = vault.positions[key]
        has_profit, delta = vault.delta(key, position)
        left = position.collateral - (0 if has_profit else delta)
        fees = vault.position_fee(position.size) + vault.config.liquidation_fee
        least = max(fees, position.size * gmx.BPS // vault.config.max_leverage_bps)
        return Fraction(left - least, UNIT)


def _at(key: gmx.Key) -> tuple[int, int]:
    """(token, side) of ours."""
    return IDS[key.index], LONG if key.is_long else SHORT
