"""Who paid what for a contract: wallets before and after, and every satoshi in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from actors.config import Chain
from actors.contract_report import Balance
from actors.contract_txs import TxRow
from protocol.bitcoin.tx import outpoint, parse_hash
from protocol.options.payoff import units_max
from protocol.settlement.move import ANCHOR_SATS
from protocol.settlement.terms import ContractTerms, Role

ODD_SATS: Final = 4
"""Fees are shared in whole satoshis: what the halves may differ by."""
ODD: Final = "odd satoshi of halves"
SHARED: Final = ("FUND", "CLOSE", "REFUND")


@dataclass(frozen=True, slots=True)
class Books:
    """The end of the account. ``left_sats`` lie in outputs of the contract that nobody took."""

    balances: Mapping[Role, Balance]
    miners_sats: int
    left_sats: int
    add_up: bool
    """Each party's difference is the premium, the payout, the claim fee and its share of the
    costs; and both together have lost what miners got and what is left."""


class Accounts:
    """Opened before FUND with what both wallets hold."""

    def __init__(self, chain: Chain, scripts: Mapping[Role, bytes]) -> None:
        self._chain = chain
        self._scripts = scripts
        self._before = {role: self._holds(role) for role in Role}

    def close(self, terms: ContractTerms, txs: Sequence[TxRow], units: int) -> Books:
        """What became of it when the contract's transactions are ``txs``."""
        after = {role: self._holds(role) for role in Role}
        names = {row.name for row in txs}
        prover = next((role for role in Role if f"{role.value}:SETTLE" in names), None)
        balances = {
            role: _balance(self._before[role], after[role], _due(terms, txs, units, role, prover))
            for role in Role
        }
        miners, left = sum(row.fee for row in txs), self._left(txs)
        lost = sum(self._before.values()) - sum(after.values())
        exact = all(abs(b.because.get(ODD, 0)) <= ODD_SATS for b in balances.values())
        return Books(balances, miners, left, exact and lost == miners + left)

    def _holds(self, role: Role) -> int:
        return sum(utxo.sats for utxo in self._chain.unspent(self._scripts[role]))

    def _left(self, txs: Sequence[TxRow]) -> int:
        """What lies in outputs that are no party's."""
        own = set(self._scripts.values())
        total = 0
        for txid in (parse_hash(row.txid) for row in txs):
            seen = self._chain.tx(txid)
            outputs = () if seen is None else seen.tx.vout
            for index in range(len(outputs)):
                utxo = self._chain.utxo(outpoint(txid, index))
                if utxo is not None and utxo.script not in own:
                    total += utxo.sats
        return total


def _balance(before: int, after: int, due: Mapping[str, int]) -> Balance:
    because = {reason: sats for reason, sats in due.items() if sats}
    odd = after - before - sum(because.values())
    if odd:
        because[ODD] = odd
    return Balance(before, after, after - before, because)


def _due(
    terms: ContractTerms, txs: Sequence[TxRow], units: int, role: Role, prover: Role | None
) -> dict[str, int]:
    """What a party gains by the terms, in sats: by these reasons and for these costs."""
    sign = 1 if role is Role.HOLDER else -1
    nothing = 0 if prover is Role.HOLDER else units_max(terms.claim.payout_bits)
    has_fee = prover is not None and units != nothing
    fee = terms.chain.claim_fee_sats if role is prover else -terms.chain.claim_fee_sats
    return {
        "premium": -sign * terms.chain.premium_sats,
        "payout": sign * terms.claim.payout_sats(units),
        "claim fee": fee if has_fee else 0,
        "fees and anchors": -sum(_share(row, role, prover) for row in txs),
    }


def _share(row: TxRow, role: Role, prover: Role | None) -> int:
    """What of a transaction's costs is this party's: half of the common ones, all of its own."""
    name = row.name
    if name in SHARED or name.endswith(":SETTLE"):
        has_anchor = name not in ("FUND", "CLOSE")
        return (row.fee + ANCHOR_SATS * has_anchor) // 2
    _, _, step = name.partition(":")
    if step.startswith("SWEEP_"):
        return row.fee if step == f"SWEEP_{role.name}" else 0
    return row.fee + ANCHOR_SATS if role is prover else 0
