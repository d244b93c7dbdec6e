"""The coordinator's file, and the process: it serves a node, mines, and goes on after SIGKILL."""

import signal
import subprocess
import sys

import pytest

from actors.config import CHAIN_SOCKET, open_chain, serves
from actors.coordinator_config import load_coordinator
from actors.miner import COINBASES, endowed_height
from protocol.bitcoin.address import REGTEST, encode_address
from protocol.bitcoin.taproot import key_path_script
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from tests.builders.network import until

SCRIPTS = [key_path_script(SecretKey(bytes([n]) * 32).public) for n in (1, 2)]
ADDRESSES = [encode_address(script, REGTEST) for script in SCRIPTS]
FILE = f"""
[coordinator]
folder = "chain"

[mining]
every_s = 0.1
coinbases = {ADDRESSES}
""".replace("'", '"')


def written(folder, text=FILE):
    (folder / "coordinator.toml").write_text(text)
    return folder / "coordinator.toml"


def test_its_file(tmp_path):
    config = load_coordinator(written(tmp_path))
    assert (config.folder, config.backend, config.cookie) == (tmp_path / "chain", "kernel", None)
    assert (config.mining.every_s, list(config.mining.scripts)) == (0.1, SCRIPTS)
    alone = load_coordinator(written(tmp_path, '[coordinator]\nfolder = "chain"\n'))
    assert alone.mining is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("every_s = 0.1", "every_s = 0", "mining.every_s"),
        (ADDRESSES[0], "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", r"\[mining\] coinbases"),
        ('folder = "chain"', 'folder = "chain"\nnetwork = "mainnet"', "mainnet is refused"),
        ('folder = "chain"', 'folder = "chain"\nnetwork = "signet"', r"\[mining\]: regtest only"),
        ('folder = "chain"', 'folder = "chain"\nkey = "k"', "key"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, old, new, says):
    with pytest.raises(ConfigError, match=says):
        load_coordinator(written(tmp_path, FILE.replace(old, new)))


def test_it_serves_mines_and_goes_on_after_a_kill(tmp_path):
    command = [sys.executable, "-m", "actors.cli", "coordinator", "run", "--config"]
    command.append(str(written(tmp_path)))
    socket = tmp_path / "chain" / CHAIN_SOCKET

    def started():
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(lambda: serves(socket), "it serves", 60)
        return child

    first = started()
    try:
        with open_chain(socket, "socket") as chain:
            until(lambda: chain.height > endowed_height(len(SCRIPTS)), "it mines", 60)
            assert [len(chain.unspent(script)) for script in SCRIPTS] == [COINBASES] * 2
            before = chain.height
    finally:
        first.kill()
        first.wait()
    second = started()
    try:
        with open_chain(socket, "socket") as chain:
            until(lambda: chain.height > before, "it goes on", 60)
            assert [len(chain.unspent(script)) for script in SCRIPTS] == [COINBASES] * 2
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
    finally:
        second.kill()
