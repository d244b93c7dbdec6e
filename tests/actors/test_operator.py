"""Operators' files: what they give, and that every mistake names file, table and field."""

from pathlib import Path

import pbk
import pytest

from actors.feeds.endpoints import LIVE
from actors.key_commands import init
from actors.network import GENESIS, Network, load_network
from actors.operator import is_operator, load_operator
from protocol.bitcoin.genesis import REGTEST_GENESIS
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.roster import possession_message


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operators") / "net"
    init(folder, 3, ["BTC/USD", "ETH/USD"], 7000, None, "live")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the files to break; keys stay where they are."""
    for file in made.glob("*.toml"):
        text = file.read_text().replace('"keys/', f'"{made}/keys/')
        (tmp_path / file.name).write_text(text)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new, 1))


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load_operator(path)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_generated_network_loads(made: Path) -> None:
    network = load_network(made / "network.toml")
    assert network.names == ("alpha", "bravo", "charlie")
    assert network.feeds == (Feed("BTC/USD"), Feed("ETH/USD"))
    assert network.config.genesis_hash == REGTEST_GENESIS
    assert (network.config.quorum, network.config.faults, network.config.min_venues) == (2, 1, 2)
    assert (network.schedule.schedule_ms, network.schedule.takeover_ms) == (30_000, 500)
    assert network.peers.keys() == {0, 1, 2, AGGREGATOR}
    assert network.peers[1].url == "ws://127.0.0.1:7002"
    assert network.feed("ETH/USD") == Feed("ETH/USD")
    with pytest.raises(ConfigError, match="prices BTC/USD, ETH/USD"):
        network.feed("DOGE/USD")


def test_an_oracle_and_the_aggregator_find_themselves(made: Path) -> None:
    bravo, aggregator = load_operator(made / "bravo.toml"), load_operator(made / "aggregator.toml")
    assert (bravo.address, aggregator.address) == (1, AGGREGATOR)
    assert bravo.publics["oracle"] == bravo.network.config.oracles[1]
    assert bravo.publics["identity"] == bravo.network.peers[1].identity
    assert aggregator.publics == {"identity": aggregator.network.peers[AGGREGATOR].identity}
    assert set(bravo.keys) == {"identity", "oracle", "dlc", "nonce_seed"}
    assert set(aggregator.keys) == {"identity"}
    assert bravo.folder == made / "data/bravo"
    assert (bravo.listen.host, bravo.listen.port, bravo.metrics.port) == ("127.0.0.1", 7002, 0)
    assert bravo.venues == LIVE
    assert aggregator.venues == {}
    assert (bravo.exchange, bravo.tls, bravo.limits.frames_per_s) == (None, None, 2_000)
    assert is_operator(made / "bravo.toml")
    assert not is_operator(made / "network.toml")


def test_all_operators_agree_on_one_digest(made: Path) -> None:
    digests = {load_operator(made / f"{n}.toml").network.config.digest for n in ("alpha", "bravo")}
    assert digests == {load_network(made / "network.toml").config.digest}


NETWORK_MISTAKES = [
    ("quorum = 2\n", "", "quorum"),
    ("quorum = 2\n", "quorum = 2\nquorums = 2\n", "quorums"),
    ("quorum = 2\n", 'quorum = "2"\n', "quorum"),
    ("quorum = 2\n", "quorum = 4\n", "[network] quorum"),
    ("quorum = 2\n", "quorum = 1\n", "[network] quorum"),
    ("faults = 1\n", "faults = 2\n", "[network] faults"),
    ("epoch = 1\n", "epoch = 4294967296\n", "epoch"),
    ("epoch = 1\n", "epoch = 1.5\n", "epoch"),
    ("interval_ms = 1000", "interval_ms = 0", "interval_ms"),
    ("interval_ms = 1000", "interval_ms = 7", "[network] schedule_ms"),
    ("delta_ppm = 5000", "delta_ppm = 5_000_000_000", "delta_ppm"),
    ("min_venues = 2", "min_venues = 0", "min_venues"),
    ("min_venues = 2", "min_venues = 4", "min_venues"),
    ("collect_ms = 50", "collect_ms = 500", "[network] collect_ms"),
    ("takeover_ms = 500", "takeover_ms = true", "takeover_ms"),
    ('genesis = "regtest"', 'genesis = "testnet3"', "genesis"),
    (
        'genesis = "regtest"',
        'genesis = "signet"\nclock_offset_ms = 5',
        "clock_offset_ms: a simulated clock",
    ),
    ('genesis = "regtest"', f'genesis = "{"00" * 31}"', "genesis"),
    ('"BTC/USD", "ETH/USD"', '"BTC/USD", "BTC/USD"', "[network] feeds"),
    ('"BTC/USD", "ETH/USD"', "", "feeds"),
    ('"BTC/USD", "ETH/USD"', '"BTCUSD"', "feeds"),
    ('"BTC/USD", "ETH/USD"', '"BTC/USD\\n"', "feeds"),
    ('"BTC/USD", "ETH/USD"', '"BTC/EUR"', "[network] feeds: BTC/EUR"),
    ('name = "alpha"', 'name = "Alpha"', "oracle"),
    ('name = "alpha"', 'name = "zulu"', "[[oracle]] 0 zulu"),
    ('name = "alpha"', 'name = "aggregator"', "the aggregator's alone"),
    ('name = "alpha"', 'name = "bravo"', "[[oracle]] 0 bravo"),
    ("ws://127.0.0.1:7001", "ws://127.0.0.1:7002", "is also alpha's"),
    ("ws://127.0.0.1:7001", "ws://example.org:7001", "[[oracle]] 0 alpha: url"),
    ("ws://127.0.0.1:7001", "127.0.0.1:7001", "[[oracle]] 0 alpha: url"),
    ("ws://127.0.0.1:7000", "http://127.0.0.1:7000", "[aggregator]: url"),
    ('oracle_key = "', 'oracle_key = "00', "oracle_key"),
    ("[network]\n", "[network\n", "not TOML"),
    ("[aggregator]", "[aggregators]", "aggregator"),
]


@pytest.mark.parametrize(("old", "new", "names"), NETWORK_MISTAKES)
def test_a_mistake_in_the_network_file_names_it(
    folder: Path, old: str, new: str, names: str
) -> None:
    change(folder / "network.toml", old, new)
    message = refused(folder / "alpha.toml")
    assert names in message
    file = "alpha.toml" if "BTC/EUR" in new else "network.toml"
    assert str(folder / file) in message


NODE_MISTAKES = [
    ('role = "oracle"', 'role = "orakel"', "role"),
    ('role = "oracle"', 'role = "aggregator"', "[node] name"),
    ('name = "alpha"', 'name = "zulu"', "[node] name: 'zulu' is not in the roster"),
    ('network = "network.toml"', 'network = "other.toml"', "other.toml: cannot be read"),
    ('folder = "data/alpha"\n', "", "folder"),
    ("listen = ", "listens = ", "listen"),
    ('"127.0.0.1:7001"', '"127.0.0.1"', "[node] listen"),
    ('"127.0.0.1:7001"', '"127.0.0.1:70000"', "[node] listen"),
    ('"127.0.0.1:7001"', '":7001"', "[node] listen"),
    ('"127.0.0.1:7001"', '"me@127.0.0.1:7001"', "[node] listen"),
    ('"127.0.0.1:7001"', '"0.0.0.0:7001"', "[tls] certificate and key: needed"),
    ('"127.0.0.1:0"', '"0.0.0.0:9100"', "[node] metrics"),
    ('log = "info"', 'log = "loud"', "log"),
    ('log = "info"', 'log = "info"\nexchange = "kraken"', "[node] exchange: needs a network"),
    ('log = "info"', 'log = "info"\nexchange = "mtgox"', "[node] exchange: 'mtgox'"),
    ("dlc = ", "dlcs = ", "dlcs"),
    ("nonce-seed.key", "dlc.key", "[keys] nonce_seed: the same file as dlc"),
    ("/nonce-seed.key", "/../alpha/dlc.key", "[keys] nonce_seed: the same file as dlc"),
    ('kraken = "live"', 'kraken = "dead"', "venues"),
    ('kraken = "live"', 'mtgox = "live"', "[venues] mtgox: unknown"),
    ('coinbase = "live"\nkraken = "live"\n', "", "[venues] binance: the network's min_venues is 2"),
    (
        'kraken = "live"',
        'kraken = {websocket = "ws://example.org"}',
        "[venues.kraken] websocket",
    ),
    (
        'kraken = "live"',
        'kraken = {websocket = "wss://a.example", rest = "http://a.example"}',
        "[venues.kraken] rest",
    ),
    (
        'kraken = "live"',
        'kraken = "live"\n[tls]\nkey = "x"',
        "[tls] certificate and key: name both",
    ),
    ('kraken = "live"', 'kraken = "live"\n[limits]\nframes_per_s = 0', "limits.frames_per_s"),
    ('kraken = "live"', 'kraken = "live"\n[limit]\nframes_per_s = 1', "limit"),
    ('kraken = "live"', 'kraken = "live"\nkraken = "live"', "not TOML"),
]


@pytest.mark.parametrize(("old", "new", "names"), NODE_MISTAKES)
def test_a_mistake_in_an_operators_file_names_it(
    folder: Path, old: str, new: str, names: str
) -> None:
    change(folder / "alpha.toml", old, new)
    message = refused(folder / "alpha.toml")
    assert names in message
    assert str(folder / ("other.toml" if "other" in new else "alpha.toml")) in message


def test_a_missing_key_path_is_named_and_a_needless_one_too(folder: Path) -> None:
    text = (folder / "alpha.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("dlc"))
    change(folder / "alpha.toml", line, "")
    assert "[keys] dlc: name its file" in refused(folder / "alpha.toml")
    change(folder / "aggregator.toml", "[keys]\n", '[keys]\ndlc = "x"\n')
    assert "[keys] dlc: an aggregator has no such key" in refused(folder / "aggregator.toml")
    change(folder / "aggregator.toml", 'dlc = "x"\n', "")
    change(folder / "aggregator.toml", 'log = "info"', 'log = "info"\nexchange = "kraken"')
    assert "an aggregator has none" in refused(folder / "aggregator.toml")


def swap(path: Path, first: str, second: str) -> None:
    """Exchanges the values of two lines of the file that begin with these texts."""
    lines = path.read_text().splitlines()
    at = [next(i for i, line in enumerate(lines) if line.startswith(t)) for t in (first, second)]
    one, two = (lines[i].split(" = ")[1] for i in at)
    lines[at[0]], lines[at[1]] = f"{first} = {two}", f"{second} = {one}"
    path.write_text("\n".join(lines))


def test_a_key_without_proof_of_possession_is_refused(folder: Path) -> None:
    """Somebody enters a key that is not his: he cannot prove it, nor use another's proof."""
    file = folder / "network.toml"
    original = file.read_text()
    swap(file, "oracle_proof", "identity_proof")
    assert "[[oracle]] 0 alpha" in refused(folder / "alpha.toml")
    file.write_text(original)
    swap(file, "oracle_key", "identity_key")
    assert "proof of possession does not verify" in refused(folder / "alpha.toml")


