"""A node of the oracle benchmark that prices many synthetic feeds: ``ROLE FILE FEEDS``.

Everything is the real program, its disk, frames and signatures included; only the venues are left
out: an oracle makes up its feeds' prices (declared synthetic), so that there can be hundreds.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from actors.aggregator import AggregatorProgram
from actors.clock import SystemClock
from actors.feeds.connection import Feeds
from actors.operator import Operator, load_operator
from actors.oracle import OracleProgram
from actors.program import Program, run
from protocol.oracle.feed import Feed
from protocol.oracle.price import OraclePrice
from protocol.units import E8

ROOT = sha256(b"synthetic frames").digest()


class SyntheticOracle(OracleProgram):
    """Prices that move by a cent a round, the same at every oracle but for its index."""

    def _observe(self, round_id: int, now_ms: int) -> Any:
        looks = {feed_id: (self._price(n, round_id, now_ms), ROOT) for n, feed_id in self._ids}
        return self.oracle.observe(round_id, looks, now_ms)

    def _prices(self, now_ms: int) -> Mapping[bytes, int]:
        return {}

    @property
    def _ids(self) -> list[tuple[int, bytes]]:
        return [(n, feed.feed_id) for n, feed in enumerate(self.operator.network.feeds)]

    def _price(self, n: int, round_id: int, now_ms: int) -> OraclePrice:
        price_e8 = (1000 + n) * E8 + (round_id + self.operator.address) * 1_000_000 % (10 * E8)
        return OraclePrice(
            price_e8=price_e8,
            conf_e8=1_000_000,
            venues=7,
            flags=0,
            venue_time=now_ms,
            samples=(),
            rates=(),
        )

    def _subscriptions(self) -> Feeds:
        return Feeds(["BTC-USD"], self.operator.venues)

    async def serve(self) -> None:
        await Program.serve(self)


def main() -> None:
    role, file, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    operator = with_feeds(load_operator(file), count)
    kind: type[Program] = SyntheticOracle if role == "oracle" else AggregatorProgram
    asyncio.run(run(kind(operator, SystemClock())))


def with_feeds(operator: Operator, count: int) -> Operator:
    """The same operator in a network of so many feeds."""
    feeds = tuple(Feed(f"S{n}/USD") for n in range(count))
    return replace(operator, network=replace(operator.network, feeds=feeds))


if __name__ == "__main__":
    main()
