"""Every path of a contract in real blocks: who may go it, when, and what each party receives."""

from collections.abc import Iterator

import pytest
from bitcoin.core.script import SIGHASH_ALL, SIGVERSION_WITNESS_V0, CScript, SignatureHash
from coincurve import PrivateKey

from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    txid,
    txout,
    vsize,
    with_witness,
    witness_stack,
)
from protocol.crypto.hashes import hash160
from protocol.errors import PolicyError
from protocol.settlement.closing import (
    assemble_close,
    close_nonce,
    close_session,
    close_tx,
    finish_close,
    sign_close,
)
from protocol.settlement.funding import Contribution, fund_spent, fund_tx, require_fund
from protocol.settlement.move import ANCHOR_SATS, MAX_VSIZE, TRUC
from protocol.settlement.payout import payout_of
from protocol.settlement.reading import Reader, name_of, read_messages
from protocol.settlement.spending import TRUC_CHILD_MAX_VSIZE, bump_tx, sweep_tx, timeout_tx
from protocol.settlement.terms import Role
from tests.builders.contracts import (
    AUX,
    BACKENDS,
    KEYS,
    NONFINAL,
    SPENT,
    Stage,
    claim_of_bits,
    contract_of,
    contract_terms,
    due,
    fee,
    opened_stage,
    received,
)

ANCHOR = b"\xac" * 32


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with opened_stage(request.param, tmp_path_factory.mktemp("node")) as opened:
        yield opened


def test_fund_from_a_wallet_of_another_kind(stage: Stage) -> None:
    """The holder's coin is P2WPKH, signed with ECDSA (BIP143)."""
    key = PrivateKey(b"\x21" * 32)
    point = key.public_key.format()
    script = b"\x00\x14" + hash160(point)
    paid = stage.wallets[Role.HOLDER].pay([txout(2_000_000, script)], AUX)
    stage.broadcast(paid)
    contract = contract_of(contract_terms())
    holder = Contribution((Coin(outpoint(txid(paid), 0), paid.vout[0]),), script)
    writer = stage.contribution(contract, Role.WRITER)
    fund = fund_tx(contract, holder, writer)
    spent = fund_spent(holder, writer)
    fund = stage.wallets[Role.WRITER].sign(fund, spent, AUX)
    code = CScript(b"\x76\xa9\x14" + hash160(point) + b"\x88\xac")
    digest = SignatureHash(code, fund, 0, SIGHASH_ALL, 2_000_000, SIGVERSION_WITNESS_V0)
    stacks = [[key.sign(digest, hasher=None) + b"\x01", point], witness_stack(fund, 1)]
    fund = with_witness(fund, stacks)
    stage.broadcast(fund)
    known = stage.chain.utxo(require_fund(contract, fund, holder, writer))
    assert known is not None and known.sats == contract.value_sats
    assert bytes(known.script) == contract.script_pubkey


@pytest.mark.parametrize("payout", [0, 77_777, 255_123])
def test_both_close_with_one_signature(stage: Stage, payout: int) -> None:
    made = stage.fund(contract_terms())
    contract, terms = made.graph.contract, made.terms
    close = close_tx(contract, made.graph.fund, payout, ANCHOR)
    keys = {role: KEYS[role].key for role in Role}
    nonces = {
        role: close_nonce(
            contract, close, keys[role], lambda n, role=role: role.value[:1].encode() * n
        )
        for role in Role
    }
    session = close_session(contract, close, {role: nonces[role].public for role in Role})
    partials = {role: session.sign(nonces[role], keys[role]) for role in Role}
    signed = finish_close(contract, close, session, partials)
    assert [len(item) for item in witness_stack(signed, 0)] == [64]
    assert name_of(made.graph, signed) == "CLOSE"
    before = stage.chain.height
    stage.broadcast(signed)
    assert stage.chain.height == before + 1
    spare = contract.reserve_sats - contract.close_fee_sats
    bond = terms.chain.bond_sats
    assert received(Role.HOLDER, terms, signed) == bond + payout + spare // 2
    writer = bond + 255_123 - payout + spare - spare // 2
    assert received(Role.WRITER, terms, signed) == writer
    assert vsize(signed) * terms.chain.feerate_sat_vb <= contract.close_fee_sats


