"""Operators' view of the network: plain processes on loopback, the command line, files, logs."""

import asyncio
import json
import math
import subprocess
import sys
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from urllib.error import HTTPError

import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import connect

from actors import placement
from actors.aggregator import Aggregator
from actors.cli import app
from actors.clock import SystemClock
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.history import History
from actors.history_check import check_history
from actors.oracle import Oracle
from actors.outcomes import value
from protocol import wire
from protocol.crypto.keys import SecretKey
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.exercise import ExerciseNotice, notice_message
from protocol.oracle.expiry import ExpiryCertificate, Rule
from protocol.oracle.messages import AGGREGATOR as AGGREGATOR_ADDRESS
from protocol.oracle.report import Grade
from protocol.wire.frame import Notice
from tests.actors.test_metrics import parse
from tests.builders.network import (
    AGGREGATOR,
    CALL_S,
    ORACLES,
    family,
    leaks,
    movable,
    network,
    secrets_in,
    until,
)

pytestmark = pytest.mark.timeout(600)

QUICK = {"interval_ms": 500, "schedule_ms": 500, "takeover_ms": 400}
FEEDS = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD")
RARE_MS = 4_000_000_000


def oracle_vm(*arguments):
    """What a command prints, as JSON."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Three oracles and an aggregator that price BTC/USD twice a second."""
    with (
        SimulatedExchanges(7, tick_ms=50) as exchanges,
        network(tmp_path_factory.mktemp("e2e") / "net", exchanges, **QUICK) as running,
    ):
        running.start()
        running.started()
        yield running


def until_full(net, count=1):
    """Waits for certificates with everybody's observation: a busy machine may delay somebody's."""

    def full():
        grades = [c.report.grade for c in net.certificates(AGGREGATOR)]
        return grades.count(Grade.FULL) >= count

    until(full, f"{count} FULL certificates")


def is_healthy(net, name):
    """As a monitor sees it; a busy machine may miss a round."""
    try:
        return net.page(name, "/healthz") == "ok"
    except HTTPError:
        return False


def full_rounds(net, name):
    samples, _ = parse(net.page(name))
    return samples["rounds_total", frozenset({("grade", "FULL")})]


def test_four_processes_reach_certificates_that_verify_and_link(net):
    certificates = net.until_certified(AGGREGATOR, 4)
    config, feed = net.agreed.config, net.agreed.feed("BTC/USD")
    for certificate in certificates:
        assert isinstance(certificate, Certificate)
        certificate.check(config, feed.feed_id)
        assert len(certificate.signers) == 2
    assert certificates[0].previous_hash == bytes(32)
    assert all(after.previous_hash == before.hash for before, after in pairwise(certificates))
    until_full(net)
    assert len({net.status(name)["pid"] for name in net.names}) == 4
    for name in ORACLES:
        theirs = {c.hash for c in net.until_certified(name, 4)}
        until(
            lambda name=name: (
                {c.hash for c in certificates} <= {c.hash for c in net.certificates(name)}
            ),
            f"{name} has what the aggregator has; it has {len(theirs)}",
        )
    for name in net.names:
        with closing(History.read(net.data(name) / "history.sqlite")) as history:
            findings = check_history(history)
        assert (findings.faults, findings.gaps, findings.conflicts) == ((), (), ())


def test_every_process_says_how_it_is(net):
    until_full(net, 2)
    for name in net.names:
        role = AGGREGATOR if name == AGGREGATOR else "oracle"
        status = oracle_vm(role, "status", "--config", net.folder / f"{name}.toml")
        assert status["name"] == name
        assert status["pid"] == net.processes[name].pid
        assert len(status["connected"]) == 3
        assert status["certificates"] >= 2
        until(lambda name=name: is_healthy(net, name), f"{name} is healthy")
        until(lambda name=name: full_rounds(net, name) >= 2, f"{name} counts the rounds")
    assert set(status["venues"].values()) == {True}


