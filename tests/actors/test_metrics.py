"""Metrics: the text format, read by a parser of its own, and the endpoint against bad clients."""

import asyncio
import contextlib
import math
import re
import socket

import pytest

from actors.metrics import Registry
from actors.metrics_server import MetricsServer
from protocol.errors import ConfigError

SAMPLE = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)')


def parse(text):
    """The samples of an exposition in format 0.0.4: {(name, labels): value}, and the types."""
    samples, types = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram")
            assert name not in types
            types[name] = kind
            continue
        if line.startswith("# HELP "):
            continue
        name, inside, value = SAMPLE.fullmatch(line).groups()
        labels, rest = {}, inside or ""
        while rest:
            match = LABEL.match(rest)
            label, raw = match.groups()
            assert label not in labels
            labels[label] = raw.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
            rest = rest[match.end() :]
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in types or types.get(base) == "histogram", f"{name} before its TYPE"
        key = name, frozenset(labels.items())
        assert key not in samples
        samples[key] = float(value)
    return samples, types


def value(samples, name, **labels):
    return samples.get((name, frozenset(labels.items())))


def test_counter():
    registry = Registry()
    rounds = registry.counter("rounds_total", "Certified rounds.", grade=("FULL", "DEGRADED"))
    rounds.inc(grade="FULL")
    rounds.inc(4, grade="FULL")
    samples, types = parse(registry.text())
    assert types == {"rounds_total": "counter"}
    assert value(samples, "rounds_total", grade="FULL") == 5
    assert value(samples, "rounds_total", grade="DEGRADED") == 0
    assert rounds.value(grade="FULL") == 5


def test_a_counter_does_not_go_back():
    rounds = Registry().counter("frames_total", "Frames.")
    rounds.total(10)
    rounds.total(7)
    rounds.inc(-5)
    assert rounds.value() == 10


def test_gauge_is_shown_once_it_has_a_value():
    registry = Registry()
    age = registry.gauge("cert_age_seconds", "Age of the last certificate.", feed=("BTC/USD",))
    assert value(parse(registry.text())[0], "cert_age_seconds", feed="BTC/USD") is None
    age.set(1.5, feed="BTC/USD")
    assert value(parse(registry.text())[0], "cert_age_seconds", feed="BTC/USD") == 1.5
    age.set(None, feed="BTC/USD")
    assert age.value(feed="BTC/USD") is None
    assert value(parse(registry.text())[0], "cert_age_seconds", feed="BTC/USD") is None


def test_histogram():
    registry = Registry()
    latency = registry.histogram("obs_latency", "Seconds.", (0.001, 0.01, 0.1), venue=("kraken",))
    for seconds in (0.0005, 0.001, 0.005, 0.5):
        latency.observe(seconds, venue="kraken")
    samples, types = parse(registry.text())
    assert types == {"obs_latency": "histogram"}
    counts = [
        value(samples, "obs_latency_bucket", venue="kraken", le=le)
        for le in ("0.001", "0.01", "0.1", "+Inf")
    ]
    assert counts == [2, 3, 3, 4]
    assert value(samples, "obs_latency_count", venue="kraken") == 4
    assert value(samples, "obs_latency_sum", venue="kraken") == pytest.approx(0.5065)
    assert latency.count(venue="kraken") == 4


def test_escapes():
    registry = Registry()
    registry.counter("odd_total", 'A "help"\nof \\ two lines.', label=('a"b\\c\nd', "{},= ")).inc(
        label='a"b\\c\nd'
    )
    samples, _ = parse(registry.text())
    assert value(samples, "odd_total", label='a"b\\c\nd') == 1
    assert value(samples, "odd_total", label="{},= ") == 0


def test_labels_are_bounded():
    registry = Registry()
    rejected = registry.counter("obs_rejected", "Rejected.", reason=("stale", "future"))
    before = registry.text()
    for labels in ({}, {"reason": "new"}, {"reason": "stale", "more": 1}, {"other": "stale"}):
        with pytest.raises(ConfigError, match="not declared"):
            rejected.inc(**labels)
    assert registry.text() == before
    with pytest.raises(ConfigError, match="series"):
        registry.counter("many_total", "Many.", a=range(101), b=range(100))


