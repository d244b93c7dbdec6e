"""GMX v1's Vault and GlpManager in exact integers: the reference that the pool is judged by.

Units are GMX's: USD and prices 1e30, tokens in their own decimals, funding 1e6, basis points 1e4,
GLP and USDG 1e18 (docs/pool.md). Every division floors; a subtraction below zero reverts. The
vectors of ``tests/vectors/pool/gmx_v1.json``, made by running the contracts, hold this model to
account. It keeps GMX's bugs.
"""

from dataclasses import dataclass, field, replace
from typing import Final

BPS: Final = 10_000
FUNDING: Final = 1_000_000
USD: Final = 10**30
USDG: Final = 10**18
DECIMALS: Final = {"USDC": 6, "BTC": 8}


class Revert(Exception):  # noqa: N818 -- the EVM's word
    """A transaction that the contracts refuse; the text is theirs."""


def sub(a: int, b: int, text: str = "SafeMath: subtraction overflow") -> int:
    """``a - b``, which must not be negative."""
    if b > a:
        raise Revert(text)
    return a - b


@dataclass(frozen=True, slots=True)
class Config:
    """What the vault's governor sets; the fee of a liquidation is in USD."""

    margin_fee_bps: int
    mint_burn_fee_bps: int
    liquidation_fee: int
    funding_factor: int
    funding_interval: int
    max_leverage_bps: int
    min_profit_time: int
    min_profit_bps: dict[str, int]
    spread_bps: int


@dataclass(slots=True)
class Collateral:
    """The vault's books of one token that it holds."""

    pool: int = 0
    reserved: int = 0
    fees: int = 0
    balance: int = 0
    guaranteed: int = 0
    cumulative: int = 0
    last_funding: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    size: int = 0
    collateral: int = 0
    average_price: int = 0
    entry_funding: int = 0
    reserve: int = 0
    realised: int = 0
    last_increased: int = 0


NONE: Final = Position()


@dataclass(frozen=True, slots=True)
class Key:
    """Whose position it is, and in what: ``token`` is the collateral's."""

    user: int
    token: str
    index: str
    is_long: bool


@dataclass(frozen=True, slots=True)
class Trade:
    """What a transaction did: fee in USD, tokens out, price, (is profit, USD), GLP minted."""

    fee: int = 0
    fee_tokens: int = 0
    payout: int = 0
    price: int = 0
    collateral_usd: int = 0
    pnl: tuple[bool, int] = (False, 0)
    minted: int = 0