def test_anybody_can_listen_to_certificates(net):
    url = net.agreed.peers[AGGREGATOR_ADDRESS].url

    async def listen():
        async with connect(f"{url}/certificates") as socket:
            notice = Notice.decode(await asyncio.wait_for(socket.recv(), CALL_S))
            return wire.decode(notice.kind, notice.body)

    certificate = asyncio.run(listen())
    certificate.check(net.agreed.config)
    assert certificate.round >= net.certificates(AGGREGATOR)[0].round


@pytest.mark.parametrize("window", [0, 3])
def test_an_expiry_is_certified_and_verifies(net, tmp_path, window):
    certificates = net.until_certified(AGGREGATOR, 5)
    start, target = certificates[1].round, certificates[4].round
    until(lambda: min(net.last_round(name) for name in ORACLES) >= target, "oracles have it")
    file = net.folder / "aggregator.toml"
    asked = ("--start", start, "--target", target, "--window", window, "--grace", 10)
    answer = oracle_vm("aggregator", "expire", "--config", file, *asked)
    signed = ExpiryCertificate.decode(bytes.fromhex(answer["expiry"]))
    signed.check(net.agreed.config)
    expiry = signed.expiry
    assert expiry.slot.rule is (Rule.TWAP if window else Rule.SPOT)
    assert expiry.end_round == target
    prices = [c.report.price_e8 for c in certificates if start <= c.round <= target]
    assert (expiry.low_e8, expiry.high_e8) == (min(prices), max(prices))
    if window:
        assert min(prices) <= expiry.price_e8 <= max(prices)
    else:
        assert expiry.price_e8 == certificates[4].report.price_e8
    path = tmp_path / "expiry.json"
    path.write_text(json.dumps(answer))
    for trust in ((), ("--config", net.folder / "network.toml")):
        verdict = oracle_vm("verify", path, "--json", *trust)
        assert (verdict["kind"], verdict["valid"], verdict["reason"]) == ("expiry", True, None)
    path.write_text(json.dumps(answer | {"expiry": answer["expiry"][:-2] + "00"}))
    assert not oracle_vm("verify", path, "--json")["valid"]


