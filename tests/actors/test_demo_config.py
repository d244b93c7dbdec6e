import pytest

from actors.demo_config import DEMO, FEED, FUNDS_HEIGHT, load, oracle_config
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
        ("sweep_delay = 12", "sweep_delay = 2", "sweep_delay 2"),
        ("move_window = 6", "move_window = 600", "refund_height"),
        ("confirmations = 1", "confirmations = 0", "confirmations"),
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
    terms = config.offer.claim(oracles, FEED)
    expiry = oracles.round_at(parse_instrument(config.option.instrument).expiry_ms)
    assert (terms.slot.start_round, terms.slot.target_round) == (expiry - 59, expiry)
    assert terms.slot.window == 3
    assert terms.quorum == (3 if suffix.endswith("A") else 2)
    assert config.offer.chain.refund_height == FUNDS_HEIGHT + config.option.refund_blocks


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path / "nowhere.toml")
