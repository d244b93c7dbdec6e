"""Every role of the pool in one process: what the demo calls."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from actors.pool_chain import PoolChain, Route, first_read, retrace
from protocol.errors import ConfigError, TermsError
from protocol.settlement.pool.graph import batch_premises
from riscv_vm.isa import INPUT_BASE
from tests.builders.pool_batches import OWNER, ROOT, next_batch, opened_pool


@pytest.fixture(scope="module")
def heard() -> list[str]:
    return []


@pytest.fixture(scope="module")
def pool(tmp_path_factory, heard) -> Iterator[PoolChain]:
    with opened_pool(tmp_path_factory.mktemp("pool") / "chain", said=heard.append) as made:
        with pytest.raises(TermsError, match="open it first"):
            _ = made.state
        made.open(ROOT, 50_000)
        yield made


def test_it_tells_what_it_broadcasts(pool: PoolChain, heard: list[str]) -> None:
    deposit = pool.deposit(OWNER.public, 5_000)
    settled = pool.settle(next_batch(pool, deposit, pays=1_000))
    (row,) = settled.txs
    assert (settled.route, row.name, row.by) == (Route.COOPERATIVE, "ADVANCE", "sequencer")
    assert row.height == pool.chain.height
    assert [line.split()[0] for line in heard] == ["STATE", "DEPOSIT", "ADVANCE"]
    assert heard[-1] == f"ADVANCE by sequencer, {row.vsize} vB, {row.txid}"


def test_a_lie_is_told_lost_and_the_batch_settled_all_the_same(pool: PoolChain) -> None:
    batch = next_batch(pool, pays=1_000)
    told = pool.settle(batch, lie="wrong-input")
    assert told.route is Route.CONVICTED
    assert told.state == batch.old
    assert all(a.height <= b.height for a, b in pairwise(told.txs))
    assert {row.by for row in told.txs} == {"sequencer", "member 1", "member 2", "member 3"}
    assert pool.settle(batch, presigned=True).route is Route.OPEN


def test_an_unknown_lie_is_refused(pool: PoolChain) -> None:
    batch = next_batch(pool)
    with pytest.raises(ConfigError, match="--lie no-such: no such lie"):
        pool.settle(batch, lie="no-such")
    assert pool.state == batch.old


def test_the_first_step_that_reads_the_batch(pool: PoolChain) -> None:
    premises = batch_premises(pool.vault, next_batch(pool))
    trace, step = retrace(premises), first_read(premises)

    def reads(index: int) -> bool:
        return any(read.address >= INPUT_BASE for read in trace.step(index).reads[1:2])

    assert reads(step)
    assert not any(reads(index) for index in range(step))
