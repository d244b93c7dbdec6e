"""The oracle network with real processes and sockets: SIGKILL, restart, no double signature."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from actors import placement
from actors.aggregator import Aggregator, AggregatorSettings
from actors.clock import SystemClock
from actors.feeds.endpoints import Endpoint
from actors.feeds.simulated import SimulatedExchanges
from actors.journal import Journal
from actors.keyfile import create_key
from actors.oracle import Oracle, OracleSettings
from actors.outcomes import Answered, Refused, eventually, fetch, value
from protocol.errors import GuardError
from protocol.oracle.certificate import Certificate
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot
from protocol.oracle.feed import Feed
from tests.builders.oracles import make_config

START_S = 60.0
FEED = Feed("BTC/USD")


class Network:
    """Three oracles and an aggregator on the shared cluster, on simulated venues."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        clock = SystemClock()
        self.clock = clock
        publics = tuple(create_key(folder / f"{i}.key").public for i in range(3))
        self.config = make_config(oracles=publics)
        endpoints = {venue: Endpoint(url) for venue, url in urls.items()}
        cfg, feed = self.config.encode(), FEED.encode()
        names = [f"{folder.name}-{i}" for i in range(3)]
        self.oracles = [
            placement.start(
                placement.ORACLE,
                name,
                Oracle,
                OracleSettings(i, cfg, feed, folder / f"{i}.key", folder / name, endpoints, clock),
            )
            for i, name in enumerate(names)
        ]
        self.guards = [folder / name / "guard.journal" for name in names]
        self.pids = [value(oracle.pid.remote(), START_S) for oracle in self.oracles]
        self.aggregator = placement.start(
            placement.AGGREGATOR,
            folder.name,
            Aggregator,
            AggregatorSettings(cfg, feed, folder / "aggregator", 300, 2000, clock),
            [f"oracle/{name}" for name in names],
        )
        for oracle in self.oracles:
            eventually(lambda o=oracle: value(o.venues.remote(), START_S) == 3, START_S)

    def next_round(self) -> Certificate | str:
        """The certificate of the next second, or why there is none."""
        round_id = self.clock.now_ms() // 1000 + 1
        outcome = fetch(self.aggregator.round.remote(round_id), START_S)
        if not isinstance(outcome, Answered):
            return outcome.reason
        certificate = Certificate.decode(outcome.value.certificate)
        certificate.check(self.config, FEED.feed_id)
        assert certificate.report.round == round_id
        return certificate

    def stop(self) -> None:
        for oracle in self.oracles:
            placement.stop(oracle)
        placement.stop(self.aggregator)


@pytest.fixture
def network(cluster, tmp_path):
    with SimulatedExchanges(1, SystemClock().now_ms) as exchanges:
        network = Network(tmp_path, exchanges.urls)
        yield network
        network.stop()


@pytest.mark.ray
def test_a_killed_oracle_costs_no_round_and_comes_back_with_its_guard(network):
    first = network.next_round()
    assert isinstance(first, Certificate)
    os.kill(network.pids[0], signal.SIGKILL)
    degraded = network.next_round()
    assert isinstance(degraded, Certificate)
    assert degraded.report.prev_report_hash == first.report.hash

    def whole_again() -> bool:
        certificate = network.next_round()
        return isinstance(certificate, Certificate) and certificate.report.observers == 0b111

    eventually(whole_again, START_S)
    assert value(network.oracles[0].pid.remote(), START_S) != network.pids[0]
    network.stop()
    for guard in network.guards:
        eventually(lambda path=guard: unlocked(path), START_S)
        _, records = Journal.open(guard)
        slots = [record[8:84] for record in records[1:]]  # kind, config, feed and round
        assert len(slots) == len(set(slots)) > 2


def unlocked(path: Path) -> bool:
    try:
        Journal.open(path)[0].close()
    except GuardError:
        return False
    return True


@pytest.mark.ray
def test_the_aggregator_restarts_where_its_certificates_end(network):
    first = network.next_round()
    assert isinstance(first, Certificate)
    os.kill(value(network.aggregator.pid.remote(), START_S), signal.SIGKILL)
    eventually(lambda: isinstance(network.next_round(), Certificate), START_S)
    assert value(network.aggregator.ready.remote(), START_S) >= 2


@pytest.mark.ray
def test_a_frozen_oracle_is_a_missing_one(network):
    os.kill(network.pids[1], signal.SIGSTOP)
    try:
        certificate = network.next_round()
        assert isinstance(certificate, Certificate)
        assert certificate.report.observers == 0b101
    finally:
        os.kill(network.pids[1], signal.SIGCONT)


def slot_of(network, round_id):
    return ExpirySlot(
        config_digest=network.config.digest,
        feed_id=FEED.feed_id,
        start_round=round_id,
        target_round=round_id,
    )


@pytest.mark.ray
def test_an_expiry_is_signed_by_a_quorum_once_and_for_ever(network):
    before, certificate = network.next_round(), network.next_round()
    assert isinstance(before, Certificate)
    assert isinstance(certificate, Certificate)
    slot = slot_of(network, certificate.report.round)
    os.kill(network.pids[2], signal.SIGKILL)
    expire = network.aggregator.expire
    expiry = ExpiryCertificate.decode(value(expire.remote(slot, 600), START_S))
    expiry.check(network.config)
    assert expiry.expiry.price_e8 == certificate.report.price_e8
    assert expiry.expiry.report_hash == certificate.report.hash
    assert expiry.signers == (0, 1)
    again = ExpiryCertificate.decode(value(expire.remote(slot, 600), START_S))
    assert again.expiry == expiry.expiry
    other = replace(slot, start_round=before.report.round)
    refused = fetch(expire.remote(other, 600), START_S)
    assert isinstance(refused, Refused)
    assert "another EXP1 was recorded" in refused.reason


@pytest.mark.ray
def test_no_expiry_before_its_round_is_certified(network):
    certificate = network.next_round()
    assert isinstance(certificate, Certificate)
    late = slot_of(network, certificate.report.round + 5)
    outcome = fetch(network.aggregator.expire.remote(late, 600), START_S)
    assert isinstance(outcome, Refused)
    assert "wait for the first" in outcome.reason
