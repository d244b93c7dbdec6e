"""Two parties of which one lies: the game is played on the chain of a ``World``, to its end.

world = lied("wrong-opcode")      a claim in which this lie is about to be told
world.run()
assert winner(world) is Party.CHALLENGER
"""

from functools import lru_cache
from random import Random
from typing import Any

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import wtxid
from protocol.dispute.claim import Party
from protocol.dispute.lies.catalog import Lie, catalogue
from protocol.dispute.lies.rehearsal import Sides
from protocol.dispute.lies.scene import Scene
from protocol.dispute.sides import Strategy
from protocol.settlement.claim import claim_of
from protocol.settlement.graph import Graph
from protocol.settlement.lifecycle import Stage
from protocol.settlement.policy import Close
from protocol.settlement.reading import name_of
from protocol.settlement.terms import Role
from tests.builders.disputes import settling_program
from tests.builders.party_world import PAID_SCRIPTS, START, Guard, World, trace_of

SMALL = 3
"""4^3 steps: every leaf but an assertion's."""
DEEP = 5
"""4^5 steps: below a child of round 1 an OPEN is too deep."""
WIDE = 9
"""4^9 steps: with hashes of 32 bytes an assertion takes two transactions."""

_LONG = settling_program(Random(5), 30, 31)
_JUDGES = {SMALL: settling_program(Random(3), 20), DEEP: _LONG, WIDE: _LONG}
_BONDS = {SMALL: 400_000, DEEP: 700_000, WIDE: 3_000_000}


def funded(log4_steps: int, prover: Role, **terms: Any) -> World:
    """A contract that ``prover`` is about to claim; both parties are honest."""
    policies: dict[Role, dict[str, Any]] = {
        prover: {"close": Close.NEVER},
        prover.other: {"close": Close.NEVER, "claims": False},
    }
    usual: dict[str, Any] = {"bond_sats": _BONDS[log4_steps], "refund_height": START + 400}
    world = World(
        policies=policies,
        settle_at=START + 12,
        judge=_JUDGES[log4_steps],
        coin_sats=4_000_000,
        log4_steps=log4_steps,
        **(usual | terms),
    ).begin()
    world.prover = prover
    return world.until(lambda: all(s.party.stage is Stage.FUNDED for s in world.sides.values()))


@lru_cache(maxsize=8)
def _funded(log4_steps: int, prover: Role, terms: tuple[tuple[str, Any], ...]) -> World:
    return funded(log4_steps, prover, **dict(terms))


def claimed(log4_steps: int = SMALL, prover: Role = Role.HOLDER, **terms: Any) -> World:
    """As ``funded``, made once for each sort of terms and copied."""
    return _funded(log4_steps, prover, tuple(sorted(terms.items()))).copy()


def scene_of(world: World) -> Scene:
    """What a liar has to lie about."""
    premises, claim = world.premises, claim_of(world.terms, world.certificate())
    units = claim.units + (1 if world.prover is Role.HOLDER else -1)
    data = claim.encode()
    false = units.to_bytes(4) + data[4:]
    return Scene(premises, data, false, lambda data, forgery: trace_of(premises, data, forgery))


def lie_named(name: str, log4_steps: int = SMALL) -> Lie:
    return catalogue(log4_steps)[name]


def sides_of(world: World, name: str, seed: int = 0, step: int | None = None) -> Sides | None:
    """How both parties play this lie; None where there is no occasion for it."""
    scene, lie = scene_of(world), lie_named(name, world.premises.log4_steps)
    at = Random(f"{name} {seed}").randrange(scene.past.steps) if step is None else step
    return lie.sides(scene, lambda purpose: Random(f"{seed} {purpose}"), at)


def play(world: World, sides: Sides) -> World:
    """Both parties play so from now on."""
    for role, side in world.sides.items():
        side.strategy = sides.prover if role is world.prover else sides.challenger
        side.start()
    return world