def test_a_key_that_is_no_curve_point_is_refused(folder: Path) -> None:
    key = load_network(folder / "network.toml").config.oracles[0].hex()
    change(folder / "network.toml", key, "ff" * 32)
    assert "[[oracle]] 0 alpha" in refused(folder / "alpha.toml")
    assert "no curve point" in refused(folder / "alpha.toml")


def test_one_key_for_two_purposes_is_refused(folder: Path) -> None:
    """Even with valid proofs: an identity key that also signs prices leaks both at once."""
    file = folder / "network.toml"
    key = SecretKey(b"\x07" * 32)
    lines = file.read_text().splitlines()
    for purpose in ("oracle", "identity"):
        proof = key.sign(possession_message(purpose, "alpha", key.public), bytes(32)).hex()
        for field, value in (("key", key.public.hex()), ("proof", proof)):
            at = next(i for i, x in enumerate(lines) if x.startswith(f"{purpose}_{field}"))
            lines[at] = f'{purpose}_{field} = "{value}"'
    file.write_text("\n".join(lines))
    assert "every purpose has its own key" in refused(folder / "alpha.toml")


def test_venues_by_url_and_one_exchange(folder: Path) -> None:
    change(folder / "network.toml", "min_venues = 2", "min_venues = 1")
    change(
        folder / "alpha.toml",
        'kraken = "live"',
        'kraken = {websocket = "ws://127.0.0.1:5000", rest = "http://127.0.0.1:5001"}',
    )
    alpha = load_operator(folder / "alpha.toml", exchange="kraken")
    assert alpha.exchange == "kraken"
    assert alpha.venues["kraken"].websocket_url == "ws://127.0.0.1:5000"
    assert alpha.venues["kraken"].rest_url == "http://127.0.0.1:5001"
    assert alpha.venues["binance"] == LIVE["binance"]
    text = (folder / "alpha.toml").read_text().splitlines()
    kept = [line for line in text if not line.startswith(("coinbase", "kraken"))]
    (folder / "alpha.toml").write_text("\n".join(kept))
    assert "quotes in USDT: add coinbase or kraken" in refused(folder / "alpha.toml")


