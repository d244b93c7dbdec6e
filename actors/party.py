"""One side of one contract as a process: a pure ``Party`` with its disk, chain, peer and prover.

    loop      the peer's frames, the control socket, timers; they only hand work to the thread
    thread    the party: rules, fsync, the chain's calls. One thread, so that work has one order
    prover    the machine's run, beside both

What the party wants kept is on disk before anything later in its list is said or broadcast. It is
made of its journal alone: if one thing of a list cannot be done the rest is dropped, and a party
made anew decides what is to do.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import Any, Final, TypeVar

from bitcoin.core import CTransaction

from actors.clock import Clock
from actors.config import Wallet, open_chain
from actors.control import Control
from actors.keyfile import load_keys
from actors.logs import event
from actors.party_bump import bump
from actors.party_config import ADDRESSES, PartyConfig
from actors.party_control import PartyControl
from actors.party_folder import CONTROL, PartyFolder
from actors.party_prover import PartyProver
from actors.party_wallet import KeyWallet, PartyWallet, PsbtWallet
from actors.transport import Transport
from actors.transport_options import Host, Limits
from protocol.bitcoin.tx import hash_hex, txid
from protocol.errors import ChainError, GuardError, ProtocolError, ScriptError
from protocol.settlement.claim import Claim
from protocol.settlement.messages import (
    Broadcast,
    Bump,
    Effect,
    Keep,
    Message,
    NeedCoins,
    Note,
    Prove,
    Say,
    SignCoins,
)
from protocol.settlement.party import Party
from protocol.settlement.policy import Policy
from protocol.settlement.terms import Role

LOOK_S: Final = 0.5
"""How often the party looks at the chain although nothing changed there."""
LIMITS: Final = Limits(frames_per_s=200, retry_cap_s=0.5)

Work = Callable[[Party, int], Sequence[Effect]]
"""A call of the party, at a unix time in ms."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class PartyProgram:
    """A party with everything that it owns. ``clock`` is real time except in tests."""

    def __init__(self, config: PartyConfig, clock: Clock) -> None:
        """Opens what must be this process's alone. ConfigError and GuardError name the file."""
        self.config = config
        self.keys = load_keys(config.keys, {})
        self.roster = config.roster(self.keys["identity"].public)
        self.folder = PartyFolder.open(config.folder)
        self.chain = open_chain(config.chain, "socket", network=config.network.name)
        self.wallet = self._open_wallet()
        self.policy = config.policy(self.wallet.script)
        self.prover = PartyProver()
        self.height = -1
        """Of the chain as the party has last looked at it."""
        self.fault: str | None = None
        """What the party could not have done, and wants done still."""
        self.transport: Transport
        self._clock = clock
        self._records = list(self.folder.records)
        self._stale = True
        self.party = self._made()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="party")
        self._watcher = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="control")
        self._running: set[asyncio.Task[None]] = set()
        self._rested = asyncio.Event()
        self._failed: asyncio.Future[None]
        self._loop: asyncio.AbstractEventLoop

    async def serve(self) -> None:
        """Run until cancelled. GuardError if what must be remembered cannot be: a party that
        forgets must not go on."""
        self._loop = asyncio.get_running_loop()
        self._failed = self._loop.create_future()
        self.transport = self._open_transport()
        control = Control(self.folder.path / CONTROL, PartyControl(self).methods())
        async with AsyncExitStack() as running:
            running.callback(self._close)
            for part in (self.transport, control):
                await part.start()
                running.push_async_callback(part.stop)
            event(log, "serving", role=self.config.role.value, records=len(self._records))
            running.callback(asyncio.create_task(self._watch()).cancel)
            await self._failed

    async def do(self, work: Work | None) -> None:
        """Have the party do ``work``, then all that it wants done; None only brings it up to date.
        What the party refuses is raised here and has changed nothing."""
        try:
            await self._loop.run_in_executor(self._thread, self._act, work)
            self._rested.set()
        except GuardError as error:
            if not self._failed.done():
                self._failed.set_exception(error)
            raise

    async def until_at(self, height: int) -> None:
        """Returns once the party has done all that a chain of this height asks for."""
        while self.height < height or len(self._running) > 0:
            self._rested.clear()
            await self._rested.wait()

    async def ask(self, question: Callable[[], T]) -> T:
        """The answer to a question to the chain, beside the party's thread."""
        return await self._loop.run_in_executor(self._asking, question)

    async def adopt(self, policy: Policy) -> None:
        """Go on under another policy, until the process ends."""
        self.policy, self._stale = policy, True
        await self.do(None)

    # What happens, in the loop

    def _hear(self, _: int, message: Message) -> None:
        self._soon(lambda party, now_ms: party.hear(message, self.chain, now_ms))

    def _joined(self, _: int) -> None:
        self._stale = True  # a party made anew says again what the other side may have missed
        self._soon(None)

    def _soon(self, work: Work | None) -> None:
        self._spawn(self._do_quietly(work))

    async def _do_quietly(self, work: Work | None) -> None:
        try:
            await self.do(work)
        except ProtocolError as error:
            self._complain(str(error))

    async def _watch(self) -> None:
        """Look after every block, and now and then without one."""
        while True:
            await self._loop.run_in_executor(self._watcher, self._changed)
            await self._do_quietly(lambda party, now_ms: party.look(self.chain, now_ms))

    def _changed(self) -> None:
        """Returns when there is something to look at, or after a while."""
        asked = count()
        with suppress(ChainError):  # nothing changed, or no node: the look will tell
            self.chain.wait(lambda: next(asked) > 0 or self.chain.height != self.height, LOOK_S)

    # The party's thread

    def _act(self, work: Work | None) -> None:
        height, now_ms = self.chain.height, self._clock.now_ms()
        if self._stale:
            self._restart(now_ms)
        if work is not None:
            self._carry_out(work(self.party, now_ms))
        if self.folder.guard.failed:
            raise GuardError(f"{self.folder.path}: what it wants to reveal is not on disk")
        self.height, self.fault = height, None

    def _made(self) -> Party:
        """A party as its journal tells it."""
        role, folder = self.config.role, self.folder
        entropy = secrets.token_bytes
        return Party(role, folder.keys, self.policy, folder.guard, entropy, self._records)

    def _restart(self, now_ms: int) -> None:
        """What a party does first."""
        config = self.config
        self.party, self._stale = self._made(), False
        self._carry_out(self.party.open(self.chain, now_ms))
        if config.role is Role.HOLDER:
            self._carry_out(self.party.propose(config.claim, config.terms, self.chain, now_ms))

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        """Everything in order, what follows from it behind. What cannot be done makes the party
        stale, and is raised."""
        waiting = deque(effects)
        try:
            while waiting:
                waiting += self._do(waiting.popleft())
        except ProtocolError:
            self._stale = True
            raise

    def _do(self, effect: Effect) -> Sequence[Effect]:
        """Carry out one effect; what the party wants done next because of it."""
        now_ms = self._clock.now_ms()
        match effect:
            case Keep(record):
                self.folder.journal.append(record)
                self._records.append(record)
            case Say(message):
                self._loop.call_soon_threadsafe(self._say, message)
            case Broadcast(name, tx):
                self._broadcast(name, tx)
            case Bump(name, tx, feerate_sat_vb):
                self._bump(name, tx, feerate_sat_vb)
            case Prove(claim):
                self._loop.call_soon_threadsafe(self._prove, claim)
            case NeedCoins(_, needs):
                return self.party.coins(self.wallet.contribution(needs), self.chain, now_ms)
            case SignCoins(_, tx, spent, _):
                signed = self.wallet.sign(tx, spent)
                if signed is not None:
                    return self.party.coins_signed(signed, self.chain, now_ms)
            case Note(what, detail):
                event(log, what.value, detail=detail)
        return ()

    def _broadcast(self, name: str, tx: CTransaction) -> None:
        try:
            self.chain.broadcast(tx)
            event(log, "broadcast", name=name, txid=hash_hex(txid(tx)))
        except ChainError as error:  # the next look says whether it is there, and asks again
            event(log, "not broadcast", logging.WARNING, name=name, reason=str(error))

    def _bump(self, name: str, tx: CTransaction, feerate_sat_vb: int) -> None:
        graph = self.party.graph
        assert graph is not None, "a contract's transactions follow from its graph"
        try:
            child = bump(self.chain, self.wallet, graph.move(name), tx, feerate_sat_vb)
            event(log, "bumped", name=name, child=hash_hex(txid(child)), sat_vb=feerate_sat_vb)
        except (ChainError, ScriptError) as error:
            event(log, "not bumped", logging.WARNING, name=name, reason=str(error))

    # In the loop

    def _say(self, message: Message) -> None:
        self.transport.send([ADDRESSES[self.config.role.other]], message)

    def _prove(self, claim: Claim) -> None:
        self._spawn(self._prove_and_tell(claim))

    async def _prove_and_tell(self, claim: Claim) -> None:
        terms = self.party.terms
        assert terms is not None  # without terms there is no claim
        root = await self.prover.root(terms, claim)
        await self._do_quietly(lambda p, now_ms: p.proved(claim, root, self.chain, now_ms))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._rested.set()

    def _complain(self, reason: str) -> None:
        if reason != self.fault:
            event(log, "waiting", logging.WARNING, reason=reason)
        self.fault = reason

    # Parts

    def _open_wallet(self) -> PartyWallet:
        settings = self.config.wallet
        if settings is not None:
            return PsbtWallet(self.chain, settings)
        return KeyWallet(Wallet(self.chain, self.keys["wallet"]))

    def _open_transport(self) -> Transport:
        config = self.config
        return Transport(
            me=ADDRESSES[config.role],
            key=self.keys["identity"],
            roster=self.roster,
            listen=None if config.listen is None else (config.listen.host, config.listen.port),
            digest=config.digest(self.keys["identity"].public),
            receive=self._hear,
            joined=self._joined,
            host=Host(now_ms=self._clock.now_ms),
            limits=LIMITS,
        )

    def _close(self) -> None:
        for executor in (self._thread, self._watcher, self._asking):
            executor.shutdown(wait=False, cancel_futures=True)
        self.prover.close()
        self.chain.close()
        self.folder.close()