def lied(
    name: str,
    log4_steps: int = SMALL,
    prover: Role = Role.HOLDER,
    *,
    seed: int = 0,
    step: int | None = None,
    **terms: Any,
) -> World:
    """A contract with a claim in which this lie is about to be told, at ``step`` or somewhere."""
    return lying(claimed(log4_steps, prover, **terms), name, seed, step)


def lying(world: World, name: str, seed: int = 0, step: int | None = None) -> World:
    """This lie is told in ``world`` from now on."""
    found = (sides_of(world, name, number, step) for number in range(seed, seed + 20))
    return play(world, next(sides for sides in found if sides is not None))


def forget(world: World, role: Role, strategy: Strategy) -> None:
    """This party loses what it has said and says something else from now on: its guard is gone."""
    side = world.sides[role]
    side.guard = Guard()
    side.records = [r for r in side.records if r[1 : 1 + r[0]] not in (b"said", b"proof")]
    side.strategy = strategy
    side.start()


def winner(world: World) -> Party:
    """Who won by the blocks: the prover where a SETTLE ended it."""
    (end,) = {side.party.outcome for side in world.sides.values() if side.alive}
    return Party.PROVER if ":SETTLE" in end else Party.CHALLENGER


def loser(world: World) -> Role:
    """Whose money it took."""
    return world.prover.other if winner(world) is Party.PROVER else world.prover


def check_money(world: World) -> None:
    """The winner has the pot as the design divides it; the loser has nothing but its bits."""
    graph, prover = graph_of(world), world.prover
    chain, claim = world.terms.chain, world.terms.claim
    spent = [tx for tx in contract_txs(world) if name_of(graph, tx) != "FUND"]
    script = {role: PAID_SCRIPTS[role] for role in Role}
    paid = {
        role: sum(int(o.nValue) for tx in spent for o in tx.vout if bytes(o.scriptPubKey) == code)
        for role, code in script.items()
    }
    held = graph.contract.value_sats
    fees = held - sum(paid.values())
    assert 0 < fees < chain.bond_sats
    if winner(world) is Party.CHALLENGER:
        assert paid[prover] == 0
        assert paid[prover.other] > chain.bond_sats + claim.collateral_sats
        return
    units = claim.units(world.certificate().expiry)
    owed = units if prover is Role.WRITER else (1 << claim.payout_bits) - 1 - units
    assert paid[prover.other] <= owed * claim.unit_sats
    assert paid[prover] > chain.bond_sats + claim.collateral_sats - owed * claim.unit_sats


def graph_of(world: World) -> Graph:
    graph = world.holder.party.graph
    assert graph is not None
    return graph


def contract_txs(world: World) -> list[CTransaction]:
    """The contract's transactions in blocks, oldest first."""
    graph = graph_of(world)
    return [tx for block in world.chain.blocks for tx in block if name_of(graph, tx) is not None]


def said_on_chain(world: World) -> dict[str, bytes]:
    """The pre-signed transactions in blocks, to the byte of their witnesses."""
    graph = graph_of(world)
    named = ((name_of(graph, tx), tx) for tx in contract_txs(world))
    return {name: wtxid(tx) for name, tx in named if name in graph.moves}


def height_of(world: World, name: str) -> int:
    """The block that holds this transaction of the contract."""
    graph = graph_of(world)
    places = [
        n
        for n, block in enumerate(world.chain.blocks)
        for tx in block
        if name_of(graph, tx) == name
    ]
    return places[-1]


def until_said(world: World, name: str) -> World:
    """Until a block holds this move of the prover's direction."""
    full = f"{world.prover.value}:{name}"
    return world.until(lambda: full in world.path())


def fee(world: World, tx: CTransaction) -> int:
    """What ``tx`` pays, in sats."""
    spent = [world.chain.tx(bytes(spends.prevout.hash)) for spends in tx.vin]
    held = sum(
        int(seen.tx.vout[spends.prevout.n].nValue)
        for seen, spends in zip(spent, tx.vin, strict=True)
        if seen is not None
    )
    return held - sum(int(out.nValue) for out in tx.vout)
