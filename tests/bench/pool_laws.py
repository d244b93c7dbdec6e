"""Random and hostile operations on the pool, every one of them held to all its invariants.

    python -m tests.bench.pool_laws [--json]

A law that does not hold is an AssertionError with the seed of its pool.
"""

from collections import Counter
from random import Random
from time import perf_counter
from typing import Any

from protocol.pool.draft import Rejected
from tests.bench._report import finish, hardware
from tests.builders.pool_chaos import MOVES, WEIGHTS, make_world

POOLS = 300
LIFE = 500
"""Moves in the life of one pool: operations, accepted or refused, batches of prices, forgeries."""

METHODS = {
    "moves": f"{POOLS} pools of seven sets of parameters, {LIFE} seeded moves each",
    "operations": "after each, accepted or refused, the laws of tests/builders/pool_laws.py",
    "seconds": "wall, one process, with signatures and two roots an operation",
}


def live(seed: int) -> Counter[str]:
    """One pool's life; how often each operation ended how."""
    random, found = Random(seed), Counter[str]()
    world = make_world(random.randint)
    for step in range(LIFE):
        move = random.choices(MOVES, WEIGHTS)[0]
        world.last = None
        try:
            move(world, random.randint)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {step}, {move.__name__}") from error
        if world.last is None:
            found[move.__name__] += 1
        else:
            operation, result = world.last
            how = result.code.name if isinstance(result, Rejected) else "accepted"
            found[f"{operation.name}: {how}"] += 1
    return found


def measure() -> dict[str, Any]:
    began = perf_counter()
    found = sum((live(seed) for seed in range(POOLS)), Counter[str]())
    seconds = perf_counter() - began
    return {
        "moves": found.total(),
        "operations": sum(count for name, count in found.items() if ": " in name),
        "accepted": sum(count for name, count in found.items() if name.endswith("accepted")),
        "seconds": seconds,
        "results": dict(sorted(found.items())),
        "hardware": hardware(),
        "methods": METHODS,
    }


if __name__ == "__main__":
    finish("pool_laws", measure)
