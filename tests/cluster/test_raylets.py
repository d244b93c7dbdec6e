"""The test ground itself: nothing of a cluster outlives the process that made it."""

import subprocess
import sys
from pathlib import Path

import pytest

from actors.raylets import _began, _members
from tests.builders.network import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(600)]

START_S = 240.0
OWNER = """
import sys
from actors.raylets import multi_node
with multi_node([{"oracle": 1}]) as cluster:
    print(*cluster.head.pids(), flush=True)
    sys.stdin.read()
"""


def test_nothing_outlives_an_owner_that_is_killed():
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        owner.kill()
    assert len(pids) > 3, "its `ray start`, a GCS, a raylet, agents"
    until(lambda: not any(map(lives, pids)), "every process of the node is gone", START_S)


def test_a_session_with_a_number_that_is_used_again_is_a_strangers():
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, start_new_session=True)
    with stranger:
        began = _began(stranger.pid)
        assert stranger.pid in _members(stranger.pid, began)
        assert _members(stranger.pid, began - 1) == {}
        stranger.kill()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
