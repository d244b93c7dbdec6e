"""Which symbols of a venue stand behind a product that the oracles price."""

from collections.abc import Collection, Sequence
from typing import Final

from actors.feeds.adapter import Adapter
from actors.feeds.binance import Binance
from actors.feeds.coinbase import AdvancedTrade, Coinbase
from actors.feeds.endpoints import Api
from actors.feeds.kraken import Kraken
from protocol.errors import ConfigError

ADAPTERS: Final[dict[str, type[Adapter]]] = {a.venue: a for a in (Binance, Coinbase, Kraken)}
VENUES: Final = tuple(ADAPTERS)
PRODUCTS: Final = ("BTC-USD", "ETH-USD", "ADA-USD", "SOL-USD")
USDT_USD: Final = "USDT-USD"


def symbol_at(venue: str, product: str) -> str:
    """The symbol that prices ``product`` (``BTC-USD``) at ``venue``: Binance quotes it in USDT."""
    _require_venue(venue)
    if product not in (*PRODUCTS, USDT_USD):
        raise ConfigError(f"no product {product!r}; choose from {', '.join(PRODUCTS)}")
    return product.replace("-USD", "-USDT") if venue == Binance.venue else product


def symbols_at(
    venue: str, products: Sequence[str], price_venues: Collection[str] = VENUES
) -> tuple[str, ...]:
    """What to subscribe to at ``venue`` if the prices come from ``price_venues``: the products if
    it is one of them, and USDT-USD where it is traded if Binance is."""
    _require_venue(venue)
    symbols = [symbol_at(venue, product) for product in products] if venue in price_venues else []
    rate = USDT_USD in ADAPTERS[venue].symbol_names and Binance.venue in price_venues
    return tuple(dict.fromkeys(symbols + [USDT_USD] * rate))


def adapter_of(venue: str, api: Api) -> type[Adapter]:
    """The adapter of a venue's interface; ConfigError if it has no such."""
    if api == "advanced-trade" and venue != Coinbase.venue:
        raise ConfigError(f"endpoint of {venue}: only coinbase has the api advanced-trade")
    return AdvancedTrade if api == "advanced-trade" else ADAPTERS[venue]


def _require_venue(venue: str) -> None:
    if venue not in ADAPTERS:
        raise ConfigError(f"no venue {venue!r}; choose from {', '.join(ADAPTERS)}")
