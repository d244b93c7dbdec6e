"""Reorgs of every depth that the contracts must survive: what was dropped comes back."""

from collections.abc import Callable

import pytest

from protocol.bitcoin.tx import outpoint, transaction, txid, txin, txout
from protocol.errors import ChainError, ConsensusError
from regtest.kernel import KernelChain
from regtest.wallet import Wallet

AUX = bytes(32)


@pytest.mark.parametrize("depth", range(1, 7))
def test_dropped_transactions_come_back(chain: KernelChain, alice: Wallet, depth: int) -> None:
    payments = []
    for n in range(depth):
        payments.append(alice.pay([txout(10_000 + n, alice.script(3))], AUX))
        chain.broadcast(payments[-1])
        chain.mine()
    old_tip = chain.tip
    assert chain.mempool() == ()
    tip = chain.reorg(depth)
    assert tip.height == old_tip.height + 1
    assert chain.header(old_tip.height).ref != old_tip
    assert [txid(tx) for tx in chain.mempool()] == [txid(tx) for tx in payments]
    assert all(chain.tx(txid(tx)).block is None for tx in payments)
    assert chain.unspent(alice.script(3)) == ()
    chain.mine()
    assert [chain.tx(txid(tx)).position for tx in payments] == list(range(1, depth + 1))
    assert len(chain.unspent(alice.script(3))) == depth


def test_the_index_after_a_reorg_equals_a_fresh_one(
    tmp_path, chain: KernelChain, alice: Wallet
) -> None:
    for _ in range(3):
        chain.broadcast(alice.pay([txout(5_000, alice.script(1))], AUX))
        chain.mine()
    chain.reorg(2)
    chain.mine()
    expected = [chain.unspent(alice.script(n)) for n in range(3)], chain.tip, chain.mempool()
    chain.close()
    with KernelChain(tmp_path / "node") as again:
        assert [again.unspent(alice.script(n)) for n in range(3)] == expected[0]
        assert (again.tip, again.mempool()) == expected[1:]


def test_a_double_spend_in_the_new_branch_wins(
    chain: KernelChain, alice: Wallet, spend: Callable[..., object]
) -> None:
    """The old payment and what was built on it are gone; what is independent comes back."""
    first, second = (utxo.coin for utxo in alice.utxos()[:2])
    old = spend([first], 1_000_000)
    child = alice_child(alice, old)
    free = spend([second], 2_000_000)
    for tx in (old, child, free):
        chain.broadcast(tx)
    chain.mine()
    rival = spend([first], 3_000_000)
    chain.reorg(1, txs=[rival])
    assert chain.tx(txid(rival)).block is not None
    assert chain.tx(txid(old)) is None
    assert chain.tx(txid(child)) is None
    assert [txid(tx) for tx in chain.mempool()] == [txid(free)]


def alice_child(alice: Wallet, parent: object) -> object:
    tx = transaction(
        [txin(outpoint(txid(parent), 0))], [txout(parent.vout[0].nValue - 500, alice.script())]
    )
    return alice.sign(tx, [parent.vout[0]], AUX)


def test_a_dropped_coinbase_takes_its_spends_along(chain: KernelChain, alice: Wallet) -> None:
    """A reorg of 101 blocks: the coin that was spent no longer exists."""
    (block,) = chain.mine(to=alice.script(5))
    chain.mine(100)
    (utxo,) = chain.unspent(alice.script(5))
    assert utxo.height == block.height
    tx = transaction([txin(utxo.coin.outpoint)], [txout(utxo.sats - 1_000, alice.script())])
    tx = alice.sign(tx, [utxo.coin.output], AUX)
    chain.broadcast(tx)
    chain.mine()
    chain.reorg(102)
    assert chain.mempool() == ()
    assert chain.tx(txid(tx)) is None


def test_mempool_keeps_its_order_behind_what_came_back(chain: KernelChain, alice: Wallet) -> None:
    confirmed = alice.pay([txout(9_000, alice.script())], AUX)
    chain.broadcast(confirmed)
    chain.mine()
    child = alice_child(alice, confirmed)
    chain.broadcast(child)
    chain.reorg(1)
    assert [txid(tx) for tx in chain.mempool()] == [txid(confirmed), txid(child)]
    chain.mine()
    assert chain.mempool() == ()


def test_a_locked_transaction_leaves_with_its_height(
    chain: KernelChain, alice: Wallet, spend: Callable[..., object]
) -> None:
    """Final at the old tip, not final where the new branch is shorter in nothing but time."""
    coin = alice.utxos()[0].coin
    chain.set_time(1_500_000_000)
    chain.mine(12)
    tx = spend([coin], 1_000, sequence=0xFFFFFFFE, locktime=1_500_000_500)
    chain.broadcast(tx)
    chain.reorg(12)
    assert chain.header(chain.height).median_time < 1_500_000_000
    assert chain.mempool() == ()


def test_depths_that_do_not_exist(chain: KernelChain) -> None:
    chain.mine(3)
    for depth in (0, -1, 4):
        with pytest.raises(ChainError, match="cannot drop"):
            chain.reorg(depth)
    assert chain.reorg(3).height == 4


def test_an_invalid_branch_changes_nothing(
    chain: KernelChain, alice: Wallet, spend: Callable[..., object]
) -> None:
    tip = chain.tip
    coin = alice.utxos()[0].coin
    with pytest.raises(ConsensusError, match="bad-txns-inputs-missingorspent"):
        chain.reorg(2, txs=[spend([coin], 1_000), spend([coin], 2_000)])
    assert chain.tip == tip
    assert chain.mine()[0].height == tip.height + 1
