"""The arithmetic of ``quorum`` for all feeds at once, over the observation batches of one round.

``median``, ``half_range`` and ``within`` have the names of their scalar twins and the same results
for every u64; tests compare them. A missing observation is ``ABSENT``, which sorts behind all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from protocol.oracle import merkle
from protocol.oracle import report as rpt
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import EXPO
from protocol.oracle.quorum import MILLION
from protocol.oracle.report import Grade
from protocol.oracle.rows import (
    REPORT_DTYPE,
    Column,
    Digests,
    Mask,
    Positions,
    ReportRows,
)
from protocol.units import U64_MAX

ABSENT: Final = np.uint64(U64_MAX)
_ONE: Final = np.uint64(1)


def median(values: Column, count: Positions) -> Column:
    """Of the first ``count`` values of each column of a sorted matrix (oracle, feed); the floor of
    the mean of the two middle ones if it is even. ``count`` 0 gives an arbitrary number."""
    columns = np.arange(values.shape[1])
    low = values[np.maximum(count - 1, 0) // 2, columns]
    high = values[np.minimum(count // 2, len(values) - 1), columns]
    middle: Column = (low >> _ONE) + (high >> _ONE) + (low & high & _ONE)
    return middle


def half_range(low: Column, high: Column) -> Column:
    """Half of high - low, rounded up."""
    distance = high - low
    return (distance >> _ONE) + (distance & _ONE)


def within(a: Column, b: Column, ppm: int) -> Mask:
    """Whether |a - b| <= ppm parts per million of the smaller one, exactly.

    floor(ppm * m / 10^6) is summed of parts that fit in u64; a sum that does not is larger than
    every distance.
    """
    smaller = np.minimum(a, b)
    distance = np.maximum(a, b) - smaller
    millions, rest = np.divmod(smaller, np.uint64(MILLION))
    whole, part = divmod(ppm, MILLION)
    limit = millions * np.uint64(part) + rest * np.uint64(part) // np.uint64(MILLION)
    total = smaller * np.uint64(whole) + limit
    is_beyond_u64: Mask = total < limit
    if whole:
        is_beyond_u64 |= smaller > np.uint64(U64_MAX // whole)
    return is_beyond_u64 | (distance <= total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The observations of one round, a row an oracle and a column a feed of the deployment, and
    what they give. ``prices`` is ``ABSENT`` where ``present`` is false; ``price``, ``conf`` and
    ``is_full`` mean something where ``has_quorum`` is true."""

    oracles: tuple[int, ...]
    """The oracle of each row, ascending."""
    batches: tuple[SignedObservationBatch, ...]
    places: tuple[Positions, ...]
    """The feed of each observation of a batch."""
    present: Mask
    prices: Column
    observers: npt.NDArray[np.uint8]
    count: Positions
    price: Column
    conf: Column
    is_full: Mask
    has_quorum: Mask
    """Where ``quorum.grade`` gives a grade."""
    oldest: Column
    newest: Column
    """The earliest and the latest obs_time of each feed."""

    @classmethod
    def of(
        cls,
        config: OracleConfig,
        feeds: Mapping[bytes, int],
        batches: Mapping[int, SignedObservationBatch],
    ) -> Self:
        """The sheet of valid batches, by oracle. ``feeds`` maps a feed id to its column, in
        ascending order of the ids."""
        oracles = tuple(sorted(batches))
        ordered = tuple(batches[i] for i in oracles)
        places = tuple(b.observations.places(feeds) for b in ordered)
        shape = (max(len(oracles), 1), len(feeds))
        present = np.zeros(shape, dtype=np.bool_)
        prices, confs = (np.full(shape, ABSENT) for _ in range(2))
        oldest, newest = np.full(len(feeds), ABSENT), np.zeros(len(feeds), dtype=np.uint64)
        observers = np.zeros(len(feeds), dtype=np.uint8)
        for i, (oracle, signed, at) in enumerate(zip(oracles, ordered, places, strict=True)):
            rows = signed.observations
            present[i, at] = True
            prices[i, at] = rows.column("price_e8")
            confs[i, at] = rows.column("conf_e8")
            time = rows.column("obs_time")
            oldest[at], newest[at] = np.minimum(oldest[at], time), np.maximum(newest[at], time)
            observers[at] |= np.uint8(1 << oracle)
        count = present.sum(axis=0)
        by_price = np.sort(prices, axis=0)
        low, high = by_price[0], by_price[np.maximum(count - 1, 0), np.arange(len(feeds))]
        is_full = count >= config.full_observations
        return cls(
            oracles=oracles,
            batches=ordered,
            places=places,
            present=present,
            prices=prices,
            observers=observers,
            count=count,
            price=median(by_price, count),
            conf=np.maximum(median(np.sort(confs, axis=0), count), half_range(low, high)),
            is_full=is_full,
            has_quorum=is_full | ((count > config.faults) & within(low, high, config.delta_ppm)),
            oldest=oldest,
            newest=newest,
        )

    def agreeing(self, delta_ppm: int) -> Mask:
        """Where an oracle's own price is within delta of the median (oracle, feed)."""
        close = [within(row, self.price, delta_ppm) for row in self.prices]
        return self.present & np.array(close)

    def reports(
        self,
        config_digest: bytes,
        round_id: int,
        at: Positions,
        feed_ids: Digests,
        prev_report_hashes: Digests,
        time: Any,
    ) -> ReportRows:
        """What ``proposal.propose`` gives for the feeds in the columns ``at`` (ascending, each with
        a quorum). ``feed_ids`` and the previous hashes are of all columns; ``time`` is unix ms, one
        for all or one for each of ``at``."""
        rows = np.zeros(len(at), dtype=REPORT_DTYPE)
        rows["magic"] = rpt.MAGIC
        rows["config_digest"] = np.frombuffer(config_digest, np.uint8)
        rows["feed_id"] = feed_ids[at]
        rows["round"] = round_id
        rows["price_e8"] = self.price[at]
        rows["conf_e8"] = self.conf[at]
        rows["expo"] = EXPO
        rows["grade"] = np.where(self.is_full[at], Grade.FULL, Grade.DEGRADED)
        rows["n_obs"] = self.count[at]
        rows["observers"] = self.observers[at]
        rows["time"] = time
        rows["observations_root"] = self._observation_roots(at)
        rows["prev_report_hash"] = prev_report_hashes[at]
        return ReportRows(rows.tobytes())

    def _observation_roots(self, at: Positions) -> Digests:
        """Feeds with the same observers have trees of one shape, hashed together."""
        roots = np.empty((len(at), 32), dtype=np.uint8)
        observers = self.observers[at]
        for bitmap in np.unique(observers).tolist():
            group = np.flatnonzero(observers == bitmap)
            columns = [
                _pick(signed.observations.signed_leaves(signed.signature), places, at[group])
                for oracle, signed, places in zip(
                    self.oracles, self.batches, self.places, strict=True
                )
                if bitmap >> oracle & 1
            ]
            roots[group] = merkle.roots(columns)
        return roots


def _pick(leaves: Digests, places: Positions, at: Positions) -> Digests:
    """The leaves of the feeds ``at``, of a batch whose observations are of ``places``."""
    if len(places) == len(at):
        return leaves
    return leaves[np.searchsorted(places, at)]