def test_tls_and_limits(folder: Path) -> None:
    change(folder / "alpha.toml", '"127.0.0.1:7001"', '"[::]:7001"')
    with (folder / "alpha.toml").open("a") as file:
        file.write('\n[tls]\nca = "ca.pem"\ncertificate = "c.pem"\nkey = "/k.pem"\n')
        file.write("\n[limits]\nframes_per_s = 9\nbytes_per_s = 8\nsubscribers = 7\n")
    alpha = load_operator(folder / "alpha.toml")
    assert (alpha.listen.host, alpha.listen.port) == ("::", 7001)
    assert alpha.tls is not None
    assert (alpha.tls.ca, alpha.tls.cert) == (folder / "ca.pem", folder / "c.pem")
    assert alpha.tls.key == Path("/k.pem")
    limits = alpha.limits
    assert (limits.frames_per_s, limits.bytes_per_s, limits.observers) == (9, 8, 7)


def test_a_bench_config_may_have_short_rounds(folder: Path) -> None:
    change(folder / "network.toml", "interval_ms = 1000", "interval_ms = 5")
    assert load_network(folder / "network.toml").config.interval_ms == 5


def test_any_network_can_be_named_by_its_genesis_hash(folder: Path) -> None:
    change(folder / "network.toml", '"regtest"', f'"{REGTEST_GENESIS[::-1].hex()}"')
    named: Network = load_network(folder / "network.toml")
    assert named.config.genesis_hash == REGTEST_GENESIS


@pytest.mark.parametrize("name", GENESIS)
def test_genesis_hashes_are_those_of_bitcoin_core(name: str, tmp_path: Path) -> None:
    """Asked of libbitcoinkernel."""
    options = pbk.ContextOptions()
    kind = getattr(pbk.ChainType, name.upper().replace("TESTNET4", "TESTNET_4"))
    options.set_chainparams(pbk.ChainParameters(kind))
    context = pbk.Context(options)
    manager = pbk.ChainstateManager(
        pbk.ChainstateManagerOptions(context, str(tmp_path), str(tmp_path / "blocks"))
    )
    genesis = manager.get_active_chain().block_tree_entries[0]
    assert str(genesis.block_hash) == GENESIS[name]


def test_a_config_with_a_key_off_the_curve_cannot_exist(made: Path) -> None:
    config = load_network(made / "network.toml").config
    with pytest.raises(ConfigError, match="no curve point"):
        OracleConfig(
            genesis_hash=config.genesis_hash,
            epoch=1,
            oracles=(*config.oracles[:2], b"\xff" * 32),
            quorum=2,
            faults=1,
            interval_ms=1,
            delta_ppm=1,
            max_move_ppm=1,
            max_age_ms=1,
            future_ms=1,
            min_venues=1,
        )
