"""What must survive a crash: an append-only file of records, and the sign guard built on it.

A record is on disk (written and fsynced) before ``append`` returns. Frames are chained by CRC, so a
removed, reordered or altered record is found at the next start, and only the one thing that a crash
can do, a last frame cut short, is repaired. A file has one owner: an exclusive lock held for life.

    file   frame*
    frame  length u32 | head crc u32 | payload crc u32 | payload
    crc    of the length and of the payload, each seeded with the crc before it

``Journal.rewrite`` replaces the records by fewer ones: a crash leaves the old file or the new one,
and the lock is held on both until the new one is in place.

CRCs find accidents, not enemies: who can write the file can also delete its end. Against that an
oracle compares its seq with the highest one that its peers have seen (``peers_seq``).

A guard that was brought back from a backup (``mark_restored``) has forgotten what was signed since.
It records nothing until its oracle has asked its peers (``resume``), and then nothing that the lost
part may hold: no round up to the one that it resumes after, no expiry of such a round, and what
has no round (which exercise counts, a rotation) never.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final, Self
from zlib import crc32

from actors.files import Fsync, open_locked, read_all, sync_folder, write_all
from protocol.errors import GuardError
from protocol.oracle import batch as bat
from protocol.oracle import expiry as exp
from protocol.oracle import observation as obs
from protocol.oracle import report as rpt
from protocol.oracle.expiry import Expiry
from protocol.oracle.layout import ZERO32

MAX_RECORD: Final = 1 << 20
"""Bytes in one record, at most."""

COMPACT_AT: Final = 1 << 24
"""Bytes at which a sign guard's file is compacted: some hours of signing, read in a second."""

_FRAME: Final = Struct(">III")
_LENGTH: Final = Struct(">I")
_SEED: Final = crc32(b"oracle-vm journal v1")

_OWNER: Final = b"sign guard v1 "
_ENTRY: Final = Struct(">Q68sQ")
_COMPACTED: Final = Struct(">10sI")
_COMPACTED_MAGIC: Final = b"compacted "
_RESTORED: Final = b"restored"
_RESUMED: Final = Struct(">8sQQ")
_RESUMED_MAGIC: Final = b"resumed "
_MODES: Final = {rpt.MAGIC: bat.REPORT_MAGIC, obs.MAGIC: bat.OBSERVATION_MAGIC}
_OTHER_MODE: Final = _MODES | {batch: single for single, batch in _MODES.items()}
"""Of one feed, or of a batch of several: a configuration has one or the other."""


