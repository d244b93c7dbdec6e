"""The disputes of a contract on Bitcoin: their transactions and leaves, and the time to make them.

    python -m tests.bench.dispute [--json]

The contract is about the settlement program, at 2^24 steps; sizes are at most, by the dearest leaf.
Times are of this process: cold is its first contract, warm the best of several others.
"""

import resource
from collections import defaultdict
from time import perf_counter
from typing import Any

from protocol.settlement.dispute.costs import Cost
from protocol.settlement.dispute.graph import DisputeContract, DisputeGraph
from protocol.settlement.dispute.labels import DisputeKeys
from protocol.settlement.dispute.premises import premises_of
from protocol.settlement.dispute.presign import presign, require_signatures
from protocol.settlement.terms import ContractTerms, Role
from tests.bench._report import finish, hardware, say
from tests.builders.contracts import AUX, KEYS, NOWHERE, contract_of, contract_terms
from tests.builders.dispute_chain import ONE_TIME

WIDTHS = (20, 32)
REPEATS = 3
PUBLISHED_VBYTES = 244_000
"""A whole dispute of the improved BitVMX design, of 256 million steps."""

METHODS = {
    "moves_w*": "virtual bytes of each pre-signed transaction of one prover, hashes of w bytes",
    "leaves_w*": "script bytes of the largest verdict of each kind, and how many of all there are",
    "costs_w*": "virtual bytes that each side publishes: typical is a lie shown without hashing,"
    " worst the dearest verdict, or an assertion, and its refutation; typical_to_published is the"
    f" typical sum over {PUBLISHED_VBYTES:,} virtual bytes",
    "made_w*": "signatures of one side for everything, both directions; bytes of its one-time keys"
    " for disputes; blocks of the longest dispute under the test terms' windows of 3 and 4",
    "seconds": "wall time of one side: both directions' keys and graphs, all signatures, the other"
    f" side's verified; cold is the first of the process after its imports, warm the best of"
    f" {REPEATS} under other terms",
    "memory_mb": "the most that this process held",
}


def terms_of(width: int, number: int = 0) -> ContractTerms:
    return contract_terms(width=width, bond_sats=4_000_000, premium_sats=10_000 + number)


def made_of(terms: ContractTerms) -> tuple[DisputeContract, dict[Role, DisputeKeys]]:
    keys = {role: DisputeKeys(ONE_TIME[role], terms, role) for role in Role}
    premises = {role: premises_of(terms, role) for role in Role}
    publics = {role: keys[role].public for role in Role}
    return DisputeContract.of(contract_of(terms), premises, publics), keys


def side_seconds(width: int, number: int) -> float:
    """All that one side does before FUND; both signatures are its own, which takes as long."""
    begin = perf_counter()
    made, _ = made_of(terms_of(width, number))
    graph = DisputeGraph.of(made, NOWHERE)
    signatures = presign(graph, Role.HOLDER, KEYS[Role.HOLDER], AUX)
    require_signatures(graph, Role.HOLDER, signatures)
    return perf_counter() - begin


def moves_of(made: DisputeContract) -> dict[str, int]:
    prover = Role.HOLDER
    return {
        name.partition(":")[2]: move.widest_vsize
        for name, move in made.moves.items()
        if move.prover is prover
    }


def leaves_of(made: DisputeContract) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    verdicts = made.courses[Role.HOLDER].verdicts
    for way in verdicts:
        kind = way.template.name.split()[0]
        sizes[kind] = max(sizes[kind], len(way.leaf.script))
    return {**sizes, "count": len(verdicts)}


def costs_of(made: DisputeContract) -> dict[str, float]:
    costs = made.costs(Role.HOLDER)
    typical = costs.prover.plus(costs.challenger)
    named: dict[str, Cost] = {
        "prover": costs.prover,
        "prover_worst": costs.prover_worst,
        "challenger": costs.challenger,
        "challenger_worst": costs.challenger_worst,
        "typical": typical,
        "dearest": costs.dearest,
    }
    sizes: dict[str, float] = {name: cost.vbytes for name, cost in named.items()}
    return {
        **sizes,
        "typical_transactions": typical.transactions,
        "typical_to_published": typical.vbytes / PUBLISHED_VBYTES,
    }


def measure() -> dict[str, Any]:
    say("a contract with its disputes from nothing")
    seconds = {"cold": side_seconds(20, 0)}
    warm = (side_seconds(20, number) for number in range(1, 1 + REPEATS))
    seconds["warm"] = min(warm)
    result: dict[str, Any] = {"hardware": hardware()}
    for width in WIDTHS:
        say(f"sizes with hashes of {width} bytes")
        made, keys = made_of(terms_of(width))
        signed = sum(1 for move in made.moves.values() for _ in move.ways)
        result[f"moves_w{width}"] = moves_of(made)
        result[f"leaves_w{width}"] = leaves_of(made)
        result[f"costs_w{width}"] = costs_of(made)
        result[f"made_w{width}"] = {
            "signatures": signed,
            "bundle_bytes": len(keys[Role.HOLDER].public.encode()),
            "clock_blocks": made.courses[Role.HOLDER].clock_blocks,
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result | {"seconds": seconds, "memory_mb": {"peak": peak}, "methods": METHODS}


if __name__ == "__main__":
    finish("dispute", measure)
