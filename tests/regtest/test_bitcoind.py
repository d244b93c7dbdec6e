"""A real node behind the Chain protocol: what it knows, judges, packs and signs."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.bitcoin.address import REGTEST, decode_address, encode_wif
from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.psbt import Psbt, parse_psbt, signed_tx
from protocol.bitcoin.script import PAY_TO_ANCHOR, null_data, script
from protocol.bitcoin.taproot import NUMS_KEY
from protocol.bitcoin.tx import (
    Coin,
    hash_hex,
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    vsize,
    with_witness,
    witness_stack,
)
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError, ConsensusError, PolicyError
from protocol.settlement.funding import (
    Contribution,
    fund_needs,
    fund_spent,
    fund_tx,
    require_fund,
)
from protocol.settlement.terms import Role
from regtest.bitcoind import BitcoindChain
from regtest.conformance.backends import BITCOIND
from regtest.conformance.scenarios import block_on_tip
from regtest.kernel import KernelChain
from regtest.rpc import RpcError, sats_of
from regtest.wallet import Wallet
from tests.builders.contracts import contract_of, contract_terms

if missing := BITCOIND.missing():
    pytest.skip(missing, allow_module_level=True)

AUX = bytes(32)
ALICE = SecretKey(b"\xa1" * 32)
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[BitcoindChain]:
    with BitcoindChain(tmp_path / "node") as chain:
        yield chain


@pytest.fixture
def alice(node: BitcoindChain) -> Wallet:
    """A wallet with four mature coinbases."""
    wallet = Wallet(node, ALICE)
    node.mine(4, to=wallet.script())
    node.mine(100)
    return wallet


def spending(wallet: Wallet, coin: Coin, *sats: int, version: int = 2, extra=()):
    outputs = [*(txout(amount, wallet.script()) for amount in sats), *extra]
    tx = transaction([txin(coin.outpoint)], outputs, version=version)
    return wallet.sign(tx, [coin.output], AUX)


# What it is


def test_capabilities_are_the_nodes_own(node: BitcoindChain) -> None:
    caps = node.caps
    assert caps.engine == node.rpc.call("getnetworkinfo")["subversion"]
    assert caps.engine.startswith("/Satoshi:")
    assert caps.consensus == "real"
    assert caps.policy in {"core", "knots-rdts", "other"}
    assert (caps.policy == "core") <= ("Knots" not in caps.engine)
    assert caps.wallet and caps.package and caps.clock and caps.cheap_reorg
    assert node.height == 0  # asking mined nothing here


def test_a_method_that_a_node_lacks_is_no_capability(node: BitcoindChain) -> None:
    assert not node._offers("nosuchmethod")
    with pytest.raises(RpcError, match=r"nosuchmethod: .*not found .*code -32601"):
        node.rpc.call("nosuchmethod")


def test_a_new_chain_is_regtest_genesis(node: BitcoindChain) -> None:
    assert node.height == 0
    assert hash_hex(node.tip.hash) == GENESIS
    assert node.header(0).ref == node.tip
    assert not node.recovered
    info = node.rpc.call("getblockchaininfo")
    assert (info["chain"], info["initialblockdownload"]) == ("regtest", False)
    assert node.rpc.call("getnetworkinfo")["connections"] == 0


def test_it_does_not_travel(node: BitcoindChain) -> None:
    with pytest.raises(ChainError, match="send its datadir"):
        pickle.dumps(node)


# What it knows


def test_our_index_says_what_the_node_says(node: BitcoindChain, alice: Wallet) -> None:
    payments = [alice.pay([txout(70_000 + n, alice.script(2))], AUX) for n in range(3)]
    node.broadcast(payments[0])
    node.mine()
    child = spending(alice, Coin(outpoint(txid(payments[0]), 0), payments[0].vout[0]), 60_000)
    node.broadcast(child)
    for tx in (*payments, child):
        for n in range(len(tx.vout)):
            for mempool in (False, True):
                point = outpoint(txid(tx), n)
                ours = node.utxo(point, mempool=mempool)
                theirs = node.rpc.call("gettxout", hash_hex(txid(tx)), n, mempool)
                assert (ours is None) == (theirs is None)
                if ours is not None:
                    assert ours.sats == sats_of(theirs["value"])
                    assert ours.script.hex() == theirs["scriptPubKey"]["hex"]
                    depth = 0 if ours.height is None else node.height - ours.height + 1
                    assert depth == theirs["confirmations"]
    spender = node.spender(payments[0].vin[0].prevout)
    assert spender is not None and (spender.block, spender.position) == (node.tip, 1)
    waiting = node.spender(outpoint(txid(payments[0]), 0))
    assert waiting is not None and waiting.block is None and waiting.tx == child
    header = node.rpc.call("getblockheader", hash_hex(node.tip.hash))
    assert node.header(node.height).median_time == header["mediantime"]


def test_it_sees_what_others_do_to_the_node(node: BitcoindChain, alice: Wallet) -> None:
    """Transactions, blocks and reorganisations that did not come through us."""
    payment = alice.pay([txout(9_000, alice.script())], AUX)
    node.rpc.call("sendrawtransaction", payment.serialize().hex(), 0)
    assert node.mempool() == (payment,)
    (mined,) = node.rpc.call("generatetodescriptor", 1, "raw(51)")
    assert hash_hex(node.tip.hash) == mined
    assert node.mempool() == ()
    assert node.tx(txid(payment)).block == node.tip
    node.rpc.call("invalidateblock", mined)
    assert node.height == 104
    assert node.mempool() == (payment,)
    node.rpc.call("reconsiderblock", mined)
    assert hash_hex(node.tip.hash) == mined
    replacement = spending(alice, alice.utxos()[0].coin, 1_000_000)
    threading.Thread(target=node.rpc.call, args=("sendrawtransaction",
                     replacement.serialize().hex(), 0)).start()  # fmt: skip
    node.wait(lambda: node.tx(txid(replacement)) is not None, timeout_s=20)


def test_unknown_blocks(node: BitcoindChain) -> None:
    for wrong in (1, -1, b"\x01" * 32, b"\x01" * 31):
        with pytest.raises(ChainError):
            node.header(wrong)
        with pytest.raises(ChainError):
            node.block(wrong)


def test_a_long_chain_is_read_in_batches(node: BitcoindChain, tmp_path: Path) -> None:
    node.mine(450)
    tip = node.tip
    node.close()
    with BitcoindChain(tmp_path / "node") as again:
        assert again.tip == tip
        assert not again.recovered


def test_threads(node: BitcoindChain) -> None:
    threads = [threading.Thread(target=node.mine, args=(15,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    node.wait(lambda: node.height == 60, timeout_s=60)
    for thread in threads:
        thread.join()
    with pytest.raises(ChainError, match="did not happen"):
        node.wait(lambda: node.height == 61, timeout_s=0.05)


# What it mines


def test_its_own_miner(node: BitcoindChain, alice: Wallet) -> None:
    payment = alice.pay([txout(9_000, alice.script(3))], AUX)
    node.broadcast(payment)
    block = node.generate(to=alice.script(4))
    assert block == node.tip
    assert node.block(block.hash)[1:] == (payment,)
    assert len(node.unspent(alice.script(4))) == 1
    other = alice.pay([txout(9_000, alice.script(3))], AUX)
    assert node.block(node.generate(txs=[other]).height)[1:] == (other,)
    rival = spending(alice, Coin(other.vin[0].prevout, txout(50 * 10**8, alice.script())), 1_000)
    with pytest.raises(ConsensusError, match="bad-txns-inputs-missingorspent"):
        node.generate(txs=[rival])
    fresh = spending(alice, alice.utxos()[0].coin, 1_000)
    broken = with_witness(fresh, [[bytes(64)]])
    with pytest.raises(ConsensusError, match="Invalid Schnorr signature"):
        node.generate(txs=[broken])


def test_an_invalid_branch_is_explained(node: BitcoindChain, alice: Wallet) -> None:
    coin = alice.utxos()[0].coin
    tip = node.tip
    twice = [spending(alice, coin, 1_000), spending(alice, coin, 2_000)]
    with pytest.raises(ConsensusError, match=r"ancestor \w{64} is invalid: bad-txns-inputs-miss"):
        node.reorg(2, txs=twice)
    assert node.tip == tip


def test_a_block_again(node: BitcoindChain) -> None:
    raw = block_on_tip(node)
    assert node.submit_block(raw) == node.submit_block(raw) == node.tip


def test_judging_leaves_no_trace(node: BitcoindChain, alice: Wallet) -> None:
    """The kernel must store a block to judge a transaction; a node answers a proposal."""
    before = node.rpc.call("getchaintips")
    fresh = spending(alice, alice.utxos()[0].coin, 1_000_000)
    assert node.check(fresh).consensus
    assert not node.check(with_witness(fresh, [[bytes(64)]])).consensus
    assert node.rpc.call("getchaintips") == before


# What enters its mempool


def test_policy_and_consensus_apart(node: BitcoindChain, alice: Wallet) -> None:
    coin = alice.utxos()[0].coin
    free = spending(alice, coin, coin.sats)
    verdict = node.check(free)
    assert (verdict.consensus, verdict.policy) == (True, False)
    assert "min relay fee not met" in verdict.policy_reason
    assert verdict.policy_by == node.caps.policy
    with pytest.raises(PolicyError, match="min relay fee not met"):
        node.broadcast(free)
    node.mine(txs=[free])
    assert node.broadcast(free) == txid(free)  # known already


def test_high_fees_and_burnt_coins_are_no_policy(node: BitcoindChain, alice: Wallet) -> None:
    """sendrawtransaction's own limits are for people."""
    tx = spending(alice, alice.utxos()[0].coin, 1_000, extra=[txout(500, null_data(b"burnt"))])
    assert node.check(tx).accepted
    node.broadcast(tx)
    assert node.mempool() == (tx,)


