"""Who paid what for a contract: wallets before and after, and every satoshi in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from actors.config import Chain
from actors.contract_report import Balance
from actors.contract_txs import TxRow, fee_of
from protocol.bitcoin.tx import outpoint, parse_hash
from protocol.options.payoff import units_max
from protocol.settlement.lifecycle import field_of, is_settle
from protocol.settlement.move import ANCHOR_SCRIPT, FUND
from protocol.settlement.terms import ContractTerms, Role

ODD_SATS: Final = 4
"""Fees are shared in whole satoshis: what the halves may differ by."""
ODD: Final = "odd satoshi of halves"
COSTS: Final = "fees and anchors"
_TAKEN: Final = "bond and reserve"


@dataclass(frozen=True, slots=True)
class Books:
    """The end of the account. ``left_sats`` lie in outputs of the contract that nobody took."""

    balances: Mapping[Role, Balance]
    miners_sats: int
    left_sats: int
    add_up: bool
    """Each party's difference is what the terms say of this end, less its share of the costs; and
    both together have lost what miners got and what is left."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a contract ended. ``prover`` is None unless a claim ended it; ``winner`` is who had its
    way in a dispute, None where nobody challenged."""

    prover: Role | None
    winner: Role | None

    @classmethod
    def of(cls, names: Sequence[str]) -> "_End":
        """By the transactions' names."""
        prover = next((role for role in Role if f"{role.value}:INPUT_1" in names), None)
        if prover is None:
            return cls(None, None)
        settles = [field_of(name) for name in names if is_settle(name)]
        if settles == ["SETTLE"]:
            return cls(prover, None)
        return cls(prover, prover if settles else prover.other)

    @property
    def pays(self) -> Role | None:
        """Who gets what is left of both bonds, and so pays for every move."""
        return self.winner or self.prover


@dataclass(frozen=True, slots=True)
class _Cost:
    """One transaction, and what it left to miners and in an anchor, in sats."""

    name: str
    sats: int


class Accounts:
    """Opened before FUND with what both wallets hold."""

    def __init__(self, chain: Chain, scripts: Mapping[Role, bytes]) -> None:
        self._chain = chain
        self._scripts = scripts
        self._before = {role: self._holds(role) for role in Role}

    def close(self, terms: ContractTerms, txs: Sequence[TxRow], units: int) -> Books:
        """What became of it when the contract's transactions are ``txs`` and ``units`` are paid
        wherever a payout is."""
        after = {role: self._holds(role) for role in Role}
        end = _End.of([row.name for row in txs])
        costs = [_Cost(row.name, row.fee + self._anchor_sats(row)) for row in txs]
        bumps, bump_fees_sats = self._bumps(txs)
        reserve = self._value_sats(txs) - terms.claim.collateral_sats - 2 * terms.chain.bond_sats
        balances = {}
        for role in Role:
            due = _due(terms, end, units, role, reserve)
            own = sum(cost.sats for cost in bumps if cost.name == role.value)
            due[COSTS] = -own - sum(_share(cost, role, end) for cost in costs)
            balances[role] = _balance(self._before[role], after[role], due)
        miners, left = bump_fees_sats + sum(row.fee for row in txs), self._left(txs)
        lost = sum(self._before.values()) - sum(after.values())
        exact = all(abs(b.because.get(ODD, 0)) <= ODD_SATS for b in balances.values())
        return Books(balances, miners, left, exact and lost == miners + left)

    def _holds(self, role: Role) -> int:
        return sum(utxo.sats for utxo in self._chain.unspent(self._scripts[role]))

    def _outputs(self, row: TxRow) -> list[tuple[int, bytes]]:
        """Sats and script of each."""
        seen = self._chain.tx(parse_hash(row.txid))
        outputs = () if seen is None else seen.tx.vout
        return [(int(out.nValue), bytes(out.scriptPubKey)) for out in outputs]

    def _value_sats(self, txs: Sequence[TxRow]) -> int:
        """What FUND locks."""
        return sum(self._outputs(row)[0][0] for row in txs if row.name == FUND)

    def _anchor_sats(self, row: TxRow) -> int:
        return sum(sats for sats, script in self._outputs(row) if script == ANCHOR_SCRIPT)

    def _bumps(self, txs: Sequence[TxRow]) -> tuple[list[_Cost], int]:
        """What each party's wallet paid for children of the contract's transactions beyond the
        anchors that they spend, under the party's name; and the fees of all of them."""
        owners = {script: role.value for role, script in self._scripts.items()}
        costs, fees = [], 0
        for row in txs:
            for index, (sats, script) in enumerate(self._outputs(row)):
                child = self._chain.spender(outpoint(parse_hash(row.txid), index))
                if script != ANCHOR_SCRIPT or child is None:
                    continue
                fee = fee_of(child.tx, self._chain)
                payers = (owners.get(bytes(out.scriptPubKey), "") for out in child.tx.vout)
                costs += [_Cost(payer, fee - sats) for payer in payers if payer]
                fees += fee
        return costs, fees

    def _left(self, txs: Sequence[TxRow]) -> int:
        """What lies in outputs that are no party's."""
        own = set(self._scripts.values())
        total = 0
        for row in txs:
            txid = parse_hash(row.txid)
            for index, (sats, script) in enumerate(self._outputs(row)):
                if script not in own and self._chain.utxo(outpoint(txid, index)) is not None:
                    total += sats
        return total


def _balance(before: int, after: int, due: Mapping[str, int]) -> Balance:
    because = {reason: sats for reason, sats in due.items() if sats}
    odd = after - before - sum(because.values())
    if odd:
        because[ODD] = odd
    return Balance(before, after, after - before, because)


def _due(
    terms: ContractTerms, end: _End, units: int, role: Role, reserve_sats: int
) -> dict[str, int]:
    """What a party gains by the terms, in sats and by these reasons, before costs."""
    sign = 1 if role is Role.HOLDER else -1
    nothing = 0 if end.prover is Role.HOLDER else units_max(terms.claim.payout_bits)
    has_fee = end.prover is not None and units != nothing
    fee = terms.chain.claim_fee_sats if role is end.prover else -terms.chain.claim_fee_sats
    due = {"premium": -sign * terms.chain.premium_sats}
    if end.winner is None:
        due["payout"] = sign * terms.claim.payout_sats(units)
        due["claim fee"] = fee if has_fee else 0
        return due
    reserves = {Role.HOLDER: reserve_sats // 2, Role.WRITER: reserve_sats - reserve_sats // 2}
    taken = terms.chain.bond_sats + reserves[end.winner.other]
    due[_TAKEN] = taken if role is end.winner else -taken
    if end.winner is end.prover:  # the claim stands; its fee lies in the bond that was taken
        due["payout"] = sign * terms.claim.payout_sats(units)
        due["claim fee"] = 0 if has_fee else -fee
    elif end.winner is Role.HOLDER:
        due["collateral"] = sign * terms.claim.collateral_sats
    return due


def _share(cost: _Cost, role: Role, end: _End) -> int:
    """What of a transaction's costs is this party's: half of the common ones, all of its own."""
    field = field_of(cost.name)
    if cost.name in (FUND, "CLOSE", "REFUND") or field == "SETTLE":
        return cost.sats // 2
    if field.startswith("SWEEP_"):
        return cost.sats if field == f"SWEEP_{role.name}" else 0
    return cost.sats if role is end.pays else 0
