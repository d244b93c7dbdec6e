"""The pre-signed transactions of a contract on the chain: every one with its parent's outpoint.

    FUND -+- CLOSE                                                     (closing.py)
          +- REFUND
          +- holder:INPUT_1 - .. - holder:KICKOFF - holder:SETTLE - sweeps (spending.py)
          +- writer:INPUT_1 - .. - writer:KICKOFF - writer:SETTLE - sweeps

All of it follows from (terms, both public bundles, FUND's outpoint): who has these has every byte
that the other side will sign.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import outpoint, transaction, txid, txin
from protocol.errors import TermsError
from protocol.settlement.contract import Contract
from protocol.settlement.move import FUND, Move
from protocol.settlement.terms import Role


@dataclass(frozen=True, slots=True)
class Graph:
    """Every pre-signed transaction of one contract."""

    contract: Contract
    fund: COutPoint
    moves: Mapping[str, Move]
    """By name, parents before children."""

    @classmethod
    def of(cls, contract: Contract, fund: COutPoint) -> Self:
        """The graph below output ``fund``; equal arguments give equal bytes."""
        points = {FUND: fund}
        moves: dict[str, Move] = {}
        for move in contract.moves.values():
            old = move.tx
            spends = txin(points[move.spends], old.vin[0].nSequence)
            tx = transaction([spends], old.vout, locktime=old.nLockTime, version=old.nVersion)
            points[move.name] = outpoint(txid(tx), 0)
            moves[move.name] = replace(move, tx=tx)
        return cls(contract, fund, MappingProxyType(moves))

    def move(self, name: str) -> Move:
        """TermsError if the contract has no such transaction."""
        if name not in self.moves:
            raise TermsError(f"{name}: this contract has {', '.join(self.moves)}")
        return self.moves[name]

    def forward(self, prover: Role) -> Iterator[Move]:
        """What ``prover`` broadcasts to claim, in order: its inputs, then KICKOFF."""
        for move in self.moves.values():
            if move.prover is prover and move.messages:
                yield move

    def settle(self, prover: Role) -> Move:
        """SETTLE in ``prover``'s direction."""
        return self.moves[f"{prover.value}:SETTLE"]
