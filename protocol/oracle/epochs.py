"""The configurations of one network in order, each handed over by a quorum of the one before."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from protocol.errors import GuardError, QuorumError, SignatureError
from protocol.oracle import rotation as rot
from protocol.oracle.batch_certificate import BatchCertificate, FeedCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import ExpiryCertificate
from protocol.oracle.rotation import Rotation, RotationCertificate

if TYPE_CHECKING:  # it imports what imports this
    from protocol.oracle.round import Guard

PriceCertificate = Certificate | FeedCertificate | BatchCertificate


@dataclass(frozen=True, slots=True)
class Epochs:
    """``first`` is pinned by whoever checks (the newest configuration known to be genuine: keys
    revoked since then cannot hurt); the rest is proved by ``rotations``, oldest first. QuorumError
    or SignatureError name the first rotation that proves nothing."""

    first: OracleConfig
    rotations: tuple[RotationCertificate, ...] = ()
    configs: tuple[OracleConfig, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        configs = (self.first, *(r.rotation.new for r in self.rotations))
        for old, certificate in zip(configs, self.rotations, strict=False):
            certificate.check(old)
        for earlier, later in pairwise(r.rotation for r in self.rotations):
            _require_later(earlier, later)
        object.__setattr__(self, "configs", configs)

    @property
    def newest(self) -> OracleConfig:
        """The last configuration, active or about to be."""
        return self.configs[-1]

    def add(self, certificate: RotationCertificate) -> Self:
        """The epochs with one more rotation; the same ones if it is known. QuorumError if another
        rotation of that epoch is known (``evidence.of_certificates`` convicts who signed both), or
        as the constructor."""
        for known in self.rotations:
            if known.rotation == certificate.rotation:
                return self
            if known.rotation.old_digest == certificate.rotation.old_digest:
                raise QuorumError(
                    f"rotation to epoch {certificate.rotation.new.epoch}: another one is known, the"
                    " first counts; who signed both has signed twice"
                )
        return type(self)(self.first, (*self.rotations, certificate))

    def require_next(self, rotation: Rotation) -> None:
        """QuorumError unless the rotation, once signed, could be added."""
        rotation.require_successor(self.newest)
        for last in self.rotations[-1:]:
            _require_later(last.rotation, rotation)

    def of(self, digest: bytes) -> OracleConfig:
        """The configuration with this digest, retired or not; QuorumError if it is unknown."""
        for config in self.configs:
            if config.digest == digest:
                return config
        raise QuorumError(
            f"configuration {digest.hex()} is unknown: another network, or a rotation that has not"
            " arrived; fetch the rotations"
        )

    def at(self, round_id: int) -> OracleConfig:
        """The configuration that settles ``round_id``."""
        active = sum(r.rotation.round <= round_id for r in self.rotations)
        return self.configs[active]

    def may_certify(self, round_id: int) -> tuple[OracleConfig, ...]:
        """The configurations whose certificates of this round count, the settling one last: two in
        the round of a rotation, so that it is not lost while one oracle lags behind."""
        active = sum(r.rotation.round <= round_id for r in self.rotations)
        overlap = sum(r.rotation.round < round_id for r in self.rotations)
        return self.configs[overlap : active + 1]

    def certifier(self, digest: bytes, round_id: int) -> OracleConfig:
        """The configuration to check a certificate of this digest and round with. QuorumError if it
        is unknown, retired before the round or not yet active in it."""
        config = self.of(digest)
        allowed = self.may_certify(round_id)
        if config not in allowed:
            epochs = " or ".join(str(c.epoch) for c in allowed)
            raise QuorumError(
                f"certificate of epoch {config.epoch}: round {round_id} is certified by epoch"
                f" {epochs} only"
            )
        return config

    def counts(self, digest: bytes, round_id: int) -> bool:
        """Whether ``certifier`` knows a configuration for it. A node that learns of a rotation
        after its round holds some that do not count."""
        return any(config.digest == digest for config in self.may_certify(round_id))

    def of_price(self, certificate: PriceCertificate) -> OracleConfig:
        """The configuration to check a price certificate with; errors as ``certifier``."""
        return self.certifier(certificate.report.config_digest, certificate.report.round)

    def check(self, certificate: PriceCertificate) -> OracleConfig:
        """The configuration under which this is a valid certificate of its round, of whatever feed.
        QuorumError or SignatureError say what is wrong."""
        config = self.of_price(certificate)
        certificate.check(config)
        return config

    def check_expiry(
        self, certificate: ExpiryCertificate, quorum: int | None = None
    ) -> OracleConfig:
        """The configuration, retired or not, under which this is a valid expiry certificate.
        QuorumError or SignatureError say what is wrong."""
        config = self.of(certificate.expiry.slot.config_digest)
        certificate.check(config, quorum)
        return config

    def settles(self, certificate: PriceCertificate) -> bool:
        """Whether the certificate is of the epoch that settles its round: of two for the round of a
        rotation this one is preferred."""
        report = certificate.report
        return report.config_digest == self.at(report.round).digest


def sign_rotation(
    epochs: Epochs,
    rotation: Rotation,
    public: bytes,
    sign: Callable[[bytes], bytes],
    guard: "Guard",
    now_ms: int,
) -> tuple[int, bytes]:
    """The index and signature of the oracle with the x-only key ``public``, for the certificate.

    An oracle hands over once an epoch, ever, and only to a round that has not begun: a quorum that
    rewrites the past is a quorum of liars. QuorumError, SignatureError (no member) or GuardError
    (another rotation of this epoch was signed) say why not.
    """
    old = epochs.newest
    epochs.require_next(rotation)
    if rotation.round <= old.round_at(now_ms):
        raise QuorumError(
            f"rotation round {rotation.round} has begun: name one after {old.round_at(now_ms)}"
        )
    if public not in old.oracles:
        raise SignatureError(f"rotation: {public.hex()} is not one of epoch {old.epoch}'s oracles")
    try:
        guard.record_once(rot.MAGIC, old.digest, rotation.encode())
    except GuardError as error:
        raise GuardError(f"rotation from epoch {old.epoch}: {error}") from error
    return old.oracles.index(public), sign(rotation.hash)


def _require_later(earlier: Rotation, later: Rotation) -> None:
    if later.round <= earlier.round:
        raise QuorumError(
            f"rotation to epoch {later.new.epoch} in round {later.round}: epoch"
            f" {earlier.new.epoch} begins in round {earlier.round}, name a later one"
        )
