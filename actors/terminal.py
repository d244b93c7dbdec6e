"""What a demo shows of itself while it runs, and where it keeps its files."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console

from protocol.errors import ConfigError


@contextmanager
def new_folder(wanted: Path | None) -> Iterator[Path]:
    """The empty folder ``--dir``, or a temporary one; ConfigError if it is not empty."""
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="oracle-vm-", ignore_cleanup_errors=True) as place:
            yield Path(place)
        return
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        used = any(wanted.iterdir())
    except OSError as error:
        raise ConfigError(f"--dir {wanted}: cannot be used ({error.strerror})") from None
    if used:
        raise ConfigError(f"--dir {wanted}: exists and is not an empty folder; name a new one")
    yield wanted.resolve()


class Announcer:
    """Shows the stage that is under way: a spinner in a terminal, else a line for each stage."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("")

    def __call__(self, stage: str) -> None:
        if self._console.is_terminal:
            self._status.update(f"{stage} ...")
        else:
            self._console.print(f"... {stage}", highlight=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()
