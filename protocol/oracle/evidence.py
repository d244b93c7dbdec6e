"""Equivocation: two signatures of one key over different messages for one slot. Portable proof.

What fills a slot once is in ``KINDS``: an observation, a report or a batch of a configuration, feed
and round, an expiry of a question, a rotation of an epoch. An honest oracle never fills one twice,
its sign guard sees to that; so the pair convicts the key's owner before anybody, without trust in
who shows it. Two signatures over the *same* bytes are no evidence: BIP340's auxiliary randomness
makes them differ.

    EVI1  "EVI1" | pubkey 32 | message a | signature a 64 | message b | signature b 64
    EVI2  "EVI2" | pubkey 32 | contract_id 32 | as above: expiries of one American contract that
          settle it in two rounds; only its id shows that their subjects belong together
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from protocol.crypto import keys
from protocol.errors import EncodingError, SignatureError
from protocol.oracle import batch as bat
from protocol.oracle import expiry as exp
from protocol.oracle import observation as obs
from protocol.oracle import report as rpt
from protocol.oracle import rotation as rot
from protocol.oracle.batch import BatchObservation, BatchReport
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import Expiry, ExpiryCertificate, exercise_subject
from protocol.oracle.layout import require_bytes
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.report import Report
from protocol.oracle.rotation import Rotation, RotationCertificate

MAGIC: Final = b"EVI1"
MAGIC_CONTRACT: Final = b"EVI2"
_DIGEST: Final = slice(4, 36)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message that an oracle signs once a slot. Every kind has its config digest behind
    the magic."""

    size: Callable[[bytes], int]
    """Of the message that these bytes begin with; EncodingError if they begin none."""
    slot: Callable[[bytes], bytes]
    """Equal for two messages of which an honest oracle signs one."""
    digest: Callable[[bytes], bytes]
    """The 32 bytes that are signed; EncodingError if the message is malformed."""


def _sized(size: int) -> Callable[[bytes], int]:
    return lambda _: size


def _first(size: int) -> Callable[[bytes], bytes]:
    return lambda message: message[:size]


def _question(expiry: bytes) -> bytes:
    return Expiry.decode(expiry).slot.slot_id


