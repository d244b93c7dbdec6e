"""The root leaf of the pool's state, and its row for each token (docs/pool.md, "State").

    VaultDatum, 256 bytes   version u16 | n_tokens u16 | flags u32 | seq u64 | time u64
        | total_liquidity | collateral_total | protocol_fees | insurance | glp_supply | pos_count
        | bad_debt u64 | stable_id | params_root | tokens_root | positions_root | lp_root 32 each
        | vault_sats u64 | order_escrow u64
    TokenState, 136 bytes   id u32 | flags u32 | reserved | collateral | oi_long | oi_short
        | base_long | base_short u64 | cum_long | cum_short i64 | cum_borrow u64
        | basis_long | basis_short i128 | last_funding | price | price_time u64

Both are the one thing here that is written in place, on a copy that a refused operation discards.
"""

from dataclasses import dataclass
from enum import IntFlag
from struct import Struct
from typing import Final, Self

from protocol.pool.layout import require, unpack

VERSION: Final = 1
_VAULT: Final = Struct("<HHIQQQQQQQQQ32s32s32s32s32sQQ")
_TOKEN: Final = Struct("<IIQQQQQQqqQ16s16sQQQ")
_BASES: Final = (11, 12)


class VaultFlag(IntFlag):
    """State of the whole pool."""

    HALTED = 1
    CLOSE_ONLY = 2
    ORDERS_ONLY = 4


class TokenFlag(IntFlag):
    """What may be done with a token."""

    WHITELISTED = 1
    SHORTABLE = 2


@dataclass(slots=True)
class VaultDatum:
    """Amounts in micro-USDC, ``time`` in unix seconds, ``seq`` counts batches."""

    n_tokens: int
    flags: int
    seq: int
    time: int
    total_liquidity: int
    """The LPs' money: without collateral, escrow and buckets."""
    collateral_total: int
    protocol_fees: int
    insurance: int
    glp_supply: int
    pos_count: int
    bad_debt: int
    """All that positions closed below zero owed and the insurance did not pay."""
    stable_id: bytes
    params_root: bytes
    tokens_root: bytes
    positions_root: bytes
    lp_root: bytes
    vault_sats: int
    order_escrow: int

    def copy(self) -> Self:
        """Another one with the same fields."""
        return type(self)(
            self.n_tokens,
            self.flags,
            self.seq,
            self.time,
            self.total_liquidity,
            self.collateral_total,
            self.protocol_fees,
            self.insurance,
            self.glp_supply,
            self.pos_count,
            self.bad_debt,
            self.stable_id,
            self.params_root,
            self.tokens_root,
            self.positions_root,
            self.lp_root,
            self.vault_sats,
            self.order_escrow,
        )

    @property
    def liabilities(self) -> int:
        """All that the pool owes somebody: the cash of the conservation identity."""
        return (
            self.total_liquidity
            + self.collateral_total
            + self.order_escrow
            + self.protocol_fees
            + self.insurance
        )

    def encode(self) -> bytes:
        """The 256 bytes of the module's head."""
        return _VAULT.pack(
            VERSION,
            self.n_tokens,
            self.flags,
            self.seq,
            self.time,
            self.total_liquidity,
            self.collateral_total,
            self.protocol_fees,
            self.insurance,
            self.glp_supply,
            self.pos_count,
            self.bad_debt,
            self.stable_id,
            self.params_root,
            self.tokens_root,
            self.positions_root,
            self.lp_root,
            self.vault_sats,
            self.order_escrow,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The datum of exactly these bytes; EncodingError on a version or flag that is unknown."""
        version, *fields = unpack("vault datum", _VAULT, data)
        require(version == VERSION, "vault datum", f"version {version} is unknown")
        vault = cls(*fields)
        require(vault.flags <= sum(VaultFlag), "vault datum", "has an unknown flag")
        return vault


@dataclass(slots=True)
class TokenState:
    """One token. Amounts in micro-USDC; ``base_*`` in 10^-qty_exp tokens; ``cum_*`` in 1e-12 USD
    per USD, positive: that side (or every reserve) pays; ``price`` the last certified mantissa.

    ``basis_*`` is what positions of a side have settled up to: the sum of size * entry_funding +
    reserve * entry_borrow, in 1e-18 USDC. What all of them still owe is then one subtraction.
    """

    id: int
    flags: int
    reserved: int
    collateral: int
    oi_long: int
    oi_short: int
    base_long: int
    base_short: int
    cum_long: int
    cum_short: int
    cum_borrow: int
    basis_long: int
    basis_short: int
    last_funding: int
    price: int
    price_time: int

    def copy(self) -> Self:
        """Another one with the same fields."""
        return type(self)(
            self.id,
            self.flags,
            self.reserved,
            self.collateral,
            self.oi_long,
            self.oi_short,
            self.base_long,
            self.base_short,
            self.cum_long,
            self.cum_short,
            self.cum_borrow,
            self.basis_long,
            self.basis_short,
            self.last_funding,
            self.price,
            self.price_time,
        )

    def encode(self) -> bytes:
        """The 136 bytes of the module's head."""
        return _TOKEN.pack(
            self.id,
            self.flags,
            self.reserved,
            self.collateral,
            self.oi_long,
            self.oi_short,
            self.base_long,
            self.base_short,
            self.cum_long,
            self.cum_short,
            self.cum_borrow,
            self.basis_long.to_bytes(16, "little", signed=True),
            self.basis_short.to_bytes(16, "little", signed=True),
            self.last_funding,
            self.price,
            self.price_time,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The row of exactly these bytes; EncodingError on an unknown flag."""
        fields = [*unpack("token state", _TOKEN, data)]
        require(fields[1] <= sum(TokenFlag), "token state", "has an unknown flag")
        for at in _BASES:
            fields[at] = int.from_bytes(fields[at], "little", signed=True)
        return cls(*fields)


VAULT_SIZE: Final = _VAULT.size
TOKEN_STATE_SIZE: Final = _TOKEN.size
