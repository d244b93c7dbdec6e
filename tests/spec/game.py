"""Known answers of the game: whole disputes move by move, and what each state waits for."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from protocol.dispute.assertion import Assertion, BlockRefutation, NodeRefutation
from protocol.dispute.claim import Party, base4
from protocol.dispute.fragment import Fragment
from protocol.dispute.leaves import catalog
from protocol.dispute.play import (
    Challenge,
    Execute,
    Kickoff,
    Move,
    Pick,
    Play,
    Publish,
    Reveal,
    RevealBlock,
    Wait,
)
from protocol.dispute.premises import Premises
from protocol.dispute.sides import challenger_move, prover_move
from protocol.dispute.verdicts import OpenVerdict
from protocol.errors import DisputeError
from riscv_vm.record import encode_block
from tests.builders.dispute_chain import UNITS, Setting, run_of, setting
from tests.builders.lies import lie_somewhere

LIES = ("wrong_opcode", "wrong_pc", "wrong_value", "wrong_initial", "future", "elsewhere")
Mover = Callable[[Play], Move | None]
LOG4_STEPS = 3


def answers() -> dict[str, Any]:
    about = setting(LOG4_STEPS)
    return {
        "about": "docs/spec/game.md",
        "premises": _premises(about.premises),
        "games": [
            _game("an honest claim, challenged", about, _honest(about), _steering(about, 9)),
            _game("a silent prover", about, _silent(about), _steering(about, 9)),
            _game("a false claim", about, _honest(about, UNITS + 1), _challenger(about)),
            *(_game(name, about, mover, _challenger(about)) for name, mover in _liars(about)),
        ],
    }


def _premises(premises: Premises) -> dict[str, Any]:
    image, layout = premises.image, premises.layout
    return {
        "log4_steps": premises.log4_steps,
        "width": premises.width,
        "entry": image.entry,
        "text_base": image.text_base,
        "text": image.text.hex(),
        "data": [[segment.base, segment.size, segment.content.hex()] for segment in image.data],
        "fixed": layout.fixed.hex(),
        "spans": layout.spans,
        "parts": layout.parts,
    }


def _game(name: str, about: Setting, prover: Mover, challenger: Mover) -> dict[str, Any]:
    """The game to its end; a move that no leaf accepts is none."""
    play, moves = Play(about.premises), []
    while play.turn is not None:
        move = prover(play) if play.turn is Party.PROVER else challenger(play)
        waits, turn = play.wait.value, play.turn.value
        try:
            after = play.expire() if move is None else play.apply(move)
        except DisputeError:
            after, move = play.expire(), None
        moves.append([waits, turn, "silent" if move is None else _said(play, move)])
        play = after
    assert play.outcome is not None
    winner, fault = play.outcome.winner.value, play.outcome.fault.value
    return {
        "name": name,
        "moves": moves,
        "winner": winner,
        "fault": fault,
        "settle": play.outcome.settle,
    }


def _said(play: Play, move: Move) -> Any:
    """A move as plain values."""
    match move:
        case Publish(digits):
            return ["Publish", _digits(digits)]
        case Kickoff(digits, root):
            return ["Kickoff", _digits(digits), root.hex()]
        case Reveal(nodes):
            return ["Reveal", *(node.hex() for node in nodes)]
        case RevealBlock(records):
            return ["RevealBlock", encode_block(records).hex()]
        case Pick(digit):
            return ["Pick", digit]
        case Execute(fragment):
            return ["Execute", *_fragment(play.premises.log4_steps, fragment)]
        case Assertion() | BlockRefutation() | NodeRefutation():
            raise AssertionError("traces of 4^3 steps have no assertions")
        case OpenVerdict():
            leaf = catalog.leaf_of(play.premises, play.said, move)
            assert leaf is not None
            return ["OPEN", leaf.template.name, _digits(leaf.hints)]
    if not hasattr(move, "fault"):
        return [type(move).__name__]
    leaf = catalog.leaf_of(play.premises, play.said, move)
    assert leaf is not None
    return [move.fault.value, leaf.template.name]


def _fragment(log4_steps: int, fragment: Fragment) -> list[str]:
    return [_digits(digits) for digits in fragment.digits(log4_steps).values()]


def _digits(digits: tuple[int, ...]) -> str:
    return "".join(f"{digit:x}" for digit in digits)


# Who plays


def _honest(about: Setting, units: int = UNITS) -> Mover:
    run = about.run(units)
    return lambda play: prover_move(play, run, run.data)


def _silent(about: Setting) -> Mover:
    """Falls silent in round 2."""
    honest = _honest(about)
    return lambda play: None if len(play.said.digits) == 1 else honest(play)


def _challenger(about: Setting) -> Mover:
    def move(play: Play) -> Move | None:
        data = about.premises.layout.data(play.said.input_digits)
        return challenger_move(play, run_of(about.premises, data))

    return move


def _steering(about: Setting, step: int) -> Mover:
    """Challenges a true claim and asks for ``step``."""

    def move(play: Play) -> Move | None:
        if play.wait is Wait.WINDOW:
            return Challenge()
        if play.wait is Wait.DIGIT:
            return Pick(base4(step, LOG4_STEPS)[len(play.said.digits)])
        return None

    return move


def _liars(about: Setting) -> Iterator[tuple[str, Mover]]:
    """A prover for each of some lies about one step, and one with another root."""
    for kind in LIES:
        found = lie_somewhere(Random(f"{kind} 0"), about.run(), kind)
        assert found is not None, f"this program gives no occasion for {kind}"
        yield kind, found[0].move
    honest = _honest(about)

    def another_root(play: Play) -> Move | None:
        move = honest(play)
        return Kickoff(move.digits, bytes(20)) if isinstance(move, Kickoff) else move

    yield "another root", another_root
