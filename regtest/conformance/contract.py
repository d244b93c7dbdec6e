"""The contract of ``protocol.settlement`` on a chain: FUND, then CLOSE or REFUND, and thefts."""

from dataclasses import dataclass
from typing import Final

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import hash_hex, txid, vsize, with_witness, witness_stack
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.settlement.contract import Contract, ContractKeys, ContractTerms, Role, SpendPath
from protocol.settlement.funding import (
    Contribution,
    fund_needs,
    fund_spent,
    fund_tx,
    verify_fund,
)
from protocol.settlement.spending import assemble, close_tx, refund_tx, sign_close, sign_refund
from regtest.chain import COINBASE_MATURITY, Chain
from regtest.conformance.record import AUX, Record, expect
from regtest.wallet import Wallet

HOLDER: Final = SecretKey(b"\x48" * 32)
WRITER: Final = SecretKey(b"\x57" * 32)
COLLATERAL_SATS: Final = 10_000_000
PREMIUM_SATS: Final = 250_000
PAYOUT_SATS: Final = 3_333_333
ANCHOR: Final = tagged_hash("btcfi/conformance/anchor", b"")


@dataclass(frozen=True, slots=True)
class Parties:
    """Holder and writer, with mature coins."""

    holder: Wallet
    writer: Wallet

    def contract(self, refund_height: int) -> Contract:
        """Its payouts go to addresses that nothing else uses."""
        terms = ContractTerms(
            collateral_sats=COLLATERAL_SATS,
            premium_sats=PREMIUM_SATS,
            refund_height=refund_height,
            holder_script=self.holder.script(5),
            writer_script=self.writer.script(5),
        )
        return Contract(ContractKeys(HOLDER.public, WRITER.public), terms)


def parties(chain: Chain) -> Parties:
    holder, writer = Wallet(chain, HOLDER), Wallet(chain, WRITER)
    for wallet in (holder, writer):
        chain.mine(2, to=wallet.script())
    chain.mine(COINBASE_MATURITY)
    return Parties(holder, writer)


def fund(
    contract: Contract, holder: Contribution, writer: Contribution
) -> tuple[COutPoint, CTransaction]:
    """FUND of these coins, unsigned, and where it puts the contract."""
    tx = fund_tx(contract, holder, writer)
    return verify_fund(contract, tx, holder, writer), tx


def contribution(contract: Contract, role: Role, wallet: Wallet) -> Contribution:
    coins = wallet.gather(lambda count: fund_needs(contract, role, count))
    return Contribution(coins, wallet.script(1))


def signed_close(contract: Contract, point: COutPoint, payout_sats: int) -> CTransaction:
    tx = close_tx(contract, point, payout_sats, ANCHOR)
    signatures = [
        sign_close(contract, tx, point, payout_sats, key, AUX, ANCHOR) for key in (HOLDER, WRITER)
    ]
    return assemble(contract, SpendPath.CLOSE, tx, *signatures)


def signed_refund(contract: Contract, point: COutPoint) -> CTransaction:
    tx = refund_tx(contract, point)
    signatures = [sign_refund(contract, tx, point, key, AUX) for key in (HOLDER, WRITER)]
    return assemble(contract, SpendPath.REFUND, tx, *signatures)


def contract_paths(on: Record) -> None:
    """CLOSE of one contract and REFUND of another; each party receives what the terms say."""
    both = parties(on.chain)
    contract, point = _funded(on, both)
    close = signed_close(contract, point, PAYOUT_SATS)
    _thefts(on, close)
    on.broadcast(close)
    on.mine()
    _paid(on, both, PAYOUT_SATS, COLLATERAL_SATS - PAYOUT_SATS)
    on.invalid("CLOSE again", close_again(contract, point), "bad-txns-inputs-missingorspent")

    contract, point = _funded(on, both)
    refund = signed_refund(contract, point)
    while on.chain.height < contract.terms.refund_height:
        on.invalid("an early REFUND", refund, "bad-txns-nonfinal")
        on.mine()
    on.broadcast(refund)
    on.mine()
    _paid(on, both, PAYOUT_SATS, 2 * COLLATERAL_SATS - PAYOUT_SATS + PREMIUM_SATS)
    late = signed_close(contract, point, PAYOUT_SATS)
    on.invalid("CLOSE after REFUND", late, "bad-txns-inputs-missingorspent")


def close_again(contract: Contract, point: COutPoint) -> CTransaction:
    """Another payout of a contract that is closed."""
    return signed_close(contract, point, PAYOUT_SATS + 1)


def _funded(on: Record, both: Parties) -> tuple[Contract, COutPoint]:
    contract = both.contract(on.chain.height + 4)
    holder = contribution(contract, Role.HOLDER, both.holder)
    writer = contribution(contract, Role.WRITER, both.writer)
    point, tx = fund(contract, holder, writer)
    spent = fund_spent(holder, writer)
    tx = both.writer.sign(both.holder.sign(tx, spent, AUX), spent, AUX)
    on.broadcast(tx)
    on.mine()
    utxo = on.chain.utxo(point)
    expect(utxo is not None and utxo.sats == contract.value_sats, "FUND made the contract output")
    on.note(f"FUND of {vsize(tx)} vB made {hash_hex(txid(tx))}:0")
    return contract, point


def _thefts(on: Record, close: CTransaction) -> None:
    writer, holder, leaf, control = witness_stack(close, 0)
    for name, stack in {
        "one party's signature twice": (holder, holder, leaf, control),
        "signatures in the wrong order": (holder, writer, leaf, control),
        "a changed signature": (writer[:-1] + bytes([writer[-1] ^ 1]), holder, leaf, control),
    }.items():
        on.invalid(name, with_witness(close, [stack]), "Invalid Schnorr signature")
    forged = control[:-1] + bytes([control[-1] ^ 1])
    on.invalid(
        "another control block",
        with_witness(close, [(writer, holder, leaf, forged)]),
        "Witness program hash mismatch",
    )


def _paid(on: Record, both: Parties, holder_sats: int, writer_sats: int) -> None:
    """What the contracts so far have paid each, the premium included."""
    for name, wallet, due in (
        ("holder", both.holder, holder_sats),
        ("writer", both.writer, writer_sats),
    ):
        received = sum(utxo.sats for utxo in on.chain.unspent(wallet.script(5)))
        on.note(f"the {name} received {received}")
        expect(received >= due, f"the {name} received {due}, not {received}")
