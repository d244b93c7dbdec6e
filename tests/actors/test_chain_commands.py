"""``oracle-vm chain``: a node that is served, mined, paid from and asked, and refusals in words."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.chain_commands import chain as app
from actors.chain_commands import opened
from actors.config import chain_network, open_chain, open_folder
from protocol.bitcoin.address import REGTEST, SIGNET, encode_address
from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import hash_hex, parse_hash, serialize, txid, txout
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, ProtocolError
from regtest.kernel import KernelChain
from regtest.remote import RemoteChain
from regtest.served import ChainServer
from regtest.wallet import Wallet
from tests.builders.histories import chain as certificates
from tests.builders.histories import store

ROOT = Path(__file__).parents[2]
ALICE = SecretKey(b"\xa1" * 32)
TO = key_path_script(ALICE.public)
ADDRESS = encode_address(TO, REGTEST)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KernelChain]:
    """A kernel served on DIR/chain.sock, as `chain serve` does."""
    with KernelChain(tmp_path / "node") as made, ChainServer(made, tmp_path / "chain.sock"):
        yield made
    shutil.rmtree(tmp_path)


def run(*words: object) -> str:
    """What a command prints; its error is raised."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


# A served node


def serving(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "actors.cli", "chain", "serve", "--dir", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_it_serves_until_it_is_told_to_stop_and_loses_nothing_when_it_is_killed(
    tmp_path: Path,
) -> None:
    tips = []
    with RemoteChain(tmp_path / "chain.sock") as remote:
        for ending in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            with serving(tmp_path) as process:
                try:
                    ready = process.stdout.readline()
                    assert ready.startswith(f"ready: {tmp_path}/chain.sock serves core-kernel")
                    assert not tips or str(tips[-1]) in ready
                    tips.append(remote.mine(3)[-1])
                    process.send_signal(ending)
                    assert process.wait(30) == (0 if ending is not signal.SIGKILL else -9)
                finally:
                    process.kill()
            assert (tmp_path / "chain.sock").exists() == (ending is signal.SIGKILL)
    with open_folder(tmp_path) as again:  # now by itself
        assert [again.header(n).ref for n in (3, 6, 9)] == tips
        assert not again.recovered
    shutil.rmtree(tmp_path)


# What users of regtest do


def test_mine_and_pay(tmp_path: Path, node: KernelChain) -> None:
    lines = run("mine", 3, "--dir", tmp_path).split("\n")
    assert lines[:3] == [f"{n} {hash_hex(node.header(n).ref.hash)}" for n in (1, 2, 3)]
    run("mine", "--socket", tmp_path / "chain.sock", "--to", ADDRESS)
    assert node.block(4)[0].vout[0].scriptPubKey == TO
    told = run("faucet", ADDRESS, 70_000, "--dir", tmp_path)
    paid = node.tx(parse_hash(told.split()[0]))
    assert [int(o.nValue) for o in paid.tx.vout if o.scriptPubKey == TO] == [70_000]
    assert told.split()[-1] == str(paid.block.height) == str(node.height)
    height = node.height
    run("faucet", ADDRESS, 30 * 10**8, "--dir", tmp_path)
    assert node.height == height + 1  # from what it has


def test_a_large_gift_takes_more_blocks(tmp_path: Path, node: KernelChain) -> None:
    run("faucet", ADDRESS, 700 * 10**8, "--dir", tmp_path)
    assert sum(u.sats for u in node.unspent(TO)) == 700 * 10**8
    with pytest.raises(ConfigError, match="earn too little by now"):
        run("faucet", ADDRESS, 21 * 10**14, "--dir", tmp_path)


def test_send_raw(tmp_path: Path, node: KernelChain) -> None:
    wallet = Wallet(node, ALICE)
    node.mine(to=wallet.script())
    node.mine(100)
    tx = wallet.pay([txout(5_000, TO)], bytes(32))
    told = run("send-raw", serialize(tx).hex(), "--dir", tmp_path)
    assert told.strip() == hash_hex(txid(tx))
    assert node.mempool() == (tx,)
    for wrong, why in (("00", "HEX"), ("zz", "HEX"), ("", "HEX")):
        with pytest.raises(ProtocolError, match=why):
            run("send-raw", wrong, "--dir", tmp_path)


# What it shows


def test_the_node(tmp_path: Path, node: KernelChain) -> None:
    node.mine(7)
    record = json.loads(run("--dir", tmp_path, "--json"))
    assert record == {
        "network": "regtest",
        "engine": node.caps.engine,
        "consensus": "real",
        "policy": "model",
        "height": 7,
        "tip": hash_hex(node.tip.hash),
        "mempool": 0,
        "contracts": [],
    }
    shown = run("--socket", tmp_path / "chain.sock")
    for word in (node.caps.engine, "model", "at height 7"):
        assert word in shown


# Refusals


def test_which_chain(tmp_path: Path, node: KernelChain, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("--dir", tmp_path, "--socket", tmp_path / "chain.sock")
    with pytest.raises(ConfigError, match="say which chain, once"):
        run("mine", *both)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for words in (("mine",), ("--json",)):
        with pytest.raises(ConfigError, match="no chain there"):
            run(*words)
    with pytest.raises(ConfigError, match="no node serves there"):
        run("mine", "--socket", tmp_path / "none")
    with pytest.raises(ConfigError, match=r"no chain there; start one with .*chain serve"):
        run("mine", "--dir", tmp_path / "none")
    with pytest.raises(ConfigError, match="give the options behind `mine`"):
        run("--dir", tmp_path, "mine")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"network": "mainnet"}, "mainnet is refused"),
        ({"network": "testnet"}, "choose one of regtest, signet"),
        ({"network": "signet"}, "backend kernel is regtest only"),
        ({"network": "signet", "backend": "bitcoind"}, "backend bitcoind is regtest only"),
        ({"backend": "core"}, "choose one of kernel, bitcoind, socket, rpc"),
        ({"backend": "rpc"}, 'backend "rpc" needs it'),
        ({"backend": "kernel", "rpc_url": "http://x:1"}, "no other takes it"),
        ({"backend": "rpc", "rpc_url": "x"}, "write http://HOST:PORT"),
        ({"backend": "rpc", "rpc_url": "http://x", "network": "mainnet"}, "mainnet is refused"),
        ({"backend": "socket", "network": "mainnet"}, "mainnet is refused"),
    ],
)
def test_networks_and_backends_that_are_refused(tmp_path: Path, options, why) -> None:
    with pytest.raises(ConfigError, match=why):
        open_chain(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_addresses_are_of_their_network(tmp_path: Path, node: KernelChain) -> None:
    assert chain_network("signet") is SIGNET
    for foreign in (encode_address(TO, SIGNET), "bc1q" + "q" * 38, "nonsense"):
        with pytest.raises(ProtocolError):
            run("faucet", foreign, 5_000, "--dir", tmp_path)
    assert node.height == 0


def test_a_bitcoind_is_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITCOIND", os.devnull)
    with pytest.raises(ProtocolError, match="no program that can be run"):
        open_chain(tmp_path, "bitcoind")


def test_an_idle_folder_is_opened_here(tmp_path: Path) -> None:
    with KernelChain(tmp_path / "node") as chain:
        chain.mine(2)
    assert json.loads(run("--dir", tmp_path, "--json"))["height"] == 2
    with opened(tmp_path, None) as chain:
        assert chain.height == 2
    shutil.rmtree(tmp_path)


# Anchors


def test_the_head_of_a_history(tmp_path: Path, node: KernelChain) -> None:
    chain = certificates(4)
    history = store(tmp_path / "history.sqlite", chain)
    run("mine", 1, "--dir", tmp_path)
    run("mine", 100, "--dir", tmp_path, "--to", ADDRESS)
    words = ("anchor", "--history", history, "--dir", tmp_path)
    record = json.loads(run(*words, "--json"))
    assert record["round"] == chain[-1].round
    assert len(node.mempool()) == 1
    key = tmp_path / "alice.key"
    key.write_text("a1" * 32)
    key.chmod(0o600)
    run("mine", 100, "--dir", tmp_path)
    assert run(*words, "--key", key).split()[1:3] == ["anchors", "round"]
    empty = store(tmp_path / "empty.sqlite", [])
    with pytest.raises(ProtocolError, match="nothing to anchor"):
        run("anchor", "--history", empty, "--dir", tmp_path)


def test_the_chain_of_the_current_folder_needs_no_option(
    tmp_path: Path, node: KernelChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert json.loads(run("--json")) == json.loads(run("--json", "--dir", tmp_path))
