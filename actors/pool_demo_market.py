"""The market of a demo day: simulated prices, and three oracles that really sign them.

Prices are declared, not observed: seeded random walks that share a part of every move, with a fall
in the afternoon that comes back by half, so that a day holds everything that a pool must live with.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import exp, sqrt
from typing import Final

from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.oracle.batch import BatchReport
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import ReportRows
from protocol.units import E8, PriceE8

DAY_S: Final = 86_400
YEAR_S: Final = 365 * DAY_S
BEGIN_S: Final = 1_790_380_800
"""26 September 2026, midnight UTC."""
CONF_BPS: Final = 2
"""Of the price, what the oracles say they may be off."""
ORACLES: Final = 3
QUORUM: Final = 2


@dataclass(frozen=True, slots=True)
class Asset:
    """A token of the demo: its first price, its volatility a year, how much of the common part of
    moves it follows, and how deep it falls in the afternoon."""

    symbol: str
    price_usd: float
    vol: float
    beta: float
    fall: float


ASSETS: Final = (
    Asset("BTC", 84_000.0, 0.55, 0.9, 0.075),
    Asset("ETH", 2_700.0, 0.75, 0.8, 0.10),
    Asset("ADA", 0.75, 1.0, 0.7, -0.06),
)
"""ADA rises while the others fall: a pool of many tokens is not one bet."""
FALL: Final = (0.58, 0.64, 0.80)
"""When the fall begins, ends, and has come back by half; parts of a day."""


def walk(seed: int, steps: int, assets: Sequence[Asset] = ASSETS) -> Iterator[dict[str, PriceE8]]:
    """The price of every asset at each of ``steps`` moments of a day, evenly apart."""
    rng, root = random.Random(seed), sqrt(DAY_S / steps / YEAR_S)
    logs = dict.fromkeys((asset.symbol for asset in assets), 0.0)
    for step in range(steps):
        common = rng.gauss(0.0, 1.0)
        found = {}
        for asset in assets:
            own = rng.gauss(0.0, 1.0)
            mixed = asset.beta * common + sqrt(1 - asset.beta**2) * own
            logs[asset.symbol] += asset.vol * root * mixed
            shape = 1.0 - asset.fall * _fallen(step / steps)
            found[asset.symbol] = PriceE8(
                round(asset.price_usd * E8 * exp(logs[asset.symbol]) * shape)
            )
        yield found


def _fallen(part: float) -> float:
    """How much of the fall there is at this part of the day: 0 to 1, and a half in the end."""
    begin, bottom, back = FALL
    if part < begin:
        return 0.0
    if part < bottom:
        return (part - begin) / (bottom - begin)
    return 1.0 - 0.5 * min((part - bottom) / (back - bottom), 1.0)


class SigningOracles:
    """Three oracles in one process; their keys follow from the seed, their signatures are real."""

    def __init__(self, seed: int, assets: Sequence[Asset] = ASSETS) -> None:
        secrets = (sha256(b"pool demo oracle %d %d" % (seed, i)).digest() for i in range(ORACLES))
        self._keys = tuple(map(SecretKey, secrets))
        self._previous = bytes(32)
        self.feeds: Mapping[str, Feed] = {a.symbol: Feed(f"{a.symbol}/USD") for a in assets}
        self.config = OracleConfig(
            genesis_hash=sha256(b"regtest").digest(),
            epoch=1,
            oracles=tuple(key.public for key in self._keys),
            quorum=QUORUM,
            faults=(ORACLES - 1) // 2,
            interval_ms=1000,
            delta_ppm=5_000,
            max_move_ppm=100_000,
            max_age_ms=5_000,
            future_ms=1_000,
            min_venues=2,
        )

    def certify(self, time_s: int, prices_e8: Mapping[str, PriceE8]) -> BatchCertificate:
        """One quorum's signatures of all prices at this second; the certificates are a chain."""
        reports = [self._report(symbol, price, time_s) for symbol, price in prices_e8.items()]
        reports.sort(key=lambda report: report.feed_id)
        rows = ReportRows(b"".join(report.encode() for report in reports))
        header = BatchReport(
            config_digest=self.config.digest,
            round=self.config.round_at(1000 * time_s),
            n=len(rows),
            root=rows.root,
            prev_batch_hash=self._previous,
        )
        signed = ((i, self._keys[i].sign(header.hash, bytes(32))) for i in range(QUORUM))
        self._previous = header.hash
        return BatchCertificate(header, rows, tuple(signed))

    def _report(self, symbol: str, price_e8: PriceE8, time_s: int) -> Report:
        return Report(
            config_digest=self.config.digest,
            feed_id=self.feeds[symbol].feed_id,
            round=self.config.round_at(1000 * time_s),
            price_e8=price_e8,
            conf_e8=price_e8 * CONF_BPS // 10_000,
            grade=Grade.FULL,
            observers=(1 << ORACLES) - 1,
            time=1000 * time_s,
            observations_root=tagged_hash("btcfi/demo/prices/v1", price_e8.to_bytes(8)),
            prev_report_hash=bytes(32),
        )
