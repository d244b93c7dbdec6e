"""An owner's account: what makes an operation unrepeatable, and the shares of the pool.

AccountDatum, 56 bytes: owner 32 | nonce u64 | glp u64 | last_added u64; key TH("account", owner).
"""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import ClassVar, Final, Self

from protocol.pool.layout import th, unpack

_LAYOUT: Final = Struct("<32sQQQ")


@lru_cache(maxsize=65_536)
def account_key(owner: bytes) -> bytes:
    """Where the account is in the lp tree."""
    return th("account", owner)


@dataclass(frozen=True, slots=True)
class AccountDatum:
    """``nonce`` of the next operation, ``glp`` in 1e-6 shares, ``last_added`` in unix seconds."""

    tag: ClassVar[int] = 3
    """The byte before it in its bucket."""

    owner: bytes
    nonce: int = 0
    glp: int = 0
    last_added: int = 0

    @property
    def key(self) -> bytes:
        """Where it is in the lp tree."""
        return account_key(self.owner)

    def encode(self) -> bytes:
        """The 56 bytes of the module's head."""
        return _LAYOUT.pack(self.owner, self.nonce, self.glp, self.last_added)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The account of exactly these bytes; EncodingError for another length."""
        return cls(*unpack("account", _LAYOUT, data))


ACCOUNT_SIZE: Final = _LAYOUT.size
