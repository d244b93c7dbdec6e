"""One dispute, played to its end in real blocks: who lied, every transaction, who got what."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from actors.config import Chain
from actors.contract_txs import contract_txs
from actors.dispute_play_side import Pair
from actors.dispute_play_stage import Stage
from protocol.bitcoin.tx import parse_hash
from protocol.dispute.claim import Party as Side
from protocol.dispute.lies.catalog import Lie, catalogue
from protocol.dispute.lies.rehearsal import rehearse
from protocol.dispute.lies.scene import Past
from protocol.errors import ChainError, ConfigError
from protocol.settlement.disputing import Dispute
from protocol.settlement.move import FUND
from protocol.settlement.terms import Role
from riscv_vm.isa import disassemble

BLOCKS_LIMIT: Final = 400
"""A game that is open after so many blocks more is stuck."""
FIRST, MIDDLE, LAST, RANDOM = "first", "middle", "last", "random"
PLACES: Final = (FIRST, MIDDLE, LAST, RANDOM)


@dataclass(frozen=True, slots=True)
class MoveRow:
    """A transaction: who broadcast it first, virtual bytes, fee in sats."""

    name: str
    by: str
    txid: str
    vsize: int
    fee: int
    height: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a dispute, from the first move of the claim to the last sweep."""

    transactions: int
    vbytes: int
    blocks: int
    prover_vbytes: int
    challenger_vbytes: int
    fees_sats: int


@dataclass(frozen=True, slots=True)
class GameReport:
    """A whole game. ``ok``: who lied lost, as the catalogue says and as without Script.

    ``expected`` and ``winner`` are sides; ``step`` is the disputed one, None where it was not
    found; ``received_sats`` by role, fees taken off.
    """

    ok: bool
    lie: str
    about: str
    side: str
    roles: dict[str, str]
    width: int
    backend: str
    contract: str
    asked_step: int | None
    step: int | None
    instruction: str | None
    fault: str
    leaf: str
    expected: str
    winner: str
    fund_sats: int
    """What FUND's output held: collateral and both bonds."""
    received_sats: dict[str, int]
    refused: dict[str, str]
    """What a liar broadcast in vain, and why no block may hold it."""
    moves: list[MoveRow] = field(repr=False)
    totals: Totals

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def lie_named(name: str, log4_steps: int) -> Lie:
    """ConfigError if there is no such lie."""
    lies = catalogue(log4_steps)
    if name not in lies:
        raise ConfigError(f"--lie {name}: no such lie; `oracle-vm dispute list` names all")
    return lies[name]


def require_place(place: str, log4_steps: int) -> None:
    """ConfigError unless ``place`` is a step of the trace, or one of ``PLACES``."""
    if place not in PLACES and not (place.isdecimal() and int(place) < 4**log4_steps):
        raise ConfigError(
            f"--step {place}: write a number below 4^{log4_steps}, or {', '.join(PLACES)}"
        )


def step_at(place: str, past: Past, rng: Random) -> int:
    """The step of ``past`` that ``place`` means. ConfigError as ``require_place``."""
    require_place(place, past.log4_steps)
    if place == RANDOM:
        return rng.randrange(past.steps)
    places = {FIRST: 0, MIDDLE: past.steps // 2, LAST: past.steps - 1}
    return places[place] if place in places else int(place)


def play(
    stage: Stage, lie: Lie, prover: Role, place: str, seed: int, folder: Path | None = None
) -> GameReport:
    """The game in which ``prover`` claims and one side tells ``lie``; ``folder`` keeps its chain.

    Equal arguments give the same lie. ConfigError where it cannot be told at that step.
    """
    scene = stage.scene(prover)
    step = step_at(place, scene.past, Random(f"{seed} {lie.name} {prover} step"))
    sides = lie.sides(scene, lambda purpose: Random(f"{seed} {lie.name} {step} {purpose}"), step)
    if sides is None:
        raise ConfigError(f"--step {place}: the lie {lie.name} cannot be told there nor near it")
    rehearsed = rehearse(scene, sides).outcome
    assert rehearsed is not None, "a rehearsal ends"
    with stage.opened(prover, sides, folder) as pair:
        first = pair.chain.height
        before = {role: _held(pair, role) for role in Role}
        end = _play_out(pair)
        moves = list(_moves(stage, pair))
        received = {role.value: _held(pair, role) - before[role] for role in Role}
    assert end.winner is not None and end.fault is not None, "the game is over"
    winner = Side.PROVER if end.winner is prover else Side.CHALLENGER
    history = scene.trace(sides.prover.claim(scene.data), None)
    alike = (winner, end.fault) == (rehearsed.winner, rehearsed.fault)
    return GameReport(
        ok=alike and winner is lie.winner and end.fault in lie.ends,
        lie=lie.name,
        about=lie.about,
        side=lie.side.value,
        roles={Side.PROVER.value: prover.value, Side.CHALLENGER.value: prover.other.value},
        width=scene.premises.width,
        backend=stage.backend,
        contract=stage.graph.contract.id.hex(),
        asked_step=step if lie.has_step else None,
        step=end.step,
        instruction=None if end.step is None else _instruction(history, end.step),
        fault=end.fault.value,
        leaf=end.leaf.partition(":")[2],
        expected=lie.winner.value,
        winner=winner.value,
        fund_sats=stage.graph.contract.value_sats,
        received_sats=received,
        refused=pair.refused,
        moves=moves,
        totals=_totals(moves, prover, first),
    )


def _play_out(pair: Pair) -> Dispute:
    """Blocks until nothing is left to do for both; ChainError if the game gets stuck."""
    for _ in range(BLOCKS_LIMIT):
        if all(party.over for party in pair.parties.values()):
            break
        pair.mine()
    ends = [party.dispute for party in pair.parties.values()]
    if ends[0] is None or ends[0].winner is None or ends[0] != ends[1]:
        raise ChainError(f"the game is stuck after {BLOCKS_LIMIT} blocks: {ends}")
    return ends[0]


def _moves(stage: Stage, pair: Pair) -> Iterator[MoveRow]:
    for row in contract_txs(stage.graph, pair.chain):
        if row.name == FUND:
            continue
        assert row.height is not None, "the game is over"
        by = pair.sent[parse_hash(row.txid)].value
        yield MoveRow(row.name.partition(":")[2], by, row.txid, row.vsize, row.fee, row.height)


def _totals(moves: list[MoveRow], prover: Role, first: int) -> Totals:
    own = [move.vsize for move in moves if move.by == prover.value]
    vbytes = sum(move.vsize for move in moves)
    return Totals(
        transactions=len(moves),
        vbytes=vbytes,
        blocks=max(move.height for move in moves) - first,
        prover_vbytes=sum(own),
        challenger_vbytes=vbytes - sum(own),
        fees_sats=sum(move.fee for move in moves),
    )


def _held(pair: Pair, role: Role) -> int:
    chain: Chain = pair.chain
    return sum(utxo.sats for utxo in chain.unspent(pair.seats[role].wallet.script))


def _instruction(past: Past, index: int) -> str:
    step = past.step(index)
    return disassemble(step.opcode, step.pc) if step.opcode else "absorb"
