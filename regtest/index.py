"""What the kernel library does not offer: unspent outputs, transactions and spenders by key.

Fed block by block along the active chain, rebuilt at every opening, held in memory as plain
values. It judges nothing: every block in it was accepted by the kernel.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from bitcoin.core import CTransaction
from bitcoin.core.serialize import SerializationError, VarIntSerializer

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.tx import outpoint_key, txid
from protocol.crypto.hashes import hash256
from protocol.errors import EncodingError
from regtest.chain import BlockRef, Header, TxRef, Utxo

MEDIAN_TIME_SPAN = 11
MAX_SCRIPT_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """A block of the active chain, with what undoing it needs."""

    header: Header
    txids: tuple[bytes, ...]
    txs: tuple[CTransaction, ...]
    spent: tuple[tuple[bytes, Utxo], ...]
    """Outpoint keys and outputs that its transactions consumed, in order."""

    @property
    def ref(self) -> BlockRef:
        return self.header.ref


def parse_block(raw: bytes) -> tuple[bytes, tuple[CTransaction, ...]]:
    """The 80-byte header and the transactions; EncodingError if ``raw`` is not one block."""
    stream = BytesIO(raw[80:])
    try:
        count = VarIntSerializer.stream_deserialize(stream)
        txs = tuple(CTransaction.stream_deserialize(stream) for _ in range(count))
    except (SerializationError, ValueError) as error:
        raise EncodingError(f"not a Bitcoin block: {error}") from error
    if not txs or stream.read(1):
        raise EncodingError("a block holds a coinbase, and nothing follows its transactions")
    return raw[:80], txs


def parse_header(raw: bytes, height: int, earlier_times: Sequence[int]) -> Header:
    """Decode 80 bytes; ``earlier_times`` are those of up to 10 blocks before it."""
    version, parent, root, time, bits, nonce = struct.unpack("<i32s32sIII", raw)
    ref = BlockRef(height, hash256(raw), time)
    return Header(ref, parent, root, version, bits, nonce, median([*earlier_times, time]))


def median(times: Sequence[int]) -> int:
    """Median time past of blocks with these times, as Bitcoin takes it."""
    return sorted(times)[len(times) // 2]


def spent_keys(tx: CTransaction) -> tuple[bytes, ...]:
    """The outpoint key of each input."""
    return tuple(outpoint_key(spend.prevout) for spend in tx.vin)


class Index:
    """The active chain from genesis to its tip."""

    def __init__(self) -> None:
        self.blocks: list[IndexedBlock] = []
        self._heights: dict[bytes, int] = {}
        self._utxos: dict[bytes, Utxo] = {}
        self._by_script: dict[bytes, dict[bytes, Utxo]] = {}
        self._places: dict[bytes, tuple[int, int]] = {}
        self._spenders: dict[bytes, bytes] = {}

    @property
    def tip(self) -> IndexedBlock:
        return self.blocks[-1]

    def by_hash(self, block_hash: bytes) -> IndexedBlock | None:
        height = self._heights.get(block_hash)
        return None if height is None else self.blocks[height]

    def utxo(self, key: bytes) -> Utxo | None:
        return self._utxos.get(key)

    def unspent(self, script: bytes) -> tuple[tuple[bytes, Utxo], ...]:
        """Outpoint keys and outputs of ``script``, oldest first."""
        return tuple(self._by_script.get(script, {}).items())

    def tx(self, wanted: bytes) -> TxRef | None:
        place = self._places.get(wanted)
        if place is None:
            return None
        block = self.blocks[place[0]]
        return TxRef(wanted, block.txs[place[1]], block.ref, place[1])

    def spender(self, key: bytes) -> TxRef | None:
        spending = self._spenders.get(key)
        return None if spending is None else self.tx(spending)

    def connect(self, raw: bytes) -> IndexedBlock:
        """Append the block that ``raw`` encodes; its parent is the tip."""
        header_bytes, txs = parse_block(raw)
        height = len(self.blocks)
        earlier = [block.ref.time for block in self.blocks[-(MEDIAN_TIME_SPAN - 1) :]]
        header = parse_header(header_bytes, height, earlier)
        txids = tuple(txid(tx) for tx in txs)
        spent: list[tuple[bytes, Utxo]] = []
        for position, (tx_id, tx) in enumerate(zip(txids, txs, strict=True)):
            if position:
                spent += [(key, self._spend(key, tx_id)) for key in spent_keys(tx)]
            if height:  # the genesis coinbase cannot be spent
                self._create(tx_id, tx, height, coinbase=position == 0)
            self._places[tx_id] = height, position
        block = IndexedBlock(header, txids, txs, tuple(spent))
        self._heights[header.ref.hash] = height
        self.blocks.append(block)
        return block

    def disconnect(self) -> IndexedBlock:
        """Take the tip off, restoring what it spent."""
        block = self.blocks.pop()
        del self._heights[block.ref.hash]
        for tx_id, tx in zip(block.txids, block.txs, strict=True):
            del self._places[tx_id]
            for n in range(len(tx.vout)):
                self._remove(tx_id + n.to_bytes(4, "little"))
        for key, utxo in block.spent:
            del self._spenders[key]
            if utxo.height is not None and utxo.height < len(self.blocks):
                self._add(key, utxo)
        return block

    def _create(self, tx_id: bytes, tx: CTransaction, height: int, *, coinbase: bool) -> None:
        for n, out in enumerate(tx.vout):
            script = bytes(out.scriptPubKey)
            if script[:1] == bytes([Op.RETURN]) or len(script) > MAX_SCRIPT_BYTES:
                continue
            key = tx_id + n.to_bytes(4, "little")
            self._add(key, Utxo(tx_id, n, int(out.nValue), script, height, coinbase))

    def _spend(self, key: bytes, spending: bytes) -> Utxo:
        utxo = self._utxos[key]
        self._remove(key)
        self._spenders[key] = spending
        return utxo

    def _add(self, key: bytes, utxo: Utxo) -> None:
        self._utxos[key] = utxo
        self._by_script.setdefault(utxo.script, {})[key] = utxo

    def _remove(self, key: bytes) -> None:
        utxo = self._utxos.pop(key, None)
        if utxo is not None:
            del self._by_script[utxo.script][key]
