"""What an operator may put into a rotation, and what is refused with a sentence that helps."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.epochs import load_networks, load_rotation
from actors.keyfile import load_key
from actors.network_files import Layout, create_keys, oracle_entry, table, write_network
from actors.operator import load_operator
from protocol.errors import ConfigError, ProtocolError, QuorumError, SignatureError
from protocol.oracle.price import VENUES
from tests.builders.oracles import AUX
from tests.builders.rotations import cli, drafted, installed, next_network

ORACLES = ("alpha", "bravo", "charlie")
JOINS = {"delta": "ws://127.0.0.1:7009"}
FAR = 10**10


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A network on disk: 2 of 3."""
    venues = dict.fromkeys(VENUES, "live")
    write_network(tmp_path / "net", Layout(ORACLES, range(7000, 7004), {}, venues))
    return tmp_path / "net"


def signature(net: Path, draft: Path, name: str, key: str = "oracle.key") -> Path:
    """What `oracle rotate sign` prints, without a node."""
    secret = load_key(net / "keys" / name / key)
    path = draft.with_suffix(f".{name}")
    signed = secret.sign(load_rotation(draft).rotation.hash, AUX)
    path.write_text(f'{name} = "{signed.hex()}"\n')
    return path


def combined(net: Path, draft: Path, *signatures: Path) -> Path:
    path = draft.with_suffix(".signed")
    where = ("--network", net / "network.toml")
    cli("network", "rotate", "combine", draft, *signatures, "-o", path, *where)
    return path


def handed_over(net: Path, following: Path, *signers: str, round_id: int = FAR) -> Path:
    """The installed rotation, signed by these."""
    draft = drafted(net, following, round_id)
    return installed(net, draft, [signature(net, draft, signer) for signer in signers])


def test_a_draft_says_what_changes_and_who_must_sign(net: Path) -> None:
    following = next_network(net, joins=JOINS, renewed="bravo", leaves="charlie", delta_ppm=4_000)
    draft = drafted(net, following, FAR)
    where = ("--network", net / "network.toml")
    text = cli("network", "rotate", "show", draft, *where)
    rotation = load_rotation(draft)
    for line in (
        "epoch 1 -> 2 in round 10000000000",
        f"configuration {rotation.network.config.digest.hex()}",
        f"rotation {rotation.rotation.hash.hex()}",
        "joins: delta",
        "leaves: charlie",
        f"new oracle key: bravo {rotation.network.config.oracles[1].hex()}",
        "delta_ppm: 5000 -> 4000",
        "signed by nobody; 2 of alpha, bravo, charlie are needed",
    ):
        assert line in text
    record = json.loads(cli("network", "rotate", "show", draft, *where, "--json"))
    assert record["stranded"] == []
    assert (record["epoch"], record["round"], record["needed"]) == (2, FAR, 2)


def test_a_warning_tells_when_too_few_stay_to_settle(net: Path) -> None:
    following = next_network(net, joins=JOINS, leaves="charlie", quorum=3, faults=1)
    handed_over(net, following, "alpha", "bravo")
    gone = next_network(net, following.name, leaves="bravo", quorum=2, faults=0)
    network = net / "network.toml"
    text = cli("network", "rotate", "draft", gone, "--network", network, "--round", FAR + 1,
               "-o", net / "two.rot")  # fmt: skip
    assert "WARNING: too few oracles of epoch 1 stay" in text
    assert "epoch 2 stay" in text


def test_a_signed_rotation_is_installed_once_and_shown(net: Path) -> None:
    following = next_network(net, joins=JOINS, quorum=3, faults=1)
    signed = handed_over(net, following, "alpha", "charlie")
    where = ("--network", net / "network.toml")
    assert "installed already" in cli("network", "rotate", "install", signed, *where)
    networks = load_networks(net / "network.toml")
    assert [n.config.epoch for n in networks.all] == [1, 2]
    assert networks.now().config.epoch == 1
    assert (networks.begins(networks.newest), networks.ends(networks.all[0])) == (FAR, FAR)
    assert networks.at(FAR) == networks.newest
    text = cli("network", "check", net / "network.toml")
    assert f"epoch 2 from round {FAR}: {networks.newest.config.digest.hex()}" in text
    assert "3 of alpha, bravo, charlie, delta" in text
    assert load_operator(net / "delta.toml").network.config.epoch == 2, "it joins later"
    assert load_operator(net / "alpha.toml").network.config.epoch == 1
    later = load_operator(net / "alpha.toml", now_ms=FAR * 1000)
    assert later.network.config.epoch == 2


