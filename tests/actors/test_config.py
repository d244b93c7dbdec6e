import stat

import pytest

from actors.clock import SimulatedClock, SystemClock
from actors.config import DEMO, load
from actors.keyfile import create_key, load_key
from protocol.errors import ConfigError


def test_the_shipped_file_loads():
    assert load(DEMO).venues.simulated


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("quorum = 2\n", "", "quorum"),
        ("quorum = 2\n", "quorum = 2\nquorums = 2\n", "quorums"),
        ("quorum = 2\n", 'quorum = "2"\n', "quorum"),
        ("quorum = 2\n", "quorum = 4\n", "quorum"),
        ("faults = 1\n", "faults = 2\n", "faults"),
        ("delta_ppm = 5000", "delta_ppm = 5_000_000_000", "delta_ppm"),
        ("BTC-27DEC26-80000-C", "BTC-27DEC26-80000-X", "option"),
        ("collateral_sats = 100_000_000", "collateral_sats = 5", "collateral_sats"),
        ("log4_steps = 12", "log4_steps = 7", "log4_steps"),
        ('"alpha", "bravo"', '"alpha", "alpha"', "names"),
        ('binance = "simulated"', 'binance = "http://x"', "binance"),
        ('binance = "simulated"', 'binance = "wss://x"', "venues"),
        ("width = 20", "width = 24", "width"),
        ("log4_chunk = 8", "log4_chunk = 13", "log4_chunk"),
        ("[dispute]", "[disputes]", "dispute"),
        ("[oracle]", "[oracle", "not TOML"),
    ],
)
def test_an_error_names_the_file_and_the_field(tmp_path, old, new, names):
    text = DEMO.read_text()
    assert old in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert names in str(error.value)
    assert "\n" not in str(error.value).replace("\n\n", "")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path / "nowhere.toml")


def test_key_files_are_private_and_never_overwritten(tmp_path):
    path = tmp_path / "keys" / "holder.key"
    key = create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).public == key.public
    with pytest.raises(ConfigError, match="never overwritten"):
        create_key(path)


def test_bad_key_files_are_refused_without_showing_them(tmp_path):
    path = tmp_path / "k"
    secret = "ab" * 31
    path.write_text(secret)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as error:
        load_key(path)
    assert secret not in str(error.value)
    with pytest.raises(ConfigError, match="no readable key file"):
        load_key(tmp_path / "none")
    path.write_text("ab" * 32)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(path)
    path.chmod(0o600)
    assert load_key(path).public


def test_a_simulated_clock_stands_until_it_is_released(tmp_path):
    start = 1_798_358_400_000
    mine = SimulatedClock(start, tmp_path / "clock")
    theirs = SimulatedClock(start, tmp_path / "clock")
    assert mine.name == "simulated-clock"
    assert SystemClock().name == "system-clock"
    assert mine.now_ms() == theirs.now_ms() == start
    mine.release()
    deadline = SystemClock().now_ms() + 10_000
    while theirs.now_ms() == start and SystemClock().now_ms() < deadline:
        pass
    assert start < theirs.now_ms() < start + 10_000
    assert abs(mine.now_ms() - theirs.now_ms()) < 1_000
