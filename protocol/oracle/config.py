"""The configuration that a set of oracles signs under (``CFG1``) and its digest.

Every message carries the digest, so a signature dies with its configuration: another network,
epoch, member, quorum or limit is another digest.
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import Final, Self

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConfigError, EncodingError
from protocol.oracle.layout import require_bytes, require_uint

MAGIC: Final = b"CFG1"
MAX_ORACLES: Final = 8
"""The bitmaps of the encodings hold one byte."""

_HEAD: Final = Struct(">4s32sIB")
_TAIL: Final = Struct(">BBIIIIIB")


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleConfig:
    """Who signs and within which limits. ConfigError names the first wrong field.

    ``genesis_hash`` is the Bitcoin network's genesis block hash in internal byte order; ``oracles``
    are x-only public keys, an oracle's index is its position; ``delta_ppm`` and ``max_move_ppm``
    are parts per million of a price; times are milliseconds.
    """

    genesis_hash: bytes
    epoch: int
    oracles: tuple[bytes, ...]
    quorum: int
    faults: int
    interval_ms: int
    delta_ppm: int
    max_move_ppm: int
    max_age_ms: int
    future_ms: int
    min_venues: int
    digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            self._require_fields()
        except EncodingError as error:
            raise ConfigError(str(error)) from None
        self._require_sense()
        object.__setattr__(self, "digest", tagged_hash("btcfi/config/v1", self.encode()))

    def _require_fields(self) -> None:
        require_bytes("genesis_hash", self.genesis_hash, 32)
        for index, key in enumerate(self.oracles):
            require_bytes(f"oracles[{index}]", key, 32)
        for name in (
            "epoch",
            "interval_ms",
            "delta_ppm",
            "max_move_ppm",
            "max_age_ms",
            "future_ms",
        ):
            require_uint(name, getattr(self, name), 32)
        for name in ("quorum", "faults", "min_venues"):
            require_uint(name, getattr(self, name), 8)

    def _require_sense(self) -> None:
        n = len(self.oracles)
        if not 1 <= n <= MAX_ORACLES:
            raise ConfigError(f"oracles: 1 to {MAX_ORACLES} public keys are needed, got {n}")
        if len(set(self.oracles)) != n:
            raise ConfigError("oracles: one public key is listed twice; each oracle has its own")
        if not 2 * self.faults < n:
            raise ConfigError(f"faults: a median of {n} tolerates fewer than {n}/2 liars")
        if not self.faults < self.quorum <= n:
            raise ConfigError(f"quorum: must be between faults + 1 = {self.faults + 1} and {n}")
        if self.interval_ms == 0:
            raise ConfigError("interval_ms: must be at least 1")
        if self.min_venues == 0:
            raise ConfigError("min_venues: must be at least 1")
        for index, key in enumerate(self.oracles):
            if not keys.is_public(key):
                raise ConfigError(f"oracles[{index}]: {key.hex()} is no curve point, nobody's key")

    @property
    def full_observations(self) -> int:
        """2f + 1 observations make a median FULL: f liars cannot leave the honest range."""
        return 2 * self.faults + 1

    def round_at(self, unix_ms: int) -> int:
        """The round that contains ``unix_ms``."""
        return unix_ms // self.interval_ms

    def starts_ms(self, round_id: int) -> int:
        """T0 of a round, unix ms."""
        return round_id * self.interval_ms

    def encode(self) -> bytes:
        """The ``CFG1`` bytes."""
        return b"".join(
            (
                _HEAD.pack(MAGIC, self.genesis_hash, self.epoch, len(self.oracles)),
                *self.oracles,
                _TAIL.pack(
                    self.quorum,
                    self.faults,
                    self.interval_ms,
                    self.delta_ppm,
                    self.max_move_ppm,
                    self.max_age_ms,
                    self.future_ms,
                    self.min_venues,
                ),
            )
        )

    @staticmethod
    def size_of(data: bytes) -> int:
        """How many bytes the configuration has that ``data`` begins with; EncodingError if they do
        not begin one."""
        if len(data) < _HEAD.size:
            raise EncodingError(f"config: {len(data)} bytes are too few")
        magic, _, _, n = _HEAD.unpack_from(data)
        if magic != MAGIC:
            raise EncodingError(f"config version: magic {magic!r} is unknown, expected CFG1")
        return _HEAD.size + 32 * int(n) + _TAIL.size

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The configuration of these bytes; EncodingError names the field that is wrong."""
        require_bytes("config", data, cls.size_of(data))
        _, genesis_hash, epoch, n = _HEAD.unpack_from(data)
        oracles = data[_HEAD.size : _HEAD.size + 32 * n]
        quorum, faults, interval, delta, move, age, future, venues = _TAIL.unpack_from(
            data, _HEAD.size + 32 * n
        )
        try:
            return cls(
                genesis_hash=genesis_hash,
                epoch=epoch,
                oracles=tuple(oracles[i : i + 32] for i in range(0, len(oracles), 32)),
                quorum=quorum,
                faults=faults,
                interval_ms=interval,
                delta_ppm=delta,
                max_move_ppm=move,
                max_age_ms=age,
                future_ms=future,
                min_venues=venues,
            )
        except ConfigError as error:
            raise EncodingError(f"config {error}") from None
