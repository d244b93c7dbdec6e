"""The network as Ray actors: Ray starts again what dies, the disk says where to go on."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit

import pytest

from actors import placement
from actors.aggregator import Aggregator
from actors.clock import SystemClock
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.network_files import Layout
from actors.oracle import Oracle
from actors.outcomes import Answered, Refused, fetch, value
from actors.ports import free_ports
from actors.supervisor import venue_urls
from protocol.oracle.certificate import Certificate
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot
from protocol.oracle.report import Grade
from tests.builders.network import AGGREGATOR, ORACLES, Network, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SETTINGS = {"interval_ms": 500, "schedule_ms": 500, "takeover_ms": 400}
CALL_S = 60.0
START_S = 200.0
"""A cluster and four actors start on a machine with other work."""
GAP_MS = 1_000
BUSY = 3
"""What a machine with other work may take longer."""
ALL = 0b111


class Actors:
    """Three oracles and an aggregator on the shared cluster; ``files`` is what they run on."""

    def __init__(self, files: Network) -> None:
        self.files = files
        self.clock = SystemClock()
        self.handles = {
            name: placement.start(
                placement.AGGREGATOR if name == AGGREGATOR else placement.ORACLE,
                f"{name}-{Path(files.folder).parent.name}",
                Aggregator if name == AGGREGATOR else Oracle,
                files.folder / f"{name}.toml",
                self.clock,
            )
            for name in files.names
        }

    def pid(self, name: str) -> int:
        """Waits for an actor that is being started."""

        def alive() -> int | None:
            outcome = fetch(self.handles[name].pid.remote(), CALL_S)
            return outcome.value if isinstance(outcome, Answered) else None

        found: int = until(alive, f"{name} is alive")
        return found

    def next_certificate(self) -> Certificate:
        """Of a round to come; the caller sees the certificate that the aggregator published."""

        def published() -> Certificate | None:
            round_id = self.files.agreed.config.round_at(self.clock.now_ms()) + 1
            outcome = fetch(self.handles[AGGREGATOR].certificate.remote(round_id, 5.0), CALL_S)
            if not isinstance(outcome, Answered):
                return None
            certificate = Certificate.decode(outcome.value.certificate)
            certificate.check(self.files.agreed.config)
            assert certificate.round == round_id
            return certificate

        found: Certificate = until(published, "the aggregator publishes a certificate")
        return found

    def kill(self, name: str) -> tuple[int, int]:
        """SIGKILL; which process, and when (unix ms)."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid, self.clock.now_ms()

    def goes_on(self, name: str, since_ms: int) -> None:
        """The next certificate that a node stores came within a second of a moment."""
        found = until(lambda: [c for c in self.files.certificates(name) if c.time > since_ms])
        gap_ms = found[0].time - since_ms
        assert gap_ms <= BUSY * GAP_MS, f"the next certificate came {gap_ms} ms after the fault"

    def is_whole(self) -> None:
        """Until everybody observes, and has every certificate."""
        newest = until(
            lambda: [c for c in self.files.certificates("alpha")[-1:] if c.report.observers == ALL],
            "everybody observes",
        )[0]
        wanted = {c.hash for c in self.files.certificates("alpha") if c.round <= newest.round}
        for name in self.files.names:
            until(
                lambda name=name: wanted <= {c.hash for c in self.files.certificates(name)},
                f"{name} has every certificate",
            )

    def stop(self) -> None:
        for handle in self.handles.values():
            placement.stop(handle)


@pytest.fixture(scope="module")
def actors(cluster, tmp_path_factory):
    with SimulatedExchanges(1, SystemClock().now_ms, tick_ms=50) as exchanges:
        urls = venue_urls(exchanges.endpoints)
        layout = Layout(ORACLES, free_ports(4), SETTINGS, urls)
        running = Actors(Network(tmp_path_factory.mktemp("ray") / "net", layout))
        try:
            for name in ORACLES:
                handle = running.handles[name]
                until(lambda handle=handle: value(handle.ready.remote(), START_S) == (3, 3))
            yield running
            running.files.audit()
        finally:
            running.stop()


