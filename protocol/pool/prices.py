"""The prices of one batch: one time, and for every token of the pool a price and its confidence.

    24 bytes a token, ids ascending   id u32 | 0 u32 | price u64 | conf u64;  before them time u64

``prices_root`` = TH("prices", those bytes). A trade never gets the middle: the price that counts
against it is ``price`` plus or minus the larger of the confidence and the token's spread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple, Self

from protocol.errors import PriceError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.pool.layout import PRICE_MAX, th
from protocol.pool.muldiv import BPS
from protocol.pool.params import PoolParams, TokenParams

_TIME: Final = Struct("<Q")
_ROW: Final = Struct("<IIQQ")


class Quote(NamedTuple):
    """What a token costs in a batch, mantissas: the certified price and the two that trades get."""

    price: int
    min_price: int
    max_price: int


@dataclass(frozen=True, slots=True)
class BatchPrices:
    """``time`` in unix seconds; ``rows``: (token id, price, conf), ids ascending."""

    time: int
    rows: tuple[tuple[int, int, int], ...]

    @classmethod
    def plain(cls, time: int, prices: Mapping[int, int], conf: int = 0) -> Self:
        """Prices that nobody certified, for scenarios and tests."""
        return cls(time, tuple((token, prices[token], conf) for token in sorted(prices)))

    @classmethod
    def certified(cls, certificate: BatchCertificate, params: PoolParams) -> Self:
        """Those of a certificate that ``check`` has passed. PriceError if it is of other oracles or
        lacks a token; further feeds in it do not matter."""
        if certificate.report.config_digest != params.oracle_config:
            raise PriceError("prices: the certificate is of other oracles than the pool's terms")
        columns = certificate.reports.columns
        prices, confs = columns["price_e8"].tolist(), columns["conf_e8"].tolist()
        at = {feed: index for index, feed in enumerate(certificate.reports.feeds)}
        for token, feed_id in params.feeds:
            if feed_id not in at:
                raise PriceError(f"prices: the certificate lacks token {token}'s feed")
        places = ((token, at[feed_id]) for token, feed_id in params.feeds)
        rows = tuple((token, prices[place], confs[place]) for token, place in places)
        return cls(certificate.time // 1000, rows)

    @property
    def root(self) -> bytes:
        """What the journal says of the prices."""
        return th("prices", self.encode())

    def encode(self) -> bytes:
        """The bytes of the module's head."""
        rows = (_ROW.pack(token, 0, price, conf) for token, price, conf in self.rows)
        return _TIME.pack(self.time) + b"".join(rows)

    def quotes(self, params: Mapping[int, TokenParams]) -> dict[int, Quote]:
        """The quote of every token of ``params``. PriceError if the tokens are not exactly those,
        or a price or its lower bound is not in 1 .. 10^15."""
        if [token for token, _, _ in self.rows] != [*params]:
            raise PriceError("prices: a batch lists every token of the pool once, ids ascending")
        return {token: quote(price, conf, params[token]) for token, price, conf in self.rows}


def quote(price: int, conf: int, params: TokenParams) -> Quote:
    """Price -+ max(conf, ceil(price * spread / 10^4)); PriceError as in ``quotes``."""
    if not 0 < price <= PRICE_MAX:
        raise PriceError(f"prices: {price} is not in 1 to {PRICE_MAX}")
    half = max(conf, (price * params.spread_bps + BPS - 1) // BPS)
    if half >= price:
        raise PriceError(f"prices: the confidence {conf} leaves nothing of the price {price}")
    return Quote(price, price - half, price + half)