def test_both_close_by_the_leaf(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    contract = made.graph.contract
    close = close_tx(contract, made.graph.fund, 100_000)
    signatures = {role: sign_close(contract, close, KEYS[role].key, AUX) for role in Role}
    signed = assemble_close(contract, close, signatures)
    assert name_of(made.graph, signed) == "CLOSE"
    stage.broadcast(signed)
    again = close_tx(contract, made.graph.fund, 100_001)
    signatures = {role: sign_close(contract, again, KEYS[role].key, AUX) for role in Role}
    twice = assemble_close(contract, again, signatures)
    stage.refused(twice, SPENT)


@pytest.mark.parametrize("units", [0, 1, 0b10110101, 255])
@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
def test_a_claim_that_nobody_challenges(stage: Stage, prover: Role, units: int) -> None:
    made = stage.fund(contract_terms())
    graph, terms, other = made.graph, made.terms, prover.other
    for tx in made.claim(prover, units):
        seen = Reader(graph).read(tx)
        assert seen is not None and name_of(graph, tx) == seen.move
        assert stage.chain.check(tx).relayed is not False
        stage.broadcast(tx)
    shown = read_messages(graph.moves[f"{prover.value}:KICKOFF"], tx)
    payout = next(message for label, message in shown.items() if label.field == "payout")
    assert payout == made.payout(prover, units)
    settle = made.settle(prover)
    assert stage.when_ripe(settle) == terms.chain.challenge_window - 1
    sweeps = payout_of(graph, graph.settle(prover), units).sweeps
    theirs, own = sweeps[other], sweeps[prover]
    txs = [settle]
    if theirs:
        swept = sweep_tx(
            graph, graph.settle(prover), other, theirs, KEYS[other], AUX, payout=payout
        )
        assert stage.when_ripe(swept) == 0
        txs.append(swept)
    if own:
        swept = sweep_tx(graph, graph.settle(prover), prover, own, KEYS[prover], AUX)
        assert stage.when_ripe(swept) == terms.chain.sweep_delay - 1 - bool(theirs)
        assert name_of(graph, swept) == f"{prover.value}:SWEEP_{prover.name}"
        txs.append(swept)
    for role in Role:
        own_fees = sum(fee(tx, settle) for tx in txs[1:] if received(role, terms, tx))
        assert received(role, terms, *txs) + own_fees == due(made.graph, prover, units)[role]


def test_refund_at_its_height_and_no_claim_behind_it(stage: Stage) -> None:
    made = stage.fund(contract_terms(refund_height=stage.chain.height + 4))
    refund, terms = made.signed("REFUND"), made.terms
    stage.when_ripe(refund)
    assert stage.chain.height == terms.chain.refund_height + 1
    contract = made.graph.contract
    spare = contract.reserve_sats - made.graph.moves["REFUND"].fee_sats - ANCHOR_SATS
    bond = terms.chain.bond_sats
    assert received(Role.HOLDER, terms, refund) == bond + spare // 2
    assert received(Role.WRITER, terms, refund) == bond + 255_123 + spare - spare // 2
    for role in Role:
        stage.refused(made.claim(role, 9)[0], SPENT)


@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
def test_a_european_claim_waits_for_the_expiry(stage: Stage, prover: Role) -> None:
    made = stage.fund(contract_terms(expiry_height=stage.chain.height + 4))
    stage.when_ripe(made.claim(prover, 9)[0])
    assert stage.chain.height == made.terms.chain.expiry_height + 1


def test_only_the_holder_of_an_american_contract_claims_early(stage: Stage) -> None:
    terms = contract_terms(
        claim_of_bits(is_american=True), expiry_height=stage.chain.height + 10_000
    )
    made = stage.fund(terms)
    stage.refused(made.claim(Role.WRITER, 9)[0], NONFINAL)
    settle = stage.settled(made, Role.HOLDER, 9)
    assert name_of(made.graph, settle) == "holder:SETTLE"


@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
def test_who_falls_silent_between_two_moves_loses_everything(stage: Stage, prover: Role) -> None:
    made = stage.fund(contract_terms())
    first, second = made.claim(prover, 9)
    move = made.graph.moves[f"{prover.value}:INPUT_1"]
    stage.broadcast(first)
    timeout = timeout_tx(made.graph, move, KEYS[prover.other], AUX)
    assert stage.when_ripe(timeout) == made.terms.chain.move_window - 1
    assert name_of(made.graph, timeout) == f"{prover.value}:TIMEOUT"
    took = received(prover.other, made.terms, timeout)
    assert took == int(move.tx.vout[0].nValue) - fee(timeout, first)
    stage.refused(second, SPENT)


def test_a_kickoff_that_is_too_cheap_is_bumped(stage: Stage) -> None:
    made = stage.fund(contract_terms(feerate_sat_vb=1))
    first, kickoff = made.claim(Role.HOLDER, 9)
    stage.broadcast(first)
    move = made.graph.moves["holder:KICKOFF"]
    wallet = stage.wallets[Role.HOLDER]
    coins = [utxo.coin for utxo in wallet.utxos()[:1]]
    bump = bump_tx(move, kickoff, coins, wallet.script(2), 20)
    child = wallet.sign(bump.tx, bump.spent, AUX)
    assert child.nVersion == TRUC and vsize(child) <= TRUC_CHILD_MAX_VSIZE
    paid = sum(int(out.nValue) for out in bump.spent) - int(child.vout[0].nValue) + move.fee_sats
    assert paid >= 20 * (vsize(kickoff) + vsize(child))
    assert paid - 20 * (vsize(kickoff) + vsize(child)) < 60, "the reserve for digits is small"
    if stage.chain.caps.package:
        stage.chain.broadcast_package([kickoff, child])
    else:
        stage.chain.broadcast(kickoff)
        stage.chain.broadcast(child)
    again = bump_tx(move, kickoff, [wallet.utxos()[0].coin], wallet.script(2), 1)
    with pytest.raises(PolicyError):
        stage.chain.broadcast(wallet.sign(again.tx, again.spent, AUX))
    stage.chain.mine()
    for tx in (kickoff, child):
        known = stage.chain.tx(txid(tx))
        assert known is not None and known.block is not None


def test_the_anchor_is_the_only_way_to_spend_what_waits(stage: Stage) -> None:
    """So nobody pins a move down with a child of its own."""
    made = stage.fund(contract_terms())
    first, kickoff = made.claim(Role.WRITER, 9)
    stage.chain.broadcast(first)
    stage.refused(kickoff, NONFINAL)
    timeout = timeout_tx(made.graph, made.graph.moves["writer:INPUT_1"], KEYS[Role.HOLDER], AUX)
    stage.refused(timeout, NONFINAL)
    stage.chain.mine()
    stage.broadcast(kickoff)
    for name, move in made.graph.moves.items():
        assert move.tx.nVersion == TRUC and move.widest_vsize <= MAX_VSIZE
        *outputs, anchor = move.tx.vout
        assert bytes(anchor.scriptPubKey).hex() == "51024e73" and anchor.nValue == ANCHOR_SATS
        for lock, _ in zip(move.locks, outputs, strict=False):
            assert all(path.blocks >= 1 for path in lock.paths), name
