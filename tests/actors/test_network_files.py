"""A whole network on disk: what is written loads, is private, and is all there or not at all."""

import stat
from dataclasses import replace
from itertools import pairwise

import pytest

from actors import network_files
from actors.network import load_network
from actors.network_files import NAMES, SETTINGS, Layout, write_network
from actors.operator import load_operator
from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.quorum import thresholds

LIVE = dict.fromkeys(("binance", "coinbase", "kraken"), "live")
LOOPBACK = {
    "binance": {"websocket": "ws://127.0.0.1:1/ws", "rest": "http://127.0.0.1:1"},
    "coinbase": {"websocket": "ws://127.0.0.1:2"},
    "kraken": {"websocket": "ws://127.0.0.1:3/v2", "rest": "http://127.0.0.1:3"},
}
LAYOUT = Layout(NAMES[:3], range(7000, 7004), {}, LOOPBACK)


def test_exactly_what_the_nodes_need_is_written(tmp_path):
    write_network(tmp_path / "net", LAYOUT)
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    keys = ("identity", "oracle", "dlc", "nonce-seed")
    assert files == {
        "net/network.toml",
        "net/aggregator.toml",
        "net/keys/aggregator/identity.key",
        *(f"net/{name}.toml" for name in LAYOUT.names),
        *(f"net/keys/{name}/{key}.key" for name in LAYOUT.names for key in keys),
    }
    for path in (tmp_path / "net").rglob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = [path.read_text() for path in (tmp_path / "net").rglob("*.key")]
    assert len(set(secrets)) == 13
    public = "".join(path.read_text() for path in (tmp_path / "net").glob("*.toml"))
    assert not any(secret.strip() in public for secret in secrets)


@pytest.mark.parametrize("n", range(1, 9))
def test_quorum_and_faults_are_those_of_the_table(tmp_path, n):
    write_network(tmp_path / "net", replace(LAYOUT, names=NAMES[:n], ports=range(7000, 7001 + n)))
    config = load_network(tmp_path / "net" / "network.toml").config
    needs = thresholds(n, config.faults)
    assert (len(config.oracles), config.faults) == (n, (n - 1) // 2)
    assert config.quorum == (needs.agreement if needs.final else needs.authenticity)


def test_ports_are_the_aggregators_and_then_the_oracles_in_their_order(tmp_path):
    ports = [7100, 7003, 7001, 7002]
    write_network(tmp_path / "net", replace(LAYOUT, ports=ports))
    peers = load_network(tmp_path / "net" / "network.toml").peers
    for address, name, port in zip(
        (AGGREGATOR, 0, 1, 2), ("aggregator", *LAYOUT.names), ports, strict=True
    ):
        operator = load_operator(tmp_path / "net" / f"{name}.toml")
        assert (operator.address, operator.listen.port) == (address, port)
        assert peers[address].url == f"ws://127.0.0.1:{port}"
        assert (operator.listen.host, operator.metrics.host) == ("127.0.0.1", "127.0.0.1")
    folders = [load_operator(tmp_path / "net" / f"{name}.toml").folder for name in LAYOUT.names]
    assert all(a != b for a, b in pairwise(folders))


def test_settings_replace_the_defaults_and_nothing_else(tmp_path):
    settings = {"schedule_ms": 2000, "feeds": ["BTC/USD", "ETH/USD"], "quorum": 3}
    write_network(tmp_path / "net", replace(LAYOUT, settings=settings))
    network = load_network(tmp_path / "net" / "network.toml")
    assert network.schedule.schedule_ms == 2000
    assert [feed.symbol for feed in network.feeds] == settings["feeds"]
    assert (network.config.quorum, network.config.faults) == (3, 1)
    assert network.config.interval_ms == SETTINGS["interval_ms"]
    assert network.schedule.takeover_ms == SETTINGS["takeover_ms"]


def test_exchanges_go_round_and_venues_are_taken_over(tmp_path):
    layout = replace(LAYOUT, settings={"min_venues": 1}, exchanges=("kraken", "coinbase"))
    write_network(tmp_path / "net", layout)
    found = [load_operator(tmp_path / "net" / f"{name}.toml") for name in layout.names]
    assert [operator.exchange for operator in found] == ["kraken", "coinbase", "kraken"]
    for operator in found:
        assert operator.venues["binance"].rest_url == "http://127.0.0.1:1"
        assert operator.venues["coinbase"].rest_url is None
    write_network(tmp_path / "live", replace(LAYOUT, venues=LIVE))
    venues = load_operator(tmp_path / "live" / "alpha.toml").venues
    assert all(not endpoint.on_loopback for endpoint in venues.values())


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "net").mkdir()
    write_network(tmp_path / "net", LAYOUT)
    assert load_network(tmp_path / "net" / "network.toml").names == LAYOUT.names
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": {"interval_ms": 0}}, "interval_ms"),
        ({"settings": {"schedule_ms": 1500}}, "schedule_ms"),
        ({"settings": {"collect_ms": 500}}, "collect_ms"),
        ({"settings": {"quorum": 4}}, "quorum"),
        ({"settings": {"feeds": []}}, "feeds"),
        ({"settings": {"feeds": ["BTC/USD", "BTC/USD"]}}, "feeds"),
        ({"settings": {"feeds": ["DOGE/EUR"]}}, "feeds"),
        ({"settings": {"genesis": "moon"}}, "genesis"),
        ({"settings": {"speed": 9}}, "speed"),
        ({"venues": {"kraken": "live"}}, "min_venues"),
        ({"venues": LIVE | {"mtgox": "live"}}, "mtgox"),
        ({"venues": LIVE | {"kraken": {"websocket": "ws://example.com"}}}, "kraken"),
        ({"exchanges": ("kraken",)}, "exchange"),
        ({"exchanges": ("mtgox",), "settings": {"min_venues": 1}}, "exchange"),
        ({"ports": (7000, 7001, 7001, 7002)}, "url"),
        ({"names": ("alpha", "alpha", "bravo")}, "alpha"),
        ({"names": ("alpha", "aggregator", "bravo")}, "aggregator"),
        ({"names": ("../../outside", "alpha", "bravo")}, "outside"),
        ({"names": ("Alpha", "bravo", "x" * 33)}, "Alpha"),
    ],
)
def test_a_network_that_makes_no_sense_is_named_and_not_left_behind(tmp_path, changes, named):
    folder = tmp_path / "deep" / "net"
    with pytest.raises(ConfigError, match=named) as caught:
        write_network(folder, replace(LAYOUT, **changes))
    assert ".net-" not in str(caught.value), "names the draft, which is gone"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not folder.exists()


def test_what_is_there_is_never_touched(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        write_network(tmp_path / "net", LAYOUT)
    with pytest.raises(ConfigError, match="cannot be used"):
        write_network(tmp_path / "net" / "mine", LAYOUT)
    with pytest.raises(ConfigError, match="cannot be used"):
        write_network(tmp_path / "net" / "mine" / "below", LAYOUT)
    assert [path.name for path in tmp_path.rglob("*")] == ["net", "mine"]
    assert (tmp_path / "net" / "mine").read_text() == "x"


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(network_files, "aggregator_entry", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_network(tmp_path / "net", LAYOUT)
    assert list(tmp_path.iterdir()) == []
