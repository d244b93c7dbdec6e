"""The changes of one operation before they count: copies, and a list of what to write.

Nothing of the pool changes before ``commit``, so a refusal at any point leaves the root as it was.
"""

from dataclasses import dataclass
from typing import Any

from protocol.pool.account import AccountDatum
from protocol.pool.muldiv import BPS, add, i128, mul_div, sub
from protocol.pool.order import OrderDatum
from protocol.pool.params import TokenParams
from protocol.pool.pool import Pool
from protocol.pool.position import PositionDatum, Side
from protocol.pool.prices import Quote
from protocol.pool.reject import RejectCode, RejectError
from protocol.pool.state import TokenState
from protocol.pool.tree import BucketTree


@dataclass(slots=True)
class Accepted:
    """What an operation did, micro-USDC: the owner brings ``inflow`` and gets ``outflow``."""

    inflow: int = 0
    outflow: int = 0
    fee: int = 0
    """Position or liquidity fee."""
    funding_paid: int = 0
    """With the borrow fee."""
    funding_received: int = 0
    profit: int = 0
    loss: int = 0
    liquidation_fee: int = 0
    bad_debt: int = 0
    """What a position closed below zero still owed, whoever made it good."""
    glp: int = 0
    """Shares minted or burnt."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The first check that failed."""

    code: RejectCode


class Draft:
    """One operation's view of the pool. ``token``, ``params`` and ``quote`` are there after
    ``load``; every method that may refuse raises RejectError."""

    __slots__ = (
        "_funds",
        "_others_reserved",
        "_writes",
        "params",
        "pool",
        "quote",
        "result",
        "token",
        "vault",
    )

    token: TokenState
    params: TokenParams
    quote: Quote

    def __init__(self, pool: Pool, funds: int | None) -> None:
        self.pool = pool
        self.vault = pool.vault.copy()
        self.result = Accepted()
        self._funds = funds
        self._others_reserved = -1
        self._writes: list[tuple[BucketTree[Any], bytes, Any]] = []

    def load(self, token: int) -> None:
        """The row of a token, to be changed; TOKEN if the pool has none such."""
        found = self.pool.tokens.get(token)
        if found is None:
            raise RejectError(RejectCode.TOKEN)
        self.token = found.copy()
        self.params = self.pool.token_params[token]
        self.quote = self.pool.quotes[token]
        self._others_reserved = self.pool.reserved_total - found.reserved

    @property
    def reserved_total(self) -> int:
        """All reserves, with the loaded token's as it is now."""
        return self._others_reserved + self.token.reserved

    @property
    def free(self) -> int:
        """The liquidity that no position's profit is reserved from."""
        return sub(self.vault.total_liquidity, self.reserved_total)

    def receive(self, amount: int) -> None:
        """The owner brings ``amount``; DEPOSIT if less was paid in."""
        if self._funds is not None and amount > self._funds:
            raise RejectError(RejectCode.DEPOSIT)
        self.result.inflow = amount

    def share_fee(self, fee: int) -> None:
        """Splits a position fee between the LPs, the insurance and the protocol."""
        terms, vault = self.pool.params, self.vault
        lp = mul_div(fee, terms.lp_fee_share_bps, BPS)
        insurance = mul_div(fee, terms.insurance_fee_share_bps, BPS)
        vault.total_liquidity = add(vault.total_liquidity, lp)
        vault.insurance = add(vault.insurance, insurance)
        vault.protocol_fees = add(vault.protocol_fees, fee - lp - insurance)
        self.result.fee = fee

    def consume(self, old: PositionDatum) -> None:
        """Takes a position's leaf out, and its part of every sum."""
        token, vault = self.token, self.vault
        token.reserved = sub(token.reserved, old.reserve)
        token.collateral = sub(token.collateral, old.collateral)
        vault.collateral_total = sub(vault.collateral_total, old.collateral)
        vault.pos_count = sub(vault.pos_count, 1)
        basis = old.size * old.entry_funding + old.reserve * old.entry_borrow
        if old.side == Side.LONG:
            token.oi_long = sub(token.oi_long, old.size)
            token.base_long = sub(token.base_long, old.base)
            token.basis_long = i128(token.basis_long - basis)
        else:
            token.oi_short = sub(token.oi_short, old.size)
            token.base_short = sub(token.base_short, old.base)
            token.basis_short = i128(token.basis_short - basis)
        self._writes.append((self.pool.positions, old.key, None))

    def create(self, new: PositionDatum) -> None:
        """Puts a position's leaf in, and its part into every sum."""
        token, vault = self.token, self.vault
        token.reserved = add(token.reserved, new.reserve)
        token.collateral = add(token.collateral, new.collateral)
        vault.collateral_total = add(vault.collateral_total, new.collateral)
        vault.pos_count = add(vault.pos_count, 1)
        basis = new.size * new.entry_funding + new.reserve * new.entry_borrow
        if new.side == Side.LONG:
            token.oi_long = add(token.oi_long, new.size)
            token.base_long = add(token.base_long, new.base)
            token.basis_long = i128(token.basis_long + basis)
        else:
            token.oi_short = add(token.oi_short, new.size)
            token.base_short = add(token.base_short, new.base)
            token.basis_short = i128(token.basis_short + basis)
        self._writes.append((self.pool.positions, new.key, new))

    def put_order(self, order: OrderDatum) -> None:
        """Writes a new order, and its escrow."""
        self.vault.order_escrow = add(self.vault.order_escrow, order.deposit)
        self._writes.append((self.pool.positions, order.key, order))

    def take_order(self, order: OrderDatum) -> None:
        """Takes an order out; its escrow is the caller's to pass on."""
        self.vault.order_escrow = sub(self.vault.order_escrow, order.deposit)
        self._writes.append((self.pool.positions, order.key, None))

    def put_account(self, account: AccountDatum) -> None:
        """Writes an account."""
        self._writes.append((self.pool.accounts, account.key, account))

    def commit(self) -> None:
        """Makes all of it count; BUCKET_FULL, and nothing changes, if a new key finds no room."""
        for tree, key, datum in self._writes:
            if datum is not None and not tree.has_room(key):
                raise RejectError(RejectCode.BUCKET_FULL)
        for tree, key, datum in self._writes:
            if datum is None:
                tree.delete(key)
            else:
                tree.put(key, datum)
        self.pool.vault = self.vault
        if self._others_reserved >= 0:
            self.pool.tokens[self.token.id] = self.token
