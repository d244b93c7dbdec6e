"""FUND: who pays what, coins of every wallet, and what a party refuses to sign."""

from functools import cache

import pytest
from bitcoin.core import CTransaction
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.fees import KEY_PATH_INPUT_WEIGHT, fee_sats
from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import outpoint, txin, txout, vsize, with_witness
from protocol.errors import TermsError
from protocol.settlement.contract import Contract
from protocol.settlement.funding import (
    Contribution,
    change_sats,
    contract_outpoint,
    fund_needs,
    fund_spent,
    fund_tx,
    input_weight,
    require_fund,
)
from protocol.settlement.terms import Role
from tests.builders.contracts import STRANGER, coin, contract_of, contract_terms

P2TR = key_path_script(STRANGER.key.public)
P2WPKH = b"\x00\x14" + b"\x12" * 20
CONTRACT = contract_of(contract_terms())


def offered() -> tuple[Contribution, Contribution]:
    holder = Contribution((coin(4_000_000, P2TR, 1),), P2TR)
    return holder, Contribution((coin(3_000_000, P2WPKH, 2), coin(3_000_000, P2TR, 3)), P2WPKH)


def widest(tx: CTransaction, *parties: Contribution) -> CTransaction:
    """``tx`` with the longest signatures that its inputs can have."""
    stacks = []
    for spent in fund_spent(*parties):
        is_key_hash = bytes(spent.scriptPubKey)[:1] == b"\0"
        stacks.append([bytes(72), bytes(33)] if is_key_hash else [bytes(65)])
    return with_witness(tx, stacks)


@cache
def priced_contract(rate: int, premium: int) -> Contract:
    return contract_of(
        contract_terms(feerate_sat_vb=rate, max_feerate_sat_vb=3, premium_sats=premium)
    )


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.sampled_from([0, 4_000]),
    st.integers(0, 30_000),
    st.lists(st.sampled_from([P2TR, P2WPKH]), min_size=1, max_size=4),
    st.sampled_from([P2TR, P2WPKH]),
)
def test_each_pays_its_part(
    rate: int, premium: int, surplus: int, kinds: list[bytes], change_script: bytes
) -> None:
    contract = priced_contract(rate, premium)
    own = sum(input_weight(coin(1, kind)) for kind in kinds)
    parties = []
    for number, role in enumerate(Role):
        needed = fund_needs(contract, role, 1, own) + surplus
        sats = [needed - (len(kinds) - 1) * 1_000, *[1_000] * (len(kinds) - 1)]
        coins = [
            coin(s, k, 10 * number + n) for n, (s, k) in enumerate(zip(sats, kinds, strict=True))
        ]
        parties.append(Contribution(tuple(coins), change_script))
    holder, writer = parties
    tx = fund_tx(contract, holder, writer)
    assert tx.vout[0].nValue == contract.value_sats
    changes = [
        change_sats(contract, role, party) for role, party in zip(Role, parties, strict=True)
    ]
    paid = [int(out.nValue) for out in tx.vout[1:]]
    assert paid == [sats for sats in (premium, *changes) if sats]
    fee = holder.sats + writer.sats - sum(int(out.nValue) for out in tx.vout)
    signed = widest(tx, holder, writer)
    dust = sum(surplus for change in changes if not change)
    assert 0 <= fee - dust - rate * vsize(signed) <= rate + 3
    for change in changes:
        if change:
            assert surplus - change == fee_sats(own + 4 * (9 + len(change_script)), rate) - (
                fee_sats(own, rate)
            )
    holder_part = holder.sats - changes[0] - premium
    writer_part = writer.sats - changes[1] - contract.terms.claim.collateral_sats
    assert 0 <= writer_part - holder_part <= 2, "an odd satoshi of reserve and of fee"


def test_a_satoshi_too_few() -> None:
    for role in Role:
        needed = fund_needs(CONTRACT, role, 1)
        change_sats(CONTRACT, role, Contribution((coin(needed, P2TR),), P2TR))
        with pytest.raises(TermsError, match=f"the {role.value}'s coins hold {needed - 1} sats"):
            change_sats(CONTRACT, role, Contribution((coin(needed - 1, P2TR),), P2TR))


def test_what_an_input_weighs() -> None:
    assert input_weight(coin(1, P2TR)) == KEY_PATH_INPUT_WEIGHT + 1 == 231
    assert input_weight(coin(1, P2WPKH)) == 164 + 1 + 73 + 34


def test_the_stakes() -> None:
    terms = CONTRACT.terms
    bare = [fund_needs(CONTRACT, role, 0) for role in Role]
    assert bare[0] - CONTRACT.stake_sats(Role.HOLDER) - terms.chain.premium_sats in range(500)
    assert bare[1] - CONTRACT.stake_sats(Role.WRITER) in range(500)
    assert sum(CONTRACT.stake_sats(role) for role in Role) == CONTRACT.value_sats


def test_a_party_funds_nothing_else_than_it_would_build() -> None:
    holder, writer = offered()
    tx = fund_tx(CONTRACT, holder, writer)
    assert require_fund(CONTRACT, tx, holder, writer) == contract_outpoint(tx)
    contract, premium, *changes = tx.vout
    mine = txout(int(contract.nValue), P2TR)
    final = [txin(tx.vin[0].prevout, 0), *tx.vin[1:]]
    point = outpoint(b"\x09" * 32, 0)
    for field, wrong in {
        "version": CTransaction(tx.vin, tx.vout, 0, 3),
        "lock time": CTransaction(tx.vin, tx.vout, 1, 2),
        "input 0": CTransaction([txin(point), *tx.vin[1:]], tx.vout, 0, 2),
        "sequence of input 0": CTransaction(final, tx.vout, 0, 2),
        "number of inputs": CTransaction([*tx.vin, txin(point)], tx.vout, 0, 2),
        "output 0": CTransaction(tx.vin, [mine, premium, *changes], 0, 2),
        "output 1": CTransaction(tx.vin, [contract, *changes[::-1], premium], 0, 2),
        "number of outputs": CTransaction(tx.vin, [contract, premium], 0, 2),
    }.items():
        with pytest.raises(TermsError, match=f"do not sign this FUND: the {field}|: {field} is"):
            require_fund(CONTRACT, wrong, holder, writer)


def test_coins_that_cannot_fund() -> None:
    holder, writer = offered()
    with pytest.raises(TermsError, match="offered twice"):
        fund_tx(CONTRACT, Contribution((*holder.coins, writer.coins[0]), P2TR), writer)
    for count in (0, 101):
        with pytest.raises(TermsError, match=f"1 to 100 coins, not {count}"):
            Contribution(tuple(coin(1_000, P2TR, n) for n in range(count)), P2TR)
    for script in (
        b"\x00\x20" + bytes(32),
        b"\xa9\x14" + bytes(20) + b"\x87",
        b"\x52\x20" + bytes(32),
    ):
        with pytest.raises(TermsError, match="P2WPKH and Taproot"):
            Contribution((coin(10**6, script),), P2TR)
    anchor, two_of_three = b"\x51\x02\x4e\x73", b"\x52" + b"\x21" * 102 + b"\x53\xae"
    for script in (
        b"",
        b"\x6a",
        anchor,
        b"\x52\x20" + bytes(32),
        b"\x51\x14" + bytes(20),
        two_of_three,
    ):
        with pytest.raises(TermsError, match=r"change_script .*: give a P2PKH"):
            Contribution((coin(10**6, P2TR),), script)
