"""Lies about the tree: what a round reveals does not hash to what was committed.

A tampering is a function of chance and a liar, which it changes; it decides what it will do before
the game begins.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from protocol.dispute.claim import FAN
from protocol.dispute.lies.prover import Liar
from protocol.dispute.lies.scene import Chance
from protocol.dispute.play import Play
from protocol.dispute.transcript import Nodes
from riscv_vm.record import Block, Record

Tampering = Callable[[Chance, Liar, int], Liar]
"""Of chance, a liar and the round that it tampers with, from 1 to R."""


def random_node(rng: Chance, liar: Liar, turn: int) -> Liar:
    """A random node among the four of a round: NODE."""
    child, node = rng.randrange(0, FAN), rng.randbytes(liar.scene.premises.width)

    def tamper(_play: Play, nodes: Nodes) -> Nodes:
        a, b, c, d = (node if place == child else own for place, own in enumerate(nodes))
        return a, b, c, d

    return liar.tampered(turn, tamper)


def honest_nodes(rng: Chance, liar: Liar, turn: int) -> Liar:
    """The honest nodes below a false parent: NODE."""
    if liar.true:
        liar = random_root(rng, liar, turn)
    return liar.tampered(turn, lambda play, _: _honest(liar, play))


def honest_from(_rng: Chance, liar: Liar, turn: int) -> Liar:
    """The honest nodes and records from round ``turn`` on, below a false parent: NODE of that
    round and no other lie, or BLOCK behind the last round."""
    rounds = range(turn, liar.scene.premises.rounds + 1)
    nodes = {each: lambda play, _: _honest(liar, play) for each in rounds}
    return replace(liar, nodes=nodes, block=lambda play, _: liar.scene.past.block(play.block))


def mixed_nodes(rng: Chance, liar: Liar, _turn: int) -> Liar:
    """Each node of each round from the forged tree or the honest one: NODE."""
    rounds = range(1, liar.scene.premises.rounds + 1)
    picks = [[rng.choice((False, True)) for _ in range(FAN)] for _ in rounds]

    def mixed(play: Play, nodes: Nodes) -> Nodes:
        pairs = zip(picks[len(play.said.digits)], nodes, _honest(liar, play), strict=True)
        a, b, c, d = (honest if pick else own for pick, own, honest in pairs)
        return a, b, c, d

    return replace(liar, nodes=dict.fromkeys(rounds, mixed))


def swapped_nodes(_rng: Chance, liar: Liar, turn: int) -> Liar:
    """The right nodes in the wrong order: NODE."""

    def swapped(_play: Play, nodes: Nodes) -> Nodes:
        a, b, c, d = nodes
        return b, c, d, a

    return liar.tampered(turn, swapped)


def false_block(rng: Chance, liar: Liar, _turn: int) -> Liar:
    """Other records than those in the tree: BLOCK."""
    place, field, bit = rng.randrange(0, FAN), rng.choice(Record._fields), rng.randrange(0, 32)

    def tamper(_play: Play, block: Block) -> Block:
        wrong = block[place]._replace(**{field: getattr(block[place], field) ^ 1 << bit})
        a, b, c, d = (wrong if n == place else own for n, own in enumerate(block))
        return a, b, c, d

    return replace(liar, block=tamper)


def honest_block(_rng: Chance, liar: Liar, _turn: int) -> Liar:
    """The honest records below a false block node: BLOCK."""
    return replace(liar, block=lambda play, _: liar.scene.past.block(play.block))


def random_root(rng: Chance, liar: Liar, _turn: int) -> Liar:
    """A root of nothing: NODE, or BLOCK in a trace of four steps."""
    return replace(liar, root=rng.randbytes(liar.scene.premises.width))


TAMPERINGS: Final[Mapping[str, Tampering]] = MappingProxyType(
    {
        tampering.__name__: tampering
        for tampering in (
            *(random_node, honest_nodes, mixed_nodes, swapped_nodes),
            *(false_block, honest_block, random_root),
        )
    }
)


def _honest(liar: Liar, play: Play) -> Nodes:
    level, first = play.node
    past = liar.scene.past
    a, b, c, d = (past.node(level, first + child) for child in range(FAN))
    return a, b, c, d
