"""FUND: the coins of both parties into the contract output.

Inputs: the holder's coins, then the writer's, all Taproot key path. Outputs: 0 the contract,
then the premium to the writer (if any), the holder's change, the writer's change (where they
exceed dust; less is left to the fee).

Who pays what: the writer brings the collateral, the holder the premium. Each pays the weight of
its own inputs and change; the common weight of FUND and the fee reserved for CLOSE or REFUND are
halved, an odd satoshi falling to the writer.
"""

from dataclasses import dataclass

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.address import witness_program
from protocol.bitcoin.fees import (
    KEY_PATH_INPUT_WEIGHT,
    OVERHEAD_WEIGHT,
    dust_limit_sats,
    fee_sats,
    output_weight,
)
from protocol.bitcoin.tx import Coin, outpoint, outpoint_key, transaction, txid, txin, txout
from protocol.errors import TermsError
from protocol.settlement.compare import require_same
from protocol.settlement.contract import Contract, Role

MAX_COINS = 100
"""Inputs of one party, so that FUND stays small and its counts stay one byte."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one party puts in. TermsError if its coins cannot be signed by Taproot key path."""

    coins: tuple[Coin, ...]
    change_script: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.coins) <= MAX_COINS:
            raise TermsError(f"a party funds with 1 to {MAX_COINS} coins, not {len(self.coins)}")
        for coin in self.coins:
            program = witness_program(bytes(coin.output.scriptPubKey))
            if program is None or program[0] != 1 or len(program[1]) != 32:
                raise TermsError("a contract is funded from Taproot outputs only")

    @property
    def sats(self) -> int:
        return sum(coin.sats for coin in self.coins)


def fund_needs(contract: Contract, role: Role, coins: int) -> int:
    """The sats that ``role`` must bring in ``coins`` coins, without asking for change."""
    terms = contract.terms
    common = fee_sats(_common_weight(contract), terms.feerate_sat_vb) + contract.spend_fee_sats
    half = common // 2 if role is Role.HOLDER else common - common // 2
    stake = terms.premium_sats if role is Role.HOLDER else terms.collateral_sats
    return stake + half + fee_sats(coins * KEY_PATH_INPUT_WEIGHT, terms.feerate_sat_vb)


def change_sats(contract: Contract, role: Role, contribution: Contribution) -> int:
    """What comes back to ``role``; 0 where it would be dust. TermsError if it brings too little."""
    needed = fund_needs(contract, role, len(contribution.coins))
    if contribution.sats < needed:
        raise TermsError(
            f"the {role.value}'s coins hold {contribution.sats} sats, FUND takes {needed} of them"
        )
    own = len(contribution.coins) * KEY_PATH_INPUT_WEIGHT
    rate = contract.terms.feerate_sat_vb
    extra = fee_sats(own + output_weight(contribution.change_script), rate) - fee_sats(own, rate)
    change = contribution.sats - needed - extra
    return change if change >= dust_limit_sats(contribution.change_script) else 0


def fund_tx(contract: Contract, holder: Contribution, writer: Contribution) -> CTransaction:
    """FUND without witnesses; its txid is final. TermsError if it cannot be paid for."""
    coins = holder.coins + writer.coins
    if len({outpoint_key(coin.outpoint) for coin in coins}) != len(coins):
        raise TermsError("a coin is offered twice in FUND")
    outputs = [txout(contract.value_sats, contract.script_pubkey)]
    if contract.terms.premium_sats:
        outputs.append(txout(contract.terms.premium_sats, contract.terms.writer_script))
    for role, party in ((Role.HOLDER, holder), (Role.WRITER, writer)):
        change = change_sats(contract, role, party)
        if change:
            outputs.append(txout(change, party.change_script))
    return transaction([txin(coin.outpoint) for coin in coins], outputs)


def fund_spent(holder: Contribution, writer: Contribution) -> tuple[CTxOut, ...]:
    """The outputs that FUND's inputs spend, in order: what its signatures commit to."""
    return tuple(coin.output for coin in holder.coins + writer.coins)


def verify_fund(
    contract: Contract, tx: CTransaction, holder: Contribution, writer: Contribution
) -> COutPoint:
    """The contract's outpoint, if ``tx`` is the FUND of these coins; TermsError otherwise.

    Look the other side's coins up on your own node first: a coin that does not exist makes a
    FUND that never confirms, which costs time but no money.
    """
    require_same("FUND", fund_tx(contract, holder, writer), tx)
    return contract_outpoint(tx)


def contract_outpoint(fund: CTransaction) -> COutPoint:
    """Where FUND puts the contract output."""
    return outpoint(txid(fund), 0)


def _common_weight(contract: Contract) -> int:
    weight = OVERHEAD_WEIGHT + output_weight(contract.script_pubkey)
    if contract.terms.premium_sats:
        weight += output_weight(contract.terms.writer_script)
    return weight
