"""The files of a signer and of a node that uses one."""

import json

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.journal import SignGuard
from actors.key_commands import init
from actors.keyfile import load_key
from actors.operator import load_operator
from actors.signer_config import load_signer
from protocol.errors import ConfigError, ProtocolError

SIGNER = """\
[signer]
socket = "s/signer.sock"
folder = "data/alpha"

[keys]
identity = "keys/alpha/identity.key"
oracle = ["keys/alpha/oracle.key", "keys/alpha/next.key"]
dlc = "keys/alpha/dlc.key"
nonce_seed = "keys/alpha/nonce-seed.key"
"""


@pytest.fixture
def folder(tmp_path):
    init(tmp_path / "net")
    (tmp_path / "net" / "signer.toml").write_text(SIGNER)
    return tmp_path / "net"


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_signer(folder):
    signer = load_signer(folder / "signer.toml")
    assert signer.socket == folder / "s" / "signer.sock"
    assert signer.folder == load_operator(folder / "alpha.toml").folder
    assert list(signer.keys) == ["identity", "oracle", "oracle[1]", "dlc", "nonce_seed"]
    assert signer.keys["oracle[1]"] == folder / "keys" / "alpha" / "next.key"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"data/alpha"', '""', r"signer\.folder"),
        ("socket", "sockt", "sockt"),
        ("next.key", "../alpha/oracle.key", r"\[keys\] oracle\[1\]: the same file as oracle"),
        ('dlc = "keys/alpha/dlc.key"\n', "", r"\[keys\] dlc: name its file"),
        ("oracle = [", "# ", r"\[keys\] dlc: an aggregator has no such key, remove it"),
        ('["keys/alpha/oracle.key", "keys/alpha/next.key"]', "[]", r"keys\.oracle"),
        ("identity = ", "idntity = ", "idntity"),
    ],
)
def test_a_wrong_signer(folder, old, new, reason):
    change(folder / "signer.toml", old, new)
    with pytest.raises(ConfigError, match=reason) as error:
        load_signer(folder / "signer.toml")
    assert str(folder / "signer.toml") in str(error.value)


def without_keys(file, socket):
    """A node file with [signer] in the place of [keys]."""
    head, _, rest = file.read_text().partition("[keys]")
    file.write_text(
        f'{head}[signer]\nsocket = "{socket}"\n\n[venues]{rest.partition("[venues]")[2]}'
    )


def test_a_node_has_keys_or_a_signer(folder):
    file = folder / "alpha.toml"
    assert load_operator(file).signer is None
    change(file, "[venues]", '[signer]\nsocket = "x"\n\n[venues]')
    with pytest.raises(ConfigError, match=r"\[keys\] or \[signer\]: name the key files, or"):
        load_operator(file)
    without_keys(folder / "bravo.toml", "s/signer.sock")
    operator = load_operator(folder / "bravo.toml")
    assert operator.signer == folder / "s" / "signer.sock"
    assert not operator.keys


def test_a_command_that_needs_a_key_itself_is_told_where_it_is(folder):
    without_keys(folder / "alpha.toml", "s/signer.sock")
    announce = ["oracle", "dlc", "announce", "--config", str(folder / "alpha.toml")]
    announce += ["--maturity", "2099-01-01T00:00:00Z"]
    refused = CliRunner().invoke(app, announce)
    assert isinstance(refused.exception, ProtocolError)
    assert "[keys] dlc: not in the node's file; add --signer" in str(refused.exception)
    made = CliRunner().invoke(app, [*announce, "--signer", str(folder / "signer.toml")])
    assert made.exit_code == 0
    assert json.loads(made.stdout)["announcement"]


def test_status_of_a_signer_that_does_not_run(folder):
    public = load_key(folder / "keys" / "alpha" / "oracle.key").public
    (folder / "data" / "alpha").mkdir(parents=True)
    SignGuard.open(folder / "data" / "alpha" / "guard.journal", public).close()
    told = CliRunner().invoke(app, ["signer", "status", "--config", str(folder / "signer.toml")])
    assert json.loads(told.stdout) == {
        "socket": str(folder / "s" / "signer.sock"),
        "running": False,
        "guards": [{"oracle_key": public.hex(), "seq": 0, "floor": -1, "restored": False}],
    }
