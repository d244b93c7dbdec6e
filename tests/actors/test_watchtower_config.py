"""The file of a watchtower, and what is wrong with others."""

from pathlib import Path

import pytest

from actors.watchtower_config import Watched, load_watchtower
from protocol.errors import ConfigError

GOOD = """
[watchtower]
folder = "tower"
chain = "chain.sock"
depth = 2
wallet = "fees.key"

[[contract]]
file = "one.contract"
passphrase_file = "one.pass"

[[contract]]
file = "two.contract"
passphrase_file = "one.pass"
"""


def loaded(folder: Path, text: str):
    file = folder / "tower.toml"
    file.write_text(text)
    return load_watchtower(file)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD)
    assert (config.folder, config.chain) == (tmp_path / "tower", tmp_path / "chain.sock")
    assert (config.depth, config.wallet) == (2, tmp_path / "fees.key")
    assert config.contracts == tuple(
        Watched(tmp_path / f"{name}.contract", tmp_path / "one.pass") for name in ("one", "two")
    )
    plain = loaded(tmp_path, GOOD.replace('wallet = "fees.key"', "").replace("depth = 2", ""))
    assert (plain.depth, plain.wallet, plain.network.name) == (3, None, "regtest")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"two.contract"', '"one.contract"', r"\[\[contract\]\] file: one is listed twice"),
        ("depth = 2", "depth = 0", "depth"),
        ("depth = 2", "deep = 2", "deep"),
        ("depth = 2", 'network = "mainnet"', r"\[watchtower\] .*mainnet"),
        ('folder = "tower"', "", "folder"),
        (GOOD[GOOD.index("[[contract]]") :], "", "contract"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, GOOD.replace(old, new, 1) if new else GOOD.replace(old, ""))
