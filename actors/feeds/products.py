"""Which symbols of a venue stand behind a product that the oracles price."""

from collections.abc import Sequence
from typing import Final

from actors.feeds.adapter import Adapter
from actors.feeds.binance import Binance
from actors.feeds.coinbase import Coinbase
from actors.feeds.kraken import Kraken
from protocol.errors import ConfigError

ADAPTERS: Final[dict[str, type[Adapter]]] = {a.venue: a for a in (Binance, Coinbase, Kraken)}
VENUES: Final = tuple(ADAPTERS)
PRODUCTS: Final = ("BTC-USD", "ETH-USD", "ADA-USD", "SOL-USD")
USDT_USD: Final = "USDT-USD"


def symbol_at(venue: str, product: str) -> str:
    """The symbol that prices ``product`` (``BTC-USD``) at ``venue``: Binance quotes it in USDT."""
    if venue not in ADAPTERS:
        raise ConfigError(f"no venue {venue!r}; choose from {', '.join(ADAPTERS)}")
    if product not in (*PRODUCTS, USDT_USD):
        raise ConfigError(f"no product {product!r}; choose from {', '.join(PRODUCTS)}")
    return product.replace("-USD", "-USDT") if venue == Binance.venue else product


def symbols_at(venue: str, products: Sequence[str]) -> tuple[str, ...]:
    """What to subscribe to at ``venue``: the products, and USDT-USD where it is traded."""
    symbols = [symbol_at(venue, product) for product in products]
    rate = [USDT_USD] if USDT_USD in ADAPTERS[venue].symbol_names else []
    return tuple(dict.fromkeys(symbols + rate))
