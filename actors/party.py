"""One side of one contract as a process: a pure ``Party`` with its disk, chain, peer and machine.

loop      the peer's frames, the control socket, timers; they only hand work to the thread
thread    the party: rules, fsync, the chain's calls. One thread, so that work has one order
prover    the machine's runs, beside both
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import Any, Final, TypeVar

from actors.clock import Clock
from actors.config import Wallet, open_chain
from actors.control import Control
from actors.keyfile import load_keys
from actors.logs import event
from actors.party_config import ADDRESSES, PartyConfig
from actors.party_control import PartyControl
from actors.party_core import NOTHING, PartyCore, Work
from actors.party_folder import CONTROL, PartyFolder
from actors.party_prover import PartyProver
from actors.party_wallet import KeyWallet, PartyWallet, PsbtWallet
from actors.prover_client import RemoteRun
from actors.transport import Transport
from actors.transport_options import Host, Limits
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ChainError, GuardError, ProtocolError
from protocol.settlement.claim import Claim
from protocol.settlement.messages import (
    Effect,
    Message,
    NeedCoins,
    Prove,
    Retrace,
    Say,
    SignCoins,
)
from protocol.settlement.party import Party
from protocol.settlement.policy import Policy
from protocol.settlement.terms import ContractTerms, Role

LOOK_S: Final = 0.5
"""How often the party looks at the chain although nothing changed there."""
LIMITS: Final = Limits(frames_per_s=200, retry_cap_s=0.5)

T = TypeVar("T")

log = logging.getLogger(__name__)


class PartyProgram:
    """A party with everything that it owns. ``clock`` is real time except in tests; ``strategy``
    is where a liar differs, ``prover`` who runs the machine for it."""

    def __init__(
        self,
        config: PartyConfig,
        clock: Clock,
        *,
        strategy: Strategy = HONEST,
        prover: PartyProver | None = None,
    ) -> None:
        """Opens what must be this process's alone. ConfigError and GuardError name the file."""
        self.config = config
        self.keys = load_keys(config.keys, {})
        self.roster = config.roster(self.keys["identity"].public)
        self.folder = PartyFolder.open(config.folder)
        self._keys = self.folder.keys
        self.chain = open_chain(config.chain, "socket", network=config.network.name)
        self.wallet = self._open_wallet()
        self.policy = config.policy(self.wallet.script)
        remote = None if config.prover is None else RemoteRun(config.prover)
        self.prover = prover or PartyProver(remote)
        self.height = -1
        """Of the chain as the party has last looked at it."""
        self.fault: str | None = None
        """What the party could not have done, and wants done still."""
        self.transport: Transport
        self._clock, self._strategy = clock, strategy
        self.core = PartyCore(
            self.folder, self.chain, clock, self.wallet, self._made, self._begin, self._other
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="party")
        self._watcher = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="control")
        self._running: set[asyncio.Task[None]] = set()
        self._rested = asyncio.Event()
        self._failed: asyncio.Future[None]
        self._loop: asyncio.AbstractEventLoop

    @property
    def party(self) -> Party:
        """As its last work has left it."""
        return self.core.party

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
            event(log, "serving", role=self.config.role.value, records=len(self.core.records))
            watching = asyncio.create_task(self._watch())
            watching.add_done_callback(self._give_up)
            running.callback(watching.cancel)
            await self._failed

    async def do(self, work: Work | None) -> None:
        """Have the party do ``work``, then all that it wants done; None only brings it up to date.
        What the party refuses is raised here and has changed nothing."""
        try:
            await self._loop.run_in_executor(self._thread, self.core.act, work)
            # What it wants run beside has been spawned by now: the loop keeps the order.
            self.height, self.fault = self.core.height, None
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
        self.policy, self.core.stale = policy, True
        await self.do(None)

    # What happens, in the loop

    def _hear(self, _: int, message: Message) -> None:
        self._soon(lambda party, now_ms: party.hear(message, self.chain, now_ms))

    def _joined(self, _: int) -> None:
        self.core.opened = False  # it says again what the other side may have missed
        self._soon(None)

    def _soon(self, work: Work | None) -> None:
        self._spawn(self._do_quietly, work)

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

    def _made(self, records: Sequence[bytes]) -> Party:
        """A party as its journal tells it."""
        return Party(
            self.config.role,
            self._keys,
            self.policy,
            self.folder.guard,
            secrets.token_bytes,
            records,
            strategy=self._strategy,
        )

    def _begin(self, party: Party, now_ms: int) -> Sequence[Effect]:
        config = self.config
        if config.role is Role.WRITER:
            return NOTHING
        return party.propose(config.claim, config.terms, self.chain, now_ms)

    def _other(self, effect: Effect) -> Sequence[Effect]:
        """What takes the peer, the wallet or the machine."""
        now_ms = self._clock.now_ms()
        match effect:
            case Say(message):
                self._loop.call_soon_threadsafe(self._say, message)
            case Prove(claim):
                self._loop.call_soon_threadsafe(self._spawn, self._prove, claim)
            case Retrace(data):
                self._loop.call_soon_threadsafe(self._spawn, self._retrace, data)
            case NeedCoins(_, needs):
                return self.party.coins(self.wallet.contribution(needs), self.chain, now_ms)
            case SignCoins(_, tx, spent, _):
                signed = self.wallet.sign(tx, spent)
                if signed is not None:
                    return self.party.coins_signed(signed, self.chain, now_ms)
        return NOTHING

    # In the loop

    def _say(self, message: Message) -> None:
        self.transport.send([ADDRESSES[self.config.role.other]], message)

    async def _prove(self, claim: Claim) -> None:
        """Unless this party lies, only a claim that the program accepts is proved."""
        trace = await self.prover.history(self._terms, claim.encode())
        if self._strategy is HONEST and trace.outcome.end != "HALT":
            self._complain(f"the program ends in {trace.outcome.end} on this claim: it is not made")
            return
        root = trace.root
        await self._deliver(lambda p, now_ms: p.proved(claim, root, self.chain, now_ms))

    async def _retrace(self, data: bytes) -> None:
        trace = await self.prover.history(self._terms, data)
        await self._deliver(lambda p, now_ms: p.retraced(data, trace, self.chain, now_ms))

    async def _deliver(self, work: Work) -> None:
        """What the party asked the machine for. It asks once: if the answer does not reach it, it
        is made anew and asks again."""
        try:
            await self.do(work)
        except ProtocolError as error:
            self.core.stale = True
            self._complain(str(error))

    @property
    def _terms(self) -> ContractTerms:
        terms = self.party.terms
        assert terms is not None, "there is nothing to prove without terms"
        return terms

    def _spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *about: Any) -> None:
        task = asyncio.create_task(work(*about))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._rested.set()
        self._give_up(task)

    def _give_up(self, task: asyncio.Task[None]) -> None:
        """What nobody expected ends the process: a party that stands still must be seen."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)

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
