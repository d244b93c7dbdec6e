"""Every metric moves in its fault, as a scraper sees it (oracle.md section 6, number 82)."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from actors.feeds.events import Kind
from actors.feeds.events import Reason as FeedReason
from actors.feeds.health import Health, Poll
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.keyfile import load_key
from actors.meters import Meters
from actors.network import load_network
from actors.network_files import NAMES, Layout, write_network
from actors.node import EVENTS_LIMIT
from actors.transport_link import Traffic
from actors.transport_options import Tls
from actors.transport_tls import create_certificate
from protocol.errors import PriceError
from protocol.oracle.exercise import ExerciseNotice
from protocol.oracle.messages import AGGREGATOR as AGGREGATOR_ADDRESS
from protocol.oracle.proposal import Reason
from tests.actors.test_metrics import parse
from tests.builders.batches import BatchNetwork, flat
from tests.builders.messages import EVIDENCE
from tests.builders.network import leaks, movable, secrets_in
from tests.builders.operators import DEADLINE_S, until
from tests.builders.oracles import T0, observed
from tests.builders.rotations import next_network, rotated
from tests.builders.running import AGGREGATOR, ORACLES, MovedClock, Programs

VENUES = ("binance", "coinbase", "kraken")


class Page:
    """A page of metrics: ``page("name", label="value")``."""

    def __init__(self, text):
        self.samples, self.types = parse(text)

    def __call__(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())))


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def exchanges(clock):
    with SimulatedExchanges(7, clock.now_ms, tick_ms=50) as running:
        yield running


@pytest.fixture
async def net(tmp_path, exchanges, clock):
    async with Programs(tmp_path / "net", exchanges, clock, deviation_bps=1_000) as running:
        yield running


async def look(net, name):
    return Page(await net.page(name))


async def shows(net, name, condition):
    """The first page that fulfils the condition."""
    end = time.monotonic() + DEADLINE_S
    while not condition(page := await look(net, name)):
        assert time.monotonic() < end, page.samples
        await asyncio.sleep(0.02)
    return page


async def test_a_healthy_network_is_shown_as_such(net):
    await net.certified(3)
    for name in net.names:
        page = await shows(net, name, lambda page: page("rounds_total", grade="FULL") >= 3)
        assert page("rounds_total", grade="DEGRADED") == 0
        assert page("rounds_given_up_total") == page("messages_dropped_total") == 0
        assert 0 <= page("cert_age_seconds") < 5
        for peer in {*net.names} - {name}:
            assert page("peer_connected", peer=peer) == 1
            assert page("peer_frames_total", peer=peer, way="in") > 0
            assert page("peer_frames_total", peer=peer, way="out") > 0
            assert page("peer_frames_total", peer=peer, way="refused") == 0
            if peer != AGGREGATOR:
                assert page("obs_latency_seconds_count", oracle=peer) >= 2
                assert page("evidence_total", oracle=peer) == 0
                assert page("oracle_flagged", oracle=peer) == 0
                assert 0 <= page("oracle_deviation_bps", oracle=peer) < 50
        assert page("peer_connected", peer=name) in (None, 0)
        assert page("breaker_open") == (None if name == AGGREGATOR else 0)
    page = await look(net, "alpha")
    assert page("frame_to_certificate_seconds_count") >= 3
    assert page("frame_to_certificate_seconds_sum") > 0
    for venue in VENUES:
        assert page("venue_subscribed", venue=venue) == 1
        assert page("venue_connects_total", venue=venue) == 1
        assert 0 <= page("venue_quote_age_seconds", venue=venue) < 5
        assert page("venue_events_total", venue=venue, kind=Kind.QUOTE) > 0
        assert page("venue_polling", venue=venue) == page("clock_alarm", venue=venue) == 0


async def test_no_page_log_or_file_holds_a_secret(net, caplog):
    caplog.set_level("DEBUG")
    await net.certified(2)
    texts = {f"page of {name}": (await net.page(name)).encode() for name in net.names}
    texts["log"] = repr([record.__dict__ for record in caplog.records]).encode()
    for name in net.names:
        await net.stop(name)
    for path in (net.folder / "data").rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes()
    secrets = secrets_in(net.folder)
    assert len(secrets) == 13
    assert len(texts) > 10
    assert leaks(secrets, texts) == []
    assert leaks(secrets, {"bait": b"x" + next(iter(secrets.values()))}) == ["bait"]


async def test_a_dead_oracle_is_seen(net):
    await net.certified(1)
    await net.stop("charlie")
    page = await shows(
        net,
        "alpha",
        lambda page: (
            page("rounds_total", grade="DEGRADED") > 0
            and page("peer_connected", peer="charlie") == 0
        ),
    )
    assert page("peer_frames_total", peer="charlie", way="dropped") > 0
    await net.stop("bravo")
    before = (await look(net, AGGREGATOR))("cert_age_seconds")
    page = await shows(net, AGGREGATOR, lambda page: page("rounds_given_up_total") > 0)
    assert page("cert_age_seconds") > before


async def test_two_observations_of_one_round_count_as_evidence_everywhere(net):
    await net.certified(1)
    config = net["alpha"].operator.network.config
    proof = _evidence(net, config)
    net["alpha"].node.hear(1, proof)
    for name in ("alpha", "bravo", AGGREGATOR):
        page = await shows(net, name, lambda page: page("evidence_total", oracle="charlie") == 1)
        assert page("evidence_total", oracle="bravo") == 0


def _evidence(net, config):
    """What convicts charlie."""
    key = load_key(net.folder / "keys" / "charlie" / "oracle.key")
    first, second = (
        replace(observed(2, config=config).observation, price_e8=price) for price in (1, 2)
    )
    return replace(
        EVIDENCE,
        public=key.public,
        message_a=first.encode(),
        signature_a=key.sign(first.message, bytes(32)),
        message_b=second.encode(),
        signature_b=key.sign(second.message, bytes(32)),
    )


async def test_refused_messages_are_counted_by_reason(net):
    await net.certified(1)
    alpha = net["alpha"]
    config = alpha.operator.network.config
    old = observed(1, config=config, round=1, obs_time=config.starts_ms(1))
    alpha.node.hear(1, old)
    alpha.node.hear(1, observed(1))  # of another configuration
    page = await shows(
        net,
        "alpha",
        lambda page: (
            page("messages_refused_total", reason=Reason.STALE) == 1
            and page("messages_refused_total", reason=Reason.CONFIG) == 1
        ),
    )
    assert page("messages_refused_total", reason=Reason.EQUIVOCATION) == 0


async def test_refused_exercise_notices_are_counted_by_reason(net):
    await net.certified(1)
    alpha = net["alpha"]
    alpha.node.hear(AGGREGATOR_ADDRESS, ExerciseNotice(bytes(36) + b"\xff" * 8, 1, bytes(64)))
    page = await shows(net, "alpha", lambda page: page("notices_refused_total", reason="stale"))
    assert page("notices_refused_total", reason=Reason.STALE) == 1
    assert page("notices_refused_total", reason=Reason.SIGNATURE) == 0
    assert (await look(net, "bravo"))("notices_refused_total", reason=Reason.STALE) == 0


async def test_a_flood_is_counted_as_dropped_and_as_a_flood(net):
    await net.certified(1)
    alpha = net["alpha"]
    junk = observed(1)
    for _ in range(EVENTS_LIMIT + 50):
        alpha.node.hear(1, junk)
    page = await shows(net, "alpha", lambda page: page("messages_dropped_total") >= 50)
    assert page("messages_refused_total", reason=Reason.FLOOD) >= 0
    await shows(
        net, "alpha", lambda page: page("messages_refused_total", reason=Reason.FLOOD) > 5_000
    )
    await net.certified(1, after=net.round())


async def test_a_liar_that_stays_within_the_rules_is_flagged(net):
    await net.certified(1)
    oracle = net["charlie"].oracle
    honest = oracle.observe
    oracle.observe = lambda round_id, price, root, now_ms: honest(
        round_id, replace(price, price_e8=price.price_e8 * 102 // 100), root, now_ms
    )
    page = await shows(net, AGGREGATOR, lambda page: page("oracle_flagged", oracle="charlie") == 1)
    assert 190 < page("oracle_deviation_bps", oracle="charlie") < 210
    assert page("oracle_deviation_bps", oracle="alpha") < 50
    assert page("oracle_flagged", oracle="alpha") == 0


async def test_an_oracle_without_data_says_so(net):
    await net.certified(1)
    heartbeats, since = net["alpha"].member.heartbeats, net.round()
    net["charlie"]._look = lambda *_: PriceError("all venues are silent")
    await until(lambda: 2 in heartbeats and heartbeats[2].heartbeat.round > since)
    page = await look(net, "alpha")
    assert page("heartbeat", oracle="charlie", status="NO_DATA") == 1
    assert page("heartbeat", oracle="charlie", status="GUARD") == 0
    assert page("heartbeat", oracle="bravo", status="GUARD") == 0


async def test_the_breaker_opens_on_a_jump_and_closes_when_it_is_confirmed(net, exchanges):
    moved = movable(*exchanges.venues)
    await net.certified(1)
    for program in ("alpha", "bravo"):
        await until(lambda program=program: net.round(program) >= 0)
    opened = []
    member = net["alpha"].member
    poll = member.poll

    def watched(now_ms):
        effects = poll(now_ms)
        net["alpha"]._measure()
        opened.append(net["alpha"].meters.breaker.value())
        return effects

    member.poll = watched
    moved.factors_bps["BTC-USD"] = 12_000
    await until(lambda: 1 in opened)
    await until(lambda: opened[-1] == 0)
    assert (await look(net, "alpha"))("breaker_open") == 0
    report = net["alpha"].member.node.last.report
    assert report.price_e8 > 95_000 * 10**8


async def test_a_silent_venue_is_asked_over_rest(net, exchanges):
    await net.certified(1)
    exchanges.kraken.faults.silent = True
    page = await shows(
        net, "alpha", lambda page: page("venue_polls_total", venue="kraken", end=Poll.QUOTE)
    )
    assert page("venue_polling", venue="kraken") == 1
    assert page("venue_polling", venue="binance") == 0
    exchanges.binance.faults.one_sided = True
    await shows(
        net,
        "alpha",
        lambda page: any(
            page("venue_rejects_total", venue="binance", reason=reason) for reason in FeedReason
        ),
    )


async def test_the_next_epoch_and_who_lacks_a_key_of_it(net):
    await net.certified(1)
    config = net["alpha"].operator.network.config
    far = config.round_at(net.clock.now_ms()) + 10_000
    following = next_network(net.folder, renewed="charlie")
    await asyncio.to_thread(rotated, net.folder, following, far, ORACLES[:2])
    for name, ready in (("alpha", 1), (AGGREGATOR, 1), ("charlie", 0)):
        page = await shows(net, name, lambda page: page("epoch_begins_seconds") is not None)
        assert 0 < page("epoch_begins_seconds") <= 10_000 * config.interval_ms / 1000
        assert page("epoch_overdue_seconds") == 0
        assert page("epoch_ready") == ready, "the signer of charlie was started without its new key"


async def test_a_tls_certificate_that_ends(net, tmp_path):
    await net.certified(1)
    program = net["alpha"]
    assert (await look(net, "alpha"))("tls_certificate_seconds") is None
    made = create_certificate(tmp_path, "127.0.0.1")
    tls = Tls(cert=tmp_path / "tls.pem", key=tmp_path / "tls-key.pem")
    program.operator = replace(program.operator, tls=tls)
    left_s = (await look(net, "alpha"))("tls_certificate_seconds")
    assert 0 <= made.expires_s - time.time() - left_s + 60 <= 120
    tls.cert.unlink()
    assert (await look(net, "alpha"))("tls_certificate_seconds") == 0


# Those figures that no quick fault can move on its own.


@pytest.fixture
def meters(tmp_path):
    venues = {venue: {"websocket": f"ws://127.0.0.1:{i}/"} for i, venue in enumerate(VENUES, 1)}
    write_network(tmp_path / "net", Layout(NAMES[:3], range(7000, 7004), {}, venues))
    return Meters(load_network(tmp_path / "net" / "network.toml"))


def page_of(meters):
    return Page(meters.registry.text())


def test_the_figures_of_a_venue(meters):
    health = Health(
        "kraken",
        subscribed=True,
        connects=7,
        polling=True,
        offset_ms=-1500,
        clock_alarm=True,
        last_quote_ms=T0,
        events=Counter({Kind.QUOTE: 5}),
        rejects=Counter(dict.fromkeys(FeedReason, 2)),
        polls=Counter(dict.fromkeys(Poll, 3)),
    )
    meters.venues({"kraken": health}, T0 + 2500)
    page = page_of(meters)
    assert page("clock_offset_ms", venue="kraken") == -1500
    assert page("clock_alarm", venue="kraken") == 1
    assert page("venue_quote_age_seconds", venue="kraken") == 2.5
    assert page("venue_connects_total", venue="kraken") == 7
    assert page("venue_events_total", venue="kraken", kind=Kind.QUOTE) == 5
    assert all(page("venue_rejects_total", venue="kraken", reason=r) == 2 for r in FeedReason)
    assert all(page("venue_polls_total", venue="kraken", end=end) == 3 for end in Poll)
    assert page("clock_offset_ms", venue="binance") is None
    assert page("venue_connects_total", venue="binance") == 0


def test_the_figures_of_a_connection(meters):
    traffic = Traffic(
        connected=True, frames_in=3, frames_out=5, unsent=7, refused=Counter(skew=1, message=2)
    )
    traffic.dropped = 11
    meters.peers({1: traffic, AGGREGATOR_ADDRESS: Traffic()})
    page = page_of(meters)
    ways = {way: page("peer_frames_total", peer="bravo", way=way) for way in ("in", "out")}
    assert ways == {"in": 3, "out": 5}
    assert page("peer_frames_total", peer="bravo", way="dropped") == 18
    assert page("peer_frames_total", peer="bravo", way="refused") == 3
    assert page("peer_connected", peer="bravo") == 1
    assert page("peer_connected", peer=AGGREGATOR) == 0


def test_the_latency_of_an_observation_of_one_feed_or_of_many(meters):
    meters.heard(observed(1, obs_time=T0), T0 + 30)
    meters.heard(observed(1, obs_time=T0 + 900), T0)  # a clock ahead of ours: no negative time
    batch = BatchNetwork().observe({2: flat()})[0]
    newest = max(batch.observations.column("obs_time").tolist())
    meters.heard(batch, newest + 80)
    page = page_of(meters)
    assert page("obs_latency_seconds_count", oracle="bravo") == 2
    assert page("obs_latency_seconds_sum", oracle="bravo") == 0.03
    assert page("obs_latency_seconds_sum", oracle="charlie") == 0.08


def test_every_metric_is_documented_and_every_series_known_from_the_start(meters):
    meters.node(SimpleNamespace(given_up=2, dropped=3))
    page = page_of(meters)
    assert page("rounds_given_up_total") == 2
    assert page("messages_dropped_total") == 3
    text = meters.registry.text()
    for name in page.types:
        assert f"# HELP {name} " in text
    for reason in Reason:
        assert page("messages_refused_total", reason=reason) == 0
