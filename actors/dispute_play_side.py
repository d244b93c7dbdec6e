"""Both parties of a rehearsal in one process: real ``Party`` machines on one chain.

What ``party run`` has on disk and on the wire is in memory here; transactions, blocks and keys are
as real as there.
"""

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bitcoin.core import CTransaction

from actors.config import Chain
from actors.party_wallet import PartyWallet
from protocol.bitcoin.tx import txid
from protocol.crypto.winternitz import Digits, Label
from protocol.dispute.lies.scene import Past
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ChainError
from protocol.settlement.keys import PartyKeys
from protocol.settlement.messages import (
    Broadcast,
    Bump,
    Effect,
    Keep,
    Message,
    NeedCoins,
    Note,
    Prove,
    Retrace,
    Say,
    SignCoins,
)
from protocol.settlement.party import Party
from protocol.settlement.policy import Policy
from protocol.settlement.terms import ContractTerms, Role

BLOCK_MS: Final = 60_000
"""What the parties' clocks advance a block."""

Retraced = Callable[[ContractTerms, bytes], Past]
"""The machine's honest trace of an input."""


@dataclass(slots=True)
class Seat:
    """What one party has that outlives its process: keys, wallet, record, guard."""

    role: Role
    keys: PartyKeys = field(repr=False)
    policy: Policy
    wallet: PartyWallet
    records: list[bytes] = field(default_factory=list, repr=False)
    guard: dict[Label, Digits] = field(default_factory=dict, repr=False)

    def copy(self, policy: Policy, wallet: PartyWallet) -> "Seat":
        """Another disk with the same on it."""
        records, guard = list(self.records), dict(self.guard)
        return replace(self, policy=policy, wallet=wallet, records=records, guard=guard)

    def party(self, strategy: Strategy = HONEST) -> Party:
        """The party as its record tells it."""
        entropy = secrets.token_bytes
        return Party(
            self.role, self.keys, self.policy, self.guard, entropy, self.records, strategy=strategy
        )


class Pair:
    """Holder and writer, what they say to each other, and what Bitcoin refused of each."""

    def __init__(
        self, chain: Chain, seats: Sequence[Seat], parties: Sequence[Party], retrace: Retraced
    ) -> None:
        """``seats`` and ``parties``: the holder's, then the writer's."""
        self.chain = chain
        self.seats = dict(zip(Role, seats, strict=True))
        self.parties = dict(zip(Role, parties, strict=True))
        self.sent: dict[bytes, Role] = {}
        """Who was the first to broadcast a transaction, by txid."""
        self.refused: dict[str, str] = {}
        """Why no block may hold a transaction that was broadcast, by its name."""
        self.notes: list[str] = []
        """What the parties' logs say."""
        self._retrace = retrace
        self._mail: deque[tuple[Role, Message]] = deque()

    @property
    def now_ms(self) -> int:
        """The parties' clock."""
        return self.chain.height * BLOCK_MS

    def start(self) -> None:
        """Both begin; nothing is agreed, or all of it."""
        for party in self.parties.values():
            self.do(party.role, party.open(self.chain, self.now_ms))

    def look(self) -> None:
        """Both do what the newest block asks for."""
        for party in self.parties.values():
            while effects := party.look(self.chain, self.now_ms):
                self.do(party.role, effects)

    def mine(self, count: int = 1) -> None:
        """So many blocks with what waits, each after both have looked at the one before."""
        for _ in range(count):
            self.chain.mine(1)
            self.look()

    def do(self, role: Role, effects: Sequence[Effect]) -> None:
        """Everything that ``role`` wants done, what follows from it, and what the other side says
        to it."""
        waiting = deque(effects)
        while waiting:
            waiting += self._do(role, waiting.popleft())
        while self._mail:
            to, message = self._mail.popleft()
            self.do(to, self.parties[to].hear(message, self.chain, self.now_ms))

    def _do(self, role: Role, effect: Effect) -> Sequence[Effect]:
        party, seat, chain, now_ms = self.parties[role], self.seats[role], self.chain, self.now_ms
        match effect:
            case Keep(record):
                seat.records.append(record)
            case Say(message):
                self._mail.append((role.other, message))
            case Broadcast(name, tx) | Bump(name, tx):  # this miner takes it without a child
                self._broadcast(role, name, tx)
            case Prove(claim):
                root = self._trace(party, claim.encode()).root
                return party.proved(claim, root, chain, now_ms)
            case Retrace(data):
                return party.retraced(data, self._trace(party, data), chain, now_ms)
            case NeedCoins(_, needs):
                return party.coins(seat.wallet.contribution(needs), chain, now_ms)
            case SignCoins(_, tx, spent, _):
                signed = seat.wallet.sign(tx, spent)
                return () if signed is None else party.coins_signed(signed, chain, now_ms)
            case Note(event, detail):
                self.notes.append(f"{role.value}: {event.value}: {detail}")
        return ()

    def _broadcast(self, role: Role, name: str, tx: CTransaction) -> None:
        """Into the mempool; to the miner where the node only does not relay it."""
        try:
            self.chain.broadcast(tx)
        except ChainError as error:
            verdict = self.chain.check(tx)
            if not verdict.consensus:
                self.refused.setdefault(name, verdict.consensus_reason or str(error))
                return
            self.chain.mine(txs=[tx])
        self.sent.setdefault(txid(tx), role)

    def _trace(self, party: Party, data: bytes) -> Past:
        assert party.terms is not None, "who claims or challenges has agreed to terms"
        return self._retrace(party.terms, data)
