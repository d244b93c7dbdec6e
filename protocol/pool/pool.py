"""A whole pool in memory: the vault, the tables, both trees, and its root."""

from collections.abc import Iterator, Mapping
from typing import Final

from protocol.errors import EncodingError, PriceError
from protocol.pool.account import AccountDatum, account_key
from protocol.pool.funding import accrue
from protocol.pool.layout import th
from protocol.pool.order import OrderDatum, order_key
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.position import PositionDatum, position_key
from protocol.pool.prices import BatchPrices, Quote
from protocol.pool.state import TokenFlag, TokenState, VaultDatum, VaultFlag
from protocol.pool.tree import EMPTY, BucketTree

ALL_TOKEN_FLAGS: Final = int(TokenFlag.WHITELISTED | TokenFlag.SHORTABLE)


class Pool:
    """Mutable; only ``transition.apply``, ``batch.run_batch`` and ``advance`` change it.

    ``tokens`` and ``token_params`` are by token id, ids ascending. ``quotes`` are those of the last
    ``advance``, empty before the first.
    """

    def __init__(
        self,
        params: PoolParams,
        vault: VaultDatum,
        tokens: Mapping[int, TokenState],
        token_params: Mapping[int, TokenParams],
    ) -> None:
        self.params = params
        self.pool_id = params.pool_id
        self.vault = vault
        self.tokens = dict(tokens)
        self.token_params = dict(token_params)
        self.positions: BucketTree[PositionDatum | OrderDatum] = BucketTree()
        self.accounts: BucketTree[AccountDatum] = BucketTree()
        self.quotes: dict[int, Quote] = {}
        if not [*self.tokens] == [*self.token_params] == [*params.tokens]:
            raise EncodingError("pool: parameters and state must list the tokens of the terms")

    @classmethod
    def genesis(cls, params: PoolParams, token_params: Mapping[int, TokenParams]) -> "Pool":
        """An empty pool: every listed token whitelisted and shortable, time and seq zero."""
        ids = params.tokens
        vault = VaultDatum(
            n_tokens=len(ids),
            flags=int(VaultFlag.ORDERS_ONLY) if params.orders_only else 0,
            seq=0,
            time=0,
            total_liquidity=0,
            collateral_total=0,
            protocol_fees=0,
            insurance=0,
            glp_supply=0,
            pos_count=0,
            bad_debt=0,
            stable_id=params.stable_id,
            params_root=params_root(token_params),
            tokens_root=bytes(32),
            positions_root=EMPTY[-1],
            lp_root=EMPTY[-1],
            vault_sats=0,
            order_escrow=0,
        )
        tokens = {i: TokenState(i, ALL_TOKEN_FLAGS, *[0] * 14) for i in ids}
        pool = cls(params, vault, tokens, token_params)
        pool.root()
        return pool

    @property
    def reserved_total(self) -> int:
        """What the pool may have to pay to all positions together, micro-USDC."""
        return sum([token.reserved for token in self.tokens.values()])

    def position(self, owner: bytes, token: int, side: int) -> PositionDatum | None:
        """The position of an owner, if there is one."""
        found = self.positions.get(position_key(owner, token, side))
        return found if isinstance(found, PositionDatum) else None

    def order(self, owner: bytes, nonce: int) -> OrderDatum | None:
        """The order of an owner, if there is one."""
        found = self.positions.get(order_key(owner, nonce))
        return found if isinstance(found, OrderDatum) else None

    def account(self, owner: bytes) -> AccountDatum:
        """The account of an owner; a new one if there is none yet."""
        return self.accounts.get(account_key(owner)) or AccountDatum(owner)

    def open_positions(self) -> Iterator[PositionDatum]:
        """All positions, keys ascending."""
        return (datum for datum in self.positions if isinstance(datum, PositionDatum))

    def open_orders(self) -> Iterator[OrderDatum]:
        """All orders, keys ascending."""
        return (datum for datum in self.positions if isinstance(datum, OrderDatum))

    def advance(self, prices: BatchPrices) -> None:
        """Begins a batch: accrues funding and borrow of every token up to ``prices.time``, then
        takes the new prices. PriceError, and no change, if they are not later than the last batch
        or not of exactly the pool's tokens; RejectError(OVERFLOW) if an index leaves its bounds."""
        vault = self.vault
        if prices.time <= vault.time:
            raise PriceError(f"prices: time {prices.time} is not after the last, {vault.time}")
        quotes = prices.quotes(self.token_params)
        is_halted = bool(vault.flags & VaultFlag.HALTED)
        tokens = {}
        for i, token in self.tokens.items():
            tokens[i] = after = token.copy()
            if not is_halted:
                accrue(after, self.token_params[i], self.params, vault, prices.time)
            after.last_funding = after.price_time = prices.time
            after.price = quotes[i].price
        self.tokens, self.quotes = tokens, quotes
        vault.time = prices.time
        vault.seq += 1

    def root(self) -> bytes:
        """The state root; the roots in the vault datum are made anew first."""
        vault = self.vault
        vault.tokens_root = th("tokens", *[token.encode() for token in self.tokens.values()])
        vault.positions_root = self.positions.root()
        vault.lp_root = self.accounts.root()
        return th("state", vault.encode())


def params_root(token_params: Mapping[int, TokenParams]) -> bytes:
    """TH("params", the parameters of all tokens, ids ascending)."""
    return th("params", *[token_params[token].encode() for token in sorted(token_params)])
