"""Where orders become contracts: the seam between a market and the parties' processes.

A market holds no key. It agrees on terms, hands them to the two parties and asks them how it goes;
``ContractDesk`` is all that it knows of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from protocol.options.book import Contract, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """The game about a claim on the chain, as one party sees it.

    ``wait`` is what its newest output waits for (protocol.dispute.play.Wait), ``turn`` whose move
    that is, ``since`` and ``deadline`` the heights of that output and of the last block for the
    move; ``digits`` are the children picked so far, of 4 each, down a tree of ``log4_steps`` levels
    to the disputed ``step``; ``fault``, ``leaf`` and ``winner`` say how it ended.
    ``transactions`` are the contract's, parents first; ``height`` is the chain's.
    """

    contract_id: str
    stage: str
    height: int
    wait: str | None
    step: int | None
    fault: str | None
    leaf: str | None
    winner: str | None
    transactions: Sequence[dict[str, Any]]
    prover: str | None = None
    turn: str | None = None
    since: int | None = None
    deadline: int | None = None
    digits: Sequence[int] = ()
    log4_steps: int | None = None


class DisputeSource(Protocol):
    """Who can say how a dispute stands."""

    async def dispute(self, contract: Contract) -> Dispute | None:
        """None while nobody claims."""
        ...


class ContractDesk(DisputeSource, Protocol):
    """The parties' processes, as far as a market needs them. A ProtocolError says what is missing;
    every call may be made again, and then has no further effect."""

    custody: str
    """``owners`` if the parties are processes of their owners, ``desk`` if this machine runs both,
    as a demo does."""

    async def offer(self, contract: Contract) -> None:
        """Hand both parties the terms of an order."""
        ...

    async def sides(self, contract: Contract) -> Sequence[Side]:
        """What the parties say, those that answer."""
        ...

    async def transactions(self, contract: Contract) -> Sequence[dict[str, Any]]:
        """The contract's transactions that the node knows, parents first: the fields of
        ``Transaction``. None of them if no party answers."""
        ...

    async def leave(self, contract: Contract) -> None:
        """It is over: end what the desk runs for it."""
        ...

    async def exercise(self, contract: Contract) -> None:
        """Have the holder sign its notice for ``contract.exercise_round``, and pass it on to the
        oracles."""
        ...

    async def settle(self, contract: Contract) -> None:
        """Have the oracles certify the expiry, and tell both parties."""
        ...

    async def close(self) -> None:
        """End what the desk has started."""
        ...