KINDS: Final[Mapping[bytes, Kind]] = {
    obs.MAGIC: Kind(_sized(obs.SIZE), _first(76), lambda m: Observation.decode(m).message),
    rpt.MAGIC: Kind(_sized(rpt.SIZE), _first(76), lambda m: Report.decode(m).hash),
    bat.OBSERVATION_MAGIC: Kind(
        _sized(bat.OBSERVATION_SIZE),
        _first(bat.SLOT_SIZE),
        lambda m: BatchObservation.decode(m).message,
    ),
    bat.REPORT_MAGIC: Kind(
        _sized(bat.REPORT_SIZE), _first(bat.SLOT_SIZE), lambda m: BatchReport.decode(m).hash
    ),
    exp.MAGIC: Kind(_sized(exp.SIZE), _question, lambda m: Expiry.decode(m).hash),
    rot.MAGIC: Kind(Rotation.size_of, _first(36), lambda m: Rotation.decode(m).hash),
}
"""By magic."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two messages of one kind and their signatures by ``public``; ``contract_id`` is 32 bytes for
    two expiries of one American contract, empty otherwise. EncodingError on a wrong length or an
    unknown kind. It convicts nobody until ``check``."""

    public: bytes
    message_a: bytes
    signature_a: bytes
    message_b: bytes
    signature_b: bytes
    contract_id: bytes = b""

    def __post_init__(self) -> None:
        require_bytes("evidence public key", self.public, 32)
        for name, message in (("a", self.message_a), ("b", self.message_b)):
            require_bytes(f"evidence message {name}", message, _kind(message).size(message))
        require_bytes("evidence signature a", self.signature_a, 64)
        require_bytes("evidence signature b", self.signature_b, 64)
        if self.contract_id:
            require_bytes("evidence contract id", self.contract_id, 32)

    def encode(self) -> bytes:
        """The ``EVI1`` bytes, or ``EVI2`` with a contract id."""
        return b"".join(
            (
                MAGIC_CONTRACT if self.contract_id else MAGIC,
                self.public,
                self.contract_id,
                self.message_a,
                self.signature_a,
                self.message_b,
                self.signature_b,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The evidence of exactly these bytes; EncodingError names the field that is wrong."""
        magic = data[: len(MAGIC)]
        if magic not in (MAGIC, MAGIC_CONTRACT):
            raise EncodingError(
                f"evidence version: magic {magic!r} is unknown, expected EVI1 or EVI2"
            )
        head = 36 if magic == MAGIC else 68
        rest = data[head:]
        end_a = _kind(rest).size(rest) + 64
        a, b = rest[:end_a], rest[end_a:]
        require_bytes("evidence", data, head + end_a + _kind(b).size(b) + 64)
        return cls(data[4:36], a[:-64], a[-64:], b[:-64], b[-64:], data[36:head])

    def check(self, config: OracleConfig) -> int:
        """The index of the oracle that this convicts under ``config``.

        EncodingError if a message is malformed, SignatureError if the pair is no equivocation: not
        a member's key, another configuration, other slots, the same bytes, or a bad signature.
        """
        if self.public not in config.oracles:
            raise SignatureError("evidence: the key is not one of this configuration's oracles")
        first, second = _kind(self.message_a), _kind(self.message_b)
        digest_a, digest_b = first.digest(self.message_a), second.digest(self.message_b)
        if self.contract_id:
            self._require_two_rounds()
        elif first is not second or first.slot(self.message_a) != second.slot(self.message_b):
            raise SignatureError(
                "evidence: the messages differ in kind, configuration, feed or round (expiries: in"
                " what was asked)"
            )
        if {self.message_a[_DIGEST], self.message_b[_DIGEST]} != {config.digest}:
            raise SignatureError("evidence: the messages are of another configuration")
        if self.message_a == self.message_b:
            raise SignatureError("evidence: the messages are the same; signing twice is no lie")
        if not keys.verify(self.public, digest_a, self.signature_a):
            raise SignatureError("evidence: signature a does not verify")
        if not keys.verify(self.public, digest_b, self.signature_b):
            raise SignatureError("evidence: signature b does not verify")
        return config.oracles.index(self.public)

    def _require_two_rounds(self) -> None:
        if {self.message_a[:4], self.message_b[:4]} != {exp.MAGIC}:
            raise SignatureError("evidence: a contract id goes with two expiries only")
        slots = [Expiry.decode(message).slot for message in (self.message_a, self.message_b)]
        for name, slot in zip("ab", slots, strict=True):
            if slot.subject != exercise_subject(self.contract_id, slot.target_round):
                raise SignatureError(f"evidence: expiry {name} is not of this contract")
        if slots[0].target_round == slots[1].target_round:
            raise SignatureError("evidence: both expiries settle the contract in the same round")


def of_observations(public: bytes, a: SignedObservation, b: SignedObservation) -> Evidence:
    """The pair as evidence against ``public``; ``check`` decides whether it convicts."""
    return Evidence(
        public, a.observation.encode(), a.signature, b.observation.encode(), b.signature
    )


AnyCertificate = Certificate | BatchCertificate | ExpiryCertificate | RotationCertificate


def of_certificates(
    config: OracleConfig, a: AnyCertificate, b: AnyCertificate, contract_id: bytes = b""
) -> tuple[Evidence, ...]:
    """Evidence against every oracle that signed both of two contradicting certificates, in order of
    the indexes; none if they do not contradict each other. ``config`` is the one that both were
    checked with; ``contract_id`` goes with two expiries of an American contract."""
    message_a, message_b, theirs = _message(a), _message(b), dict(b.signatures)
    proofs = (
        Evidence(config.oracles[i], message_a, signature, message_b, theirs[i], contract_id)
        for i, signature in a.signatures
        if i in theirs
    )
    return tuple(proof for proof in proofs if _convicts(proof, config))


def _convicts(proof: Evidence, config: OracleConfig) -> bool:
    try:
        proof.check(config)
    except SignatureError:
        return False
    return True


def _message(certificate: AnyCertificate) -> bytes:
    if isinstance(certificate, ExpiryCertificate):
        return certificate.expiry.encode()
    if isinstance(certificate, RotationCertificate):
        return certificate.rotation.encode()
    return certificate.report.encode()


def _kind(message: bytes) -> Kind:
    """The kind of the message that these bytes begin with; EncodingError if there is none."""
    kind = KINDS.get(message[:4])
    if kind is None:
        known = ", ".join(magic.decode() for magic in KINDS)
        raise EncodingError(
            f"evidence message: magic {message[:4]!r} is unknown, it must be one of {known}"
        )
    return kind
