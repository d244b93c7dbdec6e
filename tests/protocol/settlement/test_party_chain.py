"""Both parties on a real node: every way that a contract ends, in blocks that consensus judged."""

from collections.abc import Sequence

import pytest
from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import Coin, outpoint, txid
from protocol.settlement.terms import Role
from regtest.chain import COINBASE_MATURITY, Chain, TxRef, Utxo
from regtest.kernel import KernelChain
from tests.builders.party_disputes import SMALL, check_money, funded, lie_named, lying, winner
from tests.builders.party_world import COIN_SCRIPTS, START, World
from tests.protocol.settlement.test_party import HOLDER_CLAIMS, WAYS, check_end

pytestmark = pytest.mark.usefixtures("short_traces")


class NodeChain:
    """A node as a World's chain: each party has two coinbases of its own."""

    def __init__(self, node: Chain) -> None:
        self._node = node
        for role in Role:
            node.mine(2, to=COIN_SCRIPTS[role])
        node.mine(COINBASE_MATURITY)
        self._given = 0

    @property
    def height(self) -> int:
        return self._node.height

    @property
    def blocks(self) -> Sequence[Sequence[CTransaction]]:
        return [self._node.block(height) for height in range(START, self.height + 1)]

    def give(self, script: bytes, sats: int) -> Coin:
        self._given += 1
        [coinbase] = self._node.block(self._given)
        assert bytes(coinbase.vout[0].scriptPubKey) == script
        assert int(coinbase.vout[0].nValue) >= sats
        return Coin(outpoint(txid(coinbase), 0), coinbase.vout[0])

    def tx(self, name: bytes) -> TxRef | None:
        return self._node.tx(name)

    def spender(self, point: COutPoint) -> TxRef | None:
        return self._node.spender(point)

    def utxo(self, point: COutPoint) -> Utxo | None:
        return self._node.utxo(point)

    def broadcast(self, tx: CTransaction) -> None:
        self._node.broadcast(tx)

    def mine(self, count: int = 1) -> None:
        self._node.mine(count)

    def reorg(self, depth: int) -> None:
        self._node.reorg(depth)


@pytest.mark.parametrize("outcome", list(WAYS))
def test_each_way_in_real_blocks(outcome, tmp_path):
    with KernelChain(tmp_path) as node:
        world = World(chain=NodeChain(node), policies=WAYS[outcome]).begin().run()
        check_end(world, outcome)
        assert not world.refused


def test_a_reorganisation_on_a_real_node(tmp_path):
    with KernelChain(tmp_path) as node:
        windows = {"move_window": 12, "sweep_delay": 16}
        world = World(chain=NodeChain(node), policies=HOLDER_CLAIMS, **windows).begin()
        for name in ("FUND", "holder:KICKOFF", "holder:SWEEP_WRITER"):
            world.until(lambda name=name: name in world.path())
            world.chain.reorg(4)
        check_end(world.run(), "holder:SETTLE")


def test_silence_in_real_blocks(tmp_path):
    with KernelChain(tmp_path) as node:
        world = World(chain=NodeChain(node), policies=HOLDER_CLAIMS).begin()
        world.until(lambda: "holder:INPUT_1" in world.path())
        world.holder.alive = False
        world.until(lambda: world.writer.party.over)
        assert world.writer.party.outcome == "holder:TIMEOUT"


def test_coins_go_back_in_a_real_block(tmp_path):
    with KernelChain(tmp_path) as node:
        world = World(chain=NodeChain(node))
        world.writer.wallet = False
        world.begin().run()
        assert world.holder.party.outcome == "RECLAIM"
        assert not world.refused


@pytest.mark.parametrize("name", ["wrong-pc", "challenge"])
def test_a_dispute_in_real_blocks(name, tmp_path):
    with KernelChain(tmp_path) as node:
        world = lying(funded(SMALL, Role.HOLDER, chain=NodeChain(node)), name).run()
        assert winner(world) is lie_named(name).winner
        check_money(world)