def test_a_killed_oracle_costs_no_round_and_comes_back_with_its_guard(actors):
    found = until(
        lambda: [c for c in [actors.next_certificate()] if c.report.grade is Grade.FULL],
        "all observe",
    )
    first = found[0]
    killed, at_ms = actors.kill("alpha")
    actors.goes_on("bravo", at_ms)
    degraded = until(
        lambda: [c for c in actors.files.certificates("bravo") if c.time > at_ms], "a certificate"
    )[0]
    assert degraded.round - first.round <= BUSY * GAP_MS // SETTINGS["interval_ms"]
    assert actors.pid("alpha") != killed
    actors.is_whole()
    actors.files.audit()


def test_a_killed_aggregator_is_not_missed_and_goes_on_where_certificates_end(actors):
    before = value(actors.handles[AGGREGATOR].ready.remote(), CALL_S)
    killed, at_ms = actors.kill(AGGREGATOR)
    actors.goes_on("alpha", at_ms)
    assert actors.pid(AGGREGATOR) != killed
    actors.is_whole()
    assert value(actors.handles[AGGREGATOR].ready.remote(), CALL_S) > before
    actors.next_certificate()


def test_a_frozen_oracle_is_a_missing_one(actors):
    pid, at_ms = actors.pid("bravo"), actors.clock.now_ms()
    os.kill(pid, signal.SIGSTOP)
    try:
        actors.goes_on("alpha", at_ms)
        certificate = actors.next_certificate()
        assert certificate.report.observers == 0b101
        assert certificate.report.grade is Grade.DEGRADED
    finally:
        os.kill(pid, signal.SIGCONT)
    actors.is_whole()


def test_an_oracle_that_cannot_store_ends_its_process_and_starts_again(actors):
    pid, at_ms = actors.pid("charlie"), actors.clock.now_ms()
    folder = actors.files.data("charlie")
    room = max(path.stat().st_size for path in folder.iterdir() if path.is_file())
    prlimit(pid, RLIMIT_FSIZE, (room, RLIM_INFINITY))
    until(lambda: not alive(pid), "the process ends")
    actors.goes_on("alpha", at_ms)
    assert actors.pid("charlie") != pid
    actors.is_whole()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_an_expiry_is_signed_by_a_quorum_once_and_for_ever(actors):
    certificate = actors.next_certificate()
    config = actors.files.agreed.config
    slot = ExpirySlot(
        config_digest=config.digest,
        feed_id=certificate.report.feed_id,
        start_round=certificate.round,
        target_round=certificate.round,
    )
    files, expire = actors.files, actors.handles[AGGREGATOR].expire
    until(lambda: min(files.last_round(name) for name in ORACLES) >= certificate.round)
    late = replace(slot, target_round=certificate.round + 1_000_000)
    outcome = fetch(expire.remote(late, 600), CALL_S)
    assert isinstance(outcome, Refused)
    assert outcome.reason.count("wait for") >= 2, "a quorum cannot be had any more"
    actors.kill("charlie")
    expiry = ExpiryCertificate.decode(value(expire.remote(slot, 600), CALL_S))
    expiry.check(config)
    assert expiry.expiry.price_e8 == certificate.report.price_e8
    assert expiry.expiry.report_hash == certificate.hash
    assert expiry.signers == (0, 1)
    again = ExpiryCertificate.decode(value(expire.remote(slot, 600), CALL_S))
    assert again.expiry == expiry.expiry
    actors.is_whole()


def test_a_round_that_nobody_certifies_is_refused_in_time(actors):
    began = time.monotonic()
    long_ago = fetch(actors.handles[AGGREGATOR].certificate.remote(1, 0.2), CALL_S)
    assert isinstance(long_ago, Refused)
    assert long_ago.reason == "round 1: no certificate within 0.2 s"
    assert time.monotonic() - began < CALL_S
