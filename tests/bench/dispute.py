"""The disputes of a contract on Bitcoin: their transactions and leaves, and the time to make them.

    python -m tests.bench.dispute [--json]

The contract is about the settlement program, at 2^24 steps. Whole disputes are played by two
parties on an embedded node: every number of theirs is of a transaction in a block. Times are of
this process: cold is its first contract, warm the best of several others.
"""

import resource
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from actors.dispute_play import GameReport, lie_named, play
from actors.dispute_play_stage import Stage
from protocol.settlement.contract import Contract
from protocol.settlement.dispute.costs import Cost
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.graph import Graph
from protocol.settlement.presign import presign, require_signatures
from protocol.settlement.terms import ContractTerms, Role
from riscv_vm.isa import LOG4_STEPS_DEFAULT
from tests.bench._report import finish, hardware, say
from tests.builders.contracts import AUX, KEYS, NOWHERE, contract_terms

WIDTHS = (20, 32)
REPEATS = 3
PUBLISHED_VBYTES = 244_000
"""A whole dispute of the improved BitVMX design, of 256 million steps; 250 kvB before."""

GAMES = (
    ("challenge", "middle"),
    ("silent-execute", "middle"),
    ("step", "middle"),
    ("payout", "middle"),
    ("wrong-opcode", "middle"),
    ("wrong-pc", "first"),
    ("future", "middle"),
    ("wrong-initial", "first"),
    ("wrong-value", "middle"),
    ("other-input", "middle"),
    ("block", "middle"),
    ("node-6", "middle"),
    ("no-refute", "middle"),
    ("assert-stale-way", "middle"),
)
"""A lie, and where it is told: together they end on every kind of leaf."""

METHODS = {
    "moves_w*": "virtual bytes of each pre-signed transaction of one prover, hashes of w bytes, by"
    " the dearest witness",
    "leaves_w*": "script bytes of the largest leaf of each kind, and how many verdicts there are",
    "costs_w*": "virtual bytes that each side publishes: typical is a lie shown without hashing,"
    " worst the dearest verdict, or an assertion, and its refutation; typical_to_published is the"
    f" typical sum over {PUBLISHED_VBYTES:,} virtual bytes",
    "made_w*": "signatures of one side for everything, both directions; bytes of its one-time keys;"
    " blocks of the longest dispute under the test terms' windows of 3, 3 and 4",
    "played_w*": "virtual bytes of whole disputes in blocks, from INPUT_1 to the last sweep, by"
    " what decided; forward: those of INPUT_1 .. EXECUTE",
    "games_w*": "of the same: transactions, blocks where each side waits for 1 confirmation, and"
    " seconds to play, one process for both parties and the node",
    "seconds": "wall time of one side: both directions' keys and graphs, all signatures, the other"
    f" side's verified; cold is the first of the process after its imports, warm the best of"
    f" {REPEATS} under other terms",
    "memory_mb": "the most that this process held: built after these, played at the end",
}


def terms_of(width: int, number: int = 0) -> ContractTerms:
    return contract_terms(width=width, bond_sats=4_000_000, premium_sats=10_000 + number)


def made_of(terms: ContractTerms) -> Contract:
    return Contract(terms, {role: KEYS[role].one_time(terms, role).public for role in Role})


def side_seconds(width: int, number: int) -> float:
    """All that one side does before FUND; both signatures are its own, which takes as long."""
    begin = perf_counter()
    graph = Graph.of(made_of(terms_of(width, number)), NOWHERE)
    signatures = presign(graph, Role.HOLDER, KEYS[Role.HOLDER], AUX)
    require_signatures(graph, Role.HOLDER, signatures)
    return perf_counter() - begin


def moves_of(made: Contract) -> dict[str, int]:
    return {
        name.partition(":")[2]: move.widest_vsize
        for name, move in made.moves.items()
        if move.prover is Role.HOLDER
    }


def leaves_of(made: Contract) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    verdicts = made.courses[Role.HOLDER].verdicts
    ways = [way for draft in made.courses[Role.HOLDER].walk() for i in draft.inputs for way in i]
    locks = (lock for draft in made.courses[Role.HOLDER].walk() for lock in draft.locks)
    for way in (*verdicts, *ways, *(way for lock in locks for way in lock.paths)):
        if isinstance(way, LeafPath):
            kind = kind_of(way)
            sizes[kind] = max(sizes[kind], way.leaf.size)
    return {**sizes, "verdicts": len(verdicts)}


def kind_of(way: LeafPath) -> str:
    """What a leaf's size goes by."""
    kind, *rest = way.template.name.split()
    if kind == "OPEN" and rest[0] == "near":
        return "OPEN near"
    if kind == "REVEAL":
        return "REVEAL records" if rest[0] == "records" else "REVEAL nodes"
    return kind if kind.isupper() else f"EXECUTE {kind}"


def costs_of(made: Contract) -> dict[str, float]:
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


def played(width: int) -> Iterator[tuple[GameReport, float]]:
    """Every one of ``GAMES``, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage.create(Path(folder), "kernel", width, say)
        for name, place in GAMES:
            say(f"{name}, hashes of {width} bytes")
            begin = perf_counter()
            found = play(stage, lie_named(name, LOG4_STEPS_DEFAULT), Role.HOLDER, place, 0)
            assert found.ok, f"{name} ended on {found.leaf}: {found.winner} won"
            yield found, perf_counter() - begin


def games_of(width: int) -> dict[str, dict[str, float]]:
    """The sizes of whole disputes, and what they took, by lie and leaf."""
    sizes: dict[str, float] = {}
    took: dict[str, float] = {}
    for game, seconds in played(width):
        name = f"{game.lie}: {game.leaf.removeprefix('VERDICT_').partition('_0x')[0]}"
        sizes[name] = game.totals.vbytes
        took[f"{name}, transactions"] = game.totals.transactions
        took[f"{name}, blocks"] = game.totals.blocks
        took[f"{name}, seconds"] = seconds
        if game.lie == "challenge":
            names = [move.name.partition("_")[0] for move in game.moves]
            count = names.index("EXECUTE") + 1
            sizes["forward"] = sum(move.vsize for move in game.moves[:count])
    return {f"played_w{width}": sizes, f"games_w{width}": took}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure() -> dict[str, Any]:
    say("a contract with its disputes from nothing")
    seconds = {"cold": side_seconds(20, 0)}
    warm = (side_seconds(20, number) for number in range(1, 1 + REPEATS))
    seconds["warm"] = min(warm)
    result: dict[str, Any] = {"hardware": hardware()}
    for width in WIDTHS:
        say(f"sizes with hashes of {width} bytes")
        made = made_of(terms_of(width))
        result[f"moves_w{width}"] = moves_of(made)
        result[f"leaves_w{width}"] = leaves_of(made)
        result[f"costs_w{width}"] = costs_of(made)
        result[f"made_w{width}"] = {
            "signatures": sum(1 for move in made.moves.values() for _ in move.ways),
            "bundle_bytes": len(made.one_time[Role.HOLDER].encode()),
            "clock_blocks": made.courses[Role.HOLDER].clock_blocks,
        }
    memory = {"built": peak_mb()}
    for width in WIDTHS:
        result |= games_of(width)
    memory["played"] = peak_mb()
    return result | {"seconds": seconds, "memory_mb": memory, "methods": METHODS}


if __name__ == "__main__":
    finish("dispute", measure)
