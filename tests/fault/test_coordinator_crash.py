"""SIGKILL the coordinator after every write, broadcast and block; restarted, it ends the same."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault import coordinator_child

CHILD = Path(coordinator_child.__file__)


def child(folder: Path, at: int, ending: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHILD), str(folder), str(at), ending]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("ending", "stage", "names"),
    [("close", "settled", ["FUND", "CLOSE"]), ("refund", "refunded", ["FUND", "REFUND"])],
)
def test_it_ends_once_and_the_same_wherever_it_dies(tmp_path, ending, stage, names):
    whole = child(tmp_path / "whole", 0, ending)
    assert whole.returncode == 0, whole.stderr
    moments = int(whole.stdout)
    assert moments >= 9
    for at in range(1, moments + 1):
        folder = tmp_path / str(at)
        assert child(folder, at, ending).returncode == -signal.SIGKILL
        result = coordinator_child.finish(folder, ending)
        assert (result["stage"], result["names"]) == (stage, names)
        assert result["spender"] == result["last"]
        assert (result["payout"] > 0) == (ending == "close")
