"""The mempool's rules: each of consensus against the kernel's own verdict, then policy's."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bitcoin.core import COutPoint, CTransaction, CTxIn, CTxOut
from bitcoin.core.script import CScript
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.bitcoin.tx import (
    Coin,
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
from protocol.errors import ConsensusError, PolicyError
from regtest.kernel import KernelChain
from regtest.wallet import Wallet

AUX = bytes(32)
Spend = Callable[..., CTransaction]


@pytest.fixture
def coins(alice: Wallet) -> list[Coin]:
    return [utxo.coin for utxo in alice.utxos()]


def refused(chain: KernelChain, tx: CTransaction, reason: str) -> None:
    """Consensus refuses it everywhere, with the same words, and nothing changes."""
    before = chain.mempool(), chain.tip
    verdict = chain.check(tx)
    assert not verdict.consensus and verdict.policy is None and not verdict.accepted
    assert reason in verdict.consensus_reason
    with pytest.raises(ConsensusError) as caught:
        chain.broadcast(tx)
    assert reason in str(caught.value)
    assert (chain.mempool(), chain.tip) == before


def not_relayed(chain: KernelChain, tx: CTransaction, reason: str) -> None:
    """A block may hold it; the mempool refuses it."""
    before = chain.mempool()
    verdict = chain.check(tx)
    assert verdict.consensus and verdict.policy is False and not verdict.accepted
    assert reason in verdict.policy_reason
    with pytest.raises(PolicyError) as caught:
        chain.broadcast(tx)
    assert reason in str(caught.value)
    assert chain.mempool() == before


# Consensus


def test_inputs_exist_and_are_unspent(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    refused(
        chain,
        spend([Coin(outpoint(b"\x01" * 32, 0), coins[0].output)], 1_000),
        "bad-txns-inputs-missingorspent",
    )
    beyond = Coin(outpoint(coins[0].outpoint.hash, 7), coins[0].output)
    refused(chain, spend([beyond], 1_000), "bad-txns-inputs-missingorspent")
    first = spend([coins[0]], 1_000_000)
    chain.mine(txs=[first])
    refused(chain, spend([coins[0]], 2_000_000), "bad-txns-inputs-missingorspent")


def test_values(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    refused(chain, spend(coins[:1], coins[0].sats + 1), "bad-txns-in-belowout")
    exact = spend(coins[:1], coins[0].sats)
    assert chain.check(exact).consensus
    twice = transaction([txin(coins[0].outpoint)] * 2, [txout(1_000, b"\x51")])
    refused(chain, twice, "bad-txns-inputs-duplicate")
    huge = CTransaction([CTxIn(coins[0].outpoint)], [CTxOut(21 * 10**14 + 1, CScript())], 0, 2)
    refused(chain, huge, "bad-txns-vout-toolarge")
    both = CTransaction([CTxIn(coins[0].outpoint)], [CTxOut(21 * 10**14, CScript())] * 2, 0, 2)
    refused(chain, both, "bad-txns-txouttotal-toolarge")
    negative = CTransaction([CTxIn(coins[0].outpoint)], [CTxOut(-1, CScript())], 0, 2)
    refused(chain, negative, "bad-txns-vout-negative")


def test_shapes(chain: KernelChain, coins: list[Coin]) -> None:
    null = CTransaction(
        [CTxIn(coins[0].outpoint), CTxIn(COutPoint())], [CTxOut(1, CScript())], 0, 2
    )
    refused(chain, null, "bad-txns-prevout-null")
    coinbase = CTransaction([CTxIn(COutPoint(), CScript(b"\x01\x01"))], [CTxOut(1, CScript())])
    with pytest.raises(ConsensusError, match="bad-cb-multiple"):
        chain.broadcast(coinbase)
    for empty in (CTransaction([CTxIn(coins[0].outpoint)], []), CTransaction([], [])):
        with pytest.raises(ConsensusError):
            chain.broadcast(empty)
    assert chain.mempool() == ()


def test_coinbase_maturity(chain: KernelChain, alice: Wallet, spend: Spend) -> None:
    (block,) = chain.mine(to=alice.script(4))
    (utxo,) = chain.unspent(alice.script(4))
    tx = spend([utxo.coin], 1_000_000)
    chain.mine(98)
    refused(chain, tx, "bad-txns-premature-spend-of-coinbase")
    assert utxo not in alice.utxos()
    chain.mine()
    assert utxo in alice.utxos()
    chain.broadcast(tx)
    (after,) = chain.mine()
    assert after.height == block.height + 100


def test_lock_height(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    tx = spend(coins[:1], 1_000_000, sequence=0xFFFFFFFE, locktime=chain.height + 2)
    for _ in range(2):
        refused(chain, tx, "bad-txns-nonfinal")
        chain.mine()
    chain.broadcast(tx)
    final = spend(coins[1:2], 1_000_000, sequence=0xFFFFFFFF, locktime=10**6)
    chain.broadcast(final)
    chain.mine()
    assert chain.mempool() == ()


def test_lock_time_is_median_time(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    when = chain.tip.time + 600
    tx = spend(coins[:1], 1_000_000, sequence=0xFFFFFFFE, locktime=when)
    while chain.header(chain.height).median_time <= when:
        refused(chain, tx, "bad-txns-nonfinal")
        chain.mine()
    chain.broadcast(tx)
    assert chain.tip.time > when + 600 * 5  # five blocks later than its own clock says


def test_relative_height(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    parent = spend(coins[:1], 1_000_000)
    chain.mine(txs=[parent])
    coin = Coin(outpoint(txid(parent), 0), parent.vout[0])
    tx = spend([coin], 900_000, sequence=3)
    for _ in range(2):
        refused(chain, tx, "bad-txns-nonfinal")
        chain.mine()
    chain.broadcast(tx)
    old_style = spend([coin], 900_000, sequence=1 << 31 | 100)
    assert chain.check(old_style).consensus


def test_relative_time(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    parent = spend(coins[:1], 1_000_000)
    chain.mine(txs=[parent])
    coin = Coin(outpoint(txid(parent), 0), parent.vout[0])
    tx = spend([coin], 900_000, sequence=1 << 22 | 3)  # 1536 s: three blocks of ten minutes
    waited = 0
    while not chain.check(tx).consensus:
        refused(chain, tx, "bad-txns-nonfinal")
        chain.mine()
        waited += 1
    assert waited == 3 - 1
    chain.broadcast(tx)


def test_a_relative_lock_on_an_unconfirmed_parent(
    chain: KernelChain, coins: list[Coin], spend: Spend
) -> None:
    parent = spend(coins[:1], 1_000_000)
    chain.broadcast(parent)
    coin = Coin(outpoint(txid(parent), 0), parent.vout[0])
    refused(chain, spend([coin], 900_000, sequence=1), "bad-txns-nonfinal")
    chain.broadcast(spend([coin], 900_000, sequence=0))


def test_scripts(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    tx = spend(coins[:2], 1_000_000)
    stacks = [list(witness_stack(tx, n)) for n in range(2)]
    refused(chain, with_witness(tx, [stacks[1], stacks[0]]), "Invalid Schnorr signature")
    refused(chain, with_witness(tx, [stacks[0], [b""]]), "Invalid Schnorr signature size")
    refused(chain, with_witness(tx, [stacks[0], []]), "Witness program was passed an empty witness")
    chain.broadcast(tx)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KernelChain, Wallet]]:
    datadir = tmp_path_factory.mktemp("node")
    with KernelChain(datadir, policy="none") as chain:
        wallet = Wallet(chain, SecretKey(b"\xa2" * 32))
        chain.mine(60, to=wallet.script())
        chain.mine(75)
        yield chain, wallet
    shutil.rmtree(datadir)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    heights=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    sequences=st.lists(
        st.sampled_from(
            [0, 1, 75, 76, 77, 100, 120, 134, 135, 136, 1 << 22 | 60, 1 << 22 | 88, 1 << 22 | 90,
             1 << 22 | 140, 1 << 31 | 500, 0xFFFFFFFE, 0xFFFFFFFF]
        ),
        min_size=3,
        max_size=3,
    ),
    lock=st.sampled_from(
        [0, 1, 134, 135, 136, 499_999_999, 500_000_000, 1_296_688_602 + 600 * 129,
         1_296_688_602 + 600 * 130, 1_296_688_602 + 600 * 131, 0xFFFFFFFF]
    ),
    version=st.sampled_from([1, 2, 3, -1, 0, 2**31 - 1]),
    extra=st.sampled_from([-1, 0, 1, 10_000]),
    broken=st.booleans(),
)  # fmt: skip
def test_the_mempool_agrees_with_the_kernel(
    shared: tuple[KernelChain, Wallet],
    heights: list[int],
    sequences: list[int],
    lock: int,
    version: int,
    extra: int,
    broken: bool,
) -> None:
    """Maturity, finality, relative locks, values and scripts, around every border."""
    chain, wallet = shared
    assert chain.height == 135
    spent = [chain.block(height)[0] for height in heights]
    inputs = [
        CTxIn(outpoint(txid(tx), 0), CScript(), sequence)
        for tx, sequence in zip(spent, sequences, strict=False)
    ]
    outputs = [tx.vout[0] for tx in spent]
    total = sum(out.nValue for out in outputs)
    tx = CTransaction(inputs, [CTxOut(total - extra, CScript(wallet.script()))], lock, version)
    tx = wallet.sign(tx, outputs, AUX)
    if broken:
        tx = CTransaction(tx.vin, tx.vout, lock ^ 1, version, tx.wit)
    verdict = chain.check(tx)
    try:
        chain.broadcast(tx)
        taken = True
    except ConsensusError as error:
        taken = False
        assert str(error) == verdict.consensus_reason
    finally:
        chain._mempool.evict(txid(tx))
    assert taken == verdict.consensus
    assert chain.height == 135


# Order and conflicts


def test_children_follow_their_parents(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    chain_of: list[CTransaction] = []
    coin = coins[0]
    for _ in range(5):
        chain_of.append(spend([coin], coin.sats - 1_000))
        coin = Coin(outpoint(txid(chain_of[-1]), 0), chain_of[-1].vout[0])
    with pytest.raises(ConsensusError, match="bad-txns-inputs-missingorspent"):
        chain.broadcast(chain_of[1])  # no orphans
    for tx in chain_of:
        chain.broadcast(tx)
    assert chain.broadcast(chain_of[2]) == txid(chain_of[2])  # known already
    (block,) = chain.mine()
    assert chain.block(block.height)[1:] == tuple(chain_of)
    assert chain.block(block.height)[0].vout[0].nValue == 50 * 10**8 + 5_000
    assert chain.broadcast(chain_of[2]) == txid(chain_of[2])
    assert chain.mempool() == ()


def test_a_block_evicts_what_conflicts_with_it(
    chain: KernelChain, coins: list[Coin], spend: Spend
) -> None:
    parent = spend(coins[:1], 1_000_000)
    child = spend([Coin(outpoint(txid(parent), 0), parent.vout[0])], 900_000)
    free = spend(coins[1:2], 1_000_000)
    for tx in (parent, child, free):
        chain.broadcast(tx)
    chain.mine(txs=[spend(coins[:1], 2_000_000)])
    assert chain.mempool() == (free,)


def test_replacement(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    """Full replace-by-fee: a higher rate, and it pays for what it evicts."""
    sats = coins[0].sats
    old = spend(coins[:1], sats - 2_000, sequence=0xFFFFFFFF)
    child = spend([Coin(outpoint(txid(old), 0), old.vout[0])], sats - 22_000)
    other = spend(coins[1:2], 1_000_000)
    for tx in (old, child, other):
        chain.broadcast(tx)
    not_relayed(chain, spend(coins[:1], sats - 1_999), "insufficient fee")
    not_relayed(chain, spend(coins[:1], sats - 3_000), "insufficient fee")  # the child's 20,000
    bound = spend([*coins[:1], Coin(outpoint(txid(child), 0), child.vout[0])], 1_000)
    refused(chain, bound, "bad-txns-inputs-missingorspent")
    new = spend(coins[:1], sats - 23_000)
    assert chain.check(new).accepted
    chain.broadcast(new)
    assert chain.mempool() == (other, new)
    assert chain.tx(txid(child)) is None


def test_without_the_model_the_first_seen_stays(tmp_path: Path) -> None:
    with KernelChain(tmp_path, policy="none") as chain:
        wallet = Wallet(chain, SecretKey(b"\xa3" * 32))
        chain.mine(2, to=wallet.script())
        chain.mine(100)
        coin = wallet.utxos()[0].coin

        def paying(sats: int) -> CTransaction:
            tx = transaction([txin(coin.outpoint)], [txout(sats, b"\x51")])
            return wallet.sign(tx, [coin.output], AUX)

        free = paying(coin.sats)  # no fee, a bare OP_TRUE: no policy asks
        verdict = chain.check(free)
        assert (verdict.accepted, verdict.policy, verdict.policy_by) == (True, None, "none")
        chain.broadcast(free)
        with pytest.raises(PolicyError, match="txn-mempool-conflict"):
            chain.broadcast(paying(1_000))
        chain.mine()
        assert chain.tx(txid(free)).block == chain.tip


# Policy is the model's, and says so


def test_policy_speaks_for_itself(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    tx = spend(coins[:1], coins[0].sats - 10)
    size = vsize(tx)
    assert size == 111
    not_relayed(chain, tx, "min relay fee not met, 10 < 12")
    assert chain.check(tx).policy_by == "model"
    chain.mine(txs=[tx])
    chain.broadcast(spend(coins[1:2], coins[1].sats - 12))
    dust = spend(coins[2:3], 329, 1_000_000)
    not_relayed(chain, dust, "dust")
    chain.broadcast(spend(coins[2:3], 330, 1_000_000))


def test_truc(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    parent = spend(coins[:1], 1_000_000, 1_000_000, version=3)
    chain.broadcast(parent)
    outs = [Coin(outpoint(txid(parent), n), parent.vout[n]) for n in range(2)]
    not_relayed(chain, spend([outs[0]], 900_000, version=2), "TRUC-violation")
    child = spend([outs[0]], 900_000, version=3)
    chain.broadcast(child)
    not_relayed(chain, spend([outs[1]], 900_000, version=3), "insufficient fee")
    grandchild = spend([Coin(outpoint(txid(child), 0), child.vout[0])], 800_000, version=3)
    not_relayed(chain, grandchild, "too many ancestors")
    sibling = spend([outs[1]], 800_000, version=3)
    chain.broadcast(sibling)
    assert chain.mempool() == (parent, sibling), "sibling eviction"


def test_a_cluster_has_a_limit(chain: KernelChain, coins: list[Coin], spend: Spend) -> None:
    coin = coins[0]
    for _ in range(64):
        tx = spend([coin], coin.sats - 500)
        chain.broadcast(tx)
        coin = Coin(outpoint(txid(tx), 0), tx.vout[0])
    not_relayed(chain, spend([coin], coin.sats - 500), "too-large-cluster")
    chain.broadcast(spend(coins[1:2], 1_000))
    chain.mine()
    chain.broadcast(spend([coin], coin.sats - 500))


def test_a_block_holds_what_fits(tmp_path: Path) -> None:
    """Five transactions of 1 MWU do not fit in one block; their order stays."""
    with KernelChain(tmp_path, policy="none") as chain:
        wallet = Wallet(chain, SecretKey(b"\xa4" * 32))
        chain.mine(6, to=wallet.script())
        chain.mine(100)
        txs = []
        for utxo in wallet.utxos()[:5]:
            padding = [txout(0, b"\x6a" + bytes(n)) for n in (200_000, 49_000)]
            tx = transaction(
                [txin(utxo.coin.outpoint)], [txout(utxo.sats - 1_000, wallet.script(1)), *padding]
            )
            txs.append(wallet.sign(tx, [utxo.coin.output], AUX))
            chain.broadcast(txs[-1])
        chain.mine()
        assert [chain.tx(txid(tx)).block is not None for tx in txs] == [True] * 4 + [False]
        chain.mine()
        assert chain.mempool() == ()