def test_a_package_pays_for_its_parent(node: BitcoindChain, alice: Wallet) -> None:
    """Version 3 without a fee, an anchor of nothing, and the child that pays (BIP431)."""
    first, second = (utxo.coin for utxo in alice.utxos()[:2])
    parent = spending(alice, first, first.sats, version=3, extra=[txout(0, PAY_TO_ANCHOR)])
    with pytest.raises(PolicyError):
        node.broadcast(parent)
    anchor = Coin(outpoint(txid(parent), 1), parent.vout[1])

    def child_paying(fee: int):
        child = transaction(
            [txin(anchor.outpoint), txin(second.outpoint)],
            [txout(second.sats - fee, alice.script())],
            version=3,
        )
        return alice.sign(child, [anchor.output, second.output], AUX)

    with pytest.raises(PolicyError, match=r"fee"):
        node.broadcast_package([parent, child_paying(1)])
    assert node.mempool() == ()
    child = child_paying(5_000)
    broken = with_witness(child, [[], [bytes(64)]])
    with pytest.raises(ConsensusError, match="Invalid Schnorr signature"):
        node.broadcast_package([parent, broken])
    assert node.broadcast_package([parent, child]) == (txid(parent), txid(child))
    assert node.mempool() == (parent, child)
    (block,) = node.mine()
    assert node.block(block.height)[1:] == (parent, child)


