"""Starting and ending the keepers of a site, each in a process group of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from actors.local.keeper import STOP_S, end, last_lines
from actors.local.place import Place, Site
from actors.local.process import claim, living
from actors.local.programs import KEEPER
from actors.local.state import KeeperState
from protocol.errors import ConfigError

DOWN_S: Final = 10 * STOP_S
POLL_S: Final = 0.1


def start(site: Site) -> list[Place]:
    """Start every group whose keeper does not run, and wait until all of that works. Returns these
    groups; ConfigError with the reason if one does not start, and then all of them are ended."""
    groups = [group for group in site.groups if living(group.process(KEEPER)) is None]
    keepers = [_started(group) for group in groups]
    try:
        for group, keeper in zip(groups, keepers, strict=True):
            _until_up(group, keeper)
    except BaseException:
        for keeper in keepers:
            keeper.terminate()  # each ends its programs
        for keeper in keepers:
            keeper.wait()
        # What has another keeper by now was started by another `up`: it is not ours to end.
        stop([group for group in groups if living(group.process(KEEPER)) is None])
        raise
    return groups


def stop(groups: Sequence[Place]) -> None:
    """End what runs there, the last group first: its keeper, then what a keeper that was killed has
    left."""
    for group in reversed(groups):
        keeper = living(group.process(KEEPER))
        if keeper is not None:
            keeper.end(DOWN_S)
        lock = claim(group.process(KEEPER))  # nobody starts anything meanwhile
        end(group)
        os.close(lock)


def _started(group: Place) -> subprocess.Popen[bytes]:
    group.state.unlink(missing_ok=True)
    with group.log(KEEPER).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "actors.local.keeper", str(group.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,  # Ctrl-C is not for it
        )


def _until_up(group: Place, keeper: subprocess.Popen[bytes]) -> None:
    while (said := KeeperState.read(group.state)) is None or said.phase != "up":
        if keeper.poll() is not None:
            fault = said.fault if said else ""
            raise ConfigError(fault or "\n".join(last_lines(group.log(KEEPER), 3)))
        time.sleep(POLL_S)
