"""Where the venues are. The table below is live; a demo or a test passes loopback URLs instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from protocol.errors import ConfigError

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The WebSocket URL of a venue, and the base of its public REST interface if it is used."""

    websocket_url: str
    rest_url: str | None = None

    def __post_init__(self) -> None:
        scheme = urlsplit(self.websocket_url).scheme
        if scheme != "wss" and not (scheme == "ws" and self.on_loopback):
            raise ConfigError(
                f"websocket_url {self.websocket_url!r}: use wss://, or ws:// on loopback only"
            )

    @property
    def on_loopback(self) -> bool:
        """True if the endpoint is on this host."""
        return urlsplit(self.websocket_url).hostname in LOOPBACK


LIVE: Final[Mapping[str, Endpoint]] = {
    "binance": Endpoint(
        "wss://data-stream.binance.vision/ws",
        "https://data-api.binance.vision",
    ),
    "coinbase": Endpoint(
        "wss://ws-feed.exchange.coinbase.com",
        "https://api.exchange.coinbase.com",
    ),
    "kraken": Endpoint(
        "wss://ws.kraken.com/v2",
        "https://api.kraken.com",
    ),
}
