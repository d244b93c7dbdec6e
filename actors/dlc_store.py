"""What an oracle has announced and attested, on its disk: the ledger first, then the signature.

    FOLDER/ledger.journal      what the key is bound to; one process at a time, lost = key retired
    FOLDER/public/NAME.*.json  what everybody may read; the same command again makes it again

A record of the journal is an announcement (its TLV) or "outcome" and the texts. An outcome is on
disk before its first digit is signed, and signing it again gives the same bytes, so a crash at any
place leaves an event without a signature or with one outcome. A journal that is older than the
public files beside it is found out. One that was brought back from a backup has forgotten what was
announced and attested since (``mark_restored``): whoever opens it says until when that may be
(``resume``), and events that were due by then are left as they are.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from actors.files import Fsync, sync_folder
from actors.journal import Journal
from protocol.errors import EncodingError, GuardError
from protocol.oracle.dlc import tlv
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.attestation import Attestation
from protocol.oracle.dlc.ledger import Ledger, Outcomes

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""Of an event that is kept here: its files are called after it."""

Signer = Callable[[Announcement, Outcomes], Attestation]

LEDGER: Final = "ledger.journal"
_OWNER: Final = b"dlc ledger v1 "
_ANNOUNCED: Final = b"A"
_BOUND: Final = b"O"
_RESTORED: Final = b"R"


class DlcStore:
    """The ledger of the oracle whose DLC key is ``public``. ``DlcStore.open`` makes one."""

    def __init__(
        self, folder: Path, journal: Journal, ledger: Ledger, restored_s: int | None = 0
    ) -> None:
        self.folder = folder
        self.ledger = ledger
        self._journal = journal
        self._restored_s = restored_s

    @classmethod
    def open(cls, folder: Path, public: bytes, fsync: Fsync = os.fsync) -> Self:
        """The store in ``folder``, which is made if it is not there. GuardError: in use by another
        process, damaged, or another key's."""
        try:
            (folder / "public").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GuardError(f"{folder}: cannot be used ({error.strerror})") from None
        path = folder / LEDGER
        journal, records = Journal.open(path, fsync)
        try:
            marks = [record[1:] for record in records if record[:1] == _RESTORED]
            written = [record for record in records if record[:1] != _RESTORED]
            if not written:
                journal.append(_OWNER + public)
            elif written[0] != _OWNER + public:
                raise GuardError(f"{path}: the ledger of another key; every key has its own")
            ledger = Ledger()
            for record in written[1:]:
                _replay(path, ledger, record)
        except BaseException:
            journal.close()
            raise
        is_open = bool(marks) and not marks[-1]
        return cls(folder, journal, ledger, None if is_open else max(map(_uint, marks), default=0))

    @property
    def is_restored(self) -> bool:
        """Whether it was brought back from a backup and attests nothing new until ``resume``."""
        return self._restored_s is None

    def resume(self, now_s: int) -> None:
        """Go on after a restore: events that were due by ``now_s`` (unix s) get no first outcome
        any more. Returns once that is on disk. GuardError if the disk fails."""
        self._journal.append(_RESTORED + now_s.to_bytes(8))
        self._restored_s = now_s

    def announce(self, announcement: Announcement) -> Announcement:
        """Returns once it is on disk and public: this announcement, or the one that was made of the
        same event before. GuardError if the event stands with other terms or the disk fails."""
        name = announcement.event.event_id
        if not NAME.fullmatch(name):
            raise EncodingError(f"event {name!r}: write 1 to 200 of A-Z, a-z, 0-9 and . _ -")
        if self.ledger.is_new(announcement):
            told = _told(announcement_file(self.folder, name), "announcement")
            if told is not None and Announcement.decode(told).event != announcement.event:
                raise GuardError(_old_copy(self._journal.path, name))
            self._journal.append(_ANNOUNCED + announcement.encode())
            self.ledger.announce(announcement)
        kept = self.ledger.announcement(name)
        _publish(announcement_file(self.folder, name), {"announcement": kept.encode().hex()})
        return kept

    def attest(self, event_id: str, outcomes: Outcomes, sign: Signer) -> Attestation:
        """The attestation that ``sign`` makes, called once the outcome is on disk as the event's
        only one; it is public when this returns. GuardError if another outcome stands, the event
        was never announced or the disk fails."""
        if self.ledger.is_unbound(event_id, outcomes):
            restored_s = self._restored_s
            maturity_s = self.ledger.announcement(event_id).event.maturity_s
            if restored_s is None or maturity_s <= restored_s:
                raise GuardError(
                    f"event {event_id}: may have been attested before {self._journal.path} was"
                    " restored; a second outcome would give the key away, so there is none"
                )
            told = _told(attestation_file(self.folder, event_id), "attestation")
            if told is not None and Attestation.decode(told).outcomes != outcomes:
                raise GuardError(_old_copy(self._journal.path, event_id))
            texts = b"".join(map(tlv.text, (event_id, *outcomes)))
            self._journal.append(_BOUND + texts)
            self.ledger.bind(event_id, outcomes)
        announcement = self.ledger.announcement(event_id)
        attestation = sign(announcement, outcomes)
        attestation.check(announcement)
        both = {"announcement": announcement.encode(), "attestation": attestation.encode()}
        _publish(
            attestation_file(self.folder, event_id),
            {kind: message.hex() for kind, message in both.items()},
        )
        return attestation

    def close(self) -> None:
        """Releases the lock."""
        self._journal.close()


