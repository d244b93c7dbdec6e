"""What a party asks a Bitcoin node. ``regtest.chain.Chain`` is one such view, by its shape.

Hashes are 32 bytes in wire order. What lies in the mempool counts as seen, with ``block`` or
``height`` None: anybody may still replace it.
"""

from typing import Protocol

from bitcoin.core import COutPoint, CTransaction


class Block(Protocol):
    """A block on the active chain."""

    @property
    def height(self) -> int: ...


class Seen(Protocol):
    """A transaction that the node knows."""

    @property
    def tx(self) -> CTransaction: ...

    @property
    def block(self) -> Block | None: ...


class Unspent(Protocol):
    """An output that nobody has spent."""

    @property
    def sats(self) -> int: ...

    @property
    def script(self) -> bytes: ...

    @property
    def height(self) -> int | None: ...


class View(Protocol):
    """A node, as far as a party looks. Every answer may change with the next block."""

    @property
    def height(self) -> int:
        """Of the best block."""
        ...

    def tx(self, txid: bytes, /) -> Seen | None:
        """The transaction, in the active chain or the mempool."""
        ...

    def spender(self, point: COutPoint, /) -> Seen | None:
        """The transaction that spends ``point``, in the active chain or the mempool."""
        ...

    def utxo(self, point: COutPoint, /) -> Unspent | None:
        """The output at ``point``, unless the chain or the mempool spends it."""
        ...


def confirmations(seen: Seen | None, view: View) -> int:
    """How many blocks hold or follow the transaction; 0 in the mempool or nowhere."""
    return 0 if seen is None or seen.block is None else view.height - seen.block.height + 1
