"""One direction of one TCP connection through a link: bytes wait here until their time comes."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

FULL: Final = 1 << 20
"""Bytes that a lane holds before its sender is made to wait, as a full window does."""
RETRANSMIT_S: Final = 0.2
"""How much later a lost packet arrives, and all behind it (Linux: TCP_RTO_MIN)."""
FRAME_BYTES: Final = 64
"""A piece so long holds a frame with a body, not a ping alone."""
EOF: Final = b""
LOST: Final = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a way does to bytes: one-way delay, uniform jitter around it (order is kept), share of
    packets that TCP sends again, rate (0: no limit). ``stalled``: they wait, as in a partition that
    drops packets. ``reset``: connections end and none is made."""

    delay_ms: int = 0
    jitter_ms: int = 0
    loss_ppm: int = 0
    bytes_per_s: int = 0
    stalled: bool = False
    reset: bool = False


def together(shapes: Sequence[Shape]) -> Shape:
    """What several do to one way: delays add up, the narrowest rate counts."""
    rates = [shape.bytes_per_s for shape in shapes if shape.bytes_per_s]
    return Shape(
        delay_ms=sum(shape.delay_ms for shape in shapes),
        jitter_ms=sum(shape.jitter_ms for shape in shapes),
        loss_ppm=max(shape.loss_ppm for shape in shapes),
        bytes_per_s=min(rates, default=0),
        stalled=any(shape.stalled for shape in shapes),
        reset=any(shape.reset for shape in shapes),
    )


@dataclass(slots=True, eq=False)
class Way:
    """All that one node sends another; ``counts`` has bytes, pieces, lost and corrupted."""

    shape: Shape = Shape()
    corrupt: int = 0
    """Frames in which a byte is still to be flipped."""
    lanes: set["Lane"] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


class Lane:
    """Bytes on the way from ``source`` to ``sink``, both None until connected; ``connect`` is
    called when the first byte arrives and there is no sink yet."""

    def __init__(self, way: Way, random: Random, connect: Callable[[], None] | None = None) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.blocked = False
        self._way = way
        self._random = random
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._held = 0
        self._free_s = self._last_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        way.lanes.add(self)

    def put(self, data: bytes | None) -> None:
        """Bytes, EOF or LOST from the source."""
        if self not in self._way.lanes:
            return
        arrives_s = self._arrival_s(len(data or b""))
        self._last_s = max(arrives_s, self._last_s)
        self._queue.append((self._last_s, self._flipped(data) if data else data))
        self._held += len(data or b"")
        if self._held > FULL and self.source is not None:
            self.source.pause_reading()
        self.go()

    def go(self) -> None:
        """Deliver what is due, and wait for the rest."""
        if self._timer is None and self._queue and not (self._way.shape.stalled or self.blocked):
            self._timer = self._loop.call_at(self._queue[0][0], self._deliver)

    def end(self) -> None:
        """Nothing is delivered any more."""
        self._way.lanes.discard(self)
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arrival_s(self, size: int) -> float:
        shape, now_s = self._way.shape, self._loop.time()
        self._way.counts["bytes"] += size
        self._way.counts["pieces"] += 1
        if shape.bytes_per_s:
            self._free_s = now_s = max(now_s, self._free_s) + size / shape.bytes_per_s
        jitter_ms = self._random.uniform(-shape.jitter_ms, shape.jitter_ms)
        wait_s = max(shape.delay_ms + jitter_ms, 0) / 1000
        if self._random.randrange(10**6) < shape.loss_ppm:
            self._way.counts["lost"] += 1
            wait_s += RETRANSMIT_S
        return now_s + wait_s

    def _flipped(self, data: bytes) -> bytes:
        # Not in the first piece, which is the HTTP request that opens the WebSocket.
        if self._way.corrupt == 0 or len(data) < FRAME_BYTES or self.sink is None:
            return data
        self._way.corrupt -= 1
        self._way.counts["corrupted"] += 1
        at = len(data) // 2
        return data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]

    def _deliver(self) -> None:
        self._timer = None
        if self._way.shape.stalled or self.blocked:
            return
        if self.sink is None:
            if self._connect is not None:
                self._connect()
                self._connect = None
            return
        while self._queue and self._queue[0][0] <= self._loop.time() and not self.blocked:
            self._write(self._queue.popleft()[1])
        if self._held <= FULL // 2 and self.source is not None:
            self.source.resume_reading()
        self.go()

    def _write(self, data: bytes | None) -> None:
        assert self.sink is not None
        if data is LOST:
            self.sink.close()
        elif self.sink.is_closing():
            pass
        elif data == EOF:
            with suppress(OSError):  # the other end has reset it
                self.sink.write_eof()
        else:
            self._held -= len(data)
            self.sink.write(data)
