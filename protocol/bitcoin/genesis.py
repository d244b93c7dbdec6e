"""Genesis block hashes: what names a Bitcoin network in our messages."""

from typing import Final

REGTEST_GENESIS: Final = bytes.fromhex(
    "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
)[::-1]
"""Regtest, in internal byte order (``protocol.bitcoin.tx.hash_hex`` prints it reversed)."""
