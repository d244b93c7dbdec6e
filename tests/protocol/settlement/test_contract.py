"""Every path of the contract in real blocks, and every theft refused by a verifier or a block."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from bitcoin.core import COutPoint, CTransaction
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.script import operations
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import NUMS_KEY, key_path_script
from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    vsize,
    weight,
    with_witness,
    witness_stack,
)
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConsensusError, PolicyError, SignatureError, TermsError
from protocol.settlement.contract import Contract, ContractKeys, ContractTerms, Role, SpendPath
from protocol.settlement.funding import (
    Contribution,
    change_sats,
    contract_outpoint,
    fund_needs,
    fund_spent,
    fund_tx,
    verify_fund,
)
from protocol.settlement.spending import (
    assemble,
    close_tx,
    refund_tx,
    sign_close,
    sign_refund,
    verify_close,
    verify_refund,
    verify_signature,
)
from regtest.kernel import KernelChain
from regtest.wallet import Wallet

AUX = bytes(32)
HOLDER = SecretKey(b"\x11" * 32)
WRITER = SecretKey(b"\x22" * 32)
STRANGER = SecretKey(b"\x33" * 32)
ANCHOR = tagged_hash("btcfi/test/anchor", b"")


@dataclass
class Stage:
    chain: KernelChain
    holder: Wallet
    writer: Wallet


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    datadir = tmp_path_factory.mktemp("node")
    with KernelChain(datadir) as chain:
        holder = Wallet(chain, SecretKey(b"\x44" * 32))
        writer = Wallet(chain, SecretKey(b"\x55" * 32))
        for wallet in (holder, writer):
            chain.mine(30, to=wallet.script())
        chain.mine(100)
        yield Stage(chain, holder, writer)
    shutil.rmtree(datadir)


def contract_of(refund_height: int = 1_000, **terms: object) -> Contract:
    base = ContractTerms(
        collateral_sats=1_000_000,
        premium_sats=50_000,
        refund_height=refund_height,
        holder_script=key_path_script(HOLDER.public),
        writer_script=key_path_script(WRITER.public),
    )
    return Contract(ContractKeys(HOLDER.public, WRITER.public), replace(base, **terms))  # type: ignore[arg-type]


def contributions(stage: Stage, contract: Contract) -> tuple[Contribution, Contribution]:
    holder, writer = (
        Contribution(
            wallet.gather(lambda n, role=role: fund_needs(contract, role, n)), wallet.script(1)
        )
        for role, wallet in ((Role.HOLDER, stage.holder), (Role.WRITER, stage.writer))
    )
    return holder, writer


def fund(stage: Stage, contract: Contract) -> tuple[COutPoint, CTransaction]:
    holder, writer = contributions(stage, contract)
    tx = fund_tx(contract, holder, writer)
    point = verify_fund(contract, tx, holder, writer)
    spent = fund_spent(holder, writer)
    signed = stage.writer.sign(stage.holder.sign(tx, spent, AUX), spent, AUX)
    assert txid(signed) == point.hash
    stage.chain.broadcast(signed)
    stage.chain.mine()
    return point, signed


def closed(
    contract: Contract, point: COutPoint, payout: int, anchor: bytes | None = None
) -> CTransaction:
    tx = close_tx(contract, point, payout, anchor)
    holder = sign_close(contract, tx, point, payout, HOLDER, AUX, anchor)
    writer = sign_close(contract, tx, point, payout, WRITER, AUX, anchor)
    return assemble(contract, SpendPath.CLOSE, tx, holder, writer)


def refunded(contract: Contract, point: COutPoint) -> CTransaction:
    tx = refund_tx(contract, point)
    holder = sign_refund(contract, tx, point, HOLDER, AUX)
    writer = sign_refund(contract, tx, point, WRITER, AUX)
    return assemble(contract, SpendPath.REFUND, tx, holder, writer)


def refund_signatures(tx: CTransaction) -> tuple[bytes, bytes]:
    writer, holder, _, _ = witness_stack(tx, 0)
    return holder, writer


def paid(tx: CTransaction, script: bytes) -> int:
    return sum(int(out.nValue) for out in tx.vout if bytes(out.scriptPubKey) == script)


def test_fund_and_close_in_two_blocks(stage: Stage) -> None:
    contract = contract_of()
    before = stage.chain.height
    point, signed = fund(stage, contract)
    terms = contract.terms
    assert paid(signed, contract.script_pubkey) == contract.value_sats
    assert paid(signed, terms.writer_script) == terms.premium_sats
    close = closed(contract, point, 123_456, ANCHOR)
    assert stage.chain.check(close).accepted
    stage.chain.broadcast(close)
    stage.chain.mine()
    assert stage.chain.height == before + 2
    place = stage.chain.tx(txid(close))
    assert place is not None and place.block == stage.chain.tip
    assert paid(close, terms.holder_script) == 123_456
    assert paid(close, terms.writer_script) == terms.collateral_sats - 123_456
    assert [data for _, data in operations(bytes(close.vout[2].scriptPubKey))][1] == ANCHOR
    fee = contract.value_sats - sum(int(out.nValue) for out in close.vout)
    assert fee == contract.spend_fee_sats
    assert terms.feerate_sat_vb * vsize(close) <= fee <= terms.feerate_sat_vb * (vsize(close) + 5)


@pytest.mark.parametrize("payout", [0, 1, 329, 330, 999_670, 999_671, 1_000_000])
def test_dust_shares_go_to_the_other_side(stage: Stage, payout: int) -> None:
    contract = contract_of()
    point, _ = fund(stage, contract)
    close = closed(contract, point, payout)
    stage.chain.broadcast(close)
    stage.chain.mine()
    shares = paid(close, contract.terms.holder_script), paid(close, contract.terms.writer_script)
    assert shares == contract.payouts(payout)
    assert sum(shares) == contract.terms.collateral_sats
    assert all(share == 0 or share >= 330 for share in shares)
    assert abs(shares[0] - payout) < 330


def test_refund_only_above_its_height(stage: Stage) -> None:
    contract = contract_of(refund_height=stage.chain.height + 4)
    point, _ = fund(stage, contract)
    refund = refunded(contract, point)
    while stage.chain.height < contract.terms.refund_height:
        with pytest.raises(ConsensusError, match="bad-txns-nonfinal"):
            stage.chain.broadcast(refund)
        with pytest.raises(ConsensusError, match="bad-txns-nonfinal"):
            stage.chain.mine(txs=[refund])
        stage.chain.mine()
    leaf = contract.leaf(SpendPath.REFUND)
    (holder, writer), control = refund_signatures(refund), contract.output.control_block(leaf)
    for alone in (holder, writer):
        stolen = with_witness(refund, [[alone, alone, leaf.script, control]])
        with pytest.raises(ConsensusError, match="Invalid Schnorr signature"):
            stage.chain.mine(txs=[stolen])
    stage.chain.broadcast(refund)
    stage.chain.mine()
    assert paid(refund, contract.terms.writer_script) == contract.terms.collateral_sats
    spender = stage.chain.spender(point)
    assert spender is not None and spender.txid == txid(refund)


def test_the_refund_leaf_enforces_the_height_itself(stage: Stage) -> None:
    """Both sign a refund without lock time: Script, not only nLockTime, refuses it."""
    contract = contract_of(refund_height=stage.chain.height + 50)
    point, _ = fund(stage, contract)
    early = transaction(
        [txin(point)], [txout(contract.terms.collateral_sats, contract.terms.writer_script)]
    )
    leaf = contract.leaf(SpendPath.REFUND)
    spent = (txout(contract.value_sats, contract.script_pubkey),)
    signatures = [
        sign_input(early, 0, spent, key, AUX, leaf=LeafSpend(leaf.hash)) for key in (WRITER, HOLDER)
    ]
    stack = [*signatures, leaf.script, contract.output.control_block(leaf)]
    with pytest.raises(ConsensusError, match="Locktime requirement not satisfied"):
        stage.chain.mine(txs=[with_witness(early, [stack])])


def thefts(contract: Contract, point: COutPoint) -> dict[str, tuple[CTransaction, str]]:
    """Spends that must fail in a block, with the text of the node's reason."""
    tx = close_tx(contract, point, 400_000)
    leaf = contract.leaf(SpendPath.CLOSE)
    control = contract.output.control_block(leaf)
    spent = (txout(contract.value_sats, contract.script_pubkey),)
    holder = sign_close(contract, tx, point, 400_000, HOLDER, AUX)
    writer = sign_close(contract, tx, point, 400_000, WRITER, AUX)
    stranger = sign_input(tx, 0, spent, STRANGER, AUX, leaf=LeafSpend(leaf.hash))
    swapped = close_tx(contract, point, 600_000)
    other_leaf = contract.leaf(SpendPath.REFUND)
    other_control = contract.output.control_block(other_leaf)
    by_nums = sign_input(tx, 0, spent, STRANGER, AUX)

    def with_stack(body: CTransaction, *stack: bytes) -> CTransaction:
        return with_witness(body, [stack])

    schnorr = "Invalid Schnorr signature"
    return {
        "a flipped bit": (
            with_stack(tx, writer, bytes([holder[0] ^ 1]) + holder[1:], leaf.script, control),
            schnorr,
        ),
        "signatures in each other's place": (
            with_stack(tx, holder, writer, leaf.script, control),
            schnorr,
        ),
        "the holder alone": (with_stack(tx, holder, holder, leaf.script, control), schnorr),
        "the writer alone": (with_stack(tx, writer, writer, leaf.script, control), schnorr),
        "an empty writer signature": (
            with_stack(tx, b"", holder, leaf.script, control),
            "finished with a false/empty top stack element",
        ),
        "an empty holder signature": (
            with_stack(tx, writer, b"", leaf.script, control),
            "OP_CHECKSIGVERIFY operation",
        ),
        "one signature missing": (
            with_stack(tx, holder, leaf.script, control),
            "Operation not valid with the current stack size",
        ),
        "a stranger for the writer": (
            with_stack(tx, stranger, holder, leaf.script, control),
            schnorr,
        ),
        "other outputs than signed": (
            with_stack(swapped, writer, holder, leaf.script, control),
            schnorr,
        ),
        "signatures of CLOSE in the refund leaf": (
            with_stack(tx, writer, holder, other_leaf.script, other_control),
            "Locktime requirement not satisfied",
        ),
        "a script of one's own": (
            with_stack(tx, b"\x51", control),
            "Witness program hash mismatch",
        ),
        "another leaf's control block": (
            with_stack(tx, writer, holder, leaf.script, other_control),
            "Witness program hash mismatch",
        ),
        "the key path": (with_stack(tx, by_nums), schnorr),
        "a byte too many on the stack": (
            with_stack(tx, b"", writer, holder, leaf.script, control),
            "Stack size must be exactly one after execution",
        ),
    }


