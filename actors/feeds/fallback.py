"""When REST stands in for a WebSocket stream: a rule with hysteresis, without IO."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class _Stream:
    quoted_s: float
    steady_since_s: float
    polled: bool = False


class Fallback:
    """A symbol is polled from ``after_s`` without a quote of the stream until ``until_s`` of quotes
    with no such gap. Times are monotonic seconds; waiting begins at ``now_s``.
    """

    def __init__(
        self, symbols: Sequence[str], after_s: float, until_s: float, now_s: float
    ) -> None:
        self._after_s = after_s
        self._until_s = until_s
        self._streams = {symbol: _Stream(now_s, now_s) for symbol in symbols}

    def quoted(self, symbol: str, now_s: float) -> None:
        """The stream gave a quote."""
        stream = self._streams[symbol]
        if now_s - stream.quoted_s >= self._after_s:
            stream.steady_since_s = now_s
            stream.polled = True
        stream.quoted_s = now_s
        if stream.polled and now_s - stream.steady_since_s >= self._until_s:
            stream.polled = False

    def is_silent(self, symbol: str, now_s: float) -> bool:
        """The stream's newest quote is no longer fresh."""
        return now_s - self._streams[symbol].quoted_s >= self._after_s

    @property
    def polling(self) -> bool:
        """Some symbol is polled."""
        return any(stream.polled for stream in self._streams.values())

    def polled(self, now_s: float) -> list[str]:
        """The symbols to poll now."""
        for symbol, stream in self._streams.items():
            if self.is_silent(symbol, now_s):
                stream.polled = True
        return [symbol for symbol, stream in self._streams.items() if stream.polled]

    def next_s(self) -> float:
        """The earliest time at which there may be something to poll."""
        return min(
            stream.quoted_s + (0 if stream.polled else self._after_s)
            for stream in self._streams.values()
        )