def mark_restored(path: Path) -> None:
    """Note in a ledger's file, made if there is none, that it was brought back from a backup; until
    when something may be lost is said at its first use. GuardError: in use or damaged."""
    journal, _ = Journal.open(path)
    try:
        journal.append(_RESTORED)
    finally:
        journal.close()


def _uint(data: bytes) -> int:
    return int.from_bytes(data)


def announcement_file(folder: Path, event_id: str) -> Path:
    """Where the announcement of an event is public: ``oracle-vm verify`` takes the file."""
    return folder / "public" / f"{event_id}.announcement.json"


def attestation_file(folder: Path, event_id: str) -> Path:
    """Where the attestation of an event is public, with its announcement."""
    return folder / "public" / f"{event_id}.attestation.json"


def _replay(path: Path, ledger: Ledger, record: bytes) -> None:
    kind, data = record[:1], record[1:]
    try:
        if kind == _ANNOUNCED:
            ledger.announce(Announcement.decode(data))
        elif kind == _BOUND:
            fields = tlv.Reader("outcome", data)
            event_id = fields.text("event_id")
            count = ledger.announcement(event_id).event.descriptor.signatures
            ledger.bind(event_id, tuple(fields.text("outcome") for _ in range(count)))
            fields.end()
        else:
            raise EncodingError(f"record of kind {kind!r}")
    except (EncodingError, GuardError) as error:
        raise GuardError(
            f"{path}: damaged or of a newer version ({error}); bring it back"
        ) from None


def _told(path: Path, kind: str) -> bytes | None:
    """The message that a public file has told already. A journal that does not know it is older."""
    try:
        return bytes.fromhex(json.loads(path.read_text())[kind])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GuardError(f"{path}: not what was written ({error}); bring it back") from None


def _old_copy(journal: Path, event_id: str) -> str:
    return (
        f"{journal}: an old copy, event {event_id} was made public with something else. Bring back"
        " the newest file or retire the key"
    )


def _publish(path: Path, fields: dict[str, str]) -> None:
    """The file, whole or not at all; it is left alone if it says this already."""
    text = json.dumps(fields) + "\n"
    try:
        if path.exists() and path.read_text() == text:
            return
        draft = path.with_name(f".{path.name}")
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(path)
        sync_folder(path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise GuardError(f"{path}: not written ({error}); repair it and run this again") from None
