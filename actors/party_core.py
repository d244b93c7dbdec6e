"""A party on its disk and its chain: every effect that needs nobody else, in order.

What the party wants kept is on disk before anything later in its list is broadcast or said. It is
made of its journal alone: if one thing of a list cannot be done the rest is dropped, and a party
made anew decides what is to do.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from bitcoin.core import CTransaction

from actors.clock import Clock
from actors.config import Chain
from actors.logs import event
from actors.party_bump import bump
from actors.party_folder import PartyFolder
from actors.party_send import send
from actors.party_wallet import PartyWallet
from protocol.bitcoin.tx import hash_hex, txid
from protocol.errors import GuardError, ProtocolError
from protocol.settlement.contract_file import revealed_in
from protocol.settlement.lifecycle import position_of
from protocol.settlement.messages import Broadcast, Bump, Effect, Keep, Note
from protocol.settlement.party import Party

Work = Callable[[Party, int], Sequence[Effect]]
"""A call of the party, at a unix time in ms."""

NOTHING: Final[Sequence[Effect]] = ()

log = logging.getLogger(__name__)


class PartyCore:
    """One party. One thread at a time.

    ``made(records)`` is a party as its journal tells it, ``begin`` what it does first after that;
    ``other`` carries out every effect that is not about disk, chain or log, and returns what the
    party wants done next because of it. Without a ``wallet`` nobody pays more for a transaction.
    """

    def __init__(
        self,
        folder: PartyFolder,
        chain: Chain,
        clock: Clock,
        wallet: PartyWallet | None,
        made: Callable[[Sequence[bytes]], Party],
        begin: Work,
        other: Callable[[Effect], Sequence[Effect]],
    ) -> None:
        self.folder, self.chain, self.wallet = folder, chain, wallet
        self.records = list(folder.records)
        self.height = -1
        """Of the chain as the party has last looked at it."""
        self.stale = False
        """Whether the party is made anew before it does anything else."""
        self.opened = False
        """Whether it knows that it runs, and that the other party is there."""
        self._tip: object = None
        """The best block when it last looked for messages of its own."""
        self._clock, self._made, self._begin, self._other = clock, made, begin, other
        self.party = made(self.records)

    def act(self, work: Work | None) -> None:
        """Have the party do ``work``, then all that it wants done; None only brings it up to date.
        What the party refuses is raised and has changed nothing; GuardError if it cannot
        remember."""
        height, now_ms, known = self.chain.height, self._clock.now_ms(), len(self.records)
        if self.stale:
            self.party, self.stale, self.opened = self._made(self.records), False, False
        if not self.opened:
            self._open(now_ms)
        self._remember()
        if work is not None:
            self._carry_out(work(self.party, now_ms))
        while known < len(self.records):  # it answers what it has learned when that is on disk
            known = len(self.records)
            self._carry_out(self.party.look(self.chain, now_ms))
        if self.folder.guard.failed:
            raise GuardError(f"{self.folder.path}: what it wants to reveal is not on disk")
        self.height = height

    def _open(self, now_ms: int) -> None:
        """What it does first; once more if it fails."""
        self.opened = True  # before: the other party may come meanwhile
        try:
            self._carry_out(self.party.open(self.chain, now_ms))
            self._carry_out(self._begin(self.party, now_ms))
        except ProtocolError:
            self.opened = False
            raise

    def _remember(self) -> None:
        """What another machine of this party has signed, its watchtower for one, counts as signed
        here: no key of it signs twice, whatever a reorganisation takes back. Looked up after every
        block: nothing else is a reason to say something new."""
        graph, tip = self.party.graph, self.chain.tip
        if graph is None or tip == self._tip:
            return
        position = position_of(graph, self.chain)
        for label, digits in revealed_in(graph, self.party.role, position).items():
            if self.folder.guard.setdefault(label, digits) != digits:
                name = f"{label.field} {label.round}"
                event(log, "signed twice", logging.ERROR, name=name, contract=label.contract_id)
        self._tip = tip

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        """Everything in order, what follows from it behind. What cannot be done makes the party
        stale, and is raised."""
        waiting = deque(effects)
        try:
            while waiting:
                waiting += self.do(waiting.popleft())
        except ProtocolError:
            self.stale = True
            raise

    def do(self, effect: Effect) -> Sequence[Effect]:
        """Carry out one effect; what the party wants done next because of it."""
        match effect:
            case Keep(record):
                self.folder.journal.append(record)
                self.records.append(record)
            case Broadcast(name, tx):
                send(self.chain, name, tx, self.folder.path)
            case Bump(name, tx, feerate_sat_vb):
                self._bump(name, tx, feerate_sat_vb)
            case Note(what, detail):
                event(log, what.value, detail=detail)
            case _:
                return self._other(effect)
        return NOTHING

    def _bump(self, name: str, tx: CTransaction, feerate_sat_vb: int) -> None:
        graph = self.party.graph
        assert graph is not None, "a contract's transactions follow from its graph"
        if self.wallet is None:
            send(self.chain, name, tx, self.folder.path)
            return
        try:
            child = bump(self.chain, self.wallet, graph.move(name), tx, feerate_sat_vb)
            event(log, "bumped", name=name, child=hash_hex(txid(child)), sat_vb=feerate_sat_vb)
        except ProtocolError as error:
            event(log, "not bumped", logging.WARNING, name=name, reason=str(error))
            if self.chain.tx(txid(tx)) is None:  # its own rate is better than nothing
                send(self.chain, name, tx, self.folder.path)
