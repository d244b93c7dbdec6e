"""SIGKILL the coordinator after every write, broadcast and block; restarted, it ends the same."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault import coordinator_child

CHILD = Path(coordinator_child.__file__)


def child(folder: Path, at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHILD), str(folder), str(at)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.timeout(300)
def test_it_settles_once_wherever_it_dies(tmp_path):
    whole = child(tmp_path / "whole", 0)
    assert whole.returncode == 0, whole.stderr
    moments = int(whole.stdout)
    assert moments > 10
    for at in range(1, moments + 1):
        folder = tmp_path / str(at)
        assert child(folder, at).returncode == -signal.SIGKILL
        result = coordinator_child.finish(folder)
        assert result["stage"] == "settled"
        assert result["names"] == ["FUND", "CLOSE"]
        assert result["spender"] == result["close"]
        assert result["payout"] > 0
