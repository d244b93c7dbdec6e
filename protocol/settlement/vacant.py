"""The seat in a proposal that the writer has yet to take."""

from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.crypto.keys import is_public
from protocol.crypto.tagged import tagged_hash
from protocol.settlement.terms import PartyTerms

_TAG: Final = "btcfi/vacant/v1"
_KEYS: Final = 3


def _nobodys_key(number: int) -> bytes:
    """A curve point that nobody knows the secret key of."""
    key = tagged_hash(_TAG, number.to_bytes(4))
    return key if is_public(key) else _nobodys_key(number + _KEYS)


VACANT: Final = PartyTerms(
    key=_nobodys_key(0),
    prover_key=_nobodys_key(1),
    challenger_key=_nobodys_key(2),
    script=script(Op.TRUE, _nobodys_key(0)),
    nonce=bytes(16),
)
"""Nobody can sign for it, or be paid by it."""