def test_no_theft_passes_a_block(stage: Stage) -> None:
    contract = contract_of()
    point, _ = fund(stage, contract)
    tip = stage.chain.tip
    for name, (tx, reason) in thefts(contract, point).items():
        with pytest.raises(ConsensusError) as caught:
            stage.chain.mine(txs=[tx])
        assert reason in str(caught.value), name
        with pytest.raises(ConsensusError) as caught:
            stage.chain.broadcast(tx)
        assert reason in str(caught.value), name
        assert not stage.chain.check(tx).consensus, name
        assert stage.chain.tip == tip
    honest = closed(contract, point, 400_000)
    stage.chain.mine(txs=[honest])
    assert stage.chain.tip != tip


def test_a_contract_is_spent_once(stage: Stage) -> None:
    contract = contract_of(refund_height=stage.chain.height)
    point, _ = fund(stage, contract)
    close, other, refund = (
        closed(contract, point, 1_000),
        closed(contract, point, 999_000),
        refunded(contract, point),
    )
    stage.chain.broadcast(close)
    for rival in (other, refund):
        with pytest.raises(PolicyError, match="insufficient fee"):
            stage.chain.broadcast(rival)
        with pytest.raises(ConsensusError, match="bad-txns-inputs-missingorspent"):
            stage.chain.mine(txs=[close, rival])
    stage.chain.mine()
    for rival in (other, refund):
        with pytest.raises(ConsensusError, match="bad-txns-inputs-missingorspent"):
            stage.chain.broadcast(rival)
        with pytest.raises(ConsensusError, match="bad-txns-inputs-missingorspent"):
            stage.chain.mine(txs=[rival])


