"""Recordings of what the venues said: JSON lines, a header and then a row for each frame.

A row has ``at_ms`` (our unix ms), ``venue``, ``transport`` (``ws`` or ``rest``) and the ``frame``:
text, or ``frame_b64`` where the bytes are no UTF-8. ``connection`` numbers the WebSocket
connections, whose protocol state a replay has to begin anew; ``offset_ms`` is the venue's clock
minus ours as it was known then; ``symbols`` are those that a REST reply stood in for.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from actors.feeds.board import Transport
from actors.feeds.products import symbols_at
from protocol.errors import ConfigError, EncodingError

FORMAT: Final = "oracle-vm feeds recording"
VERSION: Final = 1
MAX_LINE_BYTES: Final = 2**23
"""A frame of 1 MiB of control characters, escaped."""

MAX_MS: Final = 2**53


class Header(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first line: what was priced, and the venues that the price was made from."""

    format: str = FORMAT
    version: int = VERSION
    products: tuple[str, ...]
    venues: tuple[str, ...]


class Heard(Struct, frozen=True, kw_only=True):
    """One frame of a venue as it reached the board."""

    at_ms: int
    venue: str
    frame: bytes
    transport: Transport = "ws"
    connection: int = 0
    offset_ms: int = 0
    symbols: tuple[str, ...] = ()


class _Row(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    at_ms: Annotated[int, Meta(ge=0, le=MAX_MS)]
    venue: str
    transport: Transport
    frame: str | None = None
    frame_b64: str | None = None
    connection: int = 0
    offset_ms: Annotated[int, Meta(ge=-MAX_MS, le=MAX_MS)] = 0
    symbols: tuple[str, ...] = ()


class Recorder:
    """Writes a recording to an open file."""

    def __init__(self, file: IO[bytes], products: Sequence[str], venues: Sequence[str]) -> None:
        self._file = file
        self._append(Header(products=tuple(products), venues=tuple(venues)))

    def write(self, heard: Heard) -> None:
        """Append a row."""
        try:
            text, binary = heard.frame.decode(), None
        except UnicodeDecodeError:
            text, binary = None, b64encode(heard.frame).decode()
        row = _Row(
            at_ms=heard.at_ms,
            venue=heard.venue,
            transport=heard.transport,
            frame=text,
            frame_b64=binary,
            connection=heard.connection,
            offset_ms=heard.offset_ms,
            symbols=heard.symbols,
        )
        self._append(row)

    def _append(self, line: Struct) -> None:
        # The header's fields have defaults that must be in the file.
        self._file.write(msgspec.json.encode(msgspec.to_builtins(line)) + b"\n")


class Recording:
    """A recording on disk. EncodingError if the file, or later one of its rows, is not one;
    ``warn`` hears of a last line that is cut short, which is left out."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        with self._open() as file:
            self.header = self._header(file.readline(MAX_LINE_BYTES))

    def rows(self) -> Iterator[Heard]:
        """The frames in the order of the file."""
        with self._open() as file:
            file.readline(MAX_LINE_BYTES)
            number = 1
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                    self._warn(f"{self._path}:{number}: the last line is cut short; left out")
                    return
                yield self._row(number, line)

    def _open(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise EncodingError(f"{self._path}: cannot be read ({error.strerror})") from None

    def _header(self, line: bytes) -> Header:
        try:
            header = msgspec.json.decode(line, type=Header)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise EncodingError(f"{self._path}:1: no header of a recording ({error})") from None
        if (header.format, header.version) != (FORMAT, VERSION):
            raise EncodingError(
                f"{self._path}:1: version {header.version} of {header.format!r} is not known;"
                f" expected version {VERSION} of {FORMAT!r}"
            )
        try:
            for venue in header.venues:
                symbols_at(venue, header.products)
        except ConfigError as error:
            raise EncodingError(f"{self._path}:1: {error}") from None
        if not header.venues or not header.products:
            raise EncodingError(f"{self._path}:1: the header names no venue or no product")
        return header

    def _row(self, number: int, line: bytes) -> Heard:
        try:
            row = msgspec.json.decode(line, type=_Row)
            if (row.frame is None) == (row.frame_b64 is None):
                raise ValueError("needs either `frame` or `frame_b64`")
            if row.frame is not None:
                frame = row.frame.encode()
            else:
                frame = b64decode(row.frame_b64 or "", validate=True)
        except (msgspec.MsgspecError, ValueError) as error:
            raise EncodingError(f"{self._path}:{number}: no row of a recording ({error})") from None
        return Heard(
            at_ms=row.at_ms,
            venue=row.venue,
            frame=frame,
            transport=row.transport,
            connection=row.connection,
            offset_ms=row.offset_ms,
            symbols=row.symbols,
        )
