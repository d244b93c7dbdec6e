"""The gateway's file: what it says, and what it is refused for."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.market_config import load_market
from actors.network_files import NAMES, Layout, write_network
from protocol.errors import ConfigError
from protocol.oracle.price import VENUES

API = '[api]\nlisten = "127.0.0.1:8480"\nfolder = "data"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("api") / "net"
    write_network(made, Layout(NAMES[:3], range(7001, 7005), {"quorum": 2, "faults": 1},
                               dict.fromkeys(VENUES, "live")))  # fmt: skip
    return made


def load(folder: Path, text: str):
    (folder / "api.toml").write_text(text)
    return load_market(folder / "api.toml")


def test_the_smallest_file(folder):
    config = load(folder, API)
    assert (config.listen.port, config.listens, config.history) == (8480, True, None)
    assert config.max_age_ms == 90_000
    assert config.feed.symbol == "BTC/USD"
    assert config.desk is None


def test_everything(folder):
    surface = {
        "as_of_ms": 1_789_000_000_000, "expiries_ms": [1_800_000_000_000], "forwards": [60000],
        "strikes": [60000], "vols": [[0.6]],
    }  # fmt: skip
    (folder / "surface.json").write_text(json.dumps(surface))
    config = load(
        folder,
        API
        + '[certificates]\nlisten = false\nhistory = "h.sqlite"\nmax_age_s = 5\n'
        + '[market]\nrate = 0.03\nvol = 0.5\nsurface = "surface.json"\nmarkup_bps = 0\n'
        + '[desk]\nholder = "holder.toml"\nwriter = "writer.toml"\nchain = "chain.sock"\n'
        + "[desk.terms]\nbond_sats = 5\n",
    )
    assert (config.listens, config.history, config.max_age_ms) == (False, folder / "h.sqlite", 5000)
    assert config.surface is not None
    assert config.desk is not None
    assert (config.desk.holder, config.desk.terms.bond_sats) == (folder / "holder.toml", 5)
    assert config.desk.folder == folder / "data" / "contracts"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "api"),
        (API.replace("127.0.0.1", "0.0.0.0"), r"\[api\] listen: .* put a proxy"),
        (API.replace("8480", "x"), "HOST:PORT"),
        (API + "colour = 1\n", "colour"),
        (API + "[certificates]\nlisten = false\n", "name a history"),
        (API + "[market]\nvol = 0\n", r"\$.market.vol"),
        (API + '[market]\nsurface = "nowhere.json"\n', r"\[market\] surface: .*nowhere"),
        (API + '[market]\nsurface = "network.toml"\n', "not JSON"),
        (API + '[api2]\nx = "y"\n', "api2"),
        (API + '[desk]\nholder = "h"\n', "writer"),
    ],
)
def test_what_is_refused(folder, text, says):
    with pytest.raises(ConfigError, match=says):
        load(folder, text)


def test_the_command_says_what_is_wrong(folder):
    (folder / "bad.toml").write_text("[api]\n")
    result = CliRunner().invoke(app, ["api", "run", "--config", str(folder / "bad.toml")])
    assert isinstance(result.exception, ConfigError)
