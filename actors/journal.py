"""What must survive a crash: an append-only file of records, and the sign guard built on it.

A record is on disk (written and fsynced) before ``append`` returns. Frames are chained by CRC, so a
removed, reordered or altered record is found at the next start, and only the one thing that a crash
can do, a last frame cut short, is repaired. A file has one owner: an exclusive lock held for life.

    file   frame*
    frame  length u32 | head crc u32 | payload crc u32 | payload
    crc    of the length and of the payload, each seeded with the crc before it

CRCs find accidents, not enemies: who can write the file can also delete its end. Against that an
oracle compares its seq with the highest one that its peers have seen (``peers_seq``).
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, Self
from zlib import crc32

from protocol.errors import GuardError

MAX_RECORD: Final = 1 << 20
"""Bytes in one record, at most."""

_FRAME: Final = Struct(">III")
_LENGTH: Final = Struct(">I")
_SEED: Final = crc32(b"oracle-vm journal v1")


class Journal:
    """An append-only file of records with one writer. ``Journal.open`` makes one.

    After a failed write or fsync the state of the disk is unknown, so every further ``append`` is
    refused until the file is opened and replayed again.
    """

    def __init__(
        self, path: Path, fd: int, end: tuple[int, int], fsync: Callable[[int], None]
    ) -> None:
        self.path = path
        self._fd = fd
        self._size, self._crc = end
        self._fsync = fsync
        self._broken = False

    @classmethod
    def open(
        cls, path: Path, fsync: Callable[[int], None] = os.fsync
    ) -> tuple[Self, tuple[bytes, ...]]:
        """The journal, created with mode 0600 if there is none, and its records, oldest first.

        GuardError: another process has it open, it is damaged, or the disk fails. ``fsync`` is
        replaced by tests that inject disk errors.
        """
        fd = _open_locked(path)
        try:
            records, end = _replay(path, fd, fsync)
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, end, fsync), records

    def append(self, record: bytes) -> None:
        """Returns once ``record`` (1 byte to 1 MiB) is on disk; GuardError if that is uncertain."""
        if not 0 < len(record) <= MAX_RECORD:
            raise GuardError(f"{self.path}: a record of {len(record)} bytes, 1 to {MAX_RECORD} fit")
        if self._broken:
            raise GuardError(f"{self.path}: closed, or a write failed; open it again to continue")
        frame, crc = _frame(record, self._crc)
        try:
            self._require_untouched()
            _write_all(self._fd, frame)
            self._fsync(self._fd)
        except OSError as error:
            self._broken = True
            raise GuardError(
                f"{self.path}: {error.strerror or error}; nothing more is recorded or signed:"
                " make room or repair the disk, then restart"
            ) from error
        self._crc = crc
        self._size += len(frame)

    def close(self) -> None:
        """Releases the lock. Closing twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._broken = True

    def _require_untouched(self) -> None:
        ours, there = os.fstat(self._fd), self.path.stat()
        if (ours.st_dev, ours.st_ino, ours.st_size) != (there.st_dev, there.st_ino, self._size):
            self._broken = True
            raise GuardError(_damage(self.path, "it was moved, replaced or cut while in use"))


class SignGuard:
    """An oracle's memory of what it has signed. It allows one message a slot, for ever.

    A slot is (kind, config digest, feed id, round); within a (kind, config, feed) rounds only grow,
    so the newest slot is all that it must remember. It is the ``Guard`` of an ``OracleNode``.
    """

    def __init__(self, journal: Journal, seq: int, newest: dict[bytes, tuple[int, bytes]]) -> None:
        self._journal = journal
        self._seq = seq
        self._newest = newest

    @classmethod
    def open(
        cls,
        path: Path,
        public: bytes,
        peers_seq: int = 0,
        fsync: Callable[[int], None] = os.fsync,
    ) -> Self:
        """The guard of the oracle with this x-only public key. ``peers_seq`` is the highest seq of
        this oracle that its peers have seen.

        GuardError: the file is in use, damaged, another oracle's, or older than the peers' memory.
        """
        journal, records = Journal.open(path, fsync)
        try:
            owner = _OWNER + public
            if not records:
                journal.append(owner)
            elif records[0] != owner:
                raise GuardError(
                    f"{path}: the sign guard of another key; every key has its own file"
                )
            seq, newest = _newest_slots(path, records[1:])
            if seq < peers_seq:
                raise GuardError(
                    f"{path}: ends at seq {seq}, peers have seen {peers_seq}: an old copy. Bring"
                    " back the newest file or rotate to a new key; never sign on with this one"
                )
        except BaseException:
            journal.close()
            raise
        return cls(journal, seq, newest)

    @property
    def seq(self) -> int:
        """The highest number recorded."""
        return self._seq

    def next_seq(self) -> int:
        """The number that the next record gets; an observation carries it."""
        return self._seq + 1

    def record(
        self, kind: bytes, config_digest: bytes, feed_id: bytes, round_id: int, message: bytes
    ) -> None:
        """Returns once the message is on disk as the only one of its slot; only then may it be
        signed. The same message again is allowed, and not written again.

        ``kind`` is the four-byte magic of the message. GuardError if another message holds the
        slot, a later round was recorded, or the disk fails.
        """
        lane = _lane(kind, config_digest, feed_id)
        round_before, message_before = self._newest.get(lane, (-1, b""))
        if (round_id, message) == (round_before, message_before):
            return
        if round_id == round_before:
            raise GuardError(
                f"round {round_id}: another {kind.decode()} was recorded; take the next round"
            )
        if round_id < round_before:
            raise GuardError(
                f"round {round_id} is over: {kind.decode()} of round {round_before} was recorded"
            )
        seq = self._seq + 1
        self._journal.append(_ENTRY.pack(seq, lane, round_id) + message)
        self._seq = seq
        self._newest[lane] = round_id, message

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        """The message of the newest slot of this kind, or None."""
        entry = self._newest.get(_lane(kind, config_digest, feed_id))
        return None if entry is None else entry[1]

    def close(self) -> None:
        """Releases the lock."""
        self._journal.close()


