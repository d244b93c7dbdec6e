"""The programs' logs as one, in order of time, a line an event, for a person."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from actors.local.place import Place, Site
from actors.local.programs import KEEPER, programs_of
from protocol.errors import ConfigError

POLL_S: Final = 0.2
WIDTH: Final = 11
"""Of a program's name."""
_KNOWN: Final = ("time", "level", "program", "operator", "logger", "event", "errors", "at")


@dataclass(slots=True)
class Log:
    """One file, read on from where it was left; a line that is still being written waits."""

    name: str
    path: Path
    offset: int = field(default=0)

    def skip(self, lines: int) -> None:
        """Go to where the last ``lines`` lines begin."""
        data = self.path.read_bytes() if self.path.exists() else b""
        kept = b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""
        self.offset = len(data) - len(kept)

    def read(self) -> list[tuple[str, str]]:
        """The new whole lines as (time, line for a person)."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        at, found = "", []
        for line in whole.decode(errors="replace").splitlines():
            record = parse(line)
            at = str(record.get("time", at))
            found.append((at, f"{at[11:23] or '-':12}  {self.name:{WIDTH}}  {text(record)}"))
        return found


def logs_of(site: Site, name: str | None) -> list[Log]:
    """All programs' logs and those of the parties, or those of that name; a party is called
    CONTRACT/ROLE, and an operator's name stands for all of its. ConfigError lists the names."""
    found = [log for group in site.groups for log in _logs_of(group)]
    chosen = [log for log in found if name in (None, log.name) or log.name.startswith(f"{name}/")]
    if not chosen:
        raise ConfigError(f"{name}: no such program; choose {', '.join(log.name for log in found)}")
    return chosen


def _logs_of(place: Place) -> Iterator[Log]:
    for name in (KEEPER, *(program.name for program in programs_of(place))):
        yield Log(place.full(name), place.log(name))
    for path in sorted(place.contracts.glob("*/*.log")):
        yield Log(place.full(f"{path.parent.name}/{path.stem}"), path)


def merged(logs: Iterable[Log]) -> list[str]:
    """What is new in all of them, by time; a line without a time stays behind the one before it."""
    lines = [line for log in logs for line in log.read()]
    return [line for _, line in sorted(lines, key=lambda line: line[0])]


def follow(site: Site, name: str | None, logs: list[Log]) -> Iterator[str]:
    """For ever: what is written from now on, by parties that start later too."""
    known = {log.name: log for log in logs}
    while True:
        time.sleep(POLL_S)
        for log in logs_of(site, name):
            known.setdefault(log.name, log)
        yield from merged(known.values())


def parse(line: str) -> Mapping[str, Any]:
    """The fields of a JSON line; of any other line its text as the event."""
    try:
        record = json.loads(line)
        return record if isinstance(record, dict) else {"event": line}
    except ValueError:
        return {"event": line}


def text(record: Mapping[str, Any]) -> str:
    """Event and fields, errors behind them; the level if it is not the usual one."""
    level = str(record.get("level", "INFO"))
    head = "" if level == "INFO" else f"{level} "
    fields = (f"{name}={value}" for name, value in record.items() if name not in _KNOWN)
    errors = (f"! {error}" for error in record.get("errors", ()))
    return " ".join([f"{head}{record.get('event', '')}", *fields, *errors])