def test_a_close_of_one_contract_does_not_fit_its_twin(stage: Stage) -> None:
    """Same keys, same terms: the outpoint is signed."""
    contract = contract_of()
    (first, _), (second, _) = fund(stage, contract), fund(stage, contract)
    close = closed(contract, first, 5_000)
    moved = with_witness(
        close_tx(contract, second, 5_000), [close.wit.vtxinwit[0].scriptWitness.stack]
    )
    with pytest.raises(ConsensusError, match="Invalid Schnorr signature"):
        stage.chain.mine(txs=[moved])


# What each side verifies before it signs


def offered(contract: Contract) -> tuple[Contribution, Contribution]:
    script = key_path_script(STRANGER.public)
    holder = Contribution((Coin(outpoint(b"\x01" * 32, 0), txout(400_000, script)),), script)
    writer = Contribution(
        tuple(Coin(outpoint(b"\x02" * 32, n), txout(700_000, script)) for n in range(2)), script
    )
    return holder, writer


def changed(tx: CTransaction, **fields: object) -> CTransaction:
    parts = {
        "vin": tx.vin,
        "vout": tx.vout,
        "nLockTime": tx.nLockTime,
        "nVersion": tx.nVersion,
    } | fields
    return CTransaction(**parts)


def swaps(tx: CTransaction) -> list[CTransaction]:
    """``tx`` with one thing changed, for everything that a signer must look at."""
    first = tx.vout[0]
    mine = key_path_script(STRANGER.public)
    return [
        changed(tx, nVersion=3),
        changed(tx, nLockTime=tx.nLockTime + 1),
        changed(tx, vin=[txin(tx.vin[0].prevout, 0), *tx.vin[1:]]),
        changed(tx, vin=[txin(outpoint(b"\x09" * 32, 0)), *tx.vin[1:]]),
        changed(tx, vin=[*tx.vin, txin(outpoint(b"\x09" * 32, 0))]),
        changed(tx, vout=[txout(first.nValue - 1, first.scriptPubKey), *tx.vout[1:]]),
        changed(tx, vout=[txout(first.nValue, mine), *tx.vout[1:]]),
        changed(tx, vout=[*tx.vout, txout(330, mine)]),
        changed(tx, vout=list(tx.vout)[:-1] or [txout(330, mine)]),
        *([changed(tx, vout=list(tx.vout)[::-1])] if len(tx.vout) > 1 else []),
    ]