def test_who_starts_to_verify_may_pin_the_newest_epoch(net: Path, tmp_path: Path) -> None:
    following = next_network(net, joins=JOINS, quorum=3, faults=1)
    signed = handed_over(net, following, "alpha", "charlie")
    later = tmp_path / "later"
    (later / "rotations").mkdir(parents=True)
    (later / "network.toml").write_bytes(signed.read_bytes())
    (later / "rotations" / "2.rot").write_bytes(signed.read_bytes())
    networks = load_networks(later / "network.toml")
    assert [network.config.epoch for network in networks.all] == [2]
    text = cli("network", "rotate", "draft", next_network(net, signed.name, delta_ppm=9),
               "--network", later / "network.toml", "--round", FAR + 1,
               "-o", tmp_path / "3.rot")  # fmt: skip
    assert "epoch 2 -> 3" in text


def test_the_operators_are_found_by_name_whatever_their_index(net: Path) -> None:
    following = next_network(net, leaves="alpha", quorum=2, faults=0)
    handed_over(net, following, "alpha", "charlie")
    charlie = load_operator(net / "charlie.toml", now_ms=FAR * 1000)
    assert (charlie.address, charlie.address_in(charlie.networks.all[0])) == (1, 2)
    with pytest.raises(ConfigError, match=r"'alpha' is not in the roster .* epoch 2: bravo, ch"):
        load_operator(net / "alpha.toml", now_ms=FAR * 1000)


def other_genesis(net: Path) -> Path:
    return next_network(net, genesis="signet")


def epoch_3(net: Path) -> Path:
    return next_network(net, epoch=3)


def other_rounds(net: Path) -> Path:
    return next_network(net, interval_ms=2000)


def no_feed(net: Path) -> Path:
    return next_network(net, feeds=["ETH/USD"])


def two_feeds(net: Path) -> Path:
    return next_network(net, feeds=["BTC/USD", "ETH/USD"])


@pytest.mark.parametrize(
    ("following", "match"),
    [
        (other_genesis, "rotation genesis_hash"),
        (epoch_3, "rotation epoch: 3, expected 2"),
        (other_rounds, "rotation interval_ms: 2000, expected 1000"),
        (no_feed, "feeds: BTC/USD is missing"),
        (two_feeds, "one feed stays one"),
    ],
)
def test_no_successor(net: Path, following: Callable[[Path], Path], match: str) -> None:
    with pytest.raises(ProtocolError, match=match):
        drafted(net, following(net), FAR)


def test_a_round_that_has_begun_cannot_be_named(net: Path) -> None:
    with pytest.raises(QuorumError, match=r"round 7 has begun: name one after \d+"):
        drafted(net, next_network(net, delta_ppm=1_000), 7)
    with pytest.raises(ConfigError, match="--at TIME or --round N"):
        cli("network", "rotate", "draft", net / "network.toml", "-o", net / "x.rot",
            "--network", net / "network.toml")  # fmt: skip


def test_too_few_signatures(net: Path) -> None:
    draft = drafted(net, next_network(net, delta_ppm=1_000), FAR)
    with pytest.raises(ConfigError, match="1 of 2 signatures"):
        combined(net, draft, signature(net, draft, "alpha"))
    with pytest.raises(ConfigError, match="0 of 2 signatures"):
        cli("network", "rotate", "install", draft, "--network", net / "network.toml")
    assert not (net / "rotations").exists()


def test_a_signature_of_another_key_or_for_another_rotation(net: Path) -> None:
    following = next_network(net, joins=JOINS, delta_ppm=1_000, quorum=3, faults=1)
    draft, other = drafted(net, following, FAR), drafted(net, following, FAR + 1)
    with pytest.raises(ConfigError, match="delta: not an oracle of epoch 1"):
        combined(net, draft, signature(net, draft, "alpha"), signature(net, draft, "delta"))
    with pytest.raises(SignatureError, match=r"bravo: does not verify; have it sign this very"):
        combined(net, draft, signature(net, draft, "alpha"), signature(net, other, "bravo"))


def test_keys_of_the_epoch_before_the_last_hand_nothing_over(net: Path) -> None:
    following = next_network(net, renewed="bravo")
    handed_over(net, following, "alpha", "bravo")
    draft = drafted(net, next_network(net, following.name, delta_ppm=9), FAR + 1)
    old = signature(net, draft, "bravo")  # the key that bravo had before
    with pytest.raises(SignatureError, match="bravo: does not verify"):
        combined(net, draft, signature(net, draft, "alpha"), old)
    new = signature(net, draft, "bravo", "oracle-2.key")
    assert combined(net, draft, signature(net, draft, "alpha"), new).exists()