def test_the_kernel_has_no_packages(tmp_path: Path) -> None:
    with KernelChain(tmp_path / "kernel") as chain:
        assert not chain.caps.package
        with pytest.raises(ChainError, match="relays no packages"):
            chain.broadcast_package([])


# Its wallet


def test_its_wallet_funds_a_contract(node: BitcoindChain) -> None:
    """By PSBT, as any wallet would: it signs its inputs of FUND and nothing else."""
    ours, theirs = Wallet(node, ALICE), node.wallet()
    node.mine(2, to=ours.script())
    node.mine(2, to=theirs.script())
    node.mine(100)
    contract = contract_of(contract_terms())
    coins = ours.gather(lambda count: fund_needs(contract, Role.HOLDER, count))
    holder = Contribution(coins, ours.script(1))
    coins = theirs.gather(lambda count: fund_needs(contract, Role.WRITER, count))
    writer = Contribution(coins, theirs.script())
    unsigned, spent = fund_tx(contract, holder, writer), fund_spent(holder, writer)
    point = require_fund(contract, unsigned, holder, writer)
    asked = ours.sign_psbt(Psbt.unsigned(unsigned, spent), AUX)
    tx = signed_tx(theirs.sign_psbt(asked).text, unsigned)
    assert all(len(witness_stack(tx, n)) == 1 for n in range(len(tx.vin)))
    node.broadcast(tx)
    node.mine()
    utxo = node.utxo(point)
    assert utxo is not None and utxo.sats == contract.value_sats
    assert theirs.balance_sats() < 2 * 50 * 10**8


def test_its_wallet_pays(node: BitcoindChain, tmp_path: Path) -> None:
    wallet = node.wallet("till")
    node.mine(3, to=wallet.script())
    node.mine(100)
    assert wallet.balance_sats() == 3 * 50 * 10**8
    to = Wallet(node, ALICE).script()
    tx = wallet.pay([txout(75 * 10**8, to), txout(0, null_data(b"note"))], feerate_sat_vb=5)
    assert node.mempool() == ()  # signed, not broadcast
    spent = sum(node.utxo(spend.prevout).sats for spend in tx.vin)
    fee = spent - sum(out.nValue for out in tx.vout)
    assert abs(fee - 5 * vsize(tx)) <= 5
    node.broadcast(tx)
    node.mine()
    assert sum(u.sats for u in node.unspent(to)) == 75 * 10**8
    with pytest.raises(ChainError, match="needs 20000000000"):
        wallet.gather(lambda n: 20_000_000_000)
    with pytest.raises(RpcError, match="Insufficient funds"):
        wallet.pay([txout(500 * 10**8, to)])
    left = wallet.balance_sats()
    node.close()
    with BitcoindChain(tmp_path / "node") as again:
        assert again.wallet("till").balance_sats() == left
        assert again.wallet("till").name == "till"


