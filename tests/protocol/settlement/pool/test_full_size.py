"""The pool's own program on a chain: 4^15 steps, a batch of deposits and signed operations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from actors.pool_chain import PoolChain, Route, vault_terms
from protocol.errors import EncodingError, TermsError
from protocol.pool.batch import BatchResult
from protocol.pool.image import image_of
from protocol.pool.operation import AddLiquidity, Increase
from protocol.settlement.move import MAX_VSIZE
from protocol.settlement.pool.batch import Batch
from protocol.settlement.pool.judge import PoolJudge, pool_batch
from regtest.kernel import KernelChain
from tests.builders.pool import ALICE, BTC, LONG, LP, USDC, owner_of
from tests.builders.pool_batches import IDLE, Pledged
from tests.builders.pool_guest import GuestPool

SEED = b"\x02" * 32


@dataclass
class Full:
    """The chain, the pool, and its first batch."""

    chain: PoolChain
    guest: GuestPool
    batch: Batch
    result: BatchResult


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Iterator[Full]:
    """LP pays in 10,000 USDC, ALICE goes long; both bring sats, and too many of them."""
    domain = vault_terms(SEED).digest
    guest = GuestPool(pool={"backed": True, "btc_token": BTC, "domain": domain})
    judge = PoolJudge(image_of(guest.terms))
    with KernelChain(tmp_path_factory.mktemp("pool") / "chain") as node:
        chain = PoolChain(node, SEED, judge=judge)
        chain.open(guest.pool.root())
        deposits = [
            chain.deposit(owner_of(user), sats)
            for user, sats in ((LP, 26_000_000), (ALICE, 3_000_000))
        ]
        operations = [
            guest.signed(AddLiquidity(**guest.head(LP), amount=10_000 * USDC), LP),
            guest.signed(
                Increase(
                    **guest.head(ALICE),
                    token=BTC,
                    side=LONG,
                    deposit=1_030 * USDC,
                    size=10_000 * USDC,
                    acceptable_price=2**63,
                ),
                ALICE,
            ),
        ]
        deposits.sort(key=lambda deposit: deposit.outpoint)
        result, witness = guest.witness(operations, deposits=deposits)
        batch = pool_batch(chain.vault, chain.state, judge.image, witness.encode(), result.payments)
        yield Full(chain, guest, batch, result)


def test_a_liar_about_a_word_of_the_batch_is_convicted_and_the_batch_settled(full: Full) -> None:
    """Among 4^15 steps of the real program; every transaction within version 3."""
    chain, batch = full.chain, full.batch
    told = chain.lying(batch, "wrong-input")
    made = Pledged.of(chain, batch, told.prover, {1: IDLE, 2: IDLE})
    for game in made.games:
        assert max(move.widest_vsize for move in game.moves.values()) <= MAX_VSIZE
    settled = made.play()
    assert settled.route is Route.CONVICTED
    assert "VERDICT_WORD" in settled.verdict
    assert all(made.reason(tx) != "" for tx in made.advances())
    together = chain.settle(batch)
    assert together.route is Route.COOPERATIVE
    assert together.state.root == full.result.journal.new_root == full.guest.pool.root()
    assert together.state.vault_sats == full.guest.pool.vault.vault_sats
    assert chain.chain.utxo(together.state.outpoint).sats == together.state.sats


def test_the_batch_is_what_its_input_claims(full: Full) -> None:
    judge, batch, vault = PoolJudge(full.batch.image), full.batch, full.chain.vault
    judge.require(vault, batch)
    assert len(batch.payments) == 2
    less = replace(batch.payments[0], sats=batch.payments[0].sats - 1)
    wrong = {
        "old root": replace(batch, old=replace(batch.old, root=bytes(32))),
        "new_root": replace(batch, new_root=bytes(32)),
        "payments": replace(
            batch,
            payments=(less, batch.payments[1]),
            new_vault_sats=batch.new_vault_sats + 1,
        ),
        "deposits": replace(
            batch,
            deposits=batch.deposits[:1],
            new_vault_sats=batch.new_vault_sats - batch.deposits[1].sats,
        ),
        "old vault_sats": replace(
            batch,
            old=replace(batch.old, vault_sats=9),
            new_vault_sats=batch.new_vault_sats + 9,
        ),
    }
    for reason, changed in wrong.items():
        with pytest.raises(TermsError, match=reason):
            judge.require(vault, changed)
    with pytest.raises(TermsError, match="name another vault"):
        judge.require(replace(vault, quorum=1), batch)
    short = replace(vault, log4_steps=10)
    terms = replace(full.guest.terms, params=replace(full.guest.terms.params, domain=short.digest))
    with pytest.raises(TermsError, match=r"above 4\^10: a true batch could be disproved"):
        PoolJudge(image_of(terms)).require(short, batch)
    with pytest.raises(EncodingError):
        judge.require(vault, replace(batch, data=batch.data[:-4]))
