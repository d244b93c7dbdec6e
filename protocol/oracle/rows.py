"""The encodings of many feeds one after the other, read in place: ``OBS1`` rows and ``RPT1`` rows.

A row is what ``Observation.encode`` or ``Report.encode`` gives, feed ids strictly ascending. The
columns are numpy views of the same bytes; a dataclass is made for a feed only when somebody asks.
Whatever the columns find wrong, the decoder of that row puts into words: each rule has one text.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import attrgetter, lt
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from protocol.crypto.tagged import tagged_rows
from protocol.errors import EncodingError
from protocol.oracle import merkle
from protocol.oracle import observation as obs
from protocol.oracle import report as rpt
from protocol.oracle.batch import MAX_FEEDS
from protocol.oracle.layout import EXPO
from protocol.oracle.observation import ALL_VENUES, Flag, Observation
from protocol.oracle.price import OraclePrice
from protocol.oracle.report import Grade, Report

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
Column = npt.NDArray[np.uint64]
Digests = npt.NDArray[np.uint8]

_HASH: Final = ("u1", (32,))
OBSERVATION_DTYPE: Final = np.dtype(
    [
        ("magic", "S4"),
        ("config_digest", *_HASH),
        ("feed_id", *_HASH),
        ("round", ">u8"),
        ("seq", ">u8"),
        ("price_e8", ">u8"),
        ("conf_e8", ">u8"),
        ("expo", "i1"),
        ("n_venues", "u1"),
        ("venues", "u1"),
        ("flags", "u1"),
        ("obs_time", ">u8"),
        ("venue_time", ">u8"),
        ("evidence_root", *_HASH),
    ]
)
REPORT_DTYPE: Final = np.dtype(
    [
        ("magic", "S4"),
        ("config_digest", *_HASH),
        ("feed_id", *_HASH),
        ("round", ">u8"),
        ("price_e8", ">u8"),
        ("conf_e8", ">u8"),
        ("expo", "i1"),
        ("grade", "u1"),
        ("n_obs", "u1"),
        ("observers", "u1"),
        ("time", ">u8"),
        ("observations_root", *_HASH),
        ("prev_report_hash", *_HASH),
    ]
)
_SEEN_FIELDS: Final = ("price_e8", "conf_e8", "venues", "flags", "venue_time")
_SEEN: Final = attrgetter(*_SEEN_FIELDS)
_BITS: Final = np.array([i.bit_count() for i in range(256)], dtype=np.uint8)


class Decoded(Protocol):
    """What a row decodes to."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """EncodingError for bytes that are no row."""


T = TypeVar("T", bound=Decoded)


class Rows(Sequence[T], Generic[T]):
    """Immutable. EncodingError names the feed and the field of the first row that is wrong."""

    name: ClassVar[str]
    row: ClassVar[type[Any]]
    dtype: ClassVar[np.dtype[Any]]

    def __init__(self, data: bytes) -> None:
        size = self.dtype.itemsize
        count, rest = divmod(len(data), size)
        if rest or not 1 <= count <= MAX_FEEDS:
            raise EncodingError(
                f"{self.name} length {len(data)} is not 1 to {MAX_FEEDS} rows of {size} bytes"
            )
        self.data = data
        self.columns: npt.NDArray[Any] = np.frombuffer(data, self.dtype)
        self.feeds, is_ascending = _feeds(self.columns["feed_id"].tobytes())
        self._placed: tuple[Mapping[bytes, int], Positions] = {}, np.empty(0, dtype=np.intp)
        for index in np.flatnonzero(self._malformed()).tolist():
            self._explain(index)
        if not is_ascending:
            raise EncodingError(f"{self.name} feed ids must strictly ascend")

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self.row.decode(part) for part in self.parts[index])
        return self.row.decode(self.parts[index])

    def __iter__(self) -> Iterator[T]:
        return (self.row.decode(part) for part in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} feeds)"

    @cached_property
    def parts(self) -> list[bytes]:
        """The encoding of every feed."""
        size = self.dtype.itemsize
        return [self.data[i : i + size] for i in range(0, len(self.data), size)]

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return len(self.data)

    @property
    def matrix(self) -> Digests:
        """The rows as a matrix of bytes."""
        return self.columns.view(np.uint8).reshape(len(self), -1)

    def column(self, name: str) -> Column:
        """An integer field of every feed."""
        return self.columns[name].astype(np.uint64)

    def places(self, feeds: Mapping[bytes, int]) -> Positions:
        """The column of every row; ``feeds`` maps the feed ids of a deployment to columns."""
        if self._placed[0] is not feeds:
            self._placed = feeds, np.array([feeds[f] for f in self.feeds], dtype=np.intp)
        return self._placed[1]

    @cached_property
    def leaves(self) -> Digests:
        """The leaf of every feed."""
        return merkle.leaves_of(self.matrix)

    @cached_property
    def root(self) -> bytes:
        """The Merkle root that the header signs."""
        return merkle.root_of(self.leaves)

    def are_of(self, config_digest: bytes, round_id: int) -> bool:
        """Whether every row is of this configuration and round."""
        expected = config_digest + round_id.to_bytes(8)
        found = np.concatenate((self.matrix[:, 4:36], self.matrix[:, 68:76]), axis=1)
        return bool((found == np.frombuffer(expected, np.uint8)).all())

    def _malformed(self) -> Mask:
        raise NotImplementedError

    def _explain(self, index: int) -> None:
        try:
            self.row.decode(self.parts[index])
        except EncodingError as error:
            raise EncodingError(f"feed {self.feeds[index].hex()}: {error}") from None


class ObservationRows(Rows[Observation]):
    """What one oracle saw: 152 bytes a feed."""

    name = "observations"
    row = Observation
    dtype = OBSERVATION_DTYPE

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._signed: tuple[bytes, Digests] = b"", np.empty((0, 32), dtype=np.uint8)

    @classmethod
    def of(
        cls,
        config_digest: bytes,
        round_id: int,
        seq: int,
        obs_time: int,
        looks: Mapping[bytes, tuple[OraclePrice, bytes]],
    ) -> Self:
        """The rows of what one oracle sees: feed id -> (price, evidence_root)."""
        feed_ids = sorted(looks)
        prices, roots = zip(*(looks[feed_id] for feed_id in feed_ids), strict=True)
        rows = np.zeros(len(feed_ids), dtype=OBSERVATION_DTYPE)
        rows["magic"] = obs.MAGIC
        rows["config_digest"] = np.frombuffer(config_digest, np.uint8)
        rows["feed_id"] = digests(feed_ids)
        rows["round"], rows["seq"], rows["obs_time"] = round_id, seq, obs_time
        columns = np.array([*map(_SEEN, prices)], dtype=np.uint64).T
        for name, column in zip(_SEEN_FIELDS, columns, strict=True):
            rows[name] = column
        rows["expo"] = EXPO
        rows["n_venues"] = _BITS[rows["venues"]]
        rows["evidence_root"] = digests(roots)
        return cls(rows.tobytes())

    def signed_leaves(self, signature: bytes) -> Digests:
        """The leaf of every feed in its report's ``observations_root``: over ``OBS || signature``,
        the signature of the whole batch."""
        if self._signed[0] != signature:
            tails = np.broadcast_to(np.frombuffer(signature, np.uint8), (len(self), len(signature)))
            signed = np.concatenate((self.matrix, tails), axis=1)
            self._signed = signature, merkle.leaves_of(signed)
        return self._signed[1]

    def _malformed(self) -> Mask:
        c = self.columns
        bad: Mask = (
            (c["magic"] != obs.MAGIC)
            | (c["expo"] != EXPO)
            | (c["venues"] > ALL_VENUES)
            | (c["flags"] > Flag.LAST)
            | (c["n_venues"] != _BITS[c["venues"]])
        )
        return bad


class ReportRows(Rows[Report]):
    """What the quorum says: 168 bytes a feed."""

    name = "reports"
    row = Report
    dtype = REPORT_DTYPE

    @cached_property
    def hashes(self) -> Digests:
        """``Report.hash`` of every feed: what its next report links to."""
        return tagged_rows(rpt.TAG, self.matrix)

    def _malformed(self) -> Mask:
        c = self.columns
        bad: Mask = (
            (c["magic"] != rpt.MAGIC)
            | (c["expo"] != EXPO)
            | (c["grade"] < Grade.FULL)
            | (c["grade"] > Grade.DEGRADED)
            | (c["n_obs"] != _BITS[c["observers"]])
        )
        return bad


@lru_cache(maxsize=16)
def _feeds(ids: bytes) -> tuple[tuple[bytes, ...], bool]:
    """Ids side by side, one by one, and whether they ascend. Most batches are of the same feeds."""
    feeds = tuple([ids[i : i + 32] for i in range(0, len(ids), 32)])
    return feeds, all(map(lt, feeds, feeds[1:]))


def digests(hashes: Sequence[bytes]) -> Digests:
    """32-byte hashes as a matrix of bytes."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
