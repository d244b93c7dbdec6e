"""``oracle-vm dispute list``, ``play`` and ``matrix``: what they print, and what they refuse."""

import io
import json
from dataclasses import replace
from random import Random

import pytest
from rich.console import Console
from typer.testing import CliRunner

from actors import dispute_matrix
from actors.cli import app
from actors.dispute_matrix import Entry, MatrixReport, Row, entries
from actors.dispute_play import lie_named, play, step_at
from actors.dispute_play_stage import Stage, trace_of
from actors.dispute_report import show_game, show_lies, show_matrix
from protocol.dispute.lies.catalog import catalogue
from protocol.errors import ChainError, ConfigError
from protocol.settlement.terms import Role

K = 12
LIES = catalogue(K)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return Stage.create(tmp_path_factory.mktemp("stage"), "kernel", 20, lambda _: None)


@pytest.fixture(scope="module")
def report(stage):
    return play(stage, LIES["wrong-opcode"], Role.WRITER, "middle", 0)


def run(*arguments):
    return CliRunner().invoke(app, ["dispute", *arguments])


def printed(show, what):
    console = Console(width=150, file=io.StringIO())
    show(what, console)
    return console.file.getvalue()


def test_list_names_every_lie():
    done = run("list", "--json")
    assert done.exit_code == 0
    lies = {lie.pop("name"): lie for lie in json.loads(done.stdout)["lies"]}
    assert list(lies) == list(LIES)
    assert {"payout", "step", "root", "stall"} < lies.keys()
    assert lies["wrong-opcode"]["side"] == "prover"
    assert lies["wrong-opcode"]["expected"] == "challenger"
    assert lies["wrong-opcode"]["ends"] == ["ROM", "TIMEOUT"]
    shown = printed(show_lies, LIES.values())
    assert all(name in shown for name in LIES)


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (("--lie", "white"), "--lie white: no such lie"),
        (("--lie", "step", "--side", "challenger"), "is told by the prover"),
        (("--lie", "step", "--width", "24"), "width 24: 20 or 32"),
        (("--lie", "step", "--backend", "knots"), "backend 'knots': choose one of"),
        (("--lie", "unrevealed", "--step", "16777216"), "--step 16777216"),
        (("--lie", "unrevealed", "--step", "-1"), "--step -1"),
    ],
)
def test_what_cannot_be_played_is_said(arguments, reason):
    done = run("play", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert reason in str(done.exception)


def test_a_place_is_a_step(stage):
    past = stage.scene(Role.HOLDER).past
    places = {"first": 0, "middle": past.steps // 2, "last": past.steps - 1, "77": 77}
    for place, step in places.items():
        assert step_at(place, past, Random(0)) == step
    assert step_at(str(4**K - 1), past, Random(0)) == 4**K - 1
    assert step_at("random", past, Random(5)) == step_at("random", past, Random(5)) < past.steps
    with pytest.raises(ConfigError, match="a number below 4\\^12, or first"):
        step_at("middel", past, Random(0))


def test_a_game_reports_who_lied_and_what_convicted_it(report, stage):
    game = report.to_json()
    assert (game["side"], game["winner"], game["expected"]) == (
        "prover",
        "challenger",
        "challenger",
    )
    assert game["roles"] == {"prover": "writer", "challenger": "holder"}
    assert game["fault"] == "ROM"
    assert game["leaf"].startswith("VERDICT_ROM")
    past = stage.scene(Role.WRITER).past
    assert game["step"] == game["asked_step"] == past.steps // 2
    names = [move["name"] for move in game["moves"]]
    rounds = [f"{move}_{turn}" for turn in range(1, K + 1) for move in ("REVEAL", "PICK")]
    assert names == ["INPUT_1", "KICKOFF", "CHALLENGE", *rounds, "EXECUTE", game["leaf"]]
    makers = {move["name"]: move["by"] for move in game["moves"]}
    assert makers["KICKOFF"] == makers["REVEAL_1"] == makers["EXECUTE"] == "writer"
    assert makers["CHALLENGE"] == makers["PICK_12"] == makers[game["leaf"]] == "holder"
    assert game["totals"]["transactions"] == game["totals"]["blocks"] == len(names)


def test_a_person_reads_what_happened(report):
    shown = printed(show_game, report)
    assert "The writer lies, as prover: a forged step: another instruction at the pc." in shown
    assert f"The disputed step is {report.step:,}: {report.instruction}." in shown
    assert "REVEAL_1 .. PICK_12" in shown
    assert f"the holder received {report.received_sats['holder']:,} sats" in shown
    assert "The holder wins." in shown
    assert "the oracles and their price are made here" in shown
    assert "NOT AS IT MUST BE" not in shown
    assert "NOT AS IT MUST BE: the challenger" in printed(show_game, replace(report, ok=False))


def test_the_matrix_has_every_lie_or_one_of_each_kind():
    full = list(entries(full=True))
    assert {entry.lie for entry in full} == set(LIES)
    for name, lie in LIES.items():
        games = [entry for entry in full if entry.lie == name]
        assert len(games) == len(set(games)) == (8 if lie.has_step else 2)
        assert {entry.prover for entry in games} == set(Role)
    part = [entry.lie for entry in entries(full=False)]
    assert len(part) == len(set(part))
    assert {"payout", "step", "root", "stall", "node-6", "verdict-node-6", "no-take"} < set(part)
    kinds = {name.rstrip("0123456789") for name in LIES}
    assert {name.rstrip("0123456789") for name in part} == kinds


def test_the_matrix_command_plays_and_says_what_went_wrong(monkeypatch):
    games = [Entry("silent-input", Role.WRITER, "first"), Entry("stall", Role.HOLDER, "first")]
    monkeypatch.setattr(dispute_matrix, "entries", lambda *, full: iter(games))
    done = run("matrix", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["ok"], found["games"]) == (True, 2)
    assert [(row["lie"], row["leaf"]) for row in found["rows"]] == [
        ("silent-input", "TIMEOUT"),
        ("stall", "TIMEOUT"),
    ]

    def stuck(*_):
        raise ChainError("the game is stuck")

    monkeypatch.setattr(dispute_matrix, "play", stuck)
    failed = run("matrix", "--json")
    assert failed.exit_code == 1
    assert {row["error"] for row in json.loads(failed.stdout)["rows"]} == {"the game is stuck"}


def test_one_wrong_game_makes_the_matrix_wrong():
    good = Row("step", "prover", "holder", "first", "challenger", ok=True, winner="challenger")
    bad = replace(good, ok=False, winner="prover", leaf="SETTLE_open")
    assert MatrixReport(False, 0, 20, 1.0, [good]).ok
    report = MatrixReport(False, 0, 20, 1.0, [good, bad])
    assert not report.ok
    shown = printed(show_matrix, report)
    assert "WRONG, the challenger must win" in shown
    assert "2 games, 1 did not end as they must" in shown
    assert not MatrixReport(False, 0, 20, 1.0, []).ok


def test_unknown_lies_are_refused_before_anything_is_made():
    with pytest.raises(ConfigError, match="dispute list"):
        lie_named("", K)
    assert lie_named("step", K) is LIES["step"]


def test_a_trace_is_run_once(stage):
    scene = stage.scene(Role.HOLDER)
    before = trace_of.cache_info().misses
    assert scene.trace(scene.data, None) is scene.past
    assert trace_of.cache_info().misses <= before + 1
