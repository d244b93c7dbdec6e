"""TLS keys that a roster or an operator pins: who may say which key is whose."""

import tomllib

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.keyfile import load_key
from actors.network import load_network
from actors.network_files import SETTINGS, Layout, pin_fields, write_network
from actors.operator import load_operator
from actors.ports import free_ports
from actors.transport_tls import create_certificate, read_certificate
from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR

VENUES = dict.fromkeys(("binance", "coinbase", "kraken"), "live")
PIN = b"\x5a" * 32


@pytest.fixture
def folder(tmp_path):
    """A network of three oracles that all dial wss:// and pin nothing."""
    folder = tmp_path / "net"
    write_network(folder, Layout(("alpha", "bravo", "charlie"), free_ports(4), SETTINGS, VENUES))
    file = folder / "network.toml"
    file.write_text(file.read_text().replace("ws://", "wss://"))
    return folder


def pins(folder, name, pin=PIN, keys=None, **changes):
    """Adds the pin of one operator, signed by the identity key of ``keys``."""
    file = folder / "network.toml"
    identity = load_key(folder / "keys" / (keys or name) / "identity.key")
    fields = pin_fields(name, identity, pin) | changes
    lines = "\n".join(f'{key} = "{value}"' for key, value in fields.items() if value)
    head = "[aggregator]\n" if name == "aggregator" else f'name = "{name}"\n'
    file.write_text(file.read_text().replace(head, f"{head}{lines}\n"))
    return file


def test_a_roster_pins_keys_and_its_configuration_is_the_same(folder):
    before = load_network(folder / "network.toml")
    pins(folder, "bravo")
    after = load_network(pins(folder, "aggregator"))
    assert {address for address, peer in after.peers.items() if peer.tls_key} == {1, AGGREGATOR}
    assert after.peers[1].tls_key == PIN
    assert after.config.digest == before.config.digest


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keys": "alpha"}, r"\[\[oracle\]\] 1 bravo: bravo's tls_key 5a.* not its operator's"),
        ({"tls_key": "5b" * 32}, "tls_proof is not its operator's"),
        ({"tls_proof": None}, "tls_key and tls_proof: write both or none"),
        ({"tls_key": None}, "tls_key and tls_proof: write both or none"),
        ({"tls_key": "5a"}, "tls_key"),
    ],
)
def test_nobody_pins_a_key_for_somebody_else(folder, changes, reason):
    keys = changes.pop("keys", None)
    with pytest.raises(ConfigError, match=reason):
        load_network(pins(folder, "bravo", keys=keys, **changes))


def test_a_pin_needs_tls(folder):
    file = pins(folder, "bravo")
    file.write_text(file.read_text().replace("wss://", "ws://"))
    with pytest.raises(ConfigError, match="a TLS key is pinned, so write wss://"):
        load_network(file)


def test_an_operators_own_pin_stands_in_for_the_rosters(folder):
    pins(folder, "bravo")
    own = folder / "alpha.toml"
    text = own.read_text()
    own.write_text(f'{text}\n[tls.pins]\nbravo = "{"6b" * 32}"\naggregator = "{"6c" * 32}"\n')
    roster = load_operator(own).roster
    assert [roster[at].tls_key for at in (1, 2, AGGREGATOR)] == [b"\x6b" * 32, None, b"\x6c" * 32]
    own.write_text(f'{text}\n[tls.pins]\ndelta = "{"6b" * 32}"\n')
    with pytest.raises(ConfigError, match=r"\[tls.pins\] delta: not in the roster"):
        load_operator(own)


def command(*words, code=0):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == code, found.output
    return found


def test_keys_come_with_a_pinned_certificate(tmp_path):
    entry = ("--name", "alpha", "--url", "wss://oracle.example:7001", "--tls")
    [oracle] = tomllib.loads(command("oracle", "keys", tmp_path / "a", *entry).stdout)["oracle"]
    found = read_certificate(tmp_path / "a" / "tls.pem")
    assert (oracle["tls_key"], found.names) == (found.pin.hex(), ("oracle.example",))
    url = ("--url", "wss://127.0.0.1:7000", "--tls")
    made = tomllib.loads(command("aggregator", "keys", tmp_path / "b", *url).stdout)["aggregator"]
    assert made["tls_key"] == read_certificate(tmp_path / "b" / "tls.pem").pin.hex()
    plain = ("--name", "alpha", "--url", "ws://127.0.0.1:1", "--tls")
    refused = command("oracle", "keys", tmp_path / "c", *plain, code=1)
    assert "write wss://" in str(refused.exception)
    assert not (tmp_path / "c").exists()


def test_a_node_prints_its_pin_and_makes_a_new_one(folder):
    file = folder / "alpha.toml"
    missing = command("network", "tls", "--config", file, code=1)
    assert "--new FOLDER makes one" in str(missing.exception)
    new = tomllib.loads(command("network", "tls", "--config", file, "--new", folder / "t").stdout)
    with file.open("a") as end:
        end.write('[tls]\ncertificate = "t/tls.pem"\nkey = "t/tls-key.pem"\n')
    again = tomllib.loads(command("network", "tls", "--config", file).stdout)
    assert new["tls_key"] == again["tls_key"]
    load_network(pins(folder, "alpha", **again))
    command("network", "check", file)
    create_certificate(folder / "u", "127.0.0.1")
    file.write_text(file.read_text().replace('"t/', '"u/'))
    refused = command("network", "check", file, code=1)
    assert "the roster pins" in str(refused.exception)
