"""A child that pays for a move of the contract, from a party's wallet, in real blocks."""

import pytest

from actors.party_bump import bump
from actors.party_wallet import KeyWallet
from protocol.bitcoin.tx import txid, vsize
from protocol.errors import ChainError
from protocol.settlement.terms import Role
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
