"""``oracle-vm verify`` of DLC messages: an announcement; with its attestation; two attestations
that convict.

Their key is in them: it is for the reader to compare it with the key that the oracle made known.
"""

from typing import Final

from actors.json_text import json_object
from actors.verify_command import Details, Verdict, from_hex
from protocol.errors import EncodingError, ProtocolError
from protocol.oracle.dlc import evidence
from protocol.oracle.dlc.announcement import ANNOUNCEMENT, Announcement
from protocol.oracle.dlc.attestation import ATTESTATION, Attestation
from protocol.oracle.dlc.descriptor import DigitDescriptor
from protocol.oracle.dlc.tlv import bigsize

MARKS: Final = {
    bigsize(ANNOUNCEMENT).hex(): "announcement",
    bigsize(ATTESTATION).hex(): "attestation",
}
"""What the hex of a DLC message begins with."""

PAIR: Final = "attestations"


def judge_dlc(data: bytes) -> Verdict | None:
    """The verdict on the bytes of a file with DLC messages; None if they are something else."""
    record = _record(data)
    if record is None:
        return None
    kind = "evidence" if PAIR in record else "announcement"
    try:
        if PAIR in record:
            return Verdict(kind, None, _evidence(record[PAIR]))
        if "announcement" not in record:
            kind = "attestation"
            raise EncodingError("attestation: put it and its `announcement` into one JSON file")
        announcement = Announcement.decode(from_hex(kind, record[kind]))
        announcement.check()
        details = _event(announcement)
        if "attestation" in record:
            kind = "attestation"
            attestation = Attestation.decode(from_hex(kind, record[kind]))
            attestation.check(announcement)
            details |= _outcome(announcement, attestation)
        return Verdict(kind, None, details)
    except ProtocolError as error:
        return Verdict(kind, str(error), {})


def _record(data: bytes) -> Details | None:
    """The JSON object of a file with DLC messages; None if it holds something else."""
    text = data.decode("utf-8", errors="replace").strip()
    if (kind := MARKS.get(text[:6].lower())) is not None:
        return {kind: text}
    if not text.startswith("{"):
        return None
    try:
        record = json_object(text)
    except EncodingError:
        return None
    return record if record.keys() & {*MARKS.values(), PAIR} else None


def _event(announcement: Announcement) -> Details:
    event = announcement.event
    return {
        "oracle": announcement.public.hex(),
        "event": event.event_id,
        "maturity": event.maturity_s,
    }


def _outcome(announcement: Announcement, attestation: Attestation) -> Details:
    descriptor = announcement.event.descriptor
    if not isinstance(descriptor, DigitDescriptor):
        return {"outcome": attestation.outcomes[0]}
    return {"outcome": descriptor.value_of(attestation.outcomes), "unit": descriptor.unit}


def _evidence(pair: object) -> Details:
    if not isinstance(pair, list) or len(pair) != 2:
        raise EncodingError("attestations: a list of two is needed")
    a, b = (Attestation.decode(from_hex(PAIR, text)) for text in pair)
    proofs = evidence.of_attestations(a, b)
    if not proofs:
        raise EncodingError("attestations: no nonce signs two texts, this convicts nobody")
    proofs[0].secret_key()  # whoever has the pair has the key; it is not printed
    return {"oracle": a.public.hex(), "events": [a.event_id, b.event_id], "digits": len(proofs)}
