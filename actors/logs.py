"""Structured logs: one JSON object a line, on stderr or in a file, over the standard ``logging``.

    log = logging.getLogger(__name__)
    event(log, "certified", round=1790359200, oracle=0, grade="FULL", report=report.hash)
    {"time": "2026-09-25T17:48:26.844Z", "level": "INFO", "program": "oracle", "operator": "alpha",
     "logger": "actors.oracle", "event": "certified", "round": 1790359200, ...}

``program`` is the command of ``oracle-vm``, ``operator`` the node's name or, where a program has
none of its own, what the environment says in ORACLE_VM_OPERATOR. What other libraries warn of, and
an error that nobody has caught, are lines of the same kind.

No secret gets into a line. A field is an integer of 64 bits, a text, or at most 32 bytes (shown as
hex); of anything else only the type is written. A field whose name speaks of a secret shows numbers
and paths only, and no text, that of an exception neither, shows more than 32 hex digits in a row.
"""

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from protocol.errors import ConfigError

TEXT_LIMIT: Final = 1000
BYTES_LIMIT: Final = 32
INTEGER_LIMIT: Final = 1 << 64
CAUSES_LIMIT: Final = 4
FRAMES_LIMIT: Final = 12
"""Stack frames of a traceback: file, line and function; no source and no values."""

OPERATOR: Final = "ORACLE_VM_OPERATOR"

_FIELDS: Final = "fields"
_LONG_HEX: Final = re.compile(r"[0-9a-fA-F]{33,}")
_SECRET: Final = re.compile(r"key|secret|seed|nonce|token|password|private|aux", re.IGNORECASE)
_RESERVED: Final = frozenset(
    {"time", "level", "program", "operator", "logger", "event", "errors", "at"}
)


def event(log: logging.Logger, name: str, level: int = logging.INFO, /, **fields: Any) -> None:
    """Logs the event ``name`` with its fields; what must not be written is written as refused."""
    if log.isEnabledFor(level):
        log.log(level, name, extra={_FIELDS: {k: _plain(k, v) for k, v in fields.items()}})


def open_log(
    path: Path | None = None, level: int = logging.INFO, *, operator: str = ""
) -> logging.Handler:
    """Sends every log of this process to stderr, or appends it to ``path``, as JSON lines of
    ``operator``. Returns the handler (to remove it again); ConfigError if the file cannot be
    opened."""
    try:
        handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path)
    except OSError as error:
        raise ConfigError(f"log: {path} cannot be opened ({error.strerror})") from None
    program = command_of(sys.argv) if path is None else path.absolute().parent.name
    handler.setFormatter(JsonLines(program, os.environ.get(OPERATOR) or operator))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    return handler


def command_of(arguments: Sequence[str]) -> str:
    """The command of ``oracle-vm`` that was started as ``arguments``, or else the module."""
    module = Path(arguments[0]).stem
    is_ours = module in ("oracle-vm", "cli")
    return next((word for word in arguments[1:] if is_ours and word[0] != "-"), module)


class JsonLines(logging.Formatter):
    """One record as one line of ASCII JSON. Records of other libraries are cleaned as well."""

    def __init__(self, program: str = "", operator: str = "") -> None:
        super().__init__()
        self._common = {"program": program, "operator": operator}

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            **self._common,
            "logger": record.name,
            "event": _clean(record.getMessage()),
        }
        fields = getattr(record, _FIELDS, None)
        if isinstance(fields, Mapping):
            line.update((f"{k}_" if k in _RESERVED else k, v) for k, v in fields.items())
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LIMIT:]
            causes = [_clean(f"{type(e).__name__}: {e}") for e in _causes(error)]
            line["errors"] = causes[:CAUSES_LIMIT]
            line["at"] = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]
        return json.dumps(line, separators=(",", ":"))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("uncaught", exc_info=(kind, error, trace))


def _plain(name: str, value: Any) -> int | str | None:
    """The value as it may be written."""
    is_secret = _SECRET.search(name) is not None
    if value is None or (isinstance(value, int) and abs(value) < INTEGER_LIMIT):
        return value if value is None or isinstance(value, bool) else int(value)
    if isinstance(value, Path) or (isinstance(value, str) and not is_secret):
        return _clean(str(value))
    if type(value) is bytes and len(value) <= BYTES_LIMIT and not is_secret:
        return value.hex()
    return f"<refused {type(value).__name__}>"


def _clean(text: str) -> str:
    """The text, cut, without long runs of hex digits: they may be a key."""
    return _LONG_HEX.sub(lambda run: f"<{len(run[0])} hex digits>", text)[:TEXT_LIMIT]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it is a group of, and what caused it."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    elif error.__cause__ is not None:
        yield from _causes(error.__cause__)
