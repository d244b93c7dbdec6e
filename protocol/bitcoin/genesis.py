"""Genesis block hashes: what names a Bitcoin network in our messages."""

from typing import Final

REGTEST_GENESIS: Final = bytes.fromhex(
    "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
)[::-1]
"""Regtest, in internal byte order (``protocol.bitcoin.tx.hash_hex`` prints it reversed)."""

SIGNET_GENESIS: Final = bytes.fromhex(
    "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6"
)[::-1]
"""The default signet (BIP325)."""
