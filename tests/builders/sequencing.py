"""A sequencer, its owners and its oracles: signed operations in, certificates when tests want."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from actors.pool_config import PoolTerms, pool_terms
from actors.pool_demo_market import SigningOracles
from actors.pool_desk import PoolDesk
from actors.pool_sequencer import PoolSequencer, Ran
from protocol.crypto.keys import SecretKey
from protocol.pool.operation import (
    AddLiquidity,
    Increase,
    Operation,
    SignedOperation,
    signing_message,
)
from protocol.pool.position import Side
from protocol.units import E8, PriceE8

USDC = 10**6
BEGIN_S = 1_790_380_800
SYMBOLS = ("BTC", "ETH", "ADA")
BTC, ETH, ADA = 1, 2, 3
PRICES_E8 = {"BTC": 40_000 * E8, "ETH": 2_500 * E8, "ADA": E8 // 2}
ANY_PRICE = (2**63, 0)
FOREVER = 2**63


def terms_of(oracles: SigningOracles, profile: str = "brief") -> PoolTerms:
    return pool_terms(profile, SYMBOLS, oracles.config)


def key_of(name: str) -> SecretKey:
    return SecretKey(sha256(b"sequencing owner " + name.encode()).digest())


def sign(operation: Operation, pool_id: bytes, key: SecretKey) -> SignedOperation:
    return SignedOperation(operation, key.sign(signing_message(pool_id, operation), bytes(32)))


class Venue:
    """A sequencer on ``folder``, with the next nonce of every owner."""

    def __init__(self, folder: Path, profile: str = "brief") -> None:
        self.oracles = SigningOracles(1)
        self.terms = terms_of(self.oracles, profile)
        self.path = folder / "pool.sqlite"
        self.sequencer = PoolSequencer.open(self.path, self.terms)
        self.time_s = BEGIN_S
        self.nonces: dict[str, int] = {}

    def add(self, name: str, usdc: int) -> bytes:
        return self.signed(name, AddLiquidity, amount=usdc * USDC)

    def increase(self, name: str, usdc: int, **changes: Any) -> bytes:
        """Ten times the collateral, the fee of 0.3 % on top."""
        side = int(changes.get("side", Side.LONG))
        fields = {
            "token": BTC,
            "side": side,
            "deposit": usdc * USDC + usdc * USDC * 3 // 100,
            "size": 10 * usdc * USDC,
            "acceptable_price": ANY_PRICE[side],
        }
        return self.signed(name, Increase, **(fields | changes))

    def signed(self, name: str, kind: type[Operation], **fields: Any) -> bytes:
        """The bytes of the owner's next operation."""
        key, nonce = key_of(name), self.nonces.get(name, 0)
        self.nonces[name] = nonce + 1
        made: Any = kind
        operation = made(owner=key.public, nonce=nonce, deadline=FOREVER, **fields)
        return sign(operation, self.terms.params.pool_id, key).encode()

    def certificate(self, after_s: int = 60, **usd: float):
        """A later one; prices in dollars that differ from the usual."""
        self.time_s += after_s
        prices = {s: PriceE8(round(usd[s] * E8)) if s in usd else p for s, p in PRICES_E8.items()}
        return self.oracles.certify(self.time_s, prices)

    def batch(self, after_s: int = 60, **usd: float) -> Ran:
        ran = self.sequencer.advance(self.certificate(after_s, **usd))
        assert ran is not None
        return ran

    def restart(self) -> None:
        """Another process on the same disk, as far as the sequencer can tell."""
        self.sequencer.close()
        self.sequencer = PoolSequencer.open(self.path, self.terms)


@asynccontextmanager
async def running_desk(folder: Path, every_s: int = 1) -> AsyncIterator[tuple[PoolDesk, Venue]]:
    """A desk that runs, and the venue whose sequencer it has."""
    folder.mkdir(parents=True, exist_ok=True)
    venue = Venue(folder)
    desk = PoolDesk(venue.sequencer, every_s)
    async with desk.running():
        yield desk, venue


async def batched(desk: PoolDesk, venue: Venue, **usd: float) -> None:
    """Certify prices and wait until the desk has made a batch of them."""
    seq, end = desk.details["seq"], time.monotonic() + 20.0
    desk.certified(venue.certificate(**usd))
    while desk.details["seq"] == seq:
        assert time.monotonic() < end, "no batch came"
        await asyncio.sleep(0.005)
