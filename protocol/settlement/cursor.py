"""Reading an encoding from its beginning to its end, with nothing left over."""

from struct import Struct
from typing import Any

from protocol.errors import EncodingError


class Cursor:
    """A place in bytes that moves on as fields are read. ``name`` begins its error messages."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; EncodingError if there are fewer."""
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise EncodingError(f"{self._name}: {len(self._data)} bytes are too few")
        self._at += size
        return taken

    def read(self, layout: Struct) -> tuple[Any, ...]:
        """The fields of ``layout``; EncodingError as ``take``."""
        return layout.unpack(self.take(layout.size))

    def end(self) -> None:
        """EncodingError unless everything was read."""
        if self._at != len(self._data):
            raise EncodingError(
                f"{self._name}: {len(self._data)} bytes, {self._at} were expected: cut the rest"
            )
