"""Where the venues are. The table below is live; a demo or a test passes loopback URLs instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from protocol.errors import ConfigError

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

Api = Literal["default", "advanced-trade"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The WebSocket URL of a venue, and the base of its public REST interface if it is used.

    ``api`` tells a venue's interfaces apart: Coinbase has Exchange (the default) and Advanced
    Trade. Loopback needs no TLS.
    """

    websocket_url: str
    rest_url: str | None = None
    api: Api = "default"

    def __post_init__(self) -> None:
        _require("websocket_url", self.websocket_url, "ws")
        if self.rest_url is not None:
            _require("rest_url", self.rest_url, "http")

    @property
    def on_loopback(self) -> bool:
        """True if the endpoint is on this host."""
        return urlsplit(self.websocket_url).hostname in LOOPBACK


def _require(name: str, url: str, plain: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is no number is only found when it is asked for
        known = parts.scheme == f"{plain}s" or (
            parts.scheme == plain and parts.hostname in LOOPBACK
        )
    except ValueError:
        known = False
    if not known or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{name} {url!r}: use {plain}s://, or {plain}:// on loopback only")


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

ADVANCED_TRADE: Final = Endpoint(
    "wss://advanced-trade-ws.coinbase.com", "https://api.coinbase.com", "advanced-trade"
)
"""Coinbase's other interface, in place of ``LIVE["coinbase"]``."""
