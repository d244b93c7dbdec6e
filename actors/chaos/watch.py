"""Reads what the nodes have on their disks while they run, and what they say of themselves."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.error import URLError

from actors.chaos.ground import Ground
from actors.chaos.invariants import Certified, Invariant, Ledger
from actors.chaos.pace import Pace
from actors.chaos.processes import marked, spoken, title
from actors.history import History, decode_certificate
from actors.journal import Journal
from actors.loopback import get_page
from protocol.errors import ProtocolError
from protocol.oracle.evidence import Evidence
from protocol.oracle.observation import MAGIC, Observation

PAGE_S: Final = 2.0
_SLOT: Final = slice(8, 84)
_ROUND: Final = slice(76, 84)
_MESSAGE: Final = 84
"""A record of a sign guard: seq 8, kind 4, configuration 32, feed 32, round 8, message."""


class Watch:
    """Of one run. ``look`` is called again and again; ``at_s`` is since its start."""

    def __init__(self, ground: Ground, certified: Certified, pace: Pace, ledger: Ledger) -> None:
        self._ground = ground
        self._certified = certified
        self._pace = pace
        self._ledger = ledger
        self._sizes: dict[Path, int] = {}
        self._counts: defaultdict[Path, int] = defaultdict(int)
        self._rows: dict[str, int] = {}
        self._publics = ground.network.config.oracles
        self.convicted: defaultdict[str, set[str]] = defaultdict(set)
        """Whom each node has evidence against."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Those that do what the protocol says: honest oracles and the aggregator."""
        return (*self._certified.honest, self._ground.names[-1])

    def look(self, at_s: float) -> None:
        """Everything that is new on a disk."""
        self._read_guards(at_s)
        self._certified.check_prices(at_s)
        before = self._certified.newest
        for name in self.nodes:
            for certificate in self._new_certificates(name):
                self._certified.stored(name, certificate, at_s)
            self._read_evidence(name, at_s)
        if self._certified.newest > before:
            self._pace.certified(at_s)
        else:
            self._pace.waiting(at_s)

    def look_last(self, at_s: float) -> None:
        """At the guards, for whatever has been certified."""
        self._read_guards(at_s)
        self._certified.check_prices(at_s, is_last=True)

    def read_again(self, name: str) -> None:
        """A node's disk, from the beginning."""
        self._rows.pop(name, None)
        self._sizes.pop(self._ground.data(name) / "evidence.journal", None)
        self._counts.pop(self._ground.data(name) / "evidence.journal", None)
        self.convicted[name].clear()
        self._certified.forget(name)

    # Disks

    def _read_guards(self, at_s: float) -> None:
        for name in self._certified.honest:
            self._read_guard(name, at_s)

    def _read_guard(self, name: str, at_s: float) -> None:
        for path in self._ground.data(name).rglob("guard*.journal"):
            for record in self._new_records(path):
                if len(record) <= _MESSAGE:
                    continue  # whose guard it is, and what was forgotten
                message = record[_MESSAGE:]
                self._certified.signed(name, record[_SLOT], message, at_s)
                if message[:4] == MAGIC:
                    seen = Observation.decode(message)
                    self._certified.observed(name, seen.round, seen.price_e8)

    def _read_evidence(self, name: str, at_s: float) -> None:
        for record in self._new_records(self._ground.data(name) / "evidence.journal"):
            evidence = Evidence.decode(record)
            index = self._publics.index(evidence.public)
            culprit = self._ground.plan.oracles[index]
            self.convicted[name].add(culprit)
            honest = culprit in self._certified.honest
            what = f"{name} has evidence against {culprit}: two {evidence.message_a[:4].decode()}"
            self._ledger.require(Invariant.HONEST_FREE, not honest, at_s, what)
            self._ledger.require(Invariant.SIGNED_ONCE, not honest, at_s, what)

    def _new_records(self, path: Path) -> Iterable[bytes]:
        """Of a journal that grows meanwhile: a copy is opened, its last record may be torn. After a
        compaction the records are read from the beginning again."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return ()
        if size == self._sizes.get(path):
            return ()
        if size < self._sizes.get(path, 0):
            self._counts[path] = 0
        try:
            with TemporaryDirectory() as place:
                journal, records = Journal.open(Path(copy(path, place)))
                journal.close()
        except (ProtocolError, OSError):
            return ()  # replaced while it was read: next time
        new = records[self._counts[path] :]
        self._sizes[path], self._counts[path] = size, len(records)
        return new

    def _new_certificates(self, name: str) -> list[Any]:
        path = self._ground.data(name) / "history.sqlite"
        try:
            with closing(History.read(path)) as history:
                found = history.db.execute(
                    "SELECT id, data FROM certificate WHERE id > ? ORDER BY id",
                    (self._rows.get(name, 0),),
                ).fetchall()
        except ProtocolError:
            return []  # it is being created
        if found:
            self._rows[name] = found[-1][0]
        return [decode_certificate(data) for _, data in found]

    # Programs

    def look_at_programs(self, at_s: float) -> None:
        """Whether any has failed."""
        for name, program in self._ground.keeper.kept.items():
            what = f"{name} was started again {program.restarts.total} times and has failed"
            self._ledger.require(Invariant.RESTARTS, not program.failed, at_s, what)
        if self._ground.cluster is not None:
            failed = self._ground.cluster.failed
            what = f"cluster run: {', '.join(failed)}: the budget of restarts is spent"
            self._ledger.require(Invariant.RESTARTS, not failed, at_s, what)

    def look_for_secrets(self, mark: str, at_s: float) -> None:
        """In what was written, what is shown, and what anybody on the machine may read."""
        shapes = [
            (name, shape)
            for name, key in self._ground.secrets().items()
            for shape in (key, key.hex().encode(), key.hex().upper().encode())
        ]
        for where, text in self._texts(mark):
            leaked = next((name for name, shape in shapes if shape in text), None)
            what = f"{where} holds {leaked}"
            self._ledger.require(Invariant.NO_SECRETS, leaked is None, at_s, what)

    def _texts(self, mark: str) -> Iterable[tuple[str, bytes]]:
        for path in self._ground.logs():
            yield str(path.relative_to(self._ground.folder)), path.read_bytes()
        for pid in marked(mark):
            yield f"process {pid} ({title(pid)[:60]})", spoken(pid)
        for name in self._ground.names:
            yield f"metrics of {name}", self._page(name)

    def _page(self, name: str) -> bytes:
        status = self._ground.status(name)
        if status is None:
            return b""
        try:
            return get_page(status["metrics"], "/metrics", PAGE_S)
        except (URLError, OSError):
            return b""
