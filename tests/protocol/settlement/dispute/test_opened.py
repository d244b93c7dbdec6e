"""A small program on an opened input, disputed to the end in real blocks, at W = 20 and 32."""

from collections.abc import Iterator
from random import Random

import pytest

from protocol.bitcoin.script import parse_number
from protocol.bitcoin.tx import vsize, weight, witness_stack
from protocol.dispute.claim import Fault, Party
from protocol.dispute.lies.catalog import catalogue
from protocol.dispute.lies.rehearsal import Sides, rehearse
from protocol.dispute.play import Play
from protocol.dispute.sides import HONEST
from protocol.dispute.verdicts import WordVerdict
from protocol.settlement.dispute.shown import shown_by
from protocol.settlement.dispute.words import verdict_words
from protocol.settlement.path import Lock
from protocol.settlement.terms import Role
from tests.builders.contracts import BACKENDS, Stage, opened_stage
from tests.builders.disputes import scene_of
from tests.builders.opened import loads_of
from tests.builders.opened_chain import OpenedSetting, OpenedTable, opened_setting

WIDTHS = pytest.mark.parametrize("width", [20, 32])
SIZE = 1500
SMALL = 4
LONGEST = 15


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def stage(request, tmp_path_factory) -> Iterator[Stage]:
    with opened_stage(request.param, tmp_path_factory.mktemp("opened") / "chain") as made:
        yield made


def sides_of(about: OpenedSetting, name: str, step: int) -> Sides:
    lie = catalogue(about.premises.log4_steps, opened=True)[name]
    sides = lie.sides(scene_of(about.honest), lambda purpose: Random(f"{name} {purpose}"), step)
    assert sides is not None, f"{name} cannot be told at step {step}"
    return sides


def played(stage: Stage, about: OpenedSetting, sides: Sides) -> OpenedTable:
    """The game in blocks; without Bitcoin it ends alike."""
    run, (prover, challenger) = about.honest, sides

    def p(play: Play) -> object:
        return None if prover.silent(play) else prover.prover(play, run, run.data)

    def c(play: Play) -> object:
        return None if challenger.silent(play) else challenger.challenger(play, run)

    table = OpenedTable.fund(stage, about)
    table.play_out(p, c)
    assert table.play.outcome == rehearse(scene_of(run), sides).outcome
    return table


@WIDTHS
def test_a_lie_about_one_word_loses_the_pot(stage: Stage, width: int) -> None:
    """And the block tells it: what the witness shows is the verdict, which says so in words."""
    about = opened_setting(SIZE, SMALL, width)
    step, layout = loads_of(about.honest)[1], about.premises.layout
    table = played(stage, about, sides_of(about, "wrong-input", step))
    assert table.fault is Fault.WORD
    assert table.has_all(Party.CHALLENGER)
    tx = table.txs[table.last]
    assert vsize(tx) > 60_000 and weight(tx) < 400_000
    seen = table.reader.read(tx)
    assert seen is not None
    shown = witness_stack(tx, 0)[len(seen.way.signers) :][: seen.way.hints]
    verdict = shown_by(about.premises, seen.way.template, list(map(parse_number, shown)))
    address = about.honest.step(step).reads[1].address
    assert verdict == WordVerdict(layout.block(address), layout.siblings(address, width))
    words = verdict_words(about.premises, table.play.said, verdict)
    assert f"0x{layout.word(address):08x}" in words and "4 siblings" in words


@WIDTHS
def test_a_lying_challenger_loses(stage: Stage, width: int) -> None:
    """Every block and way that would convict of a true word is refused by consensus."""
    about = opened_setting(SIZE, SMALL, width, Role.WRITER)
    for step in loads_of(about.honest)[:3]:
        table = played(stage, about, sides_of(about, "verdict-word", step))
        assert table.play.outcome.winner is Party.PROVER
        assert table.play.outcome.fault is Fault.NONE
        assert table.has_all(Party.PROVER)


def test_a_true_claim_is_settled(stage: Stage) -> None:
    table = played(stage, opened_setting(SIZE, SMALL), Sides(HONEST, HONEST))
    assert list(table.txs) == ["holder:KICKOFF", "holder:SETTLE"]
    assert table.has_all(Party.PROVER)


LONG = [(lie, width) for lie in ("wrong-pc", "assert-pc-way") for width in (20, 32)]
LONG += [("wrong-input", 20), ("assert-pc-record", 32)]


@pytest.mark.parametrize(
    ("lie", "width"),
    [
        *[("wrong-input", 32), ("assert-pc-record", 20)],
        *(pytest.param(*more, marks=pytest.mark.slow) for more in LONG),
    ],
)
def test_the_longest_trace(stage: Stage, lie: str, width: int) -> None:
    """4^15 steps, 14 rounds of nodes: a lie about a word; one that an assertion over 26 levels
    shows; false assertions. What both sign fits 10,000 virtual bytes."""
    about = opened_setting(SIZE, LONGEST, width)
    draft = about.kickoff()
    sizes = [one.vsize(held) for one, held in draft.walk([Lock.of(list(draft.inputs[0]))])]
    assert about.premises.rounds == 14
    assert len(sizes) > 2 + 2 * LONGEST
    assert max(sizes) <= 10_000
    step = loads_of(about.honest)[1] if lie == "wrong-input" else 4**14
    table = played(stage, about, sides_of(about, lie, step))
    assert table.play.outcome.winner is catalogue(LONGEST, opened=True)[lie].winner
    assert len(table.play.said.rounds) == 14
    if lie != "wrong-input":
        assert table.play.assertion.place.turn == 1
