"""A child that pays for a move of the contract, from a party's wallet, in real blocks."""

import pytest

from actors.party_bump import bump
from actors.party_wallet import KeyWallet
from protocol.bitcoin.tx import txid, txout, vsize
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError
from protocol.settlement.terms import Role
from regtest.wallet import Wallet
from tests.builders.contracts import BACKENDS, contract_terms, fee, opened_stage

RATE = 20


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def stage(request, tmp_path_factory):
    with opened_stage(request.param, tmp_path_factory.mktemp("chain") / "node") as opened:
        yield opened


def test_a_move_that_waits_is_paid_for_by_a_child(stage):
    made = stage.fund(contract_terms())
    (move, *_), (signed, *_) = made.graph.forward(Role.HOLDER), made.claim(Role.HOLDER, 3)
    stage.chain.broadcast(signed)
    wallet = KeyWallet(stage.wallets[Role.HOLDER])
    child = bump(stage.chain, wallet, move, signed, RATE)
    assert child.nVersion == 3
    coins = [stage.chain.tx(bytes(i.prevout.hash)).tx for i in child.vin[1:]]
    paid = move.fee_sats + fee(child, signed, *coins)
    assert paid >= RATE * (vsize(signed) + vsize(child))
    assert paid <= RATE * (vsize(signed) + vsize(child)) * 1.05
    stage.chain.mine()
    assert stage.chain.tx(txid(signed)).block
    assert stage.chain.tx(txid(child)).block


def test_a_move_that_the_node_does_not_know_yet_is_sent_with_its_child(stage):
    made = stage.fund(contract_terms())
    (move, *_), (signed, *_) = made.graph.forward(Role.WRITER), made.claim(Role.WRITER, 3)
    child = bump(stage.chain, KeyWallet(stage.wallets[Role.WRITER]), move, signed, RATE)
    stage.chain.mine()
    assert stage.chain.tx(txid(signed)).block
    assert stage.chain.tx(txid(child)).block


class Poor(KeyWallet):
    """A wallet that leaves the signature to a person."""

    def sign(self, tx, spent):
        return None


def test_without_a_signature_the_person_is_told(stage):
    made = stage.fund(contract_terms())
    (move, *_), (signed, *_) = made.graph.forward(Role.WRITER), made.claim(Role.WRITER, 3)
    with pytest.raises(ChainError, match="spend its anchor with your wallet"):
        bump(stage.chain, Poor(stage.wallets[Role.WRITER]), move, signed, RATE)


def test_a_wallet_of_one_coin_pays_more_and_more(stage):
    made, purse = stage.fund(contract_terms()), Wallet(stage.chain, SecretKey(b"\x5b" * 32))
    (move, *_), (signed, *_) = made.graph.forward(Role.HOLDER), made.claim(Role.HOLDER, 3)
    coin = txout(1_000_000, purse.script())
    stage.chain.broadcast(stage.wallets[Role.HOLDER].pay([coin], bytes(32)))
    stage.chain.mine()
    children = [bump(stage.chain, KeyWallet(purse), move, signed, n * RATE) for n in (1, 2, 4)]
    assert bump(stage.chain, KeyWallet(purse), move, signed, 4 * RATE) == children[-1]
    assert {txid(tx) for tx in stage.chain.mempool()} == {txid(signed), txid(children[-1])}
    assert len({child.vin for child in children}) == 1
    stage.chain.mine()
    assert stage.chain.tx(txid(children[-1])).block
    assert purse.balance_sats() == int(children[-1].vout[0].nValue)


def test_a_coin_that_another_wallet_put_in_is_not_taken(stage):
    made, strange = stage.fund(contract_terms()), KeyWallet(stage.wallets[Role.HOLDER])
    (move, *_), (signed, *_) = made.graph.forward(Role.WRITER), made.claim(Role.WRITER, 3)
    theirs = bump(stage.chain, strange, move, signed, RATE)
    own = bump(stage.chain, KeyWallet(stage.wallets[Role.WRITER]), move, signed, 2 * RATE)
    assert not {i.prevout for i in theirs.vin[1:]} & {i.prevout for i in own.vin[1:]}
    assert txid(theirs) not in {txid(tx) for tx in stage.chain.mempool()}
    stage.chain.mine()
