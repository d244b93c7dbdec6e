"""What a pool is bound to for its life: the parameters of each token, and of the pool as a whole.

    TokenParams, 64 bytes   price_exp u8 | qty_exp u8 | max_utilization, fee, spread, impact bps u16
        | 0 u16 | max_leverage_bps u32 | max_profit_bps u32 | funding_ppm u32 | borrow_ppm u32
        | 0 u32 | oi_cap_long u64 | oi_cap_short u64 | min_collateral u64 | liquidation_fee u64
    PoolParams, 1,416 bytes "POL1" | flags u32 | lp_fee_share_bps, insurance_fee_share_bps,
        global_cap_bps, liquidity_fee_bps u16 | funding_interval_s, max_elapsed_s, max_rate_ppm,
        cooldown_s u32 | btc_token u32 | n u32 | stable_id 32 | oracle_config 32 | domain 32
        | 32 x (token id u32, 0 u32, feed id 32), those from the n-th on zero

``pool_id`` = TH("terms", PoolParams). The token table is committed in the state (``params_root``).
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import Final, Self

from protocol.errors import EncodingError
from protocol.pool.layout import (
    AMOUNT_MAX,
    STABLE_USDC,
    TOKENS_MAX,
    require,
    require_key,
    require_uint,
    th,
    unpack,
)
from protocol.pool.muldiv import BPS, PPM
from protocol.units import U32_MAX

FULL_RESERVE: Final = U32_MAX
"""``max_profit_bps`` of a token whose reserve is the whole size, as GMX reserves it."""
LEVERAGE_MAX: Final = 1000 * BPS

_TOKEN: Final = Struct("<BBHHHHHIIIIIQQQQ")
_POOL: Final = Struct("<4sIHHHHIIIIII32s32s32s")
_FEED: Final = Struct("<II32s")
_MAGIC: Final = b"POL1"
_BACKED, _ORDERS_ONLY = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenParams:
    """The risk of one token; amounts in micro-USDC, rates in ppm per funding interval at a skew, or
    a reserve, of the whole liquidity. EncodingError on a field out of range (docs/pool.md)."""

    price_exp: int = 8
    """A price is a mantissa of 10^-price_exp USD; the oracles' price_e8 is taken as the mantissa,
    so another exponent says that the feed quotes another number of tokens."""
    qty_exp: int
    """Base quantities count 10^-qty_exp tokens."""
    max_utilization_bps: int
    fee_bps: int = 30
    spread_bps: int = 0
    impact_bps: int = 0
    max_leverage_bps: int = 50 * BPS
    max_profit_bps: int = BPS
    funding_ppm: int
    borrow_ppm: int = 0
    oi_cap_long: int = AMOUNT_MAX
    oi_cap_short: int = AMOUNT_MAX
    min_collateral: int = 10_000_000
    liquidation_fee: int = 5_000_000
    unit: int = field(init=False, repr=False, compare=False)
    """base * price / unit = micro-USD."""

    def __post_init__(self) -> None:
        exp = self.price_exp + self.qty_exp - 6
        require(0 <= exp <= 18, "price_exp + qty_exp", "must be 6 to 24")
        require_uint("max_utilization_bps", self.max_utilization_bps, BPS)
        require_uint("fee_bps", self.fee_bps, BPS // 10)
        require_uint("spread_bps", self.spread_bps, BPS // 10)
        require_uint("impact_bps", self.impact_bps, BPS // 10)
        require(BPS <= self.max_leverage_bps <= LEVERAGE_MAX, "max_leverage_bps", "is 1x to 1000x")
        is_profit = 0 < self.max_profit_bps <= LEVERAGE_MAX or self.max_profit_bps == FULL_RESERVE
        require(is_profit, "max_profit_bps", f"must be 1 to {LEVERAGE_MAX}, or {FULL_RESERVE}")
        require_uint("funding_ppm", self.funding_ppm, PPM)
        require_uint("borrow_ppm", self.borrow_ppm, PPM)
        for name in ("oi_cap_long", "oi_cap_short", "min_collateral", "liquidation_fee"):
            require_uint(name, getattr(self, name), AMOUNT_MAX)
        require(self.min_collateral > 0, "min_collateral", "must be at least 1")
        object.__setattr__(self, "unit", 10**exp)

    def encode(self) -> bytes:
        """The 64 bytes of the module's head."""
        return _TOKEN.pack(
            self.price_exp,
            self.qty_exp,
            self.max_utilization_bps,
            self.fee_bps,
            self.spread_bps,
            self.impact_bps,
            0,
            self.max_leverage_bps,
            self.max_profit_bps,
            self.funding_ppm,
            self.borrow_ppm,
            0,
            self.oi_cap_long,
            self.oi_cap_short,
            self.min_collateral,
            self.liquidation_fee,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The parameters of exactly these 64 bytes; EncodingError names the field."""
        f = unpack("token parameters", _TOKEN, data)
        require(f[6] == 0 and f[11] == 0, "token parameters", "padding must be zero")
        return cls(
            price_exp=f[0],
            qty_exp=f[1],
            max_utilization_bps=f[2],
            fee_bps=f[3],
            spread_bps=f[4],
            impact_bps=f[5],
            max_leverage_bps=f[7],
            max_profit_bps=f[8],
            funding_ppm=f[9],
            borrow_ppm=f[10],
            oi_cap_long=f[12],
            oi_cap_short=f[13],
            min_collateral=f[14],
            liquidation_fee=f[15],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolParams:
    """The terms that no token has of its own. EncodingError on a field out of range.

    ``feeds`` lists every token of the pool, ids ascending, with the oracles' feed id;
    ``oracle_config`` is the digest of the oracles whose certificates count. A ``backed`` pool holds
    sats: ``btc_token`` is the token whose price values them (0 in one that is not backed).
    ``domain`` tells pools of equal terms apart, so that no operation of one is valid in another:
    on Bitcoin the digest of the terms under which the vault began.
    """

    lp_fee_share_bps: int = BPS
    insurance_fee_share_bps: int = 0
    global_cap_bps: int = 9_500
    liquidity_fee_bps: int = 0
    funding_interval_s: int = 28_800
    max_elapsed_s: int = 86_400
    max_rate_ppm: int = 10_000
    cooldown_s: int = 900
    orders_only: bool = False
    backed: bool = False
    btc_token: int = 0
    stable_id: bytes = STABLE_USDC
    oracle_config: bytes = bytes(32)
    domain: bytes = bytes(32)
    feeds: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        shares = self.lp_fee_share_bps + self.insurance_fee_share_bps
        for name in ("lp_fee_share_bps", "insurance_fee_share_bps", "global_cap_bps"):
            require_uint(name, getattr(self, name), BPS)
        require(shares <= BPS, "lp_fee_share_bps + insurance_fee_share_bps", "exceed 10000")
        require_uint("liquidity_fee_bps", self.liquidity_fee_bps, BPS // 10)
        require(3600 <= self.funding_interval_s <= 86_400, "funding_interval_s", "is 1 h to 24 h")
        require_uint("max_elapsed_s", self.max_elapsed_s, 30 * 86_400)
        require_uint("max_rate_ppm", self.max_rate_ppm, PPM)
        require_uint("cooldown_s", self.cooldown_s, 30 * 86_400)
        require_key("stable_id", self.stable_id)
        require_key("oracle_config", self.oracle_config)
        require_key("domain", self.domain)
        require(1 <= len(self.feeds) <= TOKENS_MAX, "feeds", f"must list 1 to {TOKENS_MAX} tokens")
        before = 0
        for token, feed_id in self.feeds:
            require_uint("token id", token, U32_MAX)
            require(token > before, "token ids", "must ascend and start above 0")
            require_key("feed id", feed_id)
            before = token
        is_listed = self.btc_token in self.tokens if self.backed else self.btc_token == 0
        require(is_listed, "btc_token", "is a listed token in a backed pool, else 0")

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids of all tokens, ascending."""
        return tuple(token for token, _ in self.feeds)

    @property
    def pool_id(self) -> bytes:
        """What every operation's signature is bound to."""
        return th("terms", self.encode())

    def encode(self) -> bytes:
        """The bytes of the module's head."""
        head = _POOL.pack(
            _MAGIC,
            self.backed * _BACKED | self.orders_only * _ORDERS_ONLY,
            self.lp_fee_share_bps,
            self.insurance_fee_share_bps,
            self.global_cap_bps,
            self.liquidity_fee_bps,
            self.funding_interval_s,
            self.max_elapsed_s,
            self.max_rate_ppm,
            self.cooldown_s,
            self.btc_token,
            len(self.feeds),
            self.stable_id,
            self.oracle_config,
            self.domain,
        )
        table = b"".join(_FEED.pack(token, 0, feed_id) for token, feed_id in self.feeds)
        return (head + table).ljust(POOL_PARAMS_SIZE, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The parameters of exactly these bytes; EncodingError names the field."""
        if len(data) != POOL_PARAMS_SIZE:
            raise EncodingError(f"pool parameters: {POOL_PARAMS_SIZE} bytes, got {len(data)}")
        f = _POOL.unpack_from(data)
        require(f[0] == _MAGIC, "pool parameters", "version: this program reads POL1")
        require(f[1] <= (_BACKED | _ORDERS_ONLY), "pool parameters", "have an unknown flag")
        require(f[11] <= TOKENS_MAX, "feeds", f"must list 1 to {TOKENS_MAX} tokens")
        end = _POOL.size + f[11] * _FEED.size
        require(not any(data[end:]), "pool parameters", "padding must be zero")
        rows = [*_FEED.iter_unpack(data[_POOL.size : end])]
        require(not any(pad for _, pad, _ in rows), "pool parameters", "padding must be zero")
        return cls(
            lp_fee_share_bps=f[2],
            insurance_fee_share_bps=f[3],
            global_cap_bps=f[4],
            liquidity_fee_bps=f[5],
            funding_interval_s=f[6],
            max_elapsed_s=f[7],
            max_rate_ppm=f[8],
            cooldown_s=f[9],
            orders_only=bool(f[1] & _ORDERS_ONLY),
            backed=bool(f[1] & _BACKED),
            btc_token=f[10],
            stable_id=f[12],
            oracle_config=f[13],
            domain=f[14],
            feeds=tuple((token, feed_id) for token, _, feed_id in rows),
        )


TOKEN_PARAMS_SIZE: Final = _TOKEN.size
POOL_PARAMS_SIZE: Final = _POOL.size + TOKENS_MAX * _FEED.size
