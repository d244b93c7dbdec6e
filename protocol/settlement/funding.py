"""FUND: the coins of both parties into the contract output.

Inputs: the holder's coins, then the writer's. Outputs: 0 the contract, then the premium to the
writer (if any), the holder's change, the writer's change (where they exceed dust; less is left to
the fee).

Who pays what: the writer brings the collateral, the holder the premium, each a bond and half of the
reserve. Each pays the weight of its own inputs and change; the common weight of FUND is halved, an
odd satoshi falling to the writer.
"""

from dataclasses import dataclass
from typing import Final

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.address import has_owner, witness_program
from protocol.bitcoin.fees import (
    KEY_PATH_INPUT_WEIGHT,
    OVERHEAD_WEIGHT,
    dust_limit_sats,
    fee_sats,
    output_weight,
)
from protocol.bitcoin.tx import (
    WITNESS_SCALE,
    Coin,
    outpoint,
    outpoint_key,
    transaction,
    txid,
    txin,
    txout,
)
from protocol.errors import TermsError
from protocol.settlement.compare import require_same
from protocol.settlement.contract import Contract
from protocol.settlement.party_terms import NO_OWNER
from protocol.settlement.terms import Role

MAX_COINS: Final = 100
"""Inputs of one party, so that FUND stays small and its counts stay one byte."""

_INPUT_BYTES: Final = 32 + 4 + 1 + 4
"""Of an input without its witness: outpoint, no scriptSig, sequence."""

_WITNESS_SIZES: Final = {(0, 20): (72, 33), (1, 32): (65,)}
"""By witness version and program length: the longest signature, which names its sighash, and the
key where it is hashed."""

_INPUT_WEIGHT: Final = KEY_PATH_INPUT_WEIGHT + 1
"""Of Taproot."""

_ROUNDING_WEIGHT: Final = WITNESS_SCALE - 1
"""What FUND's virtual size may exceed a quarter of its weight by, counted with what is common."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one party puts in: coins of any wallet, P2WPKH or Taproot by key path.

    TermsError for others: FUND's txid must not depend on a signature, nor its fee on a script;
    and for change that no node relays.
    """

    coins: tuple[Coin, ...]
    change_script: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.coins) <= MAX_COINS:
            raise TermsError(f"a party funds with 1 to {MAX_COINS} coins, not {len(self.coins)}")
        for coin in self.coins:
            input_weight(coin)
        if not has_owner(self.change_script):
            raise TermsError(f"change_script {self.change_script.hex()}: {NO_OWNER}")

    @property
    def sats(self) -> int:
        return sum(coin.sats for coin in self.coins)

    @property
    def weight(self) -> int:
        """Of its inputs, signed."""
        return sum(input_weight(coin) for coin in self.coins)


def widest_witness(coin: Coin) -> list[bytes]:
    """As many bytes as the witness that spends ``coin`` can have; TermsError if its kind cannot
    fund."""
    version, program = witness_program(bytes(coin.output.scriptPubKey)) or (-1, b"")
    sizes = _WITNESS_SIZES.get((version, len(program)))
    if sizes is None:
        raise TermsError("a contract is funded from P2WPKH and Taproot outputs only")
    return [bytes(size) for size in sizes]


def input_weight(coin: Coin) -> int:
    """The weight of the input that spends ``coin``, signed; TermsError as ``widest_witness``."""
    return WITNESS_SCALE * _INPUT_BYTES + 1 + sum(1 + len(item) for item in widest_witness(coin))


def fund_needs(contract: Contract, role: Role, count: int, one_weight: int = _INPUT_WEIGHT) -> int:
    """The sats that ``role`` must bring in ``count`` coins, without asking for change.

    ``one_weight`` is what an input of its wallet weighs (``input_weight``).
    """
    return _needs(contract, role, count * one_weight)


def change_sats(contract: Contract, role: Role, contribution: Contribution) -> int:
    """What comes back to ``role``; 0 where it would be dust. TermsError if it brings too little."""
    own = contribution.weight
    needed = _needs(contract, role, own)
    if contribution.sats < needed:
        raise TermsError(
            f"the {role.value}'s coins hold {contribution.sats} sats, FUND takes {needed} of them"
        )
    rate = contract.terms.chain.feerate_sat_vb
    script = contribution.change_script
    extra = fee_sats(own + output_weight(script), rate) - fee_sats(own, rate)
    change = contribution.sats - needed - extra
    return change if change >= dust_limit_sats(script) else 0


def fund_tx(contract: Contract, holder: Contribution, writer: Contribution) -> CTransaction:
    """FUND without witnesses; its txid is final. TermsError if it cannot be paid for."""
    coins = holder.coins + writer.coins
    if len({outpoint_key(coin.outpoint) for coin in coins}) != len(coins):
        raise TermsError("a coin is offered twice in FUND")
    outputs = [txout(contract.value_sats, contract.script_pubkey)]
    premium = contract.terms.chain.premium_sats
    if premium:
        outputs.append(txout(premium, contract.terms.party(Role.WRITER).script))
    for role, party in ((Role.HOLDER, holder), (Role.WRITER, writer)):
        change = change_sats(contract, role, party)
        if change:
            outputs.append(txout(change, party.change_script))
    return transaction([txin(coin.outpoint) for coin in coins], outputs)


def fund_spent(holder: Contribution, writer: Contribution) -> tuple[CTxOut, ...]:
    """The outputs that FUND's inputs spend, in order: what its signatures commit to."""
    return tuple(coin.output for coin in holder.coins + writer.coins)


def require_fund(
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


def _needs(contract: Contract, role: Role, weight: int) -> int:
    """Stake, premium, half of the common fee, and the fee of ``weight``."""
    rate = contract.terms.chain.feerate_sat_vb
    common = fee_sats(_common_weight(contract), rate)
    half = common // 2 if role is Role.HOLDER else common - common // 2
    premium = contract.terms.chain.premium_sats if role is Role.HOLDER else 0
    return contract.stake_sats(role) + premium + half + fee_sats(weight, rate)


def _common_weight(contract: Contract) -> int:
    weight = OVERHEAD_WEIGHT + _ROUNDING_WEIGHT + output_weight(contract.script_pubkey)
    if contract.terms.chain.premium_sats:
        weight += output_weight(contract.terms.party(Role.WRITER).script)
    return weight
