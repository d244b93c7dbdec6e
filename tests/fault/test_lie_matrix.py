"""The lie matrix: both real parties in one process, every move in a block that Bitcoin Core's
consensus accepts. A part here; every lie, both directions and four places in the full tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.dispute_matrix import PROCESSES, entries, played
from actors.dispute_play import GameReport, lie_named, play
from actors.dispute_play_stage import Stage
from protocol.dispute.lies.catalog import catalogue
from protocol.settlement.terms import Role

K = 12
LIES = catalogue(K)
PART = [entry for number, entry in enumerate(entries(full=False)) if number % 3 == 0]
"""Every third kind, from the first on: the directions take turns in it too."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.create(tmp_path_factory.mktemp("matrix"), "kernel", 20, lambda _: None)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def require_books(report: GameReport) -> None:
    """FUND's output is all there: with the parties, as fees, or in anchors and unswept outputs."""
    received, totals = sum(report.received_sats.values()), report.totals
    assert received + totals.fees_sats <= report.fund_sats
    assert totals.vbytes == totals.prover_vbytes + totals.challenger_vbytes
    assert totals.vbytes == sum(move.vsize for move in report.moves)
    heights = [move.height for move in report.moves]
    assert heights == sorted(heights)


@pytest.mark.parametrize("entry", PART, ids=lambda entry: entry.lie)
def test_who_lies_loses_in_real_blocks(stage: Stage, entry) -> None:
    lie = LIES[entry.lie]
    report = play(stage, lie, entry.prover, entry.place, 0)
    assert report.ok, report
    assert report.winner == lie.winner.value
    require_books(report)
    if report.winner == "challenger":
        assert report.received_sats[entry.prover.value] == 0
        pot = report.fund_sats - report.totals.fees_sats
        anchors = 240 * len(report.moves)
        assert 0 <= pot - report.received_sats[entry.prover.other.value] <= anchors


@pytest.mark.parametrize("name", ["verdict-rom", "verdict-open", "verdict-node-11"])
def test_a_false_verdict_is_refused_by_script(stage: Stage, name: str) -> None:
    report = play(stage, lie_named(name, K), Role.WRITER, "random", 1)
    ((leaf, reason),) = report.refused.items()
    assert leaf.partition("_")[2].lower().startswith(name.removeprefix("verdict-")[:4])
    assert "script-verify-flag-failed" in reason
    assert report.leaf == "SETTLE_execute"


def test_the_same_seed_plays_the_same_game(stage: Stage) -> None:
    told = [play(stage, LIES["wrong-value"], Role.HOLDER, "random", seed) for seed in (3, 3, 4)]
    same = [(report.step, report.leaf, report.totals.transactions) for report in told]
    assert same[0] == same[1] != same[2]


@pytest.mark.slow
@pytest.mark.timeout(3_000)
def test_every_lie_at_every_place_in_both_directions(folder: Path) -> None:
    rows = played(entries(full=True), folder, processes=PROCESSES)
    assert {row.lie for row in rows} == set(LIES)
    assert [row for row in rows if not row.ok] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_kind_of_lie_with_wide_hashes(folder: Path) -> None:
    rows = played(entries(full=False), folder, width=32, processes=PROCESSES)
    assert [row for row in rows if not row.ok] == []
