"""Keys and networks on disk: complete, private, never overwritten, public in what is printed."""

import stat
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from actors.key_commands import aggregator_keys, check, init, keys
from actors.keyfile import load_key, load_keys
from actors.network import load_network
from actors.operator import load_operator
from protocol.errors import ConfigError
from protocol.oracle.roster import check_possession

app = typer.Typer()
for command in (keys, aggregator_keys, init, check):
    app.command()(command)

URL = "ws://127.0.0.1:7001"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def secrets_in(folder: Path) -> list[str]:
    return [file.read_text().strip() for file in folder.rglob("*.key")]


def test_an_oracle_gets_four_keys_and_a_roster_entry_that_proves_them(tmp_path: Path) -> None:
    printed = run("keys", tmp_path / "keys", "--name", "alpha", "--url", URL)
    files = sorted((tmp_path / "keys").iterdir())
    assert [f.name for f in files] == ["dlc.key", "identity.key", "nonce-seed.key", "oracle.key"]
    assert len(set(secrets_in(tmp_path))) == 4
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert not any(secret in printed for secret in secrets_in(tmp_path))
    (entry,) = msgspec.toml.decode(printed)["oracle"]
    assert (entry["name"], entry["url"]) == ("alpha", URL)
    for purpose in ("oracle", "identity"):
        public = bytes.fromhex(entry[f"{purpose}_key"])
        assert public == load_key(tmp_path / "keys" / f"{purpose}.key").public
        check_possession(purpose, "alpha", public, bytes.fromhex(entry[f"{purpose}_proof"]))


def test_entries_of_several_operators_make_a_network(tmp_path: Path) -> None:
    """Each makes his keys at home; what they send each other is what was printed."""
    run("init", tmp_path / "net", "--oracles", 1)
    text = (tmp_path / "net/network.toml").read_text().split("[[oracle]]")[0]
    for number, name in enumerate(("xenia", "yoko", "zulu")):
        url = f"ws://127.0.0.1:{7100 + number}"
        text += run("keys", tmp_path / name, "--name", name, "--url", url)
    text += run("aggregator-keys", tmp_path / "agg", "--url", "ws://127.0.0.1:7099")
    (tmp_path / "network.toml").write_text(text.replace("quorum = 1", "quorum = 2"))
    assert load_network(tmp_path / "network.toml").names == ("xenia", "yoko", "zulu")
    assert "3 oracles" in run("check", tmp_path / "network.toml")


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    run("keys", tmp_path, "--name", "alpha", "--url", URL)
    (tmp_path / "oracle.key").unlink()
    before = secrets_in(tmp_path)
    with pytest.raises(ConfigError, match=r"identity\.key exists: a key is never overwritten"):
        run("keys", tmp_path, "--name", "alpha", "--url", URL)
    assert secrets_in(tmp_path) == before, "nor is half of a new set made"


@pytest.mark.parametrize(
    ("name", "url", "names"),
    [
        ("Alpha", URL, "--name"),
        ("aggregator", URL, "--name"),
        ("", URL, "--name"),
        ("a\n", URL, "--name"),
        ("alpha", "ws://example.org", "--url"),
        ("alpha", "http://127.0.0.1", "--url"),
    ],
)
def test_no_keys_are_made_for_a_wrong_entry(
    tmp_path: Path, name: str, url: str, names: str
) -> None:
    with pytest.raises(ConfigError, match=names):
        run("keys", tmp_path / "k", "--name", name, "--url", url)
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize(
    ("oracles", "faults", "quorum"), [(1, 0, 1), (2, 0, 2), (3, 1, 2), (4, 1, 3), (7, 3, 4)]
)
def test_a_whole_network_is_written_and_every_file_loads(
    tmp_path: Path, oracles: int, faults: int, quorum: int
) -> None:
    folder = tmp_path / "deep" / "net"
    printed = run("init", folder, "--oracles", oracles, "--port", 9000).splitlines()
    assert len(printed) == oracles + 1
    assert printed[0] == f"oracle-vm aggregator run --config {folder}/aggregator.toml"
    ports, digests = set(), set()
    for line in printed:
        file = Path(line.split()[-1])
        operator = load_operator(file)
        load_keys(operator.keys, operator.publics)
        ports.add(operator.listen.port)
        digests.add(operator.network.config.digest)
        assert str(operator.listen.port) in operator.network.peers[operator.address].url
        assert f"configuration {operator.network.config.digest.hex()}" in run("check", file)
    assert ports == set(range(9000, 9001 + oracles))
    assert len(digests) == 1
    assert (operator.network.config.faults, operator.network.config.quorum) == (faults, quorum)
    texts = "".join(file.read_text() for file in folder.glob("*.toml"))
    assert not any(secret in texts for secret in secrets_in(folder))
    assert sorted(p.name for p in folder.parent.iterdir()) == ["net"]


