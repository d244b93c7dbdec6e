"""What a party has revealed under its one-time keys, for ever: the guard of ``OneTimeKey.sign``.

    file   owner, then one record a label: length of the label u16 | label | digits, a byte each

A message is on disk before ``setdefault`` returns it, so before anything signed with it exists. The
file has one owner at a time and belongs to one seed; nothing in it is ever replaced or removed.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from actors.files import Fsync
from actors.journal import Journal
from protocol.crypto.tagged import tagged_hash
from protocol.crypto.winternitz import TOP, Digits, Label
from protocol.errors import GuardError

_OWNER: Final = b"one-time guard v1 "
_TAG: Final = "btcfi/one-time-guard/v1"
_LENGTH: Final = 2


class OneTimeJournal:
    """The ``OneTimeGuard`` of one contract's seed, on disk. ``OneTimeJournal.open`` makes one.

    Thread-safe: it is ``dict.setdefault``, atomic and durable.
    """

    def __init__(self, journal: Journal, entries: Sequence[bytes]) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self.failed = False
        """Whether a write did not reach the disk: nothing more may be signed or said."""
        self._signed = dict(_entry(journal.path, entry) for entry in entries)
        if len(self._signed) < len(entries):
            journal.close()
            raise GuardError(_damaged(journal.path))

    @classmethod
    def open(cls, path: Path, seed: bytes, *, new: bool, fsync: Fsync = os.fsync) -> Self:
        """The guard of this 32-byte seed. ``new``: the seed has signed nothing yet, so that there
        may be no file; without it a missing or empty one is refused.

        GuardError: missing, in use, damaged, another seed's, or the disk fails.
        """
        if not new and not path.exists():
            raise GuardError(_missing(path))
        journal, records = Journal.open(path, fsync)
        try:
            owner = _OWNER + tagged_hash(_TAG, seed)
            if not records and not new:
                raise GuardError(_missing(path))
            if not records:
                journal.append(owner)
            elif records[0] != owner:
                raise GuardError(f"{path}: the guard of another seed; every seed has its own file")
            return cls(journal, records[1:])
        except BaseException:
            journal.close()
            raise

    def setdefault(self, label: Label, digits: Digits, /) -> Digits:
        """The digits that ``label`` has signed or now may: on disk when this returns. GuardError if
        that is uncertain; then nothing may be signed."""
        name = label.encode()
        with self._lock:
            held = self._signed.get(name)
            if held is None:
                self._append(len(name).to_bytes(_LENGTH) + name + bytes(digits))
                self._signed[name] = held = tuple(digits)
        return held

    def get(self, label: Label) -> Digits | None:
        """What ``label`` has signed, if anything."""
        return self._signed.get(label.encode())

    def _append(self, record: bytes) -> None:
        try:
            self._journal.append(record)
        except GuardError:
            self.failed = True
            raise

    def __len__(self) -> int:
        return len(self._signed)

    def close(self) -> None:
        """Releases the lock. Closing twice is fine."""
        self._journal.close()


def _entry(path: Path, record: bytes) -> tuple[bytes, Digits]:
    size = int.from_bytes(record[:_LENGTH])
    label, digits = record[_LENGTH : _LENGTH + size], tuple(record[_LENGTH + size :])
    if len(label) != size or not digits or max(digits) > TOP:
        raise GuardError(_damaged(path))
    return label, digits


def _missing(path: Path) -> str:
    return (
        f"{path}: missing, so nobody knows what this seed has signed. Bring the file back, or move"
        " the contract to a new folder: `oracle-vm contract import` reads the chain first"
    )


def _damaged(path: Path) -> str:
    return (
        f"{path}: an entry is not what was written. Do not edit or delete the file: move the"
        " contract to a new folder with `oracle-vm contract import`, which reads the chain first"
    )
