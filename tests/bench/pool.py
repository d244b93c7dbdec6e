"""The pool's transition on one core: alone, and with signatures, encodings and roots.

python -m tests.bench.pool [--json]      oracle-vm bench pool --json
"""

import gc
import os
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from protocol.crypto.keys import SecretKey
from protocol.oracle.feed import Feed
from protocol.pool.batch import Batch, run_batch
from protocol.pool.draft import Accepted
from protocol.pool.operation import (
    AddLiquidity,
    Decrease,
    Increase,
    Operation,
    SignedOperation,
    decode,
    signing_message,
)
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.pool import Pool
from protocol.pool.prices import BatchPrices
from protocol.pool.profiles import PROFILES
from protocol.pool.transition import apply
from tests.bench._report import best, cpu_seconds, finish, hardware, say

SYMBOLS = ("BTC", "ETH", "ADA")
PRICES = {1: 40_000 * 10**8, 2: 2_500 * 10**8, 3: 10**8 // 2}
USERS = 500
OPERATIONS = 20_000
SIGNED = 3_000
BATCH = 100
LONG_RUN = 100_000
USDC = 10**6
NEVER = 2**64 - 1

METHODS = {
    "unit": "operations a second of one thread's CPU time, the best of three runs",
    "transitions": f"{OPERATIONS} operations of {USERS} owners on three tokens, built before:"
    " positions opened, added to, cut and closed, long and short, the price moved every hundred;"
    " `apply` alone, without signatures, encodings and roots",
    "signed": f"{SIGNED} such operations in batches of {BATCH}: decoded from bytes, verified"
    " (BIP340), applied, and both roots of every batch made",
    "accepted": "the part of the operations that the rules accept",
    "growth_bytes": f"resident memory after {LONG_RUN} transitions less that after a fifth of"
    " them, roots made every thousand (Linux)",
}


def new_pool() -> Pool:
    """Three tokens and a large LP."""
    profile = PROFILES["brief"]
    ids = dict(enumerate(SYMBOLS, start=1))
    feeds = tuple((token, Feed(f"{name}/USD").feed_id) for token, name in ids.items())
    tokens = {token: TokenParams(**profile.token_fields(name)) for token, name in ids.items()}
    pool = Pool.genesis(PoolParams(feeds=feeds, **profile.pool), tokens)
    pool.advance(BatchPrices.plain(1_800_000_000, PRICES))
    owner = sha256(b"lp").digest()
    apply(pool, AddLiquidity(owner=owner, nonce=0, deadline=NEVER, amount=10**8 * USDC))
    return pool


def prices_of(step: int) -> BatchPrices:
    """The prices of one batch: up and down by at most a hundredth."""
    moved = {token: price * (1_000 + step % 21 - 10) // 1_000 for token, price in PRICES.items()}
    return BatchPrices.plain(1_800_000_060 + 60 * step, moved)


def traffic(owners: list[bytes], seed: int) -> Iterator[Operation]:
    """Operations without end, of owners that come and go; no user holds more than three parts."""
    rng, nonces = Random(seed), dict.fromkeys(owners, 0)
    parts: dict[tuple[bytes, int, int], int] = {}
    while True:
        owner, token, side = rng.choice(owners), rng.randint(1, 3), rng.randint(0, 1)
        held = parts.get((owner, token, side), 0)
        head: dict[str, Any] = {
            "owner": owner,
            "nonce": nonces[owner],
            "deadline": NEVER,
            "token": token,
            "side": side,
            "size": 500 * USDC,
        }
        nonces[owner] += 1
        worst = (NEVER, 0)
        if held and (held == 3 or rng.random() < 0.5):
            parts[owner, token, side] = held - 1
            yield Decrease(**head, acceptable_price=worst[1 - side])
        else:
            parts[owner, token, side] = held + 1
            yield Increase(**head, deposit=150 * USDC, acceptable_price=worst[side])


def run(pool: Pool, operations: list[Operation], first: int = 0) -> int:
    """Applies them, with new prices for every hundred; how many were accepted."""
    accepted = 0
    for start in range(0, len(operations), BATCH):
        pool.advance(prices_of(first + start // BATCH))
        for operation in operations[start : start + BATCH]:
            accepted += isinstance(apply(pool, operation), Accepted)
    return accepted


def transitions() -> dict[str, float]:
    """Of ``apply`` alone."""
    say("transitions alone")
    owners = [sha256(b"%d" % n).digest() for n in range(USERS)]
    operations = list(islice(traffic(owners, 1), OPERATIONS))
    accepted = run(new_pool(), operations)

    def once() -> float:
        pool = new_pool()
        return cpu_seconds(lambda: run(pool, operations))

    return {"per_second": OPERATIONS / best(3, once), "accepted": accepted / OPERATIONS}


def signed() -> dict[str, float]:
    """Of whole batches."""
    say("signed batches")
    keys = {key.public: key for key in (SecretKey(sha256(b"%d" % n).digest()) for n in range(100))}
    pool_id = new_pool().pool_id
    encoded = []
    for operation in islice(traffic([*keys], 2), SIGNED):
        message = signing_message(pool_id, operation)
        signature = keys[operation.owner].sign(message, bytes(32))
        encoded.append(SignedOperation(operation, signature).encode())

    def work(pool: Pool) -> int:
        accepted = 0
        for start in range(0, SIGNED, BATCH):
            operations = [decode(data) for data in encoded[start : start + BATCH]]
            result = run_batch(pool, Batch(prices_of(start // BATCH), operations))
            accepted += sum(isinstance(done, Accepted) for done in result.results)
        return accepted

    accepted = work(new_pool())

    def once() -> float:
        pool = new_pool()
        return cpu_seconds(lambda: work(pool))

    return {"per_second": SIGNED / best(3, once), "accepted": accepted / SIGNED}


def growth() -> int | None:
    """How far a long run grows the process; None where the system does not say."""
    if not Path("/proc/self/statm").exists():
        return None
    say("a long run")
    pool, owners = new_pool(), [sha256(b"%d" % n).digest() for n in range(USERS)]
    endless, sizes = traffic(owners, 3), []
    for part in range(LONG_RUN // 1_000):
        run(pool, list(islice(endless, 1_000)), first=part * 10)
        pool.root()
        gc.collect()
        sizes.append(_resident())
    return sizes[-1] - sizes[len(sizes) // 5 - 1]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure() -> dict[str, Any]:
    return {
        "hardware": hardware(),
        "transitions": transitions(),
        "signed": signed(),
        "growth_bytes": growth(),
        "methods": METHODS,
    }


if __name__ == "__main__":
    finish("pool", measure)
