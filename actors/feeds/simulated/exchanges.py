"""The three simulated venues in one background thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from actors.feeds.endpoints import Endpoint
from actors.feeds.simulated.binance import SimulatedBinance
from actors.feeds.simulated.coinbase import SimulatedCoinbase
from actors.feeds.simulated.kraken import SimulatedKraken
from actors.feeds.simulated.path import BASE_E8, PricePath
from actors.feeds.simulated.venue import SimulatedVenue

START_TIMEOUT_S: Final = 10.0
USDT_USD: Final = "USDT-USD"


def _unix_ms() -> int:
    return time.time_ns() // 10**6


class SimulatedExchanges:
    """Binance, Coinbase and Kraken on loopback, all following the path of ``seed``.

    A context manager: the servers run in a thread with its own event loop from enter to exit.
    ``now_ms`` is the clock that frames and prices follow; it is called in that thread. The ports
    are free ones, or ``base_port`` and the two after it; OSError if one is taken. ``prices_e8`` are
    where products trade, if not where they use to.
    """

    def __init__(
        self,
        seed: int,
        now_ms: Callable[[], int] = _unix_ms,
        *,
        products: Sequence[str] = ("BTC-USD",),
        tick_ms: int = 20,
        base_port: int = 0,
        prices_e8: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.path = PricePath(seed, {**BASE_E8, **prices_e8})
        listed = tuple(dict.fromkeys([*products, USDT_USD]))
        self.binance = SimulatedBinance(self.path, now_ms, listed, tick_ms / 1000)
        self.coinbase = SimulatedCoinbase(self.path, now_ms, listed, tick_ms / 1000)
        self.kraken = SimulatedKraken(self.path, now_ms, listed, tick_ms / 1000)
        self._base_port = base_port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._faults: list[Exception] = []
        self.urls: dict[str, str] = {}
        self.endpoints: dict[str, Endpoint] = {}

    @property
    def venues(self) -> tuple[SimulatedVenue, ...]:
        """The three servers."""
        return (self.binance, self.coinbase, self.kraken)

    def __enter__(self) -> Self:
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="simulated-exchanges", daemon=True
        )
        self._thread.start()
        ready.result(START_TIMEOUT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._faults:
            raise self._faults[0]

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a venue's function (``exchanges.kraken.hang_up``) in its loop; its result."""
        assert self._loop is not None

        async def run() -> Any:
            result = function(*args)
            return await result if isinstance(result, Coroutine) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_TIMEOUT_S)

    async def _serve(self, ready: "Future[None]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            for number, venue in enumerate(self.venues):
                await venue.start(self._base_port and self._base_port + number)
                self.urls[venue.name] = venue.url
                self.endpoints[venue.name] = Endpoint(venue.url, venue.rest_url)
        except (OSError, OverflowError) as error:
            await asyncio.gather(*(venue.stop() for venue in self.venues))
            ready.set_exception(error)
            return
        tickers = [asyncio.create_task(venue.run()) for venue in self.venues]
        ready.set_result(None)
        await self._stop.wait()
        for ticker in tickers:
            ticker.cancel()
        outcomes = await asyncio.gather(*tickers, return_exceptions=True)
        self._faults = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        await asyncio.gather(*(venue.stop() for venue in self.venues))
