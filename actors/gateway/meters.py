"""The metrics of a gateway."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from actors.market import Market
from actors.metrics import Registry
from protocol.options.book import Stage

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
STATUSES: Final = (200, 202, 404, 405, 409, 413, 421, 422, 500, 503)
OTHER: Final = "other"


class ApiMeters:
    """Of the gateway in front of ``market``; ``routes`` are the paths of its routes."""

    def __init__(self, market: Market, routes: Sequence[str]) -> None:
        self.registry = registry = Registry()
        self.clients = 0
        """Of the stream, now."""
        self._market = market
        self._routes = frozenset(routes)
        paths = (*routes, OTHER)
        self._requests = registry.counter(
            "api_requests_total", "Answered requests.", route=paths, status=(*STATUSES, OTHER)
        )
        self._seconds = registry.histogram(
            "api_request_seconds", "From the request to the end of the answer.", SECONDS,
            route=paths,
        )  # fmt: skip
        self._certificates = registry.counter(
            "api_certificates_total", "Certificates that were verified."
        )
        self._age = registry.gauge("api_price_age_seconds", "Of the newest certified price.")
        self._clients = registry.gauge("api_stream_clients", "WebSocket clients.")
        self._contracts = registry.gauge("api_contracts", "By stage.", stage=[*Stage])
        self._connected = registry.gauge("api_nodes_connected", "Oracle nodes that are heard.")

    def observe(self, route: str, status: int, seconds: float) -> None:
        """One request."""
        path = route if route in self._routes else OTHER
        self._requests.inc(route=path, status=status if status in STATUSES else OTHER)
        self._seconds.observe(seconds, route=path)

    def text(self) -> str:
        """Everything, as it is now."""
        market = self._market
        self._certificates.total(market.certified_count)
        index = market.indexes.get(market.config.feed.symbol)
        self._age.set(None if index is None else (market.now_ms() - index.report.time) / 1000)
        self._clients.set(self.clients)
        self._connected.set(sum(node.connected for node in market.nodes))
        stages = Counter(contract.stage for contract in market.book.contracts.values())
        for stage in Stage:
            self._contracts.set(stages[stage], stage=stage)
        return self.registry.text()
