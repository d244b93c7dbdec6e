"""What an OP_RETURN of ours commits to: the computation behind a payout, or the price history.

    claim  32   tagged("btcfi/anchor/v1", trace root | report_hash)                   in a CLOSE
    head   44   "BFH1" | round u64 | tagged("btcfi/anchor/head/v1", round u64 | hash)  any payment

``hash`` is that of the newest certificate, which links to every one before it: once a head is
buried, no history that differs below it can be passed off (options.md 3, oracle.md 4).
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import null_data
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError
from protocol.oracle.layout import require_bytes, require_uint

CLAIM_TAG: Final = "btcfi/anchor/v1"
HEAD_TAG: Final = "btcfi/anchor/head/v1"
HEAD_MAGIC: Final = b"BFH1"
ROOT_SIZES: Final = (20, 32)
"""Widths of a commitment (dispute.md 2)."""

_HEAD: Final = Struct(">4sQ32s")


@dataclass(frozen=True, slots=True)
class ClaimAnchor:
    """Root of a claim's trace and the report that it rests on, as one digest of 32 bytes."""

    digest: bytes

    @classmethod
    def of(cls, root: bytes, report_hash: bytes) -> "ClaimAnchor":
        """Of a root of 20 or 32 bytes and a report hash of 32; EncodingError for other sizes."""
        if len(root) not in ROOT_SIZES:
            raise EncodingError(f"root: {len(root)} bytes, a commitment has 20 or 32")
        require_bytes("report_hash", report_hash, 32)
        return cls(tagged_hash(CLAIM_TAG, root + report_hash))

    def encode(self) -> bytes:
        """32 bytes."""
        return self.digest


@dataclass(frozen=True, slots=True)
class HeadAnchor:
    """The newest certificate of a history at some round, which says where to look for it."""

    round: int
    digest: bytes

    @classmethod
    def of(cls, round_id: int, certificate_hash: bytes) -> "HeadAnchor":
        """Of a certificate; EncodingError for a round or a hash that is none."""
        require_uint("anchor round", round_id, 64)
        require_bytes("certificate hash", certificate_hash, 32)
        return cls(round_id, tagged_hash(HEAD_TAG, round_id.to_bytes(8) + certificate_hash))

    def encode(self) -> bytes:
        """44 bytes."""
        return _HEAD.pack(HEAD_MAGIC, self.round, self.digest)


Anchor = ClaimAnchor | HeadAnchor


def decode_anchor(payload: bytes) -> Anchor:
    """The anchor that an OP_RETURN carries; EncodingError for any other bytes."""
    if len(payload) == 32:
        return ClaimAnchor(payload)
    if len(payload) == _HEAD.size and payload[:4] == HEAD_MAGIC:
        _, round_id, digest = _HEAD.unpack(payload)
        return HeadAnchor(round_id, digest)
    raise EncodingError(f"an OP_RETURN of {len(payload)} bytes that is no anchor of ours")


def anchor_script(anchor: Anchor) -> bytes:
    """The output script that carries it."""
    return null_data(anchor.encode())


def payloads(tx: CTransaction) -> tuple[bytes, ...]:
    """What the OP_RETURN outputs of one push carry, in order."""
    found = []
    for out in tx.vout:
        code = bytes(out.scriptPubKey)
        if code[:1] == bytes([Op.RETURN]) and len(code) >= 2 and code == null_data(code[2:]):
            found.append(code[2:])
    return tuple(found)


def anchor_in(tx: CTransaction) -> Anchor:
    """The one anchor of a transaction; EncodingError if there is none, or more than one."""
    anchors: list[Anchor] = []
    for payload in payloads(tx):
        try:
            anchors.append(decode_anchor(payload))
        except EncodingError:  # somebody else's data
            continue
    if len(anchors) != 1:
        raise EncodingError(f"this transaction has {len(anchors)} anchors: one is needed")
    return anchors[0]