_OWNER: Final = b"sign guard v1 "
_ENTRY: Final = Struct(">Q68sQ")


def _lane(kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes:
    lane = kind + config_digest + feed_id
    if len(kind) != 4 or len(lane) != 68:
        raise GuardError("a slot is a 4-byte kind, a 32-byte config digest and a 32-byte feed id")
    return lane


def _newest_slots(
    path: Path, entries: Sequence[bytes]
) -> tuple[int, dict[bytes, tuple[int, bytes]]]:
    seq = 0
    newest: dict[bytes, tuple[int, bytes]] = {}
    for entry in entries:
        if len(entry) <= _ENTRY.size:
            raise GuardError(_damage(path, f"entry {seq + 1} is too short"))
        number, lane, round_id = _ENTRY.unpack_from(entry)
        if number != seq + 1 or round_id <= newest.get(lane, (-1, b""))[0]:
            raise GuardError(_damage(path, f"entry {seq + 1} does not follow the one before it"))
        seq = number
        newest[lane] = round_id, entry[_ENTRY.size :]
    return seq, newest


def _replay(
    path: Path, fd: int, fsync: Callable[[int], None]
) -> tuple[tuple[bytes, ...], tuple[int, int]]:
    """Records, and size and crc of the file after a torn last frame was cut off."""
    try:
        data = _read_all(fd)
        records, crc, size = _parse(path, data)
        if size < len(data):
            os.ftruncate(fd, size)
        fsync(fd)
        _sync_folder(path.parent, fsync)
    except OSError as error:
        raise GuardError(f"{path}: {error.strerror or error}; repair the disk") from error
    return records, (size, crc)


def _frame(record: bytes, crc: int) -> tuple[bytes, int]:
    length = _LENGTH.pack(len(record))
    head_crc = crc32(length, crc)
    payload_crc = crc32(record, head_crc)
    return _FRAME.pack(len(record), head_crc, payload_crc) + record, payload_crc


def _parse(path: Path, data: bytes) -> tuple[tuple[bytes, ...], int, int]:
    """Records, the last crc, and where the last whole frame ends."""
    records = []
    crc, offset = _SEED, 0
    for record, crc_after, end in _frames(path, data):
        records.append(record)
        crc, offset = crc_after, end
    return tuple(records), crc, offset


def _frames(path: Path, data: bytes) -> Iterator[tuple[bytes, int, int]]:
    crc, offset = _SEED, 0
    while offset < len(data):
        rest = len(data) - offset
        if rest < _FRAME.size or not any(memoryview(data)[offset:]):
            return  # a frame cut short, or the blocks of one that never got their bytes
        length, head_crc, payload_crc = _FRAME.unpack_from(data, offset)
        if head_crc != crc32(_LENGTH.pack(length), crc):
            raise GuardError(_damage(path, f"the frame at byte {offset} is not what was written"))
        if rest < _FRAME.size + length:
            return
        end = offset + _FRAME.size + length
        record = data[offset + _FRAME.size : end]
        crc = crc32(record, head_crc)
        if crc != payload_crc:
            raise GuardError(_damage(path, f"the record at byte {offset} is not what was written"))
        offset = end
        yield record, crc, end


def _damage(path: Path, what: str) -> str:
    return (
        f"{path}: damaged, {what}. Do not edit or delete it: keep it as a record and start with"
        " a new key, or bring back the newest intact copy"
    )


def _open_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise GuardError(
            f"{path}: {error.strerror}; check the folder and its permissions"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise GuardError(
            f"{path}: in use by another process; stop it first, one key signs in one place"
        ) from error
    return fd


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read_all(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def _sync_folder(folder: Path, fsync: Callable[[int], None]) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fsync(fd)
    finally:
        os.close(fd)
