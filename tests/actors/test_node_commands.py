"""The commands that run nodes and talk to them, where they refuse; runs are in tests/e2e."""

import logging

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.network_files import NAMES, Layout, write_network
from protocol.errors import ConfigError

VENUES = {
    venue: {"websocket": f"ws://127.0.0.1:{port}/"}
    for port, venue in enumerate(("binance", "coinbase", "kraken"), start=1)
}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net") / "net"
    write_network(folder, Layout(NAMES[:3], range(7000, 7004), {}, VENUES))
    return folder


@pytest.fixture(autouse=True)
def own_log():
    """A run logs to its own stderr, which is closed when it ends."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def refused(*arguments):
    """Why the command says no, with nothing on stdout."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(result.exception, ConfigError), result.output
    assert result.stdout == ""
    return str(result.exception)


ORACLE = ("run", "status")
AGGREGATOR = ("run", "status", "expire", "notice")
MORE = {"expire": ("--start", 1, "--target", 2), "notice": ("00",)}


@pytest.mark.parametrize("command", ORACLE)
def test_an_oracle_command_wants_an_oracles_file(net, command):
    file, before = net / "aggregator.toml", {*net.rglob("*")}
    assert refused("oracle", command, "--config", file) == (
        f"{file}: [node] role is aggregator, not oracle: name another file"
    )
    assert {*net.rglob("*")} == before


@pytest.mark.parametrize("command", AGGREGATOR)
def test_an_aggregator_command_wants_the_aggregators_file(net, command):
    file, before = net / "alpha.toml", {*net.rglob("*")}
    assert refused("aggregator", command, "--config", file, *MORE.get(command, ())) == (
        f"{file}: [node] role is oracle, not aggregator: name another file"
    )
    assert {*net.rglob("*")} == before


@pytest.mark.parametrize(
    ("role", "command"),
    [*(("oracle", c) for c in ORACLE), *(("aggregator", c) for c in AGGREGATOR)],
)
def test_a_missing_file_is_named(tmp_path, role, command):
    file = tmp_path / "none.toml"
    reason = refused(role, command, "--config", file, *MORE.get(command, ()))
    assert reason == f"{file}: cannot be read (No such file or directory)"


@pytest.mark.parametrize(("role", "command"), [("oracle", "status"), ("aggregator", "status")])
def test_a_node_that_does_not_run_is_to_be_started(net, role, command):
    name = "alpha" if role == "oracle" else "aggregator"
    reason = refused(role, command, "--config", net / f"{name}.toml")
    assert reason.startswith(f"{net}/data/{name}/control.sock: no running node answers (")
    assert reason.endswith("start it first")


@pytest.mark.parametrize("command", ["expire", "notice"])
def test_an_aggregator_that_does_not_run_signs_nothing(net, command):
    reason = refused("aggregator", command, "--config", net / "aggregator.toml", *MORE[command])
    assert "start it first" in reason


def test_an_exchange_alone_needs_a_network_that_allows_it(net):
    file = net / "alpha.toml"
    reason = refused("oracle", "run", "--config", file, "--exchange", "kraken")
    assert reason == f"{file}: [node] exchange: needs a network with min_venues = 1, not 2"
    assert "'mtgox' is not in [venues]" in refused(
        "oracle", "run", "--config", file, "--exchange", "mtgox"
    )


def test_an_oracle_does_not_run_with_a_key_that_others_can_read(net):
    key = net / "keys" / "bravo" / "oracle.key"
    key.chmod(0o644)
    reason = refused("oracle", "run", "--config", net / "bravo.toml")
    assert reason.startswith("[keys] oracle: ")
    assert str(key) in reason
    assert key.read_text().strip() not in reason


def test_an_oracle_does_not_run_with_anothers_key(net):
    keys = net / "keys"
    (keys / "charlie" / "oracle.key").write_text((keys / "alpha" / "oracle.key").read_text())
    reason = refused("oracle", "run", "--config", net / "charlie.toml")
    assert reason.startswith("[keys] oracle: ")
    assert "the roster says" in reason


@pytest.mark.parametrize(
    "arguments",
    [
        ("oracle", "run"),
        ("aggregator", "run", "--exchange", "kraken"),
        ("aggregator", "expire", "--config", "x"),
        ("aggregator", "expire", "--config", "x", "--start", "one", "--target", "2"),
        ("aggregator", "notice", "--config", "x"),
    ],
)
def test_a_command_that_is_not_complete_is_a_usage_error(arguments):
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 2
