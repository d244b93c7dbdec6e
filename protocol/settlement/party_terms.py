"""The two sides of a contract and what each brings to its terms.

party 113 + s   key 32 | prover_key 32 | challenger_key 32 | nonce 16 | s u8 | script s
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from protocol.bitcoin.address import has_owner
from protocol.bitcoin.fees import dust_limit_sats
from protocol.crypto.keys import is_public
from protocol.errors import TermsError
from protocol.oracle.layout import require_bytes
from protocol.settlement.cursor import Cursor

NONCE_SIZE: Final = 16
NO_OWNER: Final = "give a P2PKH, P2SH, P2WPKH, P2WSH or Taproot address's: others are nobody's own"


class Role(Enum):
    """A side of the contract."""

    HOLDER = "holder"
    WRITER = "writer"

    @property
    def other(self) -> "Role":
        return Role.WRITER if self is Role.HOLDER else Role.HOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyTerms:
    """What one party brings.

    ``key`` closes, refunds and signs exercise notices, ``prover_key`` and ``challenger_key`` sign
    in the dispute graphs; all x-only, 32 bytes. ``script`` is the output script that it is paid to,
    ``nonce`` 16 random bytes that make the contract unique. EncodingError or TermsError name a
    field that is not that.
    """

    key: bytes
    prover_key: bytes
    challenger_key: bytes
    script: bytes
    nonce: bytes

    def __post_init__(self) -> None:
        for field in ("key", "prover_key", "challenger_key"):
            require_bytes(field, getattr(self, field), 32)
            if not is_public(getattr(self, field)):
                raise TermsError(f"{field}: no curve point has this x, nobody can sign with it")
        require_bytes("nonce", self.nonce, NONCE_SIZE)
        if not has_owner(self.script):
            raise TermsError(f"script {self.script.hex()}: {NO_OWNER}")

    @property
    def keys(self) -> tuple[bytes, bytes, bytes]:
        return self.key, self.prover_key, self.challenger_key

    @property
    def dust_sats(self) -> int:
        """The least amount that makes an output to this party's script."""
        return dust_limit_sats(self.script)

    def encode(self) -> bytes:
        """113 bytes and the script, which has 22 to 34."""
        fixed = self.key + self.prover_key + self.challenger_key + self.nonce
        return fixed + bytes([len(self.script)]) + self.script

    @classmethod
    def read(cls, cursor: Cursor, key: bytes | None = None) -> Self:
        """The inverse of ``encode``; of what follows ``key`` if it is given."""
        return cls(
            key=cursor.take(32) if key is None else key,
            prover_key=cursor.take(32),
            challenger_key=cursor.take(32),
            nonce=cursor.take(NONCE_SIZE),
            script=cursor.take(cursor.take(1)[0]),
        )
