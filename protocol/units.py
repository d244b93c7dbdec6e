"""Integer units. A name may hold its unit (``price_e8``, ``vol_bps``); these mark the rest."""

from typing import Final, NewType

Sats = NewType("Sats", int)
"""Bitcoin amount in satoshis (10^-8 BTC)."""

PriceE8 = NewType("PriceE8", int)
"""Price in 10^-8 US dollars, u64."""

UnixMs = NewType("UnixMs", int)
"""Unix time in milliseconds, u64."""

Round = NewType("Round", int)
"""Oracle round: ``unix_ms // interval_ms``, u64."""

Height = NewType("Height", int)
"""Block height."""

E8: Final = 10**8
U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1