def test_a_rotation_of_another_network(net: Path, tmp_path: Path) -> None:
    venues = dict.fromkeys(VENUES, "live")
    write_network(tmp_path / "other", Layout(ORACLES, range(7000, 7004), {}, venues))
    other = tmp_path / "other"
    foreign = handed_over(other, next_network(other, delta_ppm=9), "alpha", "bravo")
    with pytest.raises(QuorumError, match="unknown: another network, or a rotation that has not"):
        cli("network", "rotate", "install", foreign, "--network", net / "network.toml")
    (net / "rotations").mkdir()
    (net / "rotations" / "2.rot").write_bytes(foreign.read_bytes())
    with pytest.raises(ConfigError, match=r"rotations/2.rot: configuration .* is unknown"):
        load_operator(net / "alpha.toml")


def test_two_rotations_of_one_epoch_convict_who_signed_both(net: Path) -> None:
    one = next_network(net, delta_ppm=1_000)
    first = drafted(net, one, FAR)
    second = drafted(net, one, FAR + 5)
    a = combined(net, first, signature(net, first, "alpha"), signature(net, first, "bravo"))
    b = combined(net, second, signature(net, second, "alpha"), signature(net, second, "charlie"))
    where = ("--network", net / "network.toml")
    cli("network", "rotate", "install", a, *where)
    with pytest.raises(QuorumError, match=r"another rotation to epoch 2 .* signed both: alpha"):
        cli("network", "rotate", "install", b, *where)
    evidence = net / "rotations" / "alpha.evidence"
    verdict = json.loads(cli("verify", evidence, "--config", net / "network.toml", "--json"))
    assert (verdict["kind"], verdict["valid"], verdict["oracle"]) == ("evidence", True, 0)
    assert len(load_networks(net / "network.toml").all) == 2


def test_a_roster_with_stolen_names_is_not_what_was_signed(net: Path) -> None:
    following = next_network(net, joins=JOINS, quorum=3, faults=1)
    draft = drafted(net, following, FAR)
    signed = combined(net, draft, signature(net, draft, "alpha"), signature(net, draft, "bravo"))
    thief = create_keys(net / "keys" / "thief", "oracle")
    stolen = tomllib.loads(oracle_entry("charlie", "ws://127.0.0.1:7003", thief))["oracle"][0]
    tables = tomllib.loads(signed.read_text())
    text = signed.read_text()

    def with_fields(*names: str) -> str:
        changed = text
        for name in names:
            changed = changed.replace(tables["oracle"][2][name], stolen[name])
        return changed

    bad = net / "bad.signed"
    where = ("--network", net / "network.toml")
    bad.write_text(with_fields("identity_key"))
    with pytest.raises(ConfigError, match=r"charlie's identity key .* the proof of possession"):
        cli("network", "rotate", "install", bad, *where)
    bad.write_text(with_fields("identity_key", "identity_proof"))
    with pytest.raises(SignatureError, match="rotation signature of oracle 0 does not verify"):
        cli("network", "rotate", "install", bad, *where)
    bad.write_text(with_fields("oracle_key", "oracle_proof"))
    with pytest.raises(SignatureError, match="rotation signature of oracle 0 does not verify"):
        cli("network", "rotate", "install", bad, *where)
    bad.write_text(text.replace("ws://127.0.0.1:7003", "ws://127.0.0.1:7999"))
    cli("network", "rotate", "install", bad, *where)  # where one is reached is one's own affair
    newest = load_networks(net / "network.toml").newest
    assert newest.peers[2].url == "ws://127.0.0.1:7999"


def test_a_file_that_is_no_rotation(net: Path) -> None:
    with pytest.raises(ConfigError, match="missing required field `rotation`"):
        load_rotation(net / "network.toml")
    draft = drafted(net, next_network(net, delta_ppm=1_000), FAR)
    with pytest.raises(ConfigError, match="exists: name a new file"):
        drafted(net, net / "next-2.toml", FAR)
    extra = table("[rotation.signatures]", {"alpha": "00"})
    draft.write_text(f"{draft.read_text()}\n{extra}")
    with pytest.raises(ConfigError, match=r"rotation.signatures"):
        load_rotation(draft)