def test_a_party_signs_no_other_close_than_it_would_build() -> None:
    contract, point = contract_of(), outpoint(b"\x07" * 32, 0)
    tx = close_tx(contract, point, 250_000, ANCHOR)
    verify_close(contract, tx, point, 250_000, ANCHOR)
    for wrong in [
        *swaps(tx),
        close_tx(contract, point, 250_000),
        close_tx(contract, point, 250_001),
    ]:
        with pytest.raises(TermsError, match="do not sign this CLOSE"):
            verify_close(contract, wrong, point, 250_000, ANCHOR)
        with pytest.raises(TermsError, match="do not sign this CLOSE"):
            sign_close(contract, wrong, point, 250_000, HOLDER, AUX, ANCHOR)


def test_a_party_signs_no_other_refund_than_it_would_build() -> None:
    contract, point = contract_of(), outpoint(b"\x07" * 32, 0)
    tx = refund_tx(contract, point)
    verify_refund(contract, tx, point)
    for wrong in swaps(tx):
        with pytest.raises(TermsError, match="do not sign this REFUND"):
            sign_refund(contract, wrong, point, HOLDER, AUX)


def test_a_party_funds_nothing_else_than_it_would_build() -> None:
    contract = contract_of()
    holder, writer = offered(contract)
    tx = fund_tx(contract, holder, writer)
    assert verify_fund(contract, tx, holder, writer) == contract_outpoint(tx)
    for wrong in swaps(tx):
        with pytest.raises(TermsError, match="do not sign this FUND"):
            verify_fund(contract, wrong, holder, writer)


def test_the_reason_names_the_output() -> None:
    contract, point = contract_of(), outpoint(b"\x07" * 32, 0)
    tx = close_tx(contract, point, 250_000)
    wrong = changed(tx, vout=[tx.vout[0], txout(749_999, tx.vout[1].scriptPubKey)])
    with pytest.raises(TermsError, match=r"output 1 is 749999 sats .* the terms say 750000 sats"):
        verify_close(contract, wrong, point, 250_000)


def test_only_the_two_sides_sign() -> None:
    contract, point = contract_of(), outpoint(b"\x07" * 32, 0)
    tx = close_tx(contract, point, 1_000)
    with pytest.raises(SignatureError, match="neither"):
        sign_close(contract, tx, point, 1_000, STRANGER, AUX)
    holder = sign_close(contract, tx, point, 1_000, HOLDER, AUX)
    writer = sign_close(contract, tx, point, 1_000, WRITER, AUX)
    assert verify_signature(contract, SpendPath.CLOSE, tx, Role.HOLDER, holder)
    assert not verify_signature(contract, SpendPath.CLOSE, tx, Role.WRITER, holder)
    assert not verify_signature(contract, SpendPath.REFUND, tx, Role.HOLDER, holder)
    assert not verify_signature(contract, SpendPath.CLOSE, tx, Role.HOLDER, holder + b"\x01")
    with pytest.raises(SignatureError, match="writer's signature"):
        assemble(contract, SpendPath.CLOSE, tx, holder, holder)
    with pytest.raises(SignatureError, match="holder's signature"):
        assemble(contract, SpendPath.CLOSE, tx, b"", writer)


