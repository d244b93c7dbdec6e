"""The wallet finds, chooses and signs."""

from dataclasses import replace

import pytest

from protocol.bitcoin.address import REGTEST, decode_address
from protocol.bitcoin.psbt import Psbt, combine, signed_tx
from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import (
    transaction,
    txid,
    txin,
    txout,
    vsize,
    witness_stack,
)
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError
from regtest.kernel import KernelChain
from regtest.wallet import ADDRESSES, Wallet

AUX = bytes(32)
ALICE = SecretKey(b"\xa1" * 32)


def test_addresses(chain: KernelChain) -> None:
    wallet = Wallet(chain, ALICE)
    scripts = [wallet.script(n) for n in range(ADDRESSES)]
    assert len(set(scripts)) == ADDRESSES
    assert scripts[0] == key_path_script(ALICE.public)
    assert decode_address(wallet.address(3), REGTEST) == scripts[3]
    assert wallet.address().startswith("bcrt1p")
    for wrong in (-1, ADDRESSES):
        with pytest.raises(ChainError, match="addresses 0 to 15"):
            wallet.script(wrong)


def test_every_address_can_be_spent(chain: KernelChain) -> None:
    wallet = Wallet(chain, ALICE)
    for n in range(ADDRESSES):
        chain.mine(to=wallet.script(n))
    chain.mine(100)
    utxos = wallet.utxos()
    assert len(utxos) == ADDRESSES
    spent = [utxo.coin.output for utxo in utxos]
    tx = transaction([txin(u.coin.outpoint) for u in utxos], [txout(1_000, wallet.script())])
    chain.broadcast(wallet.sign(tx, spent, AUX))
    chain.mine()
    assert wallet.balance_sats() == 1_000


def test_balance_counts_what_can_be_spent(chain: KernelChain, alice: Wallet) -> None:
    before = alice.balance_sats()
    assert before == 10 * 50 * 10**8
    chain.mine(to=alice.script())  # immature
    assert alice.balance_sats() == before
    payment = alice.pay([txout(1_000, b"\x51\x20" + bytes(32))], AUX)
    chain.broadcast(payment)
    assert alice.balance_sats() == before - 50 * 10**8  # its change waits for a block
    chain.mine()
    fee = 50 * 10**8 - sum(out.nValue for out in payment.vout)
    assert alice.balance_sats() == before - 1_000 - fee


@pytest.mark.parametrize("feerate", [1, 2, 7, 250])
def test_fees(chain: KernelChain, alice: Wallet, feerate: int) -> None:
    payment = alice.pay([txout(60 * 10**8, alice.script(1))], AUX, feerate_sat_vb=feerate)
    assert len(payment.vin) == 2
    fee = 100 * 10**8 - sum(out.nValue for out in payment.vout)
    assert feerate * vsize(payment) - feerate <= fee <= feerate * vsize(payment) + feerate
    assert chain.check(payment).accepted


def test_no_dust_change(chain: KernelChain, alice: Wallet) -> None:
    payment = alice.pay([txout(50 * 10**8 - 500, alice.script(1))], AUX)
    assert len(payment.vout) == 1
    assert chain.check(payment).accepted


def test_promised_coins_are_left_alone(alice: Wallet) -> None:
    first = alice.gather(lambda n: 60 * 10**8)
    assert len(first) == 2
    promised = [coin.outpoint for coin in first]
    second = alice.gather(lambda n: 60 * 10**8, without=promised)
    assert not {coin.outpoint for coin in second} & set(promised)
    payment = alice.pay([txout(1_000, alice.script())], AUX, without=promised)
    assert payment.vin[0].prevout not in promised


def test_too_little(alice: Wallet) -> None:
    with pytest.raises(ChainError, match="holds 50000000000 spendable sats and needs"):
        alice.pay([txout(501 * 10**8, alice.script())], AUX)


def test_two_wallets_sign_one_transaction(chain: KernelChain, alice: Wallet) -> None:
    bob = Wallet(chain, SecretKey(b"\xb0" * 32))
    chain.mine(to=bob.script())
    chain.mine(100)
    coins = [alice.utxos()[0].coin, bob.utxos()[0].coin]
    spent = [coin.output for coin in coins]
    tx = transaction([txin(coin.outpoint) for coin in coins], [txout(1_000_000, bob.script())])
    half = alice.sign(tx, spent, AUX)
    assert witness_stack(half, 1) == ()
    whole = bob.sign(half, spent, AUX)
    assert witness_stack(whole, 0) == witness_stack(half, 0)
    assert whole == alice.sign(bob.sign(tx, spent, AUX), spent, AUX)
    chain.broadcast(whole)
    chain.mine()
    assert chain.tx(txid(tx)).block == chain.tip


def test_a_psbt_of_two_wallets(chain: KernelChain, alice: Wallet) -> None:
    """Each signs its own input, one after the other or apart; whoever reads it back has all."""
    bob = Wallet(chain, SecretKey(b"\xb0" * 32))
    chain.mine(to=bob.script())
    chain.mine(100)
    coins = [alice.utxos()[0].coin, bob.utxos()[0].coin]
    spent = tuple(coin.output for coin in coins)
    tx = transaction([txin(coin.outpoint) for coin in coins], [txout(1_000_000, bob.script())])
    asked = Psbt.unsigned(tx, spent)
    half = alice.sign_psbt(asked, AUX)
    assert [len(half.witness(n)) for n in range(2)] == [1, 0]
    whole = bob.sign_psbt(half, AUX)
    assert combine([half, bob.sign_psbt(asked, AUX)]) == whole
    chain.broadcast(signed_tx(whole.encode(), tx))
    chain.mine()
    assert chain.tx(txid(tx)).block == chain.tip


def test_a_psbt_that_does_not_say_what_it_spends(alice: Wallet) -> None:
    coin = alice.utxos()[0].coin
    tx = transaction([txin(coin.outpoint)], [txout(1_000, alice.script())])
    bare = replace(Psbt.unsigned(tx, [coin.output]), inputs=({},))
    with pytest.raises(ChainError, match="input 0 does not say what it spends"):
        alice.sign_psbt(bare, AUX)
