"""Batches that a quorum has re-run and signed, in real blocks; and what nobody can steal."""

from dataclasses import replace

import pytest
from bitcoin.core import CTransaction

from actors.pool_chain import PoolChain, Route
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import (
    outpoint,
    outpoint_key,
    parse_hash,
    transaction,
    txid,
    txin,
    txout,
    with_witness,
    witness_stack,
)
from protocol.errors import SignatureError, TermsError
from protocol.pool.batch import Deposit, Payment
from protocol.settlement.pool.advance import advance
from protocol.settlement.pool.batch import FLOOR_SATS, Batch, outpoint_of
from protocol.settlement.pool.terms import MEMBER
from protocol.settlement.pool.vault import deposit_lock, reclaim_tx, state_lock
from regtest.chain import rule_broken
from tests.builders.pool_batches import AUX, OTHER, OWNER, next_batch, paid_to, payment, small_batch

THIEF = key_path_script(OTHER.public)


def finished(pool: PoolChain, batch: Batch, signers=(0, 1)) -> CTransaction:
    """ADVANCE signed by these members, whatever they think of the batch."""
    fee = pool.purses["sequencer"].coins()
    made = advance(pool.vault, batch, fee)
    signed = {n: made.sign(MEMBER, n, pool.keys[f"member {n + 1}"], AUX) for n in signers}
    own = pool.purses["sequencer"].sign(made.tx, made.spent, AUX)
    return made.finish(signed, wallet=[witness_stack(own, len(made.tx.vin) - 1)])


def refused(pool: PoolChain, tx: CTransaction) -> str:
    verdict = pool.chain.check(tx)
    assert not verdict.consensus
    return rule_broken(verdict.consensus_reason)


def test_three_batches_in_a_row(pool: PoolChain) -> None:
    """Deposits come in, payments go out, the vault is what is left; fees are the sequencer's."""
    held = 100_000
    for number, pays in enumerate((0, 30_000, 90_000)):
        deposits = [pool.deposit(OWNER.public, 20_000 + n) for n in range(number)]
        batch = next_batch(pool, *deposits, pays=pays)
        settled = pool.settle(batch)
        held += sum(d.sats for d in deposits) - pays
        assert settled.route is Route.COOPERATIVE
        (row,) = settled.txs
        tx = pool.chain.tx(parse_hash(row.txid)).tx
        assert settled.state.vault_sats == held == batch.new_vault_sats
        assert int(tx.vout[0].nValue) == held + FLOOR_SATS
        lock = state_lock(pool.vault, batch.new_root)
        assert bytes(tx.vout[0].scriptPubKey) == lock.script_pubkey
        assert paid_to(tx, key_path_script(OWNER.public)) == pays
        assert pool.state == settled.state
        assert pool.chain.utxo(pool.state.outpoint).sats == pool.state.sats


def test_dust_goes_to_the_fee(pool: PoolChain) -> None:
    batch = small_batch(pool.state, b"\x02" * 32, (), (payment(329), payment(330, OTHER)))
    tx = finished(pool, batch)
    assert batch.new_vault_sats == 100_000 - 329 - 330
    assert paid_to(tx, key_path_script(OWNER.public)) == 0
    assert paid_to(tx, THIEF) == 330
    assert pool.chain.check(tx).accepted


def test_members_refuse_what_is_wrong(pool: PoolChain) -> None:
    """Each change of a batch that all would sign, with what it is refused for."""
    deposit = pool.deposit(OWNER.public, 50_000)
    batch = next_batch(pool, deposit, pays=1_000)
    _, members = pool.roles(batch)
    fee = pool.purses["sequencer"].coins()
    small = replace(deposit, sats=49_999)
    stranger = replace(deposit, outpoint=bytes(36))
    changes = {
        "old root": replace(batch, old=replace(pool.state, root=b"\x09" * 32)),
        "STATE holds": replace(
            batch, old=replace(pool.state, vault_sats=100_001), new_vault_sats=149_001
        ),
        "another batch": replace(batch, payments=(payment(1_001),), new_vault_sats=148_999),
        "none of 49999": replace(batch, deposits=(small,), new_vault_sats=148_999),
        "none of 50000": replace(batch, deposits=(stranger,)),
        "does not halt": next_batch(pool, deposit, pays=1_000, right=False),
        "not the pool's program": replace(batch, image=replace(batch.image, entry=4096)),
    }
    for reason, wrong in changes.items():
        for member in members:
            with pytest.raises(TermsError, match=reason):
                member.cooperate(pool.chain, wrong, fee, AUX)
            if reason != "does not halt":
                with pytest.raises(TermsError, match=reason):
                    member.join(pool.chain, wrong, pool.chain.height + 100)
    assert members[0].cooperate(pool.chain, batch, fee, AUX)


