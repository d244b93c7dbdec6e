"""SIGKILL of a pool's member and of its sequencer in the middle of their game: started again on the
same disk they go on with the same bytes, and the game ends as it must."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.fault import committee_child

GAME = ["CHALLENGE", *(f"{move}_{n}" for n in (1, 2, 3) for move in ("REVEAL", "PICK")), "EXECUTE"]


@pytest.fixture(scope="module", params=[3, pytest.param(1, marks=pytest.mark.slow)])
def stories(request, tmp_path_factory) -> dict[str, Any]:
    """How both games ended, where the victim died at each third moment, or at each one."""
    every, folder = request.param, tmp_path_factory.mktemp("pool")
    command = [sys.executable, "-m", committee_child.__name__, str(folder), str(every)]
    run = subprocess.run(command, timeout=110, check=True, stdout=subprocess.PIPE)
    found = json.loads(run.stdout)
    for ended in found.values():
        assert ended["deaths"] == -(-ended["moments"] // every)
        assert ended["lives"] > len(GAME) + ended["deaths"]
    return found


def test_a_member_that_dies_convicts_a_lying_sequencer(stories: dict[str, Any]) -> None:
    """The seal is gone, so neither ADVANCE can ever be, and STATE is where it was."""
    ended = stories["member"]
    *game, verdict = ended["names"]
    assert [name.partition(":")[2] for name in game] == GAME
    assert ended["seal"] == verdict == "holder:VERDICT_NOT-HALT"
    assert ended["advances"] == [False, False]
    assert ended["state"]


def test_a_sequencer_that_dies_wins_against_a_false_challenger(stories: dict[str, Any]) -> None:
    """The batch is on time, by ADVANCE_LATE."""
    ended = stories["sequencer"]
    names = [name.partition(":")[2] for name in ended["names"]]
    assert names == [*GAME, "SETTLE_execute"]
    assert ended["seal"] == ""
    assert ended["advances"] == [False, True]


def test_no_one_time_key_signs_two_messages(stories: dict[str, Any]) -> None:
    """Nor one that is not on disk."""
    assert stories["member"]["said"] == 3, "a digit of each PICK"
    assert stories["sequencer"]["said"] > len(GAME)
    assert stories["member"]["once"]
    assert stories["sequencer"]["once"]
