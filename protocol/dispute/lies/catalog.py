"""Every lie by name: who tells it, what it is, what it ends on, and how it is played.

    lie = catalogue(12)["wrong-opcode"]
    sides = lie.sides(scene, dice, step)      the strategies of both parties

Who lies loses. The other side is honest, but in ``no-take`` and ``no-refute``, where both lie and
who falls silent loses.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from protocol.dispute.claim import Fault, Party
from protocol.dispute.lies import plots
from protocol.dispute.lies.accusations import accusations
from protocol.dispute.lies.fields import FRAGMENT_FIELDS, RECORD_FIELDS
from protocol.dispute.lies.fragments import FORGERIES, wrong_input
from protocol.dispute.lies.plots import Plot
from protocol.dispute.lies.prover import Moment
from protocol.dispute.lies.rehearsal import Sides
from protocol.dispute.lies.reveals import TAMPERINGS, honest_from
from protocol.dispute.lies.scene import Dice, Scene
from protocol.dispute.play import Wait
from protocol.dispute.verdicts import DIRECT_LEVELS, Predicate

_INITIAL = frozenset({Fault.INIT, Fault.INPUT, Fault.ZERO})
_WORD = _INITIAL | {Fault.OPEN}
_REFUSED = frozenset({Fault.TIMEOUT})
"""EXECUTE cannot be spent."""


@dataclass(frozen=True, slots=True)
class Lie:
    """One way to lie. ``ends``: what the game may end on, by where the lie is told."""

    name: str
    side: Party
    about: str
    ends: frozenset[Fault]
    plot: Plot = field(repr=False)
    has_step: bool = True
    """Whether it is told about one step, which may be chosen."""

    @property
    def winner(self) -> Party:
        """Who must win."""
        return Party.CHALLENGER if self.side is Party.PROVER else Party.PROVER

    def sides(self, scene: Scene, dice: Dice, step: int) -> Sides | None:
        """How both parties play; None where this lie cannot be told at ``step`` nor near it."""
        return self.plot(scene, dice, step)


@lru_cache(maxsize=4)
def catalogue(log4_steps: int, *, opened: bool = False) -> Mapping[str, Lie]:
    """Every lie about a trace of 4^log4_steps steps.

    ``opened``: of a dispute about an opened input, of which nobody can publish another one.
    """
    found = [] if opened else [*_claims()]
    found += [*_forgeries(), *_fields(), *_reveals(log4_steps), *_silences(log4_steps, opened)]
    found += [*_troubles(log4_steps), *_accusations(log4_steps, opened)]
    if opened:
        found = [replace(lie, ends=_of_opened(lie.ends)) for lie in found]
        about = "a forged step: a wrong word of the opened input"
        found.append(_prover("wrong-input", about, Fault.WORD, plots.forging(wrong_input)))
    return MappingProxyType({lie.name: lie for lie in found})


def _of_opened(ends: AbstractSet[Fault]) -> frozenset[Fault]:
    """WORD says of an opened word what INPUT says of a published one."""
    return frozenset(Fault.WORD if end is Fault.INPUT else end for end in ends)


def _prover(name: str, about: str, ends: AbstractSet[Fault] | Fault, plot: Plot) -> Lie:
    return Lie(name, Party.PROVER, about, _set(ends), plot)


def _anywhere(name: str, side: Party, about: str, ends: Fault, plot: Plot) -> Lie:
    return Lie(name, side, about, _set(ends), plot, has_step=False)


def _set(ends: AbstractSet[Fault] | Fault) -> frozenset[Fault]:
    return frozenset({ends} if isinstance(ends, Fault) else ends)


# A lying prover


_CLAIMED: Final[Mapping[str, tuple[Fault, str, Plot]]] = {
    "payout": (Fault.NOT_HALT, "commits to the trace that traps", plots.payout),
    "step": (Fault.RECORD, "forges one write, so that the program seems to halt", plots.halting),
    "root": (Fault.NOT_HALT, "commits to random bytes", plots.random_root),
    "stall": (Fault.TIMEOUT, "commits to random bytes, and never answers", plots.stall),
    "other-input": (Fault.INPUT, "commits to the trace of the true claim", plots.other_input),
}


def _claims() -> Iterator[Lie]:
    for name, (end, about, plot) in _CLAIMED.items():
        yield _anywhere(name, Party.PROVER, f"claims one unit too much and {about}", end, plot)


_FORGED: Final[Mapping[str, tuple[AbstractSet[Fault] | Fault, str]]] = {
    "unexecuted": (_REFUSED, "true premises, and a false record as their result"),
    "unrevealed": (Fault.RECORD, "the honest fragment of a step whose record was false"),
    "wrong_index": (_REFUSED, "the fragment of another step"),
    "wrong_slot_address": (_REFUSED, "a read at another address than the instruction's"),
    "wrong_word": (_REFUSED, "all that is true of another word than the one that is read"),
    "wrong_x0": (_REFUSED, "something in a slot that the instruction does not use"),
    "invented_opcode": (_REFUSED, "a sentinel's pc with an instruction of the program"),
    "wrong_opcode": ({Fault.ROM, Fault.TIMEOUT}, "another instruction at the pc"),
    "wrong_pc": ({Fault.ENTRY, Fault.OPEN}, "another pc, with what truly is there"),
    "wrong_value": (_WORD, "a wrong word at the honest pointer"),
    "wrong_initial": (_INITIAL, "a wrong initial value of a word that nothing wrote"),
    "stale_write": (Fault.OPEN, "an older value of a word, with the step that wrote it"),
    "stale_initial": (Fault.OPEN, "the initial value of a word, as if nothing had written it"),
    "invented_initial": (_WORD, "a value that a word of memory never began with, as if it had"),
    "elsewhere": (Fault.OPEN, "what another step wrote to another address"),
    "future": (Fault.FUTURE, "a pointer to the step itself or a later one"),
    "strange_init": (Fault.FUTURE, "an INIT digit that is neither 0 nor 1"),
}


def _forgeries() -> Iterator[Lie]:
    for kind, forgery in FORGERIES.items():
        ends, about = _FORGED[kind]
        yield _prover(_kebab(kind), f"a forged step: {about}", ends, plots.forging(forgery))


_EITHER = frozenset({Fault.TIMEOUT, Fault.RECORD})
_FIELD_ENDS = {
    "index": _REFUSED,
    "pc": _EITHER | {Fault.ENTRY, Fault.OPEN, Fault.ROM},
    "opcode": _EITHER | {Fault.ROM},
    "address": _REFUSED,
    "value": _EITHER | _WORD,
    "last": _EITHER,
    "init": _EITHER,
}
"""RECORD where the wrong field leads to the true result."""


def _fields() -> Iterator[Lie]:
    for name, forgery in FRAGMENT_FIELDS.items():
        ends = _FIELD_ENDS.get(name.rpartition("-")[2], _REFUSED)
        about = f"F_i with one wrong field: {name.replace('-', ' ')}"
        yield _prover(f"fragment-{name}", about, ends, plots.forging(forgery))
    for name, forgery in RECORD_FIELDS.items():
        about = f"a committed record with one wrong field: {name}"
        yield _prover(
            f"record-{name.replace('_', '-')}", about, Fault.RECORD, plots.forging(forgery)
        )


def _reveals(log4_steps: int) -> Iterator[Lie]:
    for turn in range(1, log4_steps):
        about = f"from round {turn} on the honest nodes, below a false one"
        plot = plots.tampering(honest_from, turn)
        yield _prover(f"node-{turn}", about, Fault.NODE, plot)
    about = "the honest records, below a false block node"
    yield _prover("block", about, Fault.BLOCK, plots.tampering(honest_from, log4_steps))
    for kind, (ends, about) in _TAMPERED.items():
        turn = max(1, log4_steps // 2)
        yield _prover(_kebab(kind), about, ends, plots.tampering(TAMPERINGS[kind], turn))


_TAMPERED: Final[Mapping[str, tuple[AbstractSet[Fault] | Fault, str]]] = {
    "random_node": ({Fault.NODE, Fault.RECORD}, "a random node among the four of a round"),
    "mixed_nodes": ({Fault.NODE, Fault.RECORD}, "each node from the forged tree or the honest one"),
    "swapped_nodes": ({Fault.NODE, Fault.RECORD}, "the right nodes in the wrong order"),
    "false_block": ({Fault.BLOCK, Fault.RECORD}, "other records than those in the tree"),
}


def _silences(log4_steps: int, opened: bool) -> Iterator[Lie]:
    moments: list[tuple[str, Moment]] = [] if opened else [("input", (Wait.INPUT, 1))]
    moments += [(f"reveal-{turn + 1}", (Wait.NODES, turn)) for turn in range(log4_steps - 1)]
    moments.append((f"reveal-{log4_steps}", (Wait.RECORDS, log4_steps - 1)))
    moments.append(("execute", (Wait.EXECUTE, log4_steps)))
    for name, moment in moments:
        what = "publishes half of the input" if name == "input" else f"forges, and no {name}"
        plot = plots.silence(moment)
        yield _anywhere(
            f"silent-{name}", Party.PROVER, f"{what}, then silence", Fault.TIMEOUT, plot
        )


# A lying challenger


def _troubles(log4_steps: int) -> Iterator[Lie]:
    side = Party.CHALLENGER
    about = "challenges a true claim, answers honestly and finds nothing"
    yield _anywhere("challenge", side, about, Fault.NONE, plots.challenge)
    about = "challenges a true claim, steers to a step and finds nothing"
    yield Lie("steer", side, about, _set(Fault.NONE), plots.steer)
    for turn in range(1, log4_steps + 1):
        about = f"challenges a true claim, with a wrong digit in round {turn}"
        yield _anywhere(f"digit-{turn}", side, about, Fault.NONE, plots.digit(turn))
        about = f"challenges a true claim and falls silent in round {turn}"
        yield _anywhere(f"silent-pick-{turn}", side, about, Fault.TIMEOUT, plots.quiet(turn))


def _accusations(log4_steps: int, opened: bool) -> Iterator[Lie]:
    side = Party.CHALLENGER
    for name, accuse in accusations(log4_steps, opened=opened).items():
        about = f"challenges a true claim and spends a false verdict: {name}"
        plot = plots.accusing(accuse)
        yield Lie(f"verdict-{name}", side, about, _set(Fault.NONE), plot)
    if 2 * (log4_steps - 2) <= DIRECT_LEVELS:
        return
    for predicate in Predicate:
        for place, wrong in (("record", False), ("way", True)):
            about = f"a false assertion ({predicate}), whose {place} is not in the tree"
            plot = plots.asserting(predicate, false_way=wrong)
            yield Lie(f"assert-{predicate}-{place}", side, about, _set(Fault.REFUTED), plot)
    about = "a true assertion that is not taken: silence loses, against a liar too"
    yield Lie("no-take", side, about, _set(Fault.TIMEOUT), plots.no_take)
    about = "a false assertion that is not refuted: silence loses, against a liar too"
    plot = plots.asserting(Predicate.STALE, false_way=False, refuted=False)
    yield Lie("no-refute", Party.PROVER, about, _set(Fault.OPEN), plot)


def _kebab(kind: str) -> str:
    return kind.replace("_", "-")