def test_a_signature_is_checked_and_of_one_batch(pool: PoolChain) -> None:
    batch, other = next_batch(pool, pays=1_000), next_batch(pool, pays=2_000)
    sequencer, members = pool.roles(batch)
    fee = pool.purses["sequencer"].coins()
    signed = {member.number: member.cooperate(pool.chain, batch, fee, AUX) for member in members}
    with pytest.raises(SignatureError, match="input 0"):
        sequencer.settle(other, fee, signed)
    with pytest.raises(SignatureError, match="are wanted"):
        sequencer.settle(batch, fee, {0: {}})
    with pytest.raises(SignatureError, match="wrong"):
        sequencer.settle(batch, fee, {0: signed[1]})
    made = sequencer.settle(batch, fee, signed)
    with pytest.raises(SignatureError, match="1 of the committee signed, 2 are needed"):
        made.finish({1: signed[1]})


def test_a_batch_adds_up(pool: PoolChain) -> None:
    batch = next_batch(pool, pays=1_000)
    deposit = pool.deposit(OWNER.public, 5_000)
    wrong = {
        "new_vault_sats 99001": {"new_vault_sats": 99_001},
        "named twice": {"deposits": (deposit, deposit), "new_vault_sats": 109_000},
        "owners must ascend": {"payments": (payment(1), payment(1)), "new_vault_sats": 99_998},
        "nobody has that key": {"payments": (Payment(b"\xff" * 32, 1_000),)},
        "nothing to pay": {"payments": (payment(0),), "new_vault_sats": 100_000},
    }
    for reason, changes in wrong.items():
        with pytest.raises(TermsError, match=reason):
            replace(batch, **changes)


def test_fewer_than_a_quorum_move_nothing(pool: PoolChain) -> None:
    """One member fills both places, or leaves one empty."""
    lock, keys = state_lock(pool.vault, pool.state.root), pool.keys["member 1"].key
    spent = [txout(pool.state.sats, lock.script_pubkey)]
    tx = transaction([txin(pool.state.outpoint)], [txout(90_000, THIEF)])
    one = sign_input(tx, 0, spent, keys, AUX, leaf=LeafSpend(lock.leaf.hash))
    rest = [lock.leaf.script, lock.output.control_block(lock.leaf)]
    for items, reason in (
        ([b"", b"", one], "Script evaluated without error but finished with a false/empty top"),
        ([b"", one, one], "Invalid Schnorr signature"),
        ([one, one, one], "Invalid Schnorr signature"),
        ([b"", b"", b""], "Script evaluated without error but finished with a false/empty top"),
    ):
        assert refused(pool, with_witness(tx, [[*items, *rest]])).startswith(reason)
    outsider = sign_input(tx, 0, spent, pool.purses["sequencer"].key, AUX)
    assert refused(pool, with_witness(tx, [[outsider]])) == "Invalid Schnorr signature"


def test_the_state_names_its_root(pool: PoolChain) -> None:
    """Members that sign for another old root have signed for no output that exists."""
    batch = next_batch(pool)
    wrong = replace(batch, old=replace(pool.state, root=b"\x09" * 32))
    assert refused(pool, finished(pool, wrong)) == "Witness program hash mismatch"
    assert pool.chain.check(finished(pool, batch)).accepted


def test_a_deposit_goes_back_after_its_window_and_not_before(pool: PoolChain) -> None:
    deposit = pool.deposit(OWNER.public, 10_000)
    used = pool.deposit(OWNER.public, 10_000)
    home = key_path_script(OWNER.public)
    back, spent = (reclaim_tx(pool.vault, one, OWNER, home, AUX, 2) for one in (deposit, used))
    pool.settle(next_batch(pool, used))
    height = pool.chain.utxo(outpoint_of(deposit.outpoint)).height
    last_for_batch = height + pool.vault.deposit_window - pool.vault.late_window - 1
    pool.chain.mine(last_for_batch - pool.chain.height)
    batch = next_batch(pool, deposit)
    _, (member, *_) = pool.roles(batch)
    fee = pool.purses["sequencer"].coins()
    assert member.cooperate(pool.chain, batch, fee, AUX)
    pool.chain.mine()
    with pytest.raises(TermsError, match="its owner may take one back"):
        member.cooperate(pool.chain, batch, fee, AUX)
    pool.chain.mine(height + pool.vault.deposit_window - 2 - pool.chain.height)
    assert refused(pool, back) == "bad-txns-nonfinal"
    pool.chain.mine()
    thief = reclaim_tx(pool.vault, deposit, OTHER, THIEF, AUX, 2)
    assert refused(pool, thief) == "Invalid Schnorr signature"
    assert refused(pool, spent) == "bad-txns-inputs-missingorspent"
    assert pool.chain.check(back).accepted


def test_an_unconfirmed_deposit_waits(pool: PoolChain) -> None:
    lock = deposit_lock(pool.vault, OWNER.public)
    tx = pool.purses["owner"].pay(txout(7_000, lock.script_pubkey), 2, AUX)
    pool.chain.broadcast(tx)
    deposit = Deposit(outpoint_key(outpoint(txid(tx), 0)), OWNER.public, 7_000)
    batch = next_batch(pool, deposit)
    _, (member, *_) = pool.roles(batch)
    with pytest.raises(TermsError, match="wait until a block holds each"):
        member.join(pool.chain, batch, pool.chain.height + 100)
    pool.chain.mine()
    assert pool.chain.utxo(outpoint(txid(tx), 0)).height == pool.chain.height
    assert member.join(pool.chain, batch, pool.chain.height + 100)