@dataclass(slots=True)
class Vault:
    """The state of the two contracts; ``prices`` are raw answers of the oracle, 1e30."""

    config: Config
    now: int = 0
    prices: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, Collateral] = field(default_factory=dict)
    positions: dict[Key, Position] = field(default_factory=dict)
    short_size: dict[str, int] = field(default_factory=dict)
    short_average: dict[str, int] = field(default_factory=dict)
    glp_supply: int = 0

    # Prices (docs/pool.md, "Price side"); a stable token has no spread.

    def max_price(self, token: str) -> int:
        spread = 0 if token == "USDC" else self.config.spread_bps
        return self.prices[token] * (BPS + spread) // BPS

    def min_price(self, token: str) -> int:
        spread = 0 if token == "USDC" else self.config.spread_bps
        return self.prices[token] * (BPS - spread) // BPS

    def usd_min(self, token: str, amount: int) -> int:
        return amount * self.min_price(token) // 10 ** DECIMALS[token]

    def tokens_min(self, token: str, usd: int) -> int:
        return usd * 10 ** DECIMALS[token] // self.max_price(token)

    def tokens_max(self, token: str, usd: int) -> int:
        return usd * 10 ** DECIMALS[token] // self.min_price(token)

    # Profit, average price, fees

    def delta(self, key: Key, position: Position) -> tuple[bool, int]:
        """Whether the position is in profit, and by how many USD it is away."""
        price = self.min_price(key.index) if key.is_long else self.max_price(key.index)
        average = position.average_price
        delta = position.size * abs(average - price) // average
        has_profit = price > average if key.is_long else average > price
        young = self.now <= position.last_increased + self.config.min_profit_time
        least = self.config.min_profit_bps.get(key.index, 0) if young else 0
        if has_profit and delta * BPS <= position.size * least:
            delta = 0
        return has_profit, delta

    def _next_average(self, key: Key, position: Position, price: int, size_delta: int) -> int:
        has_profit, delta = self.delta(key, position)
        size = position.size + size_delta
        grows = has_profit == key.is_long
        return price * size // (size + delta if grows else sub(size, delta))

    def _next_short_average(self, index: str, price: int, size_delta: int) -> int:
        size, average = self.short_size[index], self.short_average[index]
        delta = size * abs(average - price) // average
        total = size + size_delta
        return price * total // (sub(total, delta) if average > price else total + delta)

    def position_fee(self, size_delta: int) -> int:
        return size_delta - size_delta * (BPS - self.config.margin_fee_bps) // BPS

    def funding_fee(self, key: Key, position: Position) -> int:
        rate = self.tokens[key.token].cumulative - position.entry_funding
        return position.size * rate // FUNDING if position.size else 0

    def update_funding(self, token: str) -> None:
        books, interval = self.tokens[token], self.config.funding_interval
        if books.last_funding == 0:
            books.last_funding = self.now // interval * interval
        if books.last_funding + interval > self.now:
            return
        spans = (self.now - books.last_funding) // interval
        if books.pool:
            rate = self.config.funding_factor * books.reserved * spans // books.pool
            books.cumulative += rate
        books.last_funding = self.now // interval * interval

    # The books

    def _pool_in(self, token: str, amount: int) -> None:
        books = self.tokens[token]
        books.pool += amount
        if books.pool > books.balance:
            raise Revert("Vault: invalid increase")

    def _pool_out(self, token: str, amount: int) -> None:
        books = self.tokens[token]
        books.pool = sub(books.pool, amount, "Vault: poolAmount exceeded")
        if books.reserved > books.pool:
            raise Revert("Vault: reserve exceeds pool")

    def _pay(self, token: str, amount: int) -> None:
        books = self.tokens[token]
        books.balance = sub(books.balance, amount, "ERC20: transfer amount exceeds balance")

    def _collect(self, key: Key, position: Position, size_delta: int) -> int:
        fee = self.position_fee(size_delta) + self.funding_fee(key, position)
        self.tokens[key.token].fees += self.tokens_min(key.token, fee)
        return fee

    def _short_decreased(self, index: str, size_delta: int) -> None:
        size = self.short_size.get(index, 0)
        self.short_size[index] = max(size - size_delta, 0)

    # Liquidation

    def liquidation(self, key: Key, position: Position, strict: bool) -> tuple[int, int]:
        """(state, fees): 0 healthy, 1 to liquidate, 2 over the leverage; ``strict`` reverts."""
        has_profit, delta = self.delta(key, position)
        fees = self.funding_fee(key, position) + self.position_fee(position.size)
        loss = 0 if has_profit else delta
        left = position.collateral - loss
        found = 0, fees, ""
        if left < 0:
            found = 1, fees, "losses exceed collateral"
        elif left < fees:
            found = 1, left, "fees exceed collateral"
        elif left < fees + self.config.liquidation_fee:
            found = 1, fees, "liquidation fees exceed collateral"
        elif left * self.config.max_leverage_bps < position.size * BPS:
            found = 2, fees, "maxLeverage exceeded"
        if strict and found[2]:
            raise Revert(f"Vault: {found[2]}")
        return found[:2]

    def _check(self, key: Key, position: Position) -> None:
        if position.size < position.collateral:
            raise Revert("Vault: _size must be more than _collateral")
        self.liquidation(key, position, strict=True)

    # Trades

    def increase(self, key: Key, amount: int, size_delta: int) -> Trade:
        """``increasePosition`` with ``amount`` tokens sent before; Revert leaves a torn state."""
        self.update_funding(key.token)
        position = self.positions.get(key, NONE)
        price = self.max_price(key.index) if key.is_long else self.min_price(key.index)
        average = position.average_price or price
        if position.size and size_delta:
            average = self._next_average(key, position, price, size_delta)
        fee = self._collect(key, position, size_delta)
        books = self.tokens[key.token]
        books.balance += amount
        usd = self.usd_min(key.token, amount)
        collateral = position.collateral + usd
        if collateral < fee:
            raise Revert("Vault: insufficient collateral for fees")
        reserve_delta = self.tokens_max(key.token, size_delta)
        position = replace(
            position,
            size=position.size + size_delta,
            collateral=collateral - fee,
            average_price=average,
            entry_funding=books.cumulative,
            reserve=position.reserve + reserve_delta,
            last_increased=self.now,
        )
        if not position.size:
            raise Revert("Vault: invalid position.size")
        self._check(key, position)
        books.reserved += reserve_delta
        if books.reserved > books.pool:
            raise Revert("Vault: reserve exceeds pool")
        if key.is_long:
            books.guaranteed = sub(books.guaranteed + size_delta + fee, usd)
            self._pool_in(key.token, amount)
            self._pool_out(key.token, self.tokens_min(key.token, fee))
        else:
            self._short_increased(key.index, price, size_delta)
        self.positions[key] = position
        return Trade(fee, self.tokens_min(key.token, fee), price=price, collateral_usd=usd)

    def _short_increased(self, index: str, price: int, size_delta: int) -> None:
        if self.short_size.get(index, 0):
            self.short_average[index] = self._next_short_average(index, price, size_delta)
        else:
            self.short_average[index] = price
        self.short_size[index] = self.short_size.get(index, 0) + size_delta

    def decrease(self, key: Key, collateral_delta: int, size_delta: int) -> Trade:
        """``decreasePosition``; Revert leaves a torn state."""
        self.update_funding(key.token)
        before = self.positions.get(key, NONE)
        if not before.size:
            raise Revert("Vault: empty position")
        sub(before.size, size_delta, "Vault: position size exceeded")
        sub(before.collateral, collateral_delta, "Vault: position collateral exceeded")
        books = self.tokens[key.token]
        reserve_delta = before.reserve * size_delta // before.size
        books.reserved = sub(books.reserved, reserve_delta, "Vault: insufficient reserve")
        after, trade, usd_out = self._reduce(key, before, collateral_delta, size_delta)
        if size_delta < before.size:
            after = replace(
                after,
                size=before.size - size_delta,
                reserve=before.reserve - reserve_delta,
                entry_funding=books.cumulative,
            )
            self._check(key, after)
            self.positions[key] = after
        else:
            self.positions.pop(key)
        if key.is_long:
            spent = before.collateral - after.collateral
            books.guaranteed = sub(books.guaranteed + spent, size_delta)
            self._pool_out(key.token, self.tokens_min(key.token, usd_out))
        else:
            self._short_decreased(key.index, size_delta)
        self._pay(key.token, trade.payout)
        return trade

    def _reduce(
        self, key: Key, position: Position, collateral_delta: int, size_delta: int
    ) -> tuple[Position, Trade, int]:
        """``_reduceCollateral``: the position with its new collateral, and USD out before fees."""
        fee = self._collect(key, position, size_delta)
        has_profit, delta = self.delta(key, position)
        adjusted = size_delta * delta // position.size
        collateral, usd_out = position.collateral, 0
        if has_profit:
            usd_out = adjusted
            if not key.is_long and adjusted:
                self._pool_out(key.token, self.tokens_min(key.token, adjusted))
        else:
            collateral = sub(collateral, adjusted)
            if not key.is_long and adjusted:
                self._pool_in(key.token, self.tokens_min(key.token, adjusted))
        usd_out, collateral = usd_out + collateral_delta, sub(collateral, collateral_delta)
        if size_delta == position.size:
            usd_out, collateral = usd_out + collateral, 0
        after_fee = usd_out
        if usd_out > fee:
            after_fee = usd_out - fee
        else:
            collateral = sub(collateral, fee)
            if key.is_long:
                self._pool_out(key.token, self.tokens_min(key.token, fee))
        pnl = adjusted if has_profit else -adjusted
        after = replace(position, collateral=collateral, realised=position.realised + pnl)
        price = self.min_price(key.index) if key.is_long else self.max_price(key.index)
        payout = self.tokens_min(key.token, after_fee)
        fee_tokens = self.tokens_min(key.token, fee)
        trade = Trade(fee, fee_tokens, payout, price, pnl=(has_profit, adjusted))
        return after, trade, usd_out

    def liquidate(self, key: Key) -> Trade:
        """``liquidatePosition``; the payout of state 1 is the keeper's fee, of state 2 the owner's.

        State 1 has GMX's bugs: fees above the collateral are credited, and the pool pays the keeper
        whatever is left of the victim.
        """
        self.update_funding(key.token)
        position = self.positions.get(key, NONE)
        if not position.size:
            raise Revert("Vault: empty position")
        state, fees = self.liquidation(key, position, strict=False)
        if state == 0:
            raise Revert("Vault: position cannot be liquidated")
        if state == 2:
            return self.decrease(key, 0, position.size)
        books, fee_tokens = self.tokens[key.token], self.tokens_min(key.token, fees)
        books.fees += fee_tokens
        books.reserved = sub(books.reserved, position.reserve, "Vault: insufficient reserve")
        if key.is_long:
            books.guaranteed = sub(books.guaranteed, sub(position.size, position.collateral))
            self._pool_out(key.token, fee_tokens)
        else:
            if fees < position.collateral:
                self._pool_in(key.token, self.tokens_min(key.token, position.collateral - fees))
            self._short_decreased(key.index, position.size)
        self.positions.pop(key)
        payout = self.tokens_min(key.token, self.config.liquidation_fee)
        self._pool_out(key.token, payout)
        self._pay(key.token, payout)
        price = self.min_price(key.index) if key.is_long else self.max_price(key.index)
        return Trade(fees, fee_tokens, payout, price)

    # GLP

    def aum(self, maximise: bool) -> int:
        """Assets under management, USD (docs/pool.md, "AUM / GLP")."""
        total = profits = 0
        for token, books in self.tokens.items():
            price = self.max_price(token) if maximise else self.min_price(token)
            unit = 10 ** DECIMALS[token]
            if token == "USDC":
                total += books.pool * price // unit
            else:
                total += books.guaranteed + (books.pool - books.reserved) * price // unit
        for index, size in self.short_size.items():
            price = self.max_price(index) if maximise else self.min_price(index)
            average = self.short_average.get(index, 0)
            if size:
                delta = size * abs(average - price) // average
                profits += 0 if price > average else delta
                total += delta if price > average else 0
        return max(total - profits, 0)

    def glp_price(self, maximise: bool) -> int:
        return self.aum(maximise) * USDG // self.glp_supply if self.glp_supply else 0

    def add_liquidity(self, amount: int) -> Trade:
        """Mints GLP for USDC; the AUM is that before the deposit."""
        aum = self.aum(True) * USDG // USD
        self.update_funding("USDC")
        books = self.tokens["USDC"]
        books.balance += amount
        left = self._swap_fee(amount)
        usdg = left * self.min_price("USDC") // USD * USDG // 10**6
        self._pool_in("USDC", left)
        minted = usdg * self.glp_supply // aum if aum else usdg
        self.glp_supply += minted
        return Trade(minted=minted)

    def remove_liquidity(self, glp: int) -> Trade:
        """Burns GLP; the payout is the USDC that leave."""
        aum = self.aum(False) * USDG // USD
        usdg = glp * aum // self.glp_supply
        self.update_funding("USDC")
        redeemed = usdg * USD // self.max_price("USDC") * 10**6 // USDG
        self._pool_out("USDC", redeemed)
        amount = self._swap_fee(redeemed)
        self._pay("USDC", amount)
        self.glp_supply -= glp
        return Trade(payout=amount)

    def _swap_fee(self, amount: int) -> int:
        left = amount * (BPS - self.config.mint_burn_fee_bps) // BPS
        self.tokens["USDC"].fees += amount - left
        return left

    def direct_deposit(self, amount: int) -> None:
        """A donation to the pool."""
        self.tokens["USDC"].balance += amount
        self._pool_in("USDC", amount)