def test_a_psbt_of_two_wallets(node: BitcoindChain) -> None:
    wallets = [node.wallet(name) for name in ("one", "two")]
    for wallet in wallets:
        node.mine(to=wallet.script())
    node.mine(100)
    coins = [wallet.coins()[0] for wallet in wallets]
    inputs = [{"txid": hash_hex(c.outpoint.hash), "vout": c.outpoint.n} for c in coins]
    made = node.rpc.call("createpsbt", inputs, [{wallets[0].address(): 99}])
    psbt = parse_psbt(made)
    for wallet in (*wallets, wallets[0]):  # the first signs once the second's coin is in it
        psbt = wallet.sign_psbt(psbt)
    done = node.rpc.call("finalizepsbt", psbt.text)
    assert done["complete"]
    node.rpc.call("sendrawtransaction", done["hex"], 0)
    node.mine()
    assert wallets[0].balance_sats() == 99 * 10**8


def test_a_descriptor_with_scripts(node: BitcoindChain) -> None:
    """The wallet spends by the leaf that it has the key of, after its delay."""
    wallet = node.wallet()
    key = encode_wif(b"\x05" * 32, REGTEST)
    other = SecretKey(b"\x06" * 32).public.hex()
    text = f"tr({NUMS_KEY.hex()},{{pk({other}),and_v(v:pk({key}),older(5))}})"
    wallet.import_descriptor(text)
    public = node.rpc.call("getdescriptorinfo", text)["descriptor"]
    (address,) = node.rpc.call("deriveaddresses", public)
    node.mine(to=decode_address(address, REGTEST))
    node.mine(100)
    (coin,) = wallet.coins()
    tx = transaction([txin(coin.outpoint, 5)], [txout(coin.sats - 1_000, wallet.script())])
    tx = wallet.sign(tx, [coin.output])
    assert len(witness_stack(tx, 0)) == 3
    assert node.check(tx).consensus
    with pytest.raises(ChainError, match="getdescriptorinfo: "):
        wallet.import_descriptor("tr(nonsense)")


# Who holds the folder


def test_close_is_the_end(tmp_path: Path) -> None:
    chain = BitcoindChain(tmp_path / "node")
    pid = chain.pid
    chain.mine(5)
    chain.close()
    chain.close()
    for question in (lambda: chain.height, lambda: chain.mine(), lambda: chain.pid):
        with pytest.raises(ChainError, match="is closed"):
            question()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_abandoned_node_is_stopped(tmp_path: Path) -> None:
    chain = BitcoindChain(tmp_path / "node")
    pid = chain.pid
    chain.mine(4)
    del chain
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with BitcoindChain(tmp_path / "node") as again:
        assert again.height == 4
        assert not again.recovered


def test_one_opener(node: BitcoindChain, tmp_path: Path) -> None:
    with pytest.raises(ChainError, match=rf"open in process {os.getpid()} \(this process\)"):
        BitcoindChain(tmp_path / "node")
    assert node.mine()[0].height == 1


def test_backends_do_not_share_a_folder(tmp_path: Path) -> None:
    with KernelChain(tmp_path / "kernel") as chain:
        chain.mine()
    with pytest.raises(ChainError, match="holds the chain of the embedded node"):
        BitcoindChain(tmp_path / "kernel")
    with BitcoindChain(tmp_path / "node") as chain:
        chain.mine()
    with pytest.raises(ChainError, match="holds the chain of a bitcoind"):
        KernelChain(tmp_path / "node")


FORK_IT = """
import os, sys, warnings
warnings.simplefilter("ignore")
from regtest.bitcoind import BitcoindChain
from protocol.errors import ChainError
chain = BitcoindChain(sys.argv[1])
chain.mine(3)
child = os.fork()
if child == 0:
    try:
        chain.mine()
    except ChainError as error:
        print(error, flush=True)
    chain.close()
    sys.exit(0)
os.waitpid(child, 0)
chain.mine(2)
print(chain.height, flush=True)
chain.close()
"""


def test_a_fork_cannot_touch_it(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORK_IT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    refused, height = run.stdout.splitlines()
    assert "forked process" in refused
    assert height == "5"


def test_a_refused_script_is_no_policy_matter(node: BitcoindChain, alice: Wallet) -> None:
    false = script(Op.FALSE)
    node.mine(to=false)
    node.mine(100)
    (utxo,) = node.unspent(false)
    tx = transaction([txin(utxo.coin.outpoint)], [txout(1_000, alice.script())])
    verdict = node.check(tx)
    assert (verdict.consensus, verdict.policy) == (False, None)
    with pytest.raises(ConsensusError, match="false/empty top stack element"):
        node.broadcast(tx)
