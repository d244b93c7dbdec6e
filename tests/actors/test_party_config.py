"""A party's file: what a person gets wrong is named, and nothing is read that is not asked for."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from actors.contract_setting import Ending, Setting
from actors.party_config import load_party
from protocol.errors import ConfigError
from protocol.settlement.policy import Close
from protocol.settlement.terms import Role
from tests.builders.contracts import contract_terms

COIN = "ab" * 32 + ":1"
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
PSBT = f'\n[psbt]\nfolder = "psbt"\ncoins = ["{COIN}"]\nchange = "{ADDRESS}"\n'


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting.create(tmp_path_factory.mktemp("template") / "demo", Ending.COOPERATIVE)


@pytest.fixture
def setting(template: Setting, tmp_path: Path) -> Setting:
    """Files of its own: they name each other by relative paths."""
    folder = tmp_path / "demo"
    shutil.copytree(template.folder, folder)
    return replace(template, folder=folder)


def edited(setting: Setting, name: str, old: str, new: str) -> Path:
    """The party's file with a pattern replaced that it must contain."""
    file = setting.folder / f"{name}.toml"
    text, count = re.subn(old, new, file.read_text(), flags=re.MULTILINE)
    assert count, f"{old} is not in the file"
    file.write_text(text)
    return file


def test_both_files_mean_the_same_contract(setting: Setting) -> None:
    holder, writer = (load_party(setting.folder / f"{role.value}.toml") for role in Role)
    assert (holder.claim, holder.terms) == (writer.claim, writer.terms)
    assert holder.peer.identity != writer.peer.identity
    assert holder.listen is not None and writer.listen is None
    assert writer.peer.url == f"ws://127.0.0.1:{holder.listen.port}"
    assert holder.digest(writer.peer.identity) == writer.digest(holder.peer.identity)
    assert holder.policy(b"").close is Close.OFFER
    assert writer.policy(b"").close is Close.ANSWER


def test_a_party_agrees_to_what_it_wrote_down_and_to_nothing_else(setting: Setting) -> None:
    holder = load_party(setting.folder / "holder.toml")
    changed = load_party(edited(setting, "writer", r"^premium_sats = \d+$", "premium_sats = 6000"))
    assert holder.policy(b"").limits.contracts != changed.policy(b"").limits.contracts


def test_its_contract_may_end_years_ahead_at_a_block_a_second(setting: Setting) -> None:
    edited(setting, "holder", r"^refund_height = \d+$", "refund_height = 80002000")
    file = edited(setting, "holder", r"^expiry_height = \d+$", "expiry_height = 80000000")
    holder = load_party(file)
    terms = contract_terms(holder.claim)
    holder.policy(b"").limits.require(replace(terms, chain=holder.terms), 100)


def test_the_prover_is_beside_the_file(setting: Setting) -> None:
    assert load_party(setting.folder / "holder.toml").prover is None
    file = edited(setting, "holder", r"^\[party\]", '[party]\nprover = "p.sock"')
    assert load_party(file).prover == setting.folder / "p.sock"


def test_the_grace_is_as_long_as_it_says(setting: Setting) -> None:
    before = load_party(setting.folder / "holder.toml").claim.grace_rounds
    file = edited(setting, "holder", r"^rounds = 1", "rounds = 1\ngrace_s = 86400")
    assert load_party(file).claim.grace_rounds == 144 * before
    assert before * 1000 == 600_000


def test_the_digest_tells_oracles_and_identities_apart(setting: Setting, tmp_path: Path) -> None:
    other = Setting.create(tmp_path / "other", Ending.COOPERATIVE)
    writer = load_party(setting.folder / "writer.toml")
    key = writer.peer.identity
    strange = load_party(
        edited(setting, "holder", r'^network = ".*"', f'network = "{other.oracles.file}"')
    )
    assert strange.digest(key) != writer.digest(strange.peer.identity)


def test_coins_of_an_external_wallet(setting: Setting) -> None:
    file = edited(setting, "writer", r"^wallet = .*$", "")
    file.write_text(file.read_text() + PSBT)
    wallet = load_party(file).wallet
    assert wallet is not None
    assert wallet.folder == setting.folder / "psbt"
    assert [point.n for point in wallet.coins] == [1]
    assert wallet.change_script.hex().startswith("0014")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("holder", '^role = "holder"', 'role = "both"', "party.role"),
        ("holder", "^depth = 1", "depth = 0", "party.depth"),
        ("holder", "^depth = 1", "deep = 1", "deep"),
        ("holder", "^depth = 1", 'network = "mainnet"', r"\[party\] network: mainnet is refused"),
        ("holder", "^depth = 1", 'network = "moon"', r"\[party\] network 'moon'"),
        ("holder", "^listen = .*", "", r"\[party\] listen: the holder listens"),
        ("holder", "^listen = .*", 'listen = "here"', r"\[party\] listen: 'here': write HOST:PORT"),
        ("holder", "^listen = .*", 'listen = "0.0.0.0:7"', r"\[party\] listen: .* on loopback"),
        ("writer", "^depth = 1", 'listen = "127.0.0.1:7"', r"\[party\] listen: the writer dials"),
        ("writer", "^url = .*", "", r"\[peer\] url: no WebSocket URL"),
        ("writer", "^url = .*", 'url = "ws://8.8.8.8:7"', r"\[peer\] url: .* not encrypted"),
        ("holder", r"^\[peer\]", '[peer]\nurl = "ws://127.0.0.1:7"', r"\[peer\] url: the holder"),
        ("holder", "^identity_key = .*", 'identity_key = "ab"', "peer.identity_key"),
        ("holder", "^wallet = .*", "", r"\[keys\] wallet and \[psbt\]"),
        ("holder", "wallet.key", "identity.key", r"\[keys\] wallet: the same file"),
        ("holder", r"^\[oracles\]", '[oracles]\nfeed = "XAU/USD"', r"\[oracles\] feed 'XAU/USD'"),
        ("holder", r"network.toml", "nowhere.toml", "nowhere.toml: cannot be read"),
        ("holder", "^instrument = .*", 'instrument = "BTC-1"', r"\[terms\] instrument 'BTC-1'"),
        ("holder", "BTC-27", "ETH-27", r"\[terms\] instrument ETH-.* the feed is BTC/USD"),
        ("holder", "^bond_sats = .*", 'bond_sats = "1"', "terms.bond_sats"),
        ("holder", "^refund_height = .*", "refund_height = 1", r"\[terms\] refund_height 1"),
        ("holder", "^rounds = 1", "width = 24", r"\[terms\] width 24"),
        ("holder", '"offer"', '"maybe"', "close.cooperate"),
    ],
)
def test_what_is_wrong_is_named(
    setting: Setting, name: str, old: str, new: str, message: str
) -> None:
    file = edited(setting, name, old, new)
    with pytest.raises(ConfigError, match=message):
        load_party(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (COIN, f'{COIN}", "{COIN}', "coins: one is listed twice"),
        (COIN, "ab:1", r"psbt.coins"),
        (ADDRESS, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", r"\[psbt\] change"),
    ],
)
def test_what_is_wrong_with_coins_is_named(
    setting: Setting, old: str, new: str, message: str
) -> None:
    file = edited(setting, "writer", r"^wallet = .*$", "")
    file.write_text(file.read_text() + PSBT.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_party(file)


def test_no_party_trades_with_itself(setting: Setting) -> None:
    holder = load_party(setting.folder / "holder.toml")
    with pytest.raises(ConfigError, match="identity_key: it is this party's own"):
        holder.roster(holder.peer.identity)
