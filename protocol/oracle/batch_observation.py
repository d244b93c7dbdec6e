"""What one oracle saw of all its feeds in one round, under one signature.

    oracle u8 | OBB1 header 86 | n x OBS 152 (feed ids ascending) | signature 64

The signature covers the header, the header's root covers the rows. Every row is an ordinary
``OBS1`` of the header's configuration, round and seq, and obeys ``proposal.check_fields``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from protocol.crypto import keys
from protocol.errors import EncodingError
from protocol.oracle import batch
from protocol.oracle.batch import BatchObservation
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import require_bytes, require_uint
from protocol.oracle.observation import SIZE, SignedObservation
from protocol.oracle.proposal import Reason, Refusal, check_fields, times
from protocol.oracle.rows import Mask, ObservationRows
from protocol.units import U64_MAX

_ROWS = 1 + batch.OBSERVATION_SIZE


@dataclass(frozen=True, slots=True)
class SignedObservationBatch:
    """The header, the observations behind it, the index of their oracle in the configuration, and
    its BIP340 signature of the header. EncodingError if header and rows differ in number."""

    oracle: int
    observation: BatchObservation
    observations: ObservationRows
    signature: bytes

    def __post_init__(self) -> None:
        require_uint("observation batch oracle", self.oracle, 8)
        require_bytes("observation batch signature", self.signature, 64)
        if self.observation.n != len(self.observations):
            raise EncodingError(
                f"observation batch n {self.observation.n} disagrees with its"
                f" {len(self.observations)} observations"
            )

    @property
    def round(self) -> int:
        return self.observation.round

    @property
    def prices(self) -> dict[bytes, int]:
        """The price of each feed in it, 10^-8 USD, by feed id."""
        rows = self.observations
        return dict(zip(rows.feeds, rows.column("price_e8").tolist(), strict=True))

    def verify(self, public: bytes) -> bool:
        """Whether ``public`` (x-only, 32 bytes) signed the header."""
        return keys.verify(public, self.observation.message, self.signature)

    def of_feed(self, feed_id: bytes) -> SignedObservation | None:
        """The observation of one feed with the batch's signature: what its report's
        ``observations_root`` commits to."""
        if feed_id not in self.observations.feeds:
            return None
        row = self.observations[self.observations.feeds.index(feed_id)]
        return SignedObservation(self.oracle, row, self.signature)

    def encode(self) -> bytes:
        """``oracle u8 | OBB1 | rows | signature``."""
        return b"".join(
            (
                bytes([self.oracle]),
                self.observation.encode(),
                self.observations.data,
                self.signature,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The reverse of ``encode``; EncodingError names the field that is wrong."""
        if len(data) < _ROWS + SIZE + 64:
            raise EncodingError(f"observation batch: {len(data)} bytes are too few")
        header = BatchObservation.decode(data[1:_ROWS])
        require_bytes("observation batch", data, _ROWS + header.n * SIZE + 64)
        return cls(data[0], header, ObservationRows(data[_ROWS:-64]), data[-64:])


def check_batch(
    config: OracleConfig,
    feeds: Mapping[bytes, int],
    signed: SignedObservationBatch,
    now_ms: int,
    excluded: Collection[int] = (),
) -> Refusal | None:
    """Why this is no valid observation batch at ``now_ms``, or None; one wrong row spoils it.
    ``feeds`` are the feed ids that this deployment prices (the keys)."""
    header, rows, who = signed.observation, signed.observations, f"oracle {signed.oracle}"
    if signed.oracle >= len(config.oracles):
        return Refusal(Reason.SIGNER, f"{who} is not one of {len(config.oracles)} oracles")
    if signed.oracle in excluded:
        return Refusal(Reason.EXCLUDED, f"{who} has signed two messages for one slot")
    if header.config_digest != config.digest:
        return Refusal(Reason.CONFIG, f"{who} observes under another configuration")
    for feed_id in rows.feeds:
        if feed_id not in feeds:
            return Refusal(Reason.FEED, f"{who} observes the unknown feed {feed_id.hex()}")
    refusal = check_rows(config, signed.oracle, rows, signed.round, now_ms)
    if refusal is not None:
        return refusal
    if not signed.verify(config.oracles[signed.oracle]):
        return Refusal(Reason.SIGNATURE, f"{who}: the batch's signature does not verify")
    if not rows.are_of(config.digest, header.round) or (rows.columns["seq"] != header.seq).any():
        return Refusal(Reason.ROUND, f"{who}: a row is of another configuration, round or seq")
    if rows.root != header.root:
        return Refusal(Reason.ROOT, f"{who}: the batch's root is not that of its observations")
    return None


def check_rows(
    config: OracleConfig, oracle: int, rows: ObservationRows, round_id: int, now_ms: int
) -> Refusal | None:
    """``proposal.check_fields`` of every row; the refusal names the first feed that fails."""
    for index in np.flatnonzero(suspects(config, rows, round_id, now_ms)).tolist():
        row = SignedObservation(oracle, rows[index], bytes(64))
        feed_id = row.observation.feed_id
        refusal = check_fields(config, feed_id, round_id, row, now_ms, ())
        if refusal is not None:
            return Refusal(refusal.reason, f"feed {feed_id.hex()}: {refusal.detail}")
    return None


def suspects(config: OracleConfig, rows: ObservationRows, round_id: int, now_ms: int) -> Mask:
    """The rows that ``proposal.check_fields`` refuses for their time or their venues."""
    earliest, latest = times(config, round_id, now_ms)
    time = rows.column("obs_time")
    few: Mask = rows.columns["n_venues"] < config.min_venues
    if latest < earliest or earliest > U64_MAX:
        return np.ones_like(few)
    return few | (time < np.uint64(earliest)) | (time > np.uint64(min(latest, U64_MAX)))
