"""A whole pool as bytes, for the disk: what its state root commits to, and nothing else.

    "PST1" | PoolParams | VaultDatum | per token: TokenState | TokenParams
    | n u32 | n x (tag u8 | position or order 112) | m u32 | m x account 56

Keys ascending, so a state has one encoding. Roots are not stored, they are made from the rest.
"""

from struct import Struct
from typing import Final

from protocol.errors import EncodingError
from protocol.pool.account import ACCOUNT_SIZE, AccountDatum
from protocol.pool.order import ORDER_SIZE, OrderDatum
from protocol.pool.params import POOL_PARAMS_SIZE, TOKEN_PARAMS_SIZE, PoolParams, TokenParams
from protocol.pool.pool import Pool
from protocol.pool.position import POSITION_SIZE, PositionDatum
from protocol.pool.state import TOKEN_STATE_SIZE, VAULT_SIZE, TokenState, VaultDatum

MAGIC: Final = b"PST1"
_COUNT: Final = Struct("<I")


def encode(pool: Pool) -> bytes:
    """The bytes of the module's head."""
    tables = (
        part
        for token, state in pool.tokens.items()
        for part in (state.encode(), pool.token_params[token].encode())
    )
    held = [bytes([datum.tag]) + datum.encode() for datum in pool.positions]
    accounts = [account.encode() for account in pool.accounts]
    return b"".join(
        (
            MAGIC,
            pool.params.encode(),
            pool.vault.encode(),
            *tables,
            _COUNT.pack(len(held)),
            *held,
            _COUNT.pack(len(accounts)),
            *accounts,
        )
    )


def decode(data: bytes) -> Pool:
    """The pool of exactly these bytes; EncodingError names what is wrong. Whether it is the one
    that was meant, its root says."""
    source = _Source(data)
    if source.take(len(MAGIC)) != MAGIC:
        raise EncodingError("pool state: no state of this version (PST1)")
    params = PoolParams.decode(source.take(POOL_PARAMS_SIZE))
    vault = VaultDatum.decode(source.take(VAULT_SIZE))
    tokens, token_params = {}, {}
    for token in params.tokens:
        tokens[token] = TokenState.decode(source.take(TOKEN_STATE_SIZE))
        token_params[token] = TokenParams.decode(source.take(TOKEN_PARAMS_SIZE))
    pool = Pool(params, vault, tokens, token_params)
    for _ in range(source.count()):
        held = _held(source)
        pool.positions.put(held.key, held)
    for _ in range(source.count()):
        account = AccountDatum.decode(source.take(ACCOUNT_SIZE))
        pool.accounts.put(account.key, account)
    source.end()
    return pool


def copy(pool: Pool) -> Pool:
    """Another pool in the same state: what is done to one does not touch the other."""
    other = Pool(
        pool.params,
        pool.vault.copy(),
        {token: state.copy() for token, state in pool.tokens.items()},
        pool.token_params,
    )
    for held in pool.positions:
        other.positions.put(held.key, held)
    for account in pool.accounts:
        other.accounts.put(account.key, account)
    other.quotes = dict(pool.quotes)
    return other


class _Source:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise EncodingError(f"pool state: cut short after {len(self._data)} bytes")
        self._at += size
        return found

    def count(self) -> int:
        found: int = _COUNT.unpack(self.take(_COUNT.size))[0]
        return found

    def end(self) -> None:
        if self._at != len(self._data):
            raise EncodingError(f"pool state: {len(self._data) - self._at} bytes too many")


def _held(source: _Source) -> PositionDatum | OrderDatum:
    tag = source.take(1)[0]
    if tag == PositionDatum.tag:
        return PositionDatum.decode(source.take(POSITION_SIZE))
    if tag == OrderDatum.tag:
        return OrderDatum.decode(source.take(ORDER_SIZE))
    raise EncodingError(f"pool state: a datum of kind {tag}, neither position nor order")