# Terms and arithmetic


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("collateral_sats", 329, "collateral_sats must be at least 330"),
        ("collateral_sats", 21 * 10**14, "collateral_sats"),
        ("premium_sats", 329, "premium_sats must be 0 or at least 330"),
        ("premium_sats", -1, "premium_sats"),
        ("refund_height", 0, "refund_height"),
        ("refund_height", 500_000_000, "refund_height"),
        ("feerate_sat_vb", 0, "feerate_sat_vb"),
        ("feerate_sat_vb", 1_001, "feerate_sat_vb"),
        ("holder_script", b"\x6a", "holder's payout script"),
        ("writer_script", b"", "writer's payout script"),
    ],
)
def test_terms_that_cannot_be_honoured(field: str, value: object, text: str) -> None:
    with pytest.raises(TermsError, match=text):
        contract_of(**{field: value})


def test_keys_that_cannot_sign() -> None:
    with pytest.raises(TermsError, match="different keys"):
        ContractKeys(HOLDER.public, HOLDER.public)
    with pytest.raises(TermsError, match="writer's key"):
        ContractKeys(HOLDER.public, b"\xff" * 32)
    with pytest.raises(TermsError, match="holder's key"):
        ContractKeys(b"\x02" + HOLDER.public, WRITER.public)


def test_payouts_and_anchors_outside_the_terms() -> None:
    contract, point = contract_of(anchored=False), outpoint(b"\x07" * 32, 0)
    for payout in (-1, 1_000_001):
        with pytest.raises(TermsError, match="payout_sats"):
            close_tx(contract, point, payout)
    with pytest.raises(TermsError, match="no anchor"):
        close_tx(contract, point, 0, ANCHOR)
    with pytest.raises(TermsError, match="32 bytes"):
        close_tx(contract_of(), point, 0, ANCHOR[:31])


def test_funding_refusals() -> None:
    contract = contract_of()
    holder, writer = offered(contract)
    script = key_path_script(STRANGER.public)
    with pytest.raises(TermsError, match="offered twice"):
        fund_tx(contract, Contribution((*holder.coins, writer.coins[0]), script), writer)
    with pytest.raises(TermsError, match="writer's coins hold"):
        fund_tx(contract, holder, Contribution(writer.coins[:1], script))
    with pytest.raises(TermsError, match="1 to 100 coins"):
        Contribution((), script)
    legacy = Coin(outpoint(b"\x05" * 32, 0), txout(10**6, b"\x00\x14" + bytes(20)))
    with pytest.raises(TermsError, match="Taproot outputs only"):
        Contribution((legacy,), script)


def test_the_internal_key_is_nobodys() -> None:
    contract = contract_of()
    assert contract.output.internal_key == NUMS_KEY
    assert [leaf for leaf, _ in contract.output.paths] == [
        contract.leaf(path) for path in SpendPath
    ]


@settings(max_examples=40)
@given(
    collateral=st.integers(330, 10**10),
    premium=st.one_of(st.just(0), st.integers(330, 10**9)),
    rate=st.integers(1, 300),
    surplus=st.integers(0, 50_000),
    coins=st.integers(1, 4),
    share=st.floats(0, 1),
)
def test_every_satoshi_is_accounted_for(
    collateral: int, premium: int, rate: int, surplus: int, coins: int, share: float
) -> None:
    contract = contract_of(collateral_sats=collateral, premium_sats=premium, feerate_sat_vb=rate)
    script = key_path_script(STRANGER.public)
    parties = []
    for role in Role:
        total = fund_needs(contract, role, coins) + surplus
        amounts = [total - (coins - 1) * (total // coins)] + [total // coins] * (coins - 1)
        points = (outpoint(role.value.encode().ljust(32), n) for n in range(coins))
        parties.append(
            Contribution(
                tuple(Coin(p, txout(a, script)) for p, a in zip(points, amounts, strict=True)),
                script,
            )
        )
    holder, writer = parties
    tx = fund_tx(contract, holder, writer)
    signed = with_witness(tx, [[bytes(64)]] * len(tx.vin))
    fee = holder.sats + writer.sats - sum(int(out.nValue) for out in tx.vout)
    assert 4 * fee >= rate * weight(signed)
    for role, party in ((Role.HOLDER, holder), (Role.WRITER, writer)):
        change = change_sats(contract, role, party)
        assert change == 0 or change >= dust_limit_sats(script)
        assert change <= surplus
    payout = int(share * collateral)
    close = close_tx(contract, contract_outpoint(tx), payout, ANCHOR)
    assert contract.value_sats - sum(int(o.nValue) for o in close.vout) == contract.spend_fee_sats
    witness = [bytes(64)] * 2 + [contract.leaf(SpendPath.REFUND).script, bytes(65)]
    assert 4 * contract.spend_fee_sats >= rate * weight(with_witness(close, [witness]))