@pytest.mark.parametrize("name", ["", "9lives", "with-dash", "with space", "ünicode", "a\n"])
def test_names(name):
    with pytest.raises(ConfigError):
        Registry().gauge(name, "A gauge.")
    with pytest.raises(ConfigError):
        Registry().gauge("fine", "A gauge.", **{name: ("a",)})


def test_one_meaning_a_name():
    registry = Registry()
    registry.gauge("age", "Age.")
    with pytest.raises(ConfigError, match="exists"):
        registry.counter("age", "Other.")
    with pytest.raises(ConfigError):
        registry.gauge("bucket", "le is the histogram's.", le=("a",))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_only_finite_values(wrong):
    registry = Registry()
    with pytest.raises(ConfigError):
        registry.gauge("gauge", "A gauge.").set(wrong)
    with pytest.raises(ConfigError):
        registry.counter("counter", "A counter.").total(wrong)
    with pytest.raises(ConfigError):
        registry.histogram("histogram", "A histogram.", (1,)).observe(wrong)


@pytest.mark.parametrize("buckets", [(), (2, 1), (1, 1), (1, math.inf)])
def test_buckets_ascend(buckets):
    with pytest.raises(ConfigError, match="buckets"):
        Registry().histogram("h", "A histogram.", buckets)


async def ask(port, request):
    """Status line, headers and body of what the endpoint answers; nothing if it just closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return status, dict(h.split(": ") for h in headers), body.decode()


async def test_endpoint():
    registry = Registry()
    age = registry.gauge("age", "Age.")
    ages, faults = iter((3, 4)), iter((None, "no certificate for 90 s"))
    async with MetricsServer(
        registry, refresh=lambda: age.set(next(ages)), fault=lambda: next(faults)
    ) as server:
        for expected in (3, 4):
            request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
            status, headers, body = await ask(server.port, request)
            assert status == "HTTP/1.1 200 OK"
            assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert int(headers["Content-Length"]) == len(body)
            assert value(parse(body)[0], "age") == expected
        assert await health(server) == ("HTTP/1.1 200 OK", "ok")
        assert await health(server) == (
            "HTTP/1.1 503 Service Unavailable",
            "no certificate for 90 s",
        )


async def health(server):
    status, _, body = await ask(server.port, b"GET /healthz HTTP/1.1\r\n\r\n")
    return status, body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "404"),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", "404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"\xff\xfe\x00 /metrics\r\n\r\n", "405"),
        (b"\r\n\r\n", "405"),
        (b"GET\r\n\r\n", "404"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 10_000 + b"\r\n\r\n", "431"),
        (b"G" * 10_000, "431"),
        (b"GET /metrics HTTP/1.1\r\n", "408"),
        (b"", "408"),
    ],
)
async def test_bad_requests(request_, status):
    async with MetricsServer(Registry(), patience_s=0.05) as server:
        line, _, _ = await ask(server.port, request_)
        assert line.split(" ")[1] == status


async def test_a_client_that_leaves_and_one_that_does_not_read():
    registry = Registry()
    registry.counter("many_total", "Many.", number=range(10_000))
    async with MetricsServer(registry, patience_s=0.05) as server:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            writer.transport.abort()
        deaf = socket.create_connection(("127.0.0.1", server.port))
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        _, _, body = await ask(server.port, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert len(parse(body)[0]) == 10_000
        deaf.close()


async def test_too_many_clients():
    async with MetricsServer(Registry(), patience_s=5) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(16)]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        for _, open_writer in (*held, (reader, writer)):
            open_writer.transport.abort()


async def test_only_loopback():
    with pytest.raises(ConfigError, match="open to others"):
        MetricsServer(Registry(), "0.0.0.0")
    async with MetricsServer(Registry(), "0.0.0.0", exposed=True) as server:
        assert await health(server) == ("HTTP/1.1 200 OK", "ok")


async def test_port_in_use():
    async with MetricsServer(Registry()) as server:
        with pytest.raises(ConfigError, match=f"metrics: 127.0.0.1:{server.port}"):
            await MetricsServer(Registry(), port=server.port).start()
