"""The pre-signed transactions of a contract on the chain: every one with its parent's outpoints.

    FUND -+- CLOSE                                                     (closing.py)
          +- REFUND
          +- holder:INPUT_1 - .. - holder:KICKOFF -+- holder:SETTLE - sweeps (spending.py)
          |                                        +- holder:CHALLENGE ..   (dispute.course)
          +- writer:INPUT_1 - .. - writer:KICKOFF -+- writer:SETTLE - sweeps
                                                   +- writer:CHALLENGE ..

All of it follows from (terms, both public bundles, FUND's outpoint): who has these has every byte
that the other side will sign.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import outpoint, outpoint_key, transaction, txid, txin
from protocol.errors import TermsError
from protocol.settlement.contract import Contract
from protocol.settlement.move import FUND, Move
from protocol.settlement.path import Lock, SpendPath
from protocol.settlement.terms import Role


@dataclass(frozen=True, slots=True)
class Tree:
    """Pre-signed transactions below one output, ``fund``, which ``root`` locks."""

    root: Lock
    fund: COutPoint
    moves: Mapping[str, Move]
    """By name, parents before children."""
    names: Mapping[bytes, str] = field(init=False, compare=False, repr=False)
    """Of the moves, by txid."""
    locks: Mapping[bytes, tuple[str, Lock]] = field(init=False, compare=False, repr=False)
    """What locks an outpoint (``outpoint_key``), and the name of what made it: FUND or a move."""

    def __post_init__(self) -> None:
        names = {txid(move.tx): move.name for move in self.moves.values()}
        locks = {outpoint_key(self.fund): (FUND, self.root)}
        for id_, name in names.items():
            for index, lock in enumerate(self.moves[name].locks):
                locks[outpoint_key(outpoint(id_, index))] = name, lock
        object.__setattr__(self, "names", MappingProxyType(names))
        object.__setattr__(self, "locks", MappingProxyType(locks))

    def move(self, name: str) -> Move:
        """TermsError if the contract has no such transaction."""
        if name not in self.moves:
            raise TermsError(f"{name}: this contract has no such transaction")
        return self.moves[name]

    def locked(self) -> Iterator[tuple[COutPoint, Move, int, Lock]]:
        """Every locked output of a move: where it is, whose it is, its number and its lock."""
        for move in self.moves.values():
            for index, lock in enumerate(move.locks):
                yield outpoint(txid(move.tx), index), move, index, lock

    def ways(self) -> Iterator[tuple[Move, int, SpendPath]]:
        """Every leaf that both sign, in the order of their signatures: the move, the number of its
        input, the way. Their names differ."""
        for move in self.moves.values():
            for number, way in move.ways:
                yield move, number, way


@dataclass(frozen=True, slots=True)
class Graph(Tree):
    """Every pre-signed transaction of one contract."""

    contract: Contract

    @classmethod
    def of(cls, contract: Contract, fund: COutPoint) -> Self:
        """The graph below output ``fund``; equal arguments give equal bytes."""
        return cls(contract.lock, fund, placed(contract.moves, fund), contract)

    def lent(self, role: Role) -> Tree:
        """What the other side gets ``role``'s signatures of: all but CHALLENGE of its claim, which
        shows nothing that ``role`` alone can make. With that signature it would challenge its own
        true claim, and win the bond."""
        own = f"{role.other.value}:CHALLENGE"
        moves = {name: move for name, move in self.moves.items() if name != own}
        return Tree(self.root, self.fund, moves)

    def kept(self, role: Role, own: Role) -> Tree:
        """What party ``own`` keeps ``role``'s signatures of: its own are all, CHALLENGE too."""
        return self if role is own else self.lent(role)

    def forward(self, prover: Role) -> Iterator[Move]:
        """What ``prover`` broadcasts to claim, in order: INPUT_1 .. KICKOFF."""
        last = f"{prover.value}:KICKOFF"
        for move in self.moves.values():
            if move.prover is prover:
                yield move
                if move.name == last:
                    return

    def settle(self, prover: Role) -> Move:
        """SETTLE in ``prover``'s direction, where nobody challenged."""
        return self.moves[f"{prover.value}:SETTLE"]


def placed(moves: Mapping[str, Move], fund: COutPoint) -> Mapping[str, Move]:
    """``moves`` with the outpoints that they spend, where the first spend ``fund``."""
    ids: dict[str, bytes] = {}
    made: dict[str, Move] = {}
    for move in moves.values():
        old = move.tx
        own = len(old.vin) - len(move.beside)
        points = [
            fund if move.spends == FUND else outpoint(ids[move.spends], index)
            for index in range(own)
        ]
        points += [outpoint(ids[name], index) for name, index in move.beside]
        inputs = [
            txin(point, spend.nSequence) for point, spend in zip(points, old.vin, strict=True)
        ]
        tx = transaction(inputs, old.vout, locktime=old.nLockTime, version=old.nVersion)
        ids[move.name] = txid(tx)
        made[move.name] = replace(move, tx=tx)
    return MappingProxyType(made)
