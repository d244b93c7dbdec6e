"""What all encodings of the pool share: little-endian, natural alignment, padding that is zero."""

from hashlib import sha256
from struct import Struct
from typing import Any, Final

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError
from protocol.units import U64_MAX

AMOUNT_MAX: Final = 10**15
"""Of one operation and one position, micro-USDC (or shares): a billion USDC."""
POOL_MAX: Final = 10**16
"""Of ``total_liquidity``, micro-USDC."""
PRICE_MAX: Final = 10**15
TOKENS_MAX: Final = 32


def th(tag: str, *parts: bytes) -> bytes:
    """TH(tag, x): the tagged hash of ``parts`` under ``btcfi/pool/<tag>/v1``."""
    return tagged_hash(f"btcfi/pool/{tag}/v1", *parts)


def unpack(name: str, layout: Struct, data: bytes) -> tuple[Any, ...]:
    """The fields of exactly ``layout.size`` bytes; EncodingError otherwise."""
    if len(data) != layout.size:
        raise EncodingError(f"{name}: {layout.size} bytes expected, got {len(data)}")
    return layout.unpack(data)


def require(condition: bool, name: str, what: str) -> None:
    """EncodingError ``name what`` unless ``condition``."""
    if not condition:
        raise EncodingError(f"{name} {what}")


def require_uint(name: str, value: int, most: int = U64_MAX) -> None:
    """EncodingError unless ``value`` is an int in [0, most]."""
    if not isinstance(value, int) or not 0 <= value <= most:
        raise EncodingError(f"{name} must be an integer from 0 to {most}, got {value!r}")


def require_key(name: str, key: bytes) -> None:
    """EncodingError unless ``key`` is 32 bytes."""
    if type(key) is not bytes or len(key) != 32:
        raise EncodingError(f"{name} must be 32 bytes")


def stable_id(symbol: str) -> bytes:
    """The id of the stablecoin that a pool counts in: SHA-256 of its symbol."""
    return sha256(symbol.encode()).digest()


STABLES: Final = {stable_id(symbol): symbol for symbol in ("USDC", "USDT")}
STABLE_USDC: Final = stable_id("USDC")
