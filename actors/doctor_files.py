"""Whether a node's files are what they should be; it may run meanwhile."""

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final

from actors.backup_files import EVIDENCE, HISTORY
from actors.control import short_path
from actors.doctor import Finding, fail, findings_of, ok, warn
from actors.doctor_machine import disk
from actors.files import is_held
from actors.history import History
from actors.history_file import connect, explained, is_new
from actors.journal import read_guard, read_journal
from actors.keyfile import load_keys
from actors.operator import Operator
from actors.transport_options import is_loopback
from actors.transport_tls import read_certificate, require_pin
from protocol.errors import ConfigError
from protocol.oracle.evidence import Evidence

RECENT: Final = 64
"""Certificates at the end of the history whose signatures are checked."""
SYNC_WARN_MS: Final = 50
SYNC_FAIL_MS: Final = 1_000
SYNCS: Final = 5
EXPIRES_WARN_S: Final = 30 * 86_400


def files(operator: Operator) -> Iterator[Finding]:
    """The checks of a node's files, addresses and epochs."""
    return findings_of(
        (
            ("network", lambda: _network(operator)),
            ("keys", lambda: _keys(operator)),
            ("modes", lambda: _modes(operator)),
            ("sign guard", lambda: _guards(operator)),
            ("evidence", lambda: _evidence(operator)),
            ("history", lambda: _history(operator)),
            ("disk", lambda: disk(operator.folder)),
            ("disk speed", lambda: _disk_speed(operator.folder)),
            ("tls", lambda: _tls(operator)),
            ("rotation", lambda: _rotation(operator)),
        )
    )


def is_running(operator: Operator) -> bool:
    """Whether a process has the node's folder."""
    return is_held(operator.folder / f"{HISTORY}.lock")


def address(operator: Operator) -> Finding:
    """Whether a node that is down could listen."""
    host, port = operator.listen.host, operator.listen.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = f"end what has it (`ss -ltnp sport = :{port}`), or change [node] listen"
                return fail("address", f"{host}:{port} is another program's", remedy)
            return fail("address", f"{host}:{port}: {error.strerror}", "change [node] listen")
    return ok("address", f"{host}:{port} is free")


def _network(operator: Operator) -> Finding:
    config = operator.network.config
    return ok("network", f"epoch {config.epoch}, configuration {config.digest.hex()}")


def _keys(operator: Operator) -> Finding:
    if operator.signer is None:
        load_keys(operator.keys, operator.publics)
        return ok("keys", f"{len(operator.keys)} files, mode 600, as the roster has them")
    with socket.socket(socket.AF_UNIX) as line, short_path(operator.signer) as path:
        line.settimeout(1.0)
        try:
            line.connect(str(path))
        except OSError as error:
            remedy = "start it: `oracle-vm signer run`, systemctl status oracle-vm-signer"
            return fail("keys", f"signer {operator.signer}: {error.strerror or error}", remedy)
    return ok("keys", f"the signer behind {operator.signer} answers")


def _modes(operator: Operator) -> Finding:
    folder = operator.folder
    if not folder.exists():
        return warn("modes", f"{folder}: not there", "its first start makes it; or is it a typo?")
    owned = (folder, *folder.glob("*.journal"), *folder.glob("*.sqlite"))
    for path in owned:
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid != os.geteuid():
            remedy = "run this as the node's user, or chown it"
            return fail("modes", f"{path} belongs to user {status.st_uid}", remedy)
        if mode & 0o022:
            return fail("modes", f"{path} has mode {mode:o}", f"chmod go-w {path}")
    return ok("modes", f"{len(owned)} files and folders are this user's alone to write")


def _guards(operator: Operator) -> Iterator[Finding]:
    if operator.role != "oracle":
        return
    name, public = "sign guard", operator.publics["oracle"]
    paths = sorted(operator.folder.glob("guard*.journal"))
    found = {path: read_guard(path) for path in paths}
    own = [(path, guard) for path, guard in found.items() if guard.public == public]
    if not own and operator.signer is not None:
        yield ok(name, "with the signer")
    elif not own and (operator.folder / HISTORY).exists():
        remedy = "bring back the newest file or a backup (`oracle-vm backup restore`), or rotate"
        yield fail(name, f"none of this key in {operator.folder}, but a history", remedy)
    elif not own:
        yield ok(name, "none yet: it begins with the first signature")
    for path, guard in own:
        detail = f"{path.name} whole, ends at {guard.seq}"
        if guard.is_restored:
            remedy = "start it with f + 1 peers up: it asks what they have seen, then goes on"
            yield warn(name, f"{detail}, restored from a backup", remedy)
        else:
            yield ok(name, detail)