def test_single_venue_mode_gives_each_oracle_an_exchange(tmp_path: Path) -> None:
    run(
        "init", tmp_path / "n", "--exchange", "binance", "--exchange", "kraken", "--feed", "ETH/USD"
    )
    found = [load_operator(tmp_path / "n" / f"{n}.toml") for n in ("alpha", "bravo", "charlie")]
    assert [operator.exchange for operator in found] == ["binance", "kraken", "binance"]
    assert found[0].network.config.min_venues == 1
    assert [feed.symbol for feed in found[0].network.feeds] == ["ETH/USD"]


def test_venues_may_be_given(tmp_path: Path) -> None:
    file = tmp_path / "venues.toml"
    file.write_text(
        '[venues.binance]\nwebsocket = "ws://127.0.0.1:1"\nrest = "http://127.0.0.1:2"\n'
        '[venues.kraken]\nwebsocket = "ws://127.0.0.1:3"\n'
    )
    run("init", tmp_path / "n", "--venues", file)
    venues = load_operator(tmp_path / "n/bravo.toml").venues
    assert {name: (v.websocket_url, v.rest_url) for name, v in venues.items()} == {
        "binance": ("ws://127.0.0.1:1", "http://127.0.0.1:2"),
        "kraken": ("ws://127.0.0.1:3", None),
    }


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--feed", "BTC"], "feeds"),
        (["--exchange", "mtgox"], "--exchange mtgox: choose from"),
        (["--venues", "nowhere.toml"], "--venues nowhere.toml: cannot be read"),
        (["--venues", "BAD"], "--venues"),
        (["--venues", "ODD"], "[venues] mtgox: unknown"),
    ],
)
def test_a_network_that_would_not_load_is_not_left_behind(
    tmp_path: Path, options: list[str], names: str
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "BAD").write_text("x = 1")
    (given / "ODD").write_text('[venues.mtgox]\nwebsocket = "wss://x.example"')
    options = [str(given / o) if o in ("BAD", "ODD") else o for o in options]
    with pytest.raises(ConfigError) as error:
        run("init", tmp_path / "net", *options)
    assert names in str(error.value)
    assert ".net-" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["given"]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ConfigError, match="not empty; name a new folder"):
        run("init", tmp_path)
    with pytest.raises(ConfigError, match="cannot be used"):
        run("init", tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    run("init", tmp_path / "empty", "--oracles", 1)


def test_check_reads_the_keys_too(tmp_path: Path) -> None:
    run("init", tmp_path / "n")
    file = tmp_path / "n/alpha.toml"
    key = tmp_path / "n/keys/alpha/oracle.key"
    key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"alpha\.toml: \[keys\] oracle: .*chmod 600"):
        run("check", file)
    key.chmod(0o600)
    key.write_text((tmp_path / "n/keys/bravo/oracle.key").read_text())
    with pytest.raises(ConfigError, match=r"\[keys\] oracle: .*the roster says"):
        run("check", file)
    key.unlink()
    with pytest.raises(ConfigError, match="no readable key file"):
        run("check", file)
    with pytest.raises(ConfigError, match="cannot be read"):
        run("check", tmp_path / "none.toml")


def test_check_reads_the_certificates_of_tls(tmp_path: Path) -> None:
    run("init", tmp_path / "n")
    file = tmp_path / "n/alpha.toml"
    with file.open("a") as text:
        text.write('\n[tls]\nca = "ca.pem"\n')
    with pytest.raises(ConfigError, match=r"tls\.ca: .*ca\.pem"):
        run("check", file)
