import stat

import pytest

from actors.clock import SimulatedClock, SystemClock
from actors.config import DEMO, claim_terms, load, oracle_config
from actors.keyfile import create_key, load_key
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from protocol.options.instrument import parse_instrument


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
        ("80000-C", "80000-C-A", "start_round"),
        ("80000-C", "80000-C-UO90000", "start_round"),
        ("premium_sats", "twap_rounds = 2\npremium_sats", "window 2"),
        ("premium_sats", "payout_bits = 17\npremium_sats", "use 16 bits"),
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


@pytest.mark.parametrize(
    "suffix", ["C", "P", "C-B", "C-UO90000", "P-DO40000", "C-A", "P-UO90000-A"]
)
def test_every_option_has_claim_terms(tmp_path, suffix):
    text = DEMO.read_text().replace("80000-C", f"80000-{suffix}")
    path = tmp_path / "option.toml"
    path.write_text(text.replace("[option]\n", "[option]\nrounds = 60\ntwap_rounds = 3\n"))
    config = load(path)
    keys = tuple(SecretKey(bytes([i + 1]) * 32).public for i in range(3))
    oracles = oracle_config(config.oracle, keys)
    terms = claim_terms(config.option, oracles, bytes(32))
    expiry = oracles.round_at(parse_instrument(config.option.instrument).expiry_ms)
    assert (terms.slot.start_round, terms.slot.target_round) == (expiry - 59, expiry)
    assert terms.slot.window == 3
    assert terms.quorum == (3 if suffix.endswith("A") else 2)
    earlier = claim_terms(config.option, oracles, bytes(32), expiry - 1000)
    assert earlier.slot.start_round == expiry - 1000


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
