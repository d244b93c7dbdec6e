"""A child ends with its parent, however that went; one that outlives its parent does not."""

import subprocess
import sys

import pytest

from actors.local.process import Process
from actors.ports import free_ports

PARENT = """
import sys
from pathlib import Path
from actors.contract_process import Program
command = ("feeds", "simulate", "--port", sys.argv[2])
program = Program("venues", command, Path(sys.argv[1]), outlives=sys.argv[3] == "outlives")
program.start()
print(program.child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("fate", ["ends", "outlives"])
def test_after_the_parent_is_killed(tmp_path, fate):
    port = str(free_ports(3)[0])
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), port, fate]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        child = Process.of(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert child.wait(60 if fate == "ends" else 2) == (fate == "ends")
    finally:
        child.end(20)
