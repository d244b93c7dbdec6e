"""The parties that a desk keeps running: none twice, the dead again, strangers never ended."""

import subprocess
import sys
import time

from actors.files import is_held
from actors.market_children import PartyChildren, end_party
from actors.party_folder import JOURNAL
from actors.restarts import BUDGET
from protocol.settlement.terms import Role


def until(holds):
    end = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_a_party_that_dies_is_started_again_and_the_fault_says_why(tmp_path):
    """There is no file of it: it ends at once."""
    children = PartyChildren()
    assert children.keep(tmp_path, Role.HOLDER) == ""
    assert children.is_starting(tmp_path, Role.HOLDER)
    fault = until(lambda: children.keep(tmp_path, Role.HOLDER))
    assert "its process ended (exit code 1)" in fault
    assert f"{tmp_path}/holder.toml: cannot be read" in fault
    child = children._children[tmp_path / "holder.toml"]

    def is_spent():
        children.keep(tmp_path, Role.HOLDER)
        return child.restarts.total == 2

    until(is_spent)
    assert child.restarts.total < BUDGET
    assert children.keep(tmp_path, Role.HOLDER) == fault, "while it starts, too"
    children.answered(tmp_path, Role.HOLDER)
    assert child.fault == ""
    for program in children.end_all():
        program.wait()


def test_one_that_another_desk_has_left_is_not_started_twice(tmp_path):
    (tmp_path / "holder").mkdir()
    journal = tmp_path / "holder" / JOURNAL
    assert not is_held(journal)
    command = [sys.executable, "-c", HOLD, str(journal)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as party:
        assert party.stdout.readline() == "held\n"
        children = PartyChildren()
        assert is_held(journal)
        assert children.keep(tmp_path, Role.HOLDER) == ""
        assert children._children == {}
        end_party(party.pid, tmp_path / "holder.toml")
        assert party.poll() is None, "another program has this pid"
        end_party(party.pid, journal)
        assert party.wait(20) != 0
    assert not is_held(journal)


HOLD = "import sys; from pathlib import Path; from actors.files import open_locked\n" + (
    "fd = open_locked(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)
