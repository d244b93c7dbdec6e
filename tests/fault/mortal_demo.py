"""A demo whose actors are killed by SIGKILL while its blocks are mined.

python mortal_demo.py FOLDER LIE VICTIM@N ...      VICTIM dies when block N behind FUND is mined
"""

import json
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from actors.demo import Demo, Faults
from actors.demo_config import DEMO, load
from actors.outcomes import insist

CALL_S = 60.0


class MortalDemo(Demo):
    """``deaths`` are victims by block; ``killed`` the processes that each actor lost."""

    def __init__(self, folder: Path, lie: str, deaths: dict[int, list[str]]) -> None:
        super().__init__(load(DEMO), Faults(lie), folder, lambda _: None, self.kill)
        self._deaths = deaths
        self._fund: int | None = None
        self.killed: dict[str, list[int]] = defaultdict(list)

    def kill(self, height: int) -> None:
        """Whoever dies at this height, in the midst of what its block asks for."""
        self._fund = self._fund or height
        for victim in self._deaths[height - self._fund]:
            pid = insist(self._actor(victim).pid.remote, CALL_S)
            self.killed[victim].append(pid)
            os.kill(pid, signal.SIGKILL)

    def _actor(self, name: str) -> Any:
        actors = {role.value: actor for role, actor in self.actors.parties.items()}
        actors["coordinator"] = self.actors.coordinator
        return actors.get(name) or self.actors.provers[name.removeprefix("prover-")]


def main(folder: Path, lie: str, *deaths: str) -> None:
    """Run it; one JSON object on stdout."""
    victims: dict[int, list[str]] = defaultdict(list)
    for death in deaths:
        name, block = death.split("@")
        victims[int(block)].append(name)
    demo = MortalDemo(folder, lie, victims)
    report = demo.run().to_json()
    print(json.dumps({"report": report, "killed": demo.killed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *sys.argv[3:])
