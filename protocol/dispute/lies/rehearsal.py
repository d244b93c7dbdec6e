"""A whole game between two strategies, without Bitcoin: every leaf is judged by its own rule."""

from typing import NamedTuple

from protocol.dispute.claim import Party
from protocol.dispute.lies.scene import Scene
from protocol.dispute.play import Kickoff, Move, Play, Publish, Wait
from protocol.dispute.rules import History
from protocol.dispute.sides import Strategy
from protocol.errors import DisputeError


class Sides(NamedTuple):
    """How both parties play."""

    prover: Strategy
    challenger: Strategy


def rehearse(scene: Scene, sides: Sides) -> Play:
    """The game to its end. A move that no leaf accepts is none, and its side times out."""
    data = sides.prover.claim(scene.data)
    history = scene.trace(data, None)
    play = Play(scene.premises)
    while play.turn is not None:
        move = _move(play, sides, history, data)
        try:
            play = play.expire() if move is None else play.apply(move)
        except DisputeError:
            play = play.expire()
    return play


def _move(play: Play, sides: Sides, history: History, data: bytes) -> Move | None:
    side = sides.prover if play.turn is Party.PROVER else sides.challenger
    if side.silent(play):
        return None
    if play.turn is Party.CHALLENGER:
        return side.challenger(play, history)
    if play.wait is not Wait.INPUT:
        return side.prover(play, history, data)
    parts, number = play.premises.layout.published(data), len(play.said.published)
    if number < len(parts) - 1:
        return Publish(parts[number])
    return Kickoff(parts[number], side.root(data, history.root))
