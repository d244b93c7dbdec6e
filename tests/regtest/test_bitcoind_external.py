"""A node that is not ours: what it says through us is what our own node says; other networks are
refused; nothing here mines it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.bitcoin.address import REGTEST, SIGNET
from protocol.bitcoin.genesis import SIGNET_GENESIS
from protocol.bitcoin.tx import outpoint, transaction, txid, txin, txout, with_witness
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError, ConfigError, ConsensusError, PolicyError
from regtest.bitcoind import BitcoindChain
from regtest.conformance.backends import BITCOIND
from regtest.external import ExternalChain
from regtest.process import _free_port, find_bitcoind
from regtest.remote import RemoteChain
from regtest.served import ChainServer
from regtest.wallet import Wallet

if missing := BITCOIND.missing():
    pytest.skip(missing, allow_module_level=True)

AUX = bytes(32)
ALICE = SecretKey(b"\xa1" * 32)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[BitcoindChain]:
    with BitcoindChain(tmp_path / "node") as chain:
        chain.mine(4, to=Wallet(chain, ALICE).script())
        chain.mine(100)
        yield chain


def attach(node: BitcoindChain, **options: int) -> ExternalChain:
    cookie = node._open.process.folder / "regtest" / ".cookie"
    return ExternalChain(f"http://127.0.0.1:{node.rpc.port}", cookie, REGTEST, **options)


@contextmanager
def signet(folder: Path) -> Iterator[tuple[str, Path]]:
    """A node on signet without peers: it has its genesis block and nothing else."""
    folder.mkdir()
    port = _free_port()
    command = [find_bitcoind(), "-signet", f"-datadir={folder}", f"-rpcport={port}"]
    command += ["-listen=0", "-connect=0", "-dnsseed=0", "-printtoconsole=0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}", folder / "signet" / ".cookie"
        finally:
            process.terminate()


def connected(url: str, cookie: Path) -> ExternalChain:
    deadline = time.monotonic() + 30
    while True:
        try:
            return ExternalChain(url, cookie, SIGNET)
        except ConfigError:
            raise
        except ChainError:  # still starting
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_it_says_what_our_own_node_says(node: BitcoindChain) -> None:
    alice = Wallet(node, ALICE)
    payment = alice.pay([txout(70_000, alice.script(1))], AUX)
    with attach(node) as chain:
        assert chain.broadcast(payment) == txid(payment) == chain.broadcast(payment)
        for mined in (False, True):
            if mined:
                node.mine()
            assert chain.tip == node.tip
            assert chain.mempool() == node.mempool()
            assert chain.tx(txid(payment)) == node.tx(txid(payment))
            assert chain.spender(payment.vin[0].prevout) == node.spender(payment.vin[0].prevout)
            for n in range(2):
                for mempool in (False, True):
                    point = outpoint(txid(payment), n)
                    assert chain.utxo(point, mempool=mempool) == node.utxo(point, mempool=mempool)
            assert set(chain.unspent(alice.script())) == set(node.unspent(alice.script()))
        assert chain.height == node.height
        assert chain.header(3) == node.header(3)
        assert chain.block(105) == node.block(105)
        assert chain.header(node.tip.hash) == node.header(node.tip.hash)
        node.reorg(2)
        assert chain.tx(txid(payment)) == node.tx(txid(payment))
        assert chain.spender(payment.vin[0].prevout).block is None
        assert chain.caps.network == "regtest"
        assert Wallet(chain, ALICE).utxos() == alice.utxos()


def test_verdicts(node: BitcoindChain) -> None:
    alice = Wallet(node, ALICE)
    coin = alice.utxos()[0].coin

    def spend(sats: int, source=coin):
        tx = transaction([txin(source.outpoint)], [txout(sats, alice.script())])
        return alice.sign(tx, [source.output], AUX)

    good, cheap = spend(coin.sats - 1_000), spend(coin.sats)
    forged = with_witness(good, [[bytes(64)]])
    with attach(node) as chain:
        assert chain.check(good).accepted
        assert (chain.check(cheap).consensus, chain.check(cheap).policy) == (True, False)
        assert not chain.check(forged).consensus
        with pytest.raises(PolicyError, match="fee"):
            chain.broadcast(cheap)
        with pytest.raises(ConsensusError, match="Invalid Schnorr signature"):
            chain.broadcast(forged)
        chain.broadcast(good)
        assert chain.check(good).accepted
        parent = outpoint(txid(good), 0)
        child = transaction([txin(parent)], [txout(2 * coin.sats, alice.script())])
        child = alice.sign(child, [good.vout[0]], AUX)
        with pytest.raises(ConsensusError, match="bad-txns-in-belowout"):
            chain.broadcast(child)


def test_below_since_height_it_asks_the_node(node: BitcoindChain) -> None:
    alice = Wallet(node, ALICE)
    old = node.block(1)[0]
    payment = alice.pay([txout(70_000, alice.script(1))], AUX)
    node.broadcast(payment)
    node.mine()
    with attach(node, since_height=node.height) as chain:
        assert chain.tx(txid(old)) == node.tx(txid(old))
        assert chain.spender(payment.vin[0].prevout) == node.spender(payment.vin[0].prevout)
        assert len(chain._blocks) == 1


def test_it_is_not_ours_to_move(node: BitcoindChain) -> None:
    tip = node.tip
    with attach(node) as chain:
        for move in (
            chain.mine,
            lambda: chain.reorg(1),
            lambda: chain.set_time(1),
            lambda: chain.submit_block(b""),
        ):
            with pytest.raises(ChainError, match="this node is its owner's"):
                move()
        chain.checkpoint()
        for wrong in (999, -1, b"\1" * 32, b""):
            with pytest.raises(ChainError):
                chain.header(wrong)
    assert node.tip == tip


def test_waiting(node: BitcoindChain) -> None:
    with attach(node) as chain:
        node.mine()
        chain.wait(lambda: chain.height == node.height, timeout_s=5)
        with pytest.raises(ChainError, match="did not happen"):
            chain.wait(lambda: False, timeout_s=0.01)


def test_served_on_a_socket(node: BitcoindChain, tmp_path: Path) -> None:
    with (
        attach(node) as chain,
        ChainServer(chain, tmp_path / "s") as server,
        RemoteChain(server.path) as remote,
    ):
        assert remote.tip == node.tip
        with pytest.raises(ChainError, match="its owner's"):
            remote.mine()


def test_signet(tmp_path: Path) -> None:
    with signet(tmp_path / "signet") as (url, cookie):
        with connected(url, cookie) as chain:
            assert (chain.height, chain.tip.hash) == (0, SIGNET_GENESIS)
            assert chain.caps.network == "signet"
            assert chain.tx(b"\1" * 32) is None
            stray = transaction([txin(outpoint(b"\1" * 32, 0))], [txout(1, b"\x51")])
            with pytest.raises(ConsensusError, match="bad-txns-inputs-missingorspent"):
                chain.broadcast(stray)
            with (
                ChainServer(chain, tmp_path / "s") as server,
                RemoteChain(server.path) as regtest,
                pytest.raises(ChainError, match="is on signet, not on regtest"),
            ):
                _ = regtest.tip
        with pytest.raises(ConfigError, match=r"this node is on signet .*not on regtest"):
            ExternalChain(url, cookie, REGTEST)


def test_a_node_of_another_network(node: BitcoindChain) -> None:
    cookie = node._open.process.folder / "regtest" / ".cookie"
    with pytest.raises(ConfigError, match=r"this node is on regtest .*not on signet"):
        ExternalChain(f"http://127.0.0.1:{node.rpc.port}", cookie, SIGNET)


@pytest.mark.parametrize("url", ["", "127.0.0.1:1", "https://x:1", "http://", "http://a:b@c:1"])
def test_what_is_no_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write http://HOST:PORT"):
        ExternalChain(url, tmp_path, REGTEST)
