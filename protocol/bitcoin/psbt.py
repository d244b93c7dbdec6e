"""Partially signed transactions (BIP174 version 0, BIP371): how a transaction goes to any wallet
and comes back signed.

    psbt    "psbt" ff | global map | a map for each input | a map for each output

The roles played here: creator (``Psbt.unsigned``), combiner (``combine``), and finalizer of inputs
that one key spends, P2WPKH and Taproot by key path (``Psbt.witness``). Whether a signature is valid
is not asked: that is seen where the transaction is used.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from bitcoin.core import CTransaction, CTxOut
from bitcoin.core.serialize import SerializationError

from protocol.bitcoin import psbt_fields as field
from protocol.bitcoin.address import witness_program
from protocol.bitcoin.psbt_fields import Fields, Reader, read_map, read_stack, write_map
from protocol.bitcoin.tx import (
    MAX_MONEY_SATS,
    parse_tx,
    serialize,
    txid,
    with_witness,
    without_witness,
)
from protocol.crypto.hashes import hash160
from protocol.errors import EncodingError, ScriptError

MAGIC: Final = b"psbt\xff"
MAX_BYTES: Final = 1 << 22
"""As much as a block: wallets add whole previous transactions."""


@dataclass(frozen=True, slots=True)
class Psbt:
    """A transaction without signatures, and the fields of its global, input and output maps.

    ``unsigned`` and ``decode`` make one.
    """

    tx: CTransaction
    fields: Fields
    inputs: tuple[Fields, ...]
    outputs: tuple[Fields, ...]

    @classmethod
    def unsigned(cls, tx: CTransaction, spent: Sequence[CTxOut]) -> Self:
        """``tx`` to be signed; ``spent`` are the outputs that its inputs spend, in order, whoever
        owns them: a Taproot signature covers them all. ScriptError if there are too few or many."""
        if len(spent) != len(tx.vin):
            raise ScriptError(f"{len(tx.vin)} inputs spend {len(tx.vin)} outputs, not {len(spent)}")
        inputs = tuple({field.WITNESS_UTXO: out.serialize()} for out in spent)
        return cls(without_witness(tx), {}, inputs, tuple({} for _ in tx.vout))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The PSBT of exactly these bytes. EncodingError names what BIP174 or BIP371 refuse; one
        without inputs or outputs, which they allow, is refused too."""
        if not data.startswith(MAGIC) or len(data) > MAX_BYTES:
            raise EncodingError(f"psbt: it does not begin as one, or has over {MAX_BYTES} bytes")
        reader = Reader(data[len(MAGIC) :])
        fields = read_map(reader, "global map", field.GLOBAL)
        if int.from_bytes(fields.get(field.VERSION, b""), "little"):
            raise EncodingError("psbt: it is of another version; save it as version 0 (BIP174)")
        tx = _unsigned_tx(fields.pop(field.UNSIGNED_TX, b""))
        inputs = [read_map(reader, f"input {n}", field.INPUT) for n in range(len(tx.vin))]
        outputs = [read_map(reader, f"output {n}", field.OUTPUT) for n in range(len(tx.vout))]
        if not reader.is_done:
            raise EncodingError("psbt: bytes behind the last map")
        decoded = cls(tx, fields, tuple(inputs), tuple(outputs))
        for n in range(len(inputs)):
            decoded.spent(n)
            decoded.witness(n)
        return decoded

    def encode(self) -> bytes:
        """The bytes; every map is sorted by key."""
        first = {field.UNSIGNED_TX: serialize(self.tx), **self.fields}
        return MAGIC + b"".join(map(write_map, (first, *self.inputs, *self.outputs)))

    @property
    def text(self) -> str:
        """The bytes in base64, as every wallet reads them."""
        return base64.b64encode(self.encode()).decode()

    def spent(self, index: int) -> CTxOut | None:
        """The output that an input spends, None if it is not told. EncodingError if the fields
        contradict each other or the transaction."""
        fields, told = self.inputs[index], []
        if field.WITNESS_UTXO in fields:
            told.append(_output(fields[field.WITNESS_UTXO], index))
        if field.PREVIOUS_TX in fields:
            previous, point = parse_tx(fields[field.PREVIOUS_TX]), self.tx.vin[index].prevout
            if txid(previous) != bytes(point.hash) or point.n >= len(previous.vout):
                raise EncodingError(f"psbt: input {index}: not the transaction that it spends")
            told.append(previous.vout[point.n])
        if len({out.serialize() for out in told}) > 1:
            raise EncodingError(f"psbt: input {index}: two different outputs that it spends")
        return told[0] if told else None

    def with_key_path_signature(self, index: int, signature: bytes) -> Self:
        """With the signature (64 or 65 bytes) of a Taproot input by key path."""
        fields = {**self.inputs[index], field.TAP_KEY_SIGNATURE: signature}
        return replace(self, inputs=(*self.inputs[:index], fields, *self.inputs[index + 1 :]))

    def witness(self, index: int) -> tuple[bytes, ...]:
        """The final witness of an input, or the one that its only key's signature makes, bottom to
        top; empty without either."""
        fields, out = self.inputs[index], self.spent(index)
        if field.FINAL_WITNESS in fields:
            return read_stack(fields[field.FINAL_WITNESS])
        version, program = (out and witness_program(bytes(out.scriptPubKey))) or (-1, b"")
        if version == 1 and field.TAP_KEY_SIGNATURE in fields:
            return (fields[field.TAP_KEY_SIGNATURE],)
        for key, signature in fields.items():
            kind, public = key[:1], key[1:]
            if kind == field.PARTIAL_SIGNATURE and (version, program) == (0, hash160(public)):
                return signature, public
        return ()