def test_an_exercise_notice_settles_an_american_contract_in_its_round(net):
    """As far as a minute's notice allows without waiting a minute: the oracles have decided."""
    first = net.until_certified(AGGREGATOR, 1)[0].round
    holder, config = SecretKey(b"\x07" * 32), net.agreed.config
    now = config.round_at(time.time_ns() // 10**6)
    exercise, expiry = now + 200, now + 400  # in 100 s and 200 s
    preimage = b"AMR1" + holder.public + expiry.to_bytes(8) + b"terms"
    notice = ExerciseNotice(preimage, exercise, bytes(64))
    message = notice_message(notice.contract.contract_id, exercise)
    notice = ExerciseNotice(preimage, exercise, holder.sign(message, bytes(32)))
    file = net.folder / "aggregator.toml"
    assert oracle_vm("aggregator", "notice", notice.encode().hex(), "--config", file) is None

    def expire(target):
        slot = ("--start", first, "--target", target, "--exercise", target)
        with pytest.raises(ValueError, match="2 signatures needed") as refused:
            oracle_vm("aggregator", "expire", "--config", file, *slot, "--contract", preimage.hex())
        return str(refused.value)

    until(
        lambda: expire(expiry).count(f"the contract is settled in round {exercise}") == 3,
        "every oracle has decided for the round of the notice",
    )
    until(lambda: expire(exercise).count("wait for") == 3, "every oracle waits for that round")


def test_three_oracles_attest_one_price_for_discreet_log_contracts(net, tmp_path):
    maturity = int(time.time()) + 3
    target = 1000 * maturity // net.agreed.config.interval_ms
    files = {name: net.folder / f"{name}.toml" for name in ORACLES}
    for file in files.values():
        oracle_vm("oracle", "dlc", "announce", "--config", file, "--maturity", maturity)
    until(lambda: net.last_round(AGGREGATOR) > target, "the price is certified")
    asked = ("--config", net.folder / f"{AGGREGATOR}.toml", "--start", target, "--target", target)
    expired = oracle_vm("aggregator", "expire", *asked)
    answer = tmp_path / "expiry.json"
    answer.write_text(json.dumps(expired))
    values = set()
    for name, file in files.items():
        oracle_vm("oracle", "dlc", "attest", "--config", file, answer)
        public = net.data(name) / f"dlc/public/btcusd-{maturity}.attestation.json"
        verdict = oracle_vm("verify", public, "--json")
        assert (verdict["kind"], verdict["valid"]) == ("attestation", True)
        values.add(verdict["outcome"])
    price_e8 = ExpiryCertificate.decode(bytes.fromhex(expired["expiry"])).expiry.price_e8
    assert values == {price_e8 // 10**8}


def test_logs_are_json_with_the_round_and_nothing_holds_a_secret(net):
    net.until_certified(AGGREGATOR, 2)
    texts = {f"{name}/metrics": net.page(name).encode() for name in net.names}
    texts |= {f"{name}/status": json.dumps(net.status(name)).encode() for name in net.names}
    for path in net.folder.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            texts[str(path)] = path.read_bytes()
    assert {"alpha.log", "guard.journal", "history.sqlite", "network.toml"} <= {
        path.rpartition("/")[2] for path in texts
    }
    assert leaks(secrets_in(net.folder), texts) == []


def test_no_process_is_started_with_a_secret(net):
    texts = {
        f"{name}/{pid}/{what}": Path(f"/proc/{pid}/{what}").read_bytes()
        for name, process in net.processes.items()
        for pid in family(process.pid)
        for what in ("cmdline", "environ")
    }
    assert len(texts) == 2 * 2 * len(net.names), "each node and its signer"
    assert all(texts.values())
    assert leaks(secrets_in(net.folder), texts) == []
    for name in net.names:
        lines = net.log(name)
        assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines)
        rounds = [line["round"] for line in lines if line["event"] == "certified"]
        assert rounds
        assert {c.round for c in net.certificates(name)} >= set(rounds[:-1])


def test_sigterm_ends_with_exit_code_0_and_the_same_files_run_as_ray_actors(net, cluster):
    assert net.stop() == dict.fromkeys(net.names, 0)
    for name in net.names:
        assert net.log(name)[-1]["event"] == "stopped"
        assert not (net.data(name) / "control.sock").exists()
    net.audit()
    before = net.certificates(AGGREGATOR)[-1]
    clock, file = SystemClock(), net.folder / "aggregator.toml"
    actors = [placement.start(placement.AGGREGATOR, "e2e", Aggregator, file, clock)]
    try:
        for name in ORACLES:
            file = net.folder / f"{name}.toml"
            actors.append(placement.start(placement.ORACLE, f"e2e-{name}", Oracle, file, clock))
        after = net.until_certified(AGGREGATOR, 3, after=before.round)
        assert after[0].previous_hash == before.hash
        published = value(actors[0].certificate.remote(after[0].round, CALL_S), 2 * CALL_S)
        assert published.certificate == after[0].encode()
        until(lambda: value(actors[1].ready.remote(), CALL_S) == (3, 3), "alpha hears everybody")
        assert value(actors[1].pid.remote(), CALL_S) != value(actors[2].pid.remote(), CALL_S)
    finally:
        for actor in actors:
            placement.stop(actor)
    net.audit()


def test_several_feeds_make_batches_and_a_price_that_moves_is_certified_at_once(tmp_path):
    """Four feeds on a quick schedule, then, on the same disks, with weeks between its rounds."""
    settings = QUICK | {"feeds": FEEDS, "deviation_bps": 300}
    products = [feed.replace("/", "-") for feed in FEEDS]
    with (
        SimulatedExchanges(7, products=products, tick_ms=50) as exchanges,
        network(tmp_path / "net", exchanges, **settings) as net,
    ):
        moved = movable(*exchanges.venues)
        feeds = {feed.feed_id: feed.symbol for feed in net.agreed.feeds}
        eth = net.agreed.feed("ETH/USD").feed_id
        net.start()
        until(
            lambda: (
                {feeds[f] for c in net.certificates("alpha")[-1:] for f in c.prices} == {*FEEDS}
                and all(net.certificates(name) for name in net.names)
            ),
            "a certificate has every feed",
        )
        assert set(net.stop().values()) == {0}
        first = max((net.certificates(name)[-1] for name in net.names), key=lambda c: c.round)
        assert isinstance(first, BatchCertificate)
        agreed = net.folder / "network.toml"
        agreed.write_text(
            agreed.read_text().replace("schedule_ms = 500", f"schedule_ms = {RARE_MS}")
        )
        net.start()
        net.started()
        until(lambda: all(set(net.status(n)["venues"].values()) == {True} for n in ORACLES))
        began_ms = time.time_ns() // 10**6
        moved.factors_bps["ETH-USD"] = 10_400

        def all_moved():
            found = [c for c in net.certificates(AGGREGATOR) if c.round > first.round]
            return found if found and found[-1].prices[eth] > first.prices[eth] * 1.03 else None

        found = until(all_moved, "the new price is certified")
        last = found[-1]
        late_ms = last.time - began_ms
        assert last.time // RARE_MS == first.time // RARE_MS, "it was due by the schedule"
        assert late_ms < 5_000, f"certified {late_ms} ms after the move"
        assert found[0].time >= began_ms, "certified before anything happened"
        assert last.prices[eth] == pytest.approx(first.prices[eth] * 1.04, rel=0.01)
        assert all(after.previous_hash == b.hash for b, after in pairwise([first, *found]))
        for certificate in (first, last):
            certificate.check(net.agreed.config, set(feeds))
            one = certificate.feed_certificate(eth)
            assert one.report.price_e8 == certificate.prices[eth]
        for name in ORACLES:
            until(lambda name=name: last.round <= net.last_round(name), f"{name} has it")
        window = ("--start", first.round, "--target", first.round, "--feed", "SOL/USD")
        answer = oracle_vm(
            "aggregator", "expire", "--config", net.folder / "aggregator.toml", *window
        )
        ExpiryCertificate.decode(bytes.fromhex(answer["expiry"])).check(net.agreed.config)
        assert set(net.stop().values()) == {0}
        net.audit()


def test_each_oracle_prices_with_one_exchange(tmp_path):
    """``oracle run --exchange``: one venue an oracle, chosen on the command line."""
    venues = dict(zip(ORACLES, ("binance", "coinbase", "kraken"), strict=True))
    with (
        SimulatedExchanges(7, tick_ms=50) as exchanges,
        network(tmp_path / "net", exchanges, min_venues=1, **QUICK) as net,
    ):
        net.start(AGGREGATOR)
        for name, venue in venues.items():
            net.start(name, options=("--exchange", venue))
        net.started()
        until_full(net)
        until(lambda: set(net.status("alpha")["venues"]) == set(venues.values()))
        assert set(net.status("bravo")["venues"]) == {"coinbase"}
        assert set(net.status("charlie")["venues"]) == {"kraken"}
        for name, venue in venues.items():
            moved = movable(getattr(exchanges, venue))
            moved.factors_bps["BTC-USD"] = 10_200
            until(
                lambda name=name: (
                    190 < deviation(net, name) < 210
                    and all(deviation(net, other) < 50 for other in {*venues} - {name})
                ),
                f"{name} sees {venue} alone",
            )
            moved.factors_bps.clear()
            until(lambda name=name: deviation(net, name) < 50, f"{venue} is as the others again")
        assert set(net.stop().values()) == {0}
        net.audit()


def deviation(net, name):
    """How far from the last median an oracle is, in bps; endless before it was part of one."""
    samples, _ = parse(net.page(AGGREGATOR))
    return samples.get(("oracle_deviation_bps", frozenset({("oracle", name)})), math.inf)


def test_a_command_tells_an_operator_what_is_wrong_in_one_line(tmp_path):
    command = [sys.executable, "-m", "actors.cli", "oracle", "run", "--config", tmp_path / "x.toml"]
    run = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == f"error: {tmp_path}/x.toml: cannot be read (No such file or directory)\n"