class Journal:
    """An append-only file of records with one writer. ``Journal.open`` makes one.

    After a failed write or fsync the state of the disk is unknown, so every further ``append`` is
    refused until the file is opened and replayed again.
    """

    def __init__(self, path: Path, fd: int, end: tuple[int, int], fsync: Fsync) -> None:
        self.path = path
        self._fd = fd
        self._size, self._crc = end
        self._fsync = fsync
        self._broken = False

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    @classmethod
    def open(cls, path: Path, fsync: Fsync = os.fsync) -> tuple[Self, tuple[bytes, ...]]:
        """The journal, created with mode 0600 if there is none, and its records, oldest first.

        GuardError: another process has it open, it is damaged, or the disk fails. ``fsync`` is
        replaced by tests that inject disk errors.
        """
        fd = open_locked(path)
        try:
            records, end = _replay(path, fd, fsync)
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, end, fsync), records

    @property
    def is_broken(self) -> bool:
        """Whether a write failed: it must be opened again."""
        return self._broken

    def append(self, record: bytes) -> None:
        """Returns once ``record`` (1 byte to 1 MiB) is on disk; GuardError if that is uncertain."""
        if not 0 < len(record) <= MAX_RECORD:
            raise GuardError(f"{self.path}: a record of {len(record)} bytes, 1 to {MAX_RECORD} fit")
        frame, crc = _frame(record, self._crc)
        with self._writing():
            write_all(self._fd, frame)
            self._fsync(self._fd)
        self._crc = crc
        self._size += len(frame)

    def rewrite(self, records: Iterable[bytes]) -> None:
        """Returns once the file holds exactly ``records`` on disk. GuardError if that is uncertain;
        the next start then finds the old records or the new ones, whole."""
        crc, frames = _SEED, []
        for record in records:
            frame, crc = _frame(record, crc)
            frames.append(frame)
        data = b"".join(frames)
        draft = self.path.with_name(self.path.name + ".new")
        with self._writing():
            draft.unlink(missing_ok=True)  # a crash left it; the lock says that nobody writes it
            fd = open_locked(draft)
            try:
                write_all(fd, data)
                self._fsync(fd)
                draft.replace(self.path)
            except BaseException:
                os.close(fd)
                raise
            old, self._fd, self._size, self._crc = self._fd, fd, len(data), crc
            os.close(old)
            # Until the folder is on disk the old file can come back: nothing is added before.
            sync_folder(self.path.parent, self._fsync)

    def close(self) -> None:
        """Releases the lock. Closing twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._broken = True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._broken:
            raise GuardError(f"{self.path}: closed, or a write failed; open it again to continue")
        try:
            self._require_untouched()
            yield
        except OSError as error:
            self._broken = True
            raise GuardError(
                f"{self.path}: {error.strerror or error}; nothing more is recorded or signed:"
                " make room or repair the disk, then restart"
            ) from error

    def _require_untouched(self) -> None:
        ours, there = os.fstat(self._fd), self.path.stat()
        if (ours.st_dev, ours.st_ino, ours.st_size) != (there.st_dev, there.st_ino, self._size):
            self._broken = True
            raise GuardError(_damage(self.path, "it was moved, replaced or cut while in use"))


class SignGuard:
    """An oracle's memory of what it has signed. It allows one message a slot, for ever.

    A slot is (kind, config digest, feed id, round); within a (kind, config, feed) rounds only grow,
    so the newest slot is all that it must remember. Slots that come in no order (expiries) are
    remembered one by one (``record_once``). The file forgets the rest when it has grown enough.
    It is the ``Guard`` of an ``OracleNode``.
    """

    def __init__(
        self, journal: Journal, owner: bytes, entries: Sequence[bytes], compact_at: int
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._compact_at = compact_at
        memory = _replay_slots(journal.path, entries)
        self._newest = memory.newest
        self._seq = memory.seq
        self._is_restored = memory.is_restored
        self._floor = memory.floor
        self._modes = {lane[:36] for lane in self._newest if lane[:4] in _OTHER_MODE}

    @classmethod
    def open(
        cls,
        path: Path,
        public: bytes,
        peers_seq: int = 0,
        fsync: Fsync = os.fsync,
        compact_at: int = COMPACT_AT,
    ) -> Self:
        """The guard of the oracle with this x-only public key. ``peers_seq`` is the highest seq of
        this oracle that its peers have seen. A file of more than ``compact_at`` bytes is compacted.

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
            guard = cls(journal, owner, records[1:], compact_at)
            guard.require_seq(peers_seq)
            guard._compact_if_grown()
        except BaseException:
            journal.close()
            raise
        return guard

    @property
    def is_broken(self) -> bool:
        """Whether a write failed: nothing is signed until it is opened again."""
        return self._journal.is_broken

    @property
    def is_restored(self) -> bool:
        """Whether it was brought back from a backup and records nothing until ``resume``."""
        return self._is_restored

    @property
    def floor(self) -> int:
        """The round up to which it records nothing, since it was restored; -1 if it never was."""
        return self._floor

    def resume(self, peers_seq: int, floor: int) -> None:
        """End the wait of a restored guard: from now on numbers are above ``peers_seq`` and rounds
        above ``floor``, which must cover all that can have been signed (``Recollection.floor``).
        Returns once that is on disk. GuardError if the disk fails."""
        seq, floor = max(self._seq, peers_seq), max(self._floor, floor)
        self._journal.append(_RESUMED.pack(_RESUMED_MAGIC, seq, floor))
        self._seq, self._floor, self._is_restored = seq, floor, False

    def require_seq(self, peers_seq: int, round_id: int | None = None) -> None:
        """GuardError, and nothing is recorded any more, if peers have seen a higher seq (in that
        round): this file is an old copy. To a restored guard it is news of what was lost."""
        if self._seq >= peers_seq or self._is_restored:
            return
        if round_id is not None and round_id <= self._floor:
            self.resume(peers_seq, self._floor)
        else:
            self.close()
            raise GuardError(
                f"{self._journal.path}: ends at seq {self._seq}, peers have seen {peers_seq}: an"
                " old copy. Bring back the newest file or rotate to a new key; never sign on with"
                " this one"
            )

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
        held = self._newest.get(lane, _NOTHING)
        if (round_id, message) == (held.round, held.message):
            return
        if round_id == held.round:
            raise GuardError(
                f"round {round_id}: another {kind.decode()} was recorded; take the next round"
            )
        if round_id < held.round:
            raise GuardError(
                f"round {round_id} is over: {kind.decode()} of round {held.round} was recorded"
            )
        self._require_unsigned(kind, round_id, message)
        self._require_mode(kind, config_digest)
        self._append(lane, round_id, message)

    def record_once(self, kind: bytes, slot: bytes, message: bytes) -> None:
        """``record`` for slots without an order: returns once the message is on disk as the only
        one ever of this 32-byte ``slot``. The same message again is allowed, and not written again.

        GuardError if another message holds the slot or the disk fails.
        """
        lane = _lane(kind, slot, ZERO32)
        held = self._newest.get(lane)
        if held is None:
            self._require_unsigned(kind, None, message)
            self._append(lane, 0, message)
        elif held.message != message:
            raise GuardError(
                f"another {kind.decode()} was recorded for slot {slot.hex()}; the first one stands"
            )

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        """The message of the newest slot of this kind, or None."""
        slot = self._newest.get(_lane(kind, config_digest, feed_id))
        return None if slot is None else slot.message

    def recall_once(self, kind: bytes, slot: bytes) -> bytes | None:
        """The message that ``record_once`` has recorded for this slot, however long ago."""
        return self.recall(kind, slot, ZERO32)

    def slots(self, kind: bytes, message: bytes) -> list[bytes]:
        """The slots for which ``record_once`` has recorded this message."""
        held = self._newest.items()
        return [lane[4:36] for lane, at in held if lane[:4] == kind and at.message == message]

    def close(self) -> None:
        """Releases the lock."""
        self._journal.close()

    def _require_unsigned(self, kind: bytes, round_id: int | None, message: bytes) -> None:
        """GuardError if a restored guard may have forgotten it. Of what has no round only an
        expiry says when it can have been signed at the earliest."""
        if self._is_restored:
            raise GuardError(
                f"{self._journal.path}: restored from a backup; it signs nothing until peers have"
                " said what they have seen of this oracle"
            )
        if self._floor < 0:
            return
        if kind == exp.MAGIC:
            round_id = Expiry.decode(message).slot.target_round
        if round_id is None or round_id <= self._floor:
            what = kind.decode() + ("" if round_id is None else f" of round {round_id}")
            raise GuardError(
                f"{what}: may have been signed before this guard was restored; the other oracles"
                f" sign it, this one what comes after round {self._floor}"
            )

    def _require_mode(self, kind: bytes, config_digest: bytes) -> None:
        # A price signed alone and again in a batch would contradict itself without evidence.
        other = _OTHER_MODE.get(kind, b"")
        if other + config_digest in self._modes:
            raise GuardError(
                f"this key has signed {other.decode()} under this configuration and so signs no"
                f" {kind.decode()}: rotate to a new epoch to go from one feed to several or back"
            )

    def _append(self, lane: bytes, round_id: int, message: bytes) -> None:
        slot = _Slot(self._seq + 1, round_id, message)
        self._journal.append(slot.entry(lane))
        self._seq = slot.seq
        self._newest[lane] = slot
        if lane[:4] in _OTHER_MODE:
            self._modes.add(lane[:36])
        self._compact_if_grown()

    def _compact_if_grown(self) -> None:
        if self._journal.size <= self._compact_at:
            return
        kept = sorted(self._newest.items(), key=lambda item: item[1].seq)
        count = _COMPACTED.pack(_COMPACTED_MAGIC, len(kept))
        end = [_RESUMED.pack(_RESUMED_MAGIC, self._seq, self._floor)] if self._floor >= 0 else []
        if self._is_restored:
            end.append(_RESTORED)
        entries = (slot.entry(lane) for lane, slot in kept)
        self._journal.rewrite([self._owner, count, *entries, *end])
        self._compact_at = max(self._compact_at, 2 * self._journal.size)


