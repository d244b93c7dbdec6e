"""``state.json``: what the keeper says of its programs, for those who ask."""

from pathlib import Path
from typing import Literal

import msgspec

from actors.files import write_whole

State = Literal["starting", "running", "restarting", "failed"]
Phase = Literal["starting", "up", "failed", "stopping"]


class ProgramState(msgspec.Struct):
    """What the keeper says of one program; whether it lives its process file knows."""

    state: State
    restarts: int = 0
    fault: str = ""


class KeeperState(msgspec.Struct):
    """``state.json``. ``fault`` says why the phase is ``failed``."""

    phase: Phase
    programs: dict[str, ProgramState]
    fault: str = ""

    @classmethod
    def read(cls, path: Path) -> "KeeperState | None":
        """None if no keeper has written there."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self)))