def combine(psbts: Iterable[Psbt]) -> Psbt:
    """All that these PSBTs of one transaction know. EncodingError if they are of several, or differ
    in a field."""
    first, *others = psbts
    for other in others:
        if serialize(other.tx) != serialize(first.tx):
            raise EncodingError("psbt: they are of different transactions")
        first = Psbt(
            first.tx,
            _union(first.fields, other.fields),
            tuple(map(_union, first.inputs, other.inputs)),
            tuple(map(_union, first.outputs, other.outputs)),
        )
    return first


def parse_psbt(data: str | bytes) -> Psbt:
    """A PSBT as wallets write it, binary or base64; EncodingError as ``Psbt.decode``."""
    if isinstance(data, bytes) and data.startswith(MAGIC):
        return Psbt.decode(data)
    try:
        return Psbt.decode(base64.b64decode(data.strip(), validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, EncodingError):
            raise
        raise EncodingError("psbt: neither binary nor base64") from None


def encode_psbt(tx: CTransaction, spent: Sequence[CTxOut]) -> str:
    """The text of ``Psbt.unsigned``."""
    return Psbt.unsigned(tx, spent).text


def signed_tx(data: str | bytes, tx: CTransaction) -> CTransaction:
    """``tx`` with the witnesses that a PSBT (``parse_psbt``) holds for it; inputs that it does not
    sign stay bare. EncodingError if it is of another transaction, to the byte."""
    signed = parse_psbt(data)
    if serialize(signed.tx) != serialize(without_witness(tx)):
        raise EncodingError("psbt: it is of another transaction; sign the one that was written")
    return with_witness(signed.tx, [signed.witness(n) for n in range(len(tx.vin))])


def _unsigned_tx(raw: bytes) -> CTransaction:
    if not raw:
        raise EncodingError("psbt: it holds no transaction")
    tx = parse_tx(raw)
    if any(tx_in.scriptSig for tx_in in tx.vin) or serialize(without_witness(tx)) != raw:
        raise EncodingError("psbt: its transaction must be without any signature")
    return tx


def _output(raw: bytes, index: int) -> CTxOut:
    try:
        out = CTxOut.deserialize(raw)
    except (SerializationError, ValueError):
        out = None
    if out is None or out.serialize() != raw or not 0 <= out.nValue <= MAX_MONEY_SATS:
        raise EncodingError(f"psbt: input {index}: the spent output is not one")
    return out


def _union(mine: Fields, theirs: Fields) -> Fields:
    for key in mine.keys() & theirs.keys():
        if mine[key] != theirs[key]:
            raise EncodingError(f"psbt: two values of the field {key.hex()}; combine others")
    return {**mine, **theirs}