def _evidence(operator: Operator) -> Finding:
    path = operator.folder / EVIDENCE
    records = read_journal(path)[0] if path.exists() else ()
    guilty = {Evidence.decode(record).public for record in records}
    keys = operator.network.config.oracles
    names = [operator.network.names[i] for i, key in enumerate(keys) if key in guilty]
    if not guilty:
        return ok("evidence", "nobody has signed twice")
    if operator.publics.get("oracle") in guilty:
        remedy = "stop it, destroy the key and rotate: two processes or an old disk have signed"
        return fail("evidence", "against this oracle itself", remedy)
    remedy = "docs/runbooks.md, a liar in the roster: rotate to a roster without that key"
    return warn("evidence", f"against {', '.join(names) or 'a key of an earlier epoch'}", remedy)


def _history(operator: Operator) -> Finding:
    path = operator.folder / HISTORY
    if not path.exists():
        return ok("history", "none yet")
    with explained(path), closing(_opened(path)) as history:
        newest = list(islice(history.newest_first(), RECENT))
        for certificate in newest:
            certificate.check(history.configs[_digest(certificate)])
    if not newest:
        return ok("history", "empty")
    return ok(
        "history", f"newest round {newest[0].round}, the last {len(newest)} certificates hold"
    )


def _opened(path: Path) -> History:
    """The history. Where no log is beside it nobody writes, and a reader would leave one there."""
    if path.with_name(f"{path.name}-wal").exists():
        return History.read(path)
    db = connect(path, "ro&immutable=1")
    try:
        if is_new(path, db):
            raise ConfigError(f"{path}: empty, not a history file; move it away")
        return History(path, db, -1)
    except BaseException:
        db.close()
        raise


def _digest(certificate: object) -> bytes:
    report = getattr(certificate, "report")  # noqa: B009 - one feed or a batch: both have it
    return bytes(report.config_digest)


def _disk_speed(folder: Path) -> Finding:
    """The median of some writes to a file without a name: nobody sees it, and it is gone after."""
    if not folder.exists():
        return ok("disk speed", "not measured: no folder yet")
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    taken_ms = []
    try:
        for _ in range(SYNCS):
            began_ns = time.monotonic_ns()
            os.write(fd, bytes(512))
            os.fsync(fd)
            taken_ms.append((time.monotonic_ns() - began_ns) / 1e6)
    finally:
        os.close(fd)
    median_ms = sorted(taken_ms)[SYNCS // 2]
    detail = f"a write is on disk after {median_ms:.1f} ms"
    remedy = "a faster disk, or less on this one: every signature waits for it"
    if median_ms > SYNC_FAIL_MS:
        return fail("disk speed", detail, remedy)
    if median_ms > SYNC_WARN_MS:
        return warn("disk speed", detail, remedy)
    return ok("disk speed", detail)


def _tls(operator: Operator) -> Iterator[Finding]:
    tls, pin = operator.tls, operator.roster[operator.address].tls_key
    if tls is None or tls.cert is None:
        if is_loopback(operator.listen.host) and pin is None:
            yield ok("tls", "none: it listens on loopback")
        else:
            remedy = "[tls] certificate and key; `oracle-vm network tls` makes them"
            yield fail("tls", "the roster pins a key and there is none", remedy)
        return
    tls.server()
    found = read_certificate(tls.cert)
    if pin is not None:
        require_pin(tls.cert, pin)
    left_s = found.expires_s - int(time.time())
    day = time.strftime("%Y-%m-%d", time.gmtime(found.expires_s))
    detail = f"{', '.join(found.names) or 'no name'}, until {day}"
    detail += ", its key is pinned" if pin is not None else f", key {found.pin.hex()}"
    remedy = "renew it with the same key: the pin stays; those who look at dates refuse it"
    if left_s < 0 and pin is None:
        yield fail("tls", detail, "renew it: nobody connects to this node")
    elif left_s < EXPIRES_WARN_S:
        yield warn("tls", detail, remedy)
    else:
        yield ok("tls", detail)


def _rotation(operator: Operator) -> Finding:
    networks, network = operator.networks, operator.network
    ends = networks.ends(network)
    if ends is None:
        return ok("rotation", f"epoch {network.config.epoch} is the last one installed")
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(network.config.starts_ms(ends) // 1000))
    detail = f"epoch {network.config.epoch} ends at {at} UTC (round {ends})"
    after = networks.at(ends)
    if operator.address_in(after) is None:
        return warn("rotation", f"{detail}, without this operator", "it leaves then; stop it after")
    return ok("rotation", detail)
