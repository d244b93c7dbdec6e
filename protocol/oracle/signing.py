"""Every message that an oracle's key signs, known by its magic; and its place in the sign guard.

    OBS1 OBB1   an observation, of one feed or of several: one a round, with the guard's next seq
    RPT1 BAT1   a report: one a round
    EXP1        an expiry: one a slot, ever
    ROT1        the step to the next configuration: one an epoch, ever
    HBT1        a sign of life: contradicts nothing, needs no guard

What is signed is the tagged hash of the whole message, each kind under a tag of its own. A signer
is shown the message, never a hash.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from protocol.errors import EncodingError, GuardError
from protocol.oracle import batch, expiry, heartbeat, observation, report, rotation
from protocol.oracle.batch import BatchObservation, BatchReport
from protocol.oracle.expiry import Expiry
from protocol.oracle.heartbeat import Heartbeat
from protocol.oracle.layout import ZERO32
from protocol.oracle.observation import Observation
from protocol.oracle.report import Report
from protocol.oracle.rotation import Rotation

if TYPE_CHECKING:
    from protocol.oracle.round import Guard

Message = Observation | BatchObservation | Report | BatchReport | Expiry | Rotation | Heartbeat

_DECODE: Final[Mapping[bytes, Callable[[bytes], Message]]] = {
    observation.MAGIC: Observation.decode,
    batch.OBSERVATION_MAGIC: BatchObservation.decode,
    report.MAGIC: Report.decode,
    batch.REPORT_MAGIC: BatchReport.decode,
    expiry.MAGIC: Expiry.decode,
    rotation.MAGIC: Rotation.decode,
    heartbeat.MAGIC: Heartbeat.decode,
}


def decode(data: bytes) -> Message:
    """The message of exactly these bytes; EncodingError for all that no oracle signs."""
    kind = _DECODE.get(data[:4])
    if kind is None:
        known = ", ".join(magic.decode() for magic in _DECODE)
        raise EncodingError(f"magic {data[:4]!r}: an oracle's key signs {known} and nothing else")
    return kind(data)


def digest(message: Message) -> bytes:
    """The 32 bytes that are signed."""
    if isinstance(message, Observation | BatchObservation | Heartbeat):
        return message.message
    return message.hash


def record(guard: "Guard", message: Message) -> None:
    """Returns once the message is on disk as the only one of its slot, if its kind has slots.
    GuardError otherwise."""
    data = message.encode()
    if isinstance(message, Observation):
        lane = observation.MAGIC, message.config_digest, message.feed_id
        _require_seq(guard, lane, message.seq, data)
        guard.record(*lane, message.round, data)
    elif isinstance(message, BatchObservation):
        lane = batch.OBSERVATION_MAGIC, message.config_digest, ZERO32
        _require_seq(guard, lane, message.seq, data)
        guard.record(*lane, message.round, data)
    elif isinstance(message, Report):
        guard.record(report.MAGIC, message.config_digest, message.feed_id, message.round, data)
    elif isinstance(message, BatchReport):
        guard.record(batch.REPORT_MAGIC, message.config_digest, ZERO32, message.round, data)
    elif isinstance(message, Expiry):
        guard.record_once(expiry.MAGIC, message.slot.slot_id, data)
    elif isinstance(message, Rotation):
        guard.record_once(rotation.MAGIC, message.old_digest, data)


def _require_seq(guard: "Guard", lane: tuple[bytes, bytes, bytes], seq: int, data: bytes) -> None:
    """An observation out of sequence would make peers remember a number that the guard never
    reaches: after its next start the oracle could not sign again."""
    if seq != guard.next_seq() and guard.recall(*lane) != data:
        raise GuardError(
            f"{lane[0].decode()} with seq {seq}: the sign guard's next number is {guard.next_seq()}"
        )