@dataclass(frozen=True, slots=True)
class _Slot:
    seq: int
    round: int
    message: bytes

    def entry(self, lane: bytes) -> bytes:
        return _ENTRY.pack(self.seq, lane, self.round) + self.message


_NOTHING: Final = _Slot(0, -1, b"")


def _lane(kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes:
    lane = kind + config_digest + feed_id
    if len(kind) != 4 or len(lane) != 68:
        raise GuardError("a slot is a 4-byte kind, a 32-byte config digest and a 32-byte feed id")
    return lane


@dataclass(slots=True)
class _Memory:
    """What the entries of a file say; fields as in SignGuard."""

    newest: dict[bytes, _Slot]
    seq: int = 0
    floor: int = -1
    is_restored: bool = False


def _replay_slots(path: Path, entries: Sequence[bytes]) -> _Memory:
    """The newest slot of each lane, and whether the file was restored. Entries are numbered without
    a gap; those that a compaction has kept, at the beginning, have gaps where others were."""
    kept = 0
    if entries and len(entries[0]) == _COMPACTED.size:
        magic, kept = _COMPACTED.unpack(entries[0])
        if magic != _COMPACTED_MAGIC or kept >= len(entries):
            raise GuardError(_damage(path, "its compacted part is not what was written"))
        entries = entries[1:]
    memory = _Memory({})
    for place, entry in enumerate(entries):
        if len(entry) <= _ENTRY.size:
            _replay_restoring(path, memory, entry)
            continue
        number, lane, round_id = _ENTRY.unpack_from(entry)
        follows = number > memory.seq if place < kept else number == memory.seq + 1
        if not follows or round_id <= memory.newest.get(lane, _NOTHING).round:
            what = f"entry {memory.seq + 1} does not follow the one before it"
            raise GuardError(_damage(path, what))
        memory.seq = number
        memory.newest[lane] = _Slot(number, round_id, entry[_ENTRY.size :])
    return memory


def _replay_restoring(path: Path, memory: _Memory, entry: bytes) -> None:
    if entry == _RESTORED:
        memory.is_restored = True
        return
    if len(entry) != _RESUMED.size or not entry.startswith(_RESUMED_MAGIC):
        raise GuardError(_damage(path, f"entry {memory.seq + 1} is too short"))
    _, memory.seq, memory.floor = _RESUMED.unpack(entry)
    memory.is_restored = False


@dataclass(frozen=True, slots=True)
class GuardFile:
    """What a sign guard's file says, read while its owner may be writing; fields as in SignGuard,
    ``data`` are its whole frames."""

    public: bytes
    seq: int
    floor: int
    is_restored: bool
    data: bytes


def read_journal(path: Path) -> tuple[tuple[bytes, ...], bytes]:
    """The records of a journal, oldest first, and the bytes that hold them; a last frame that is
    not whole yet is left out. Nothing is locked or changed. GuardError: damaged or unreadable."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GuardError(f"{path}: cannot be read ({error.strerror})") from None
    records, _, size = _parse(path, data)
    return records, data[:size]


def read_guard(path: Path) -> GuardFile:
    """The sign guard's file in ``path``; errors as ``read_journal``."""
    records, data = read_journal(path)
    if not records or not records[0].startswith(_OWNER):
        raise GuardError(f"{path}: not a sign guard's file; name guard.journal of an oracle")
    memory = _replay_slots(path, records[1:])
    public = records[0].removeprefix(_OWNER)
    return GuardFile(public, memory.seq, memory.floor, memory.is_restored, data)


def read_owner(path: Path) -> bytes | None:
    """The x-only key whose sign guard the file in ``path`` is; None if nothing whole was ever
    written there. GuardError: damaged, unreadable, or no sign guard's."""
    size = _FRAME.size + len(_OWNER) + 32
    try:
        with path.open("rb") as file:
            data = file.read(size)
    except OSError as error:
        raise GuardError(f"{path}: cannot be read ({error.strerror})") from None
    records, _, _ = _parse(path, data)
    if not records:
        return None
    if not records[0].startswith(_OWNER):
        raise GuardError(f"{path}: not a sign guard's file; name guard.journal of an oracle")
    return records[0].removeprefix(_OWNER)


def mark_restored(path: Path) -> None:
    """Note in a sign guard's file that it is a copy from a backup. GuardError: in use, damaged, or
    the disk fails."""
    journal, _ = Journal.open(path)
    try:
        journal.append(_RESTORED)
    finally:
        journal.close()


def _replay(path: Path, fd: int, fsync: Fsync) -> tuple[tuple[bytes, ...], tuple[int, int]]:
    """Records, and size and crc of the file after a torn last frame was cut off."""
    try:
        data = read_all(fd)
        records, crc, size = _parse(path, data)
        if size < len(data):
            os.ftruncate(fd, size)
        fsync(fd)
        sync_folder(path.parent, fsync)
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
