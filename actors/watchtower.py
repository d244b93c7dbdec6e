"""Many contracts guarded by one process over one chain connection (protocol.settlement.tower).

Each contract is a ``Party`` of its own that only answers, with a folder of its own: journal, guard
and the seed of answers. Work goes through one thread; the machine runs beside it.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from actors.clock import Clock
from actors.config import Chain, Wallet, open_chain
from actors.control import Control
from actors.keyfile import load_key
from actors.logs import event
from actors.party_control import dispute_fields
from actors.party_core import NOTHING, PartyCore, Work
from actors.party_folder import CONTROL
from actors.party_prover import PartyProver
from actors.party_wallet import KeyWallet
from actors.watchtower_config import WatchtowerConfig
from actors.watchtower_folder import TowerFolder
from protocol.errors import ChainError, GuardError, ProtocolError
from protocol.settlement.messages import Effect, Retrace
from protocol.settlement.party import Party
from protocol.settlement.terms import ContractTerms, Role, contract_id
from protocol.settlement.tower import TOWER, is_own_claim, tower_policy

LOOK_S: Final = 0.5
"""How often it looks at the chain although nothing changed there."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Guarded:
    """One contract, and why the newest look at it failed."""

    role: Role
    terms: ContractTerms
    core: PartyCore
    fault: str | None = None

    def look(self, party: Party, now_ms: int) -> Sequence[Effect]:
        """What is due; nothing while the party itself claims."""
        graph = party.graph
        assert graph is not None, "a contract file is of a contract"
        if is_own_claim(graph, self.role, self.core.chain):
            return NOTHING
        return party.look(self.core.chain, now_ms)


class WatchtowerProgram:
    """A watchtower with everything that it owns. ``clock`` is real time except in tests."""

    def __init__(self, config: WatchtowerConfig, clock: Clock) -> None:
        """Opens what must be this process's alone. ConfigError and GuardError name the file."""
        self.config = config
        self.height = -1
        """Of the chain as it has last looked at it for every contract."""
        self.prover = PartyProver()
        self._clock = clock
        self._owned = ExitStack()
        with ExitStack() as opening:
            self.chain: Chain = open_chain(config.chain, "socket", network=config.network.name)
            opening.callback(self.chain.close)
            self._wallet = _wallet(config, self.chain)
            self.contracts = [
                self._guarded(opening.enter_context(TowerFolder.open(config, each, self.chain)))
                for each in config.contracts
            ]
            self._owned = opening.pop_all()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tower")
        self._watcher = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._running: set[asyncio.Task[None]] = set()
        self._rested = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    async def serve(self) -> None:
        """Run until cancelled. GuardError if what must be remembered cannot be."""
        self._loop = asyncio.get_running_loop()
        control = Control(self.config.folder / CONTROL, self.methods())
        try:
            await control.start()
            event(log, "guarding", contracts=len(self.contracts))
            while True:
                await self._look()
                await self._loop.run_in_executor(self._watcher, self._changed)
        finally:
            await control.stop()
            self._close()

    # What its operator may ask

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """Those of the control socket."""
        return {"status": self.status, "at": self.at}

    async def status(self) -> dict[str, Any]:
        """Every contract with its stage and dispute; ``height`` is that of the newest look."""
        contracts = [status_of(each) for each in self.contracts]
        return {"pid": os.getpid(), "height": self.height, "contracts": contracts}

    async def at(self, height: int) -> dict[str, Any]:
        """The status, once it has done all that a chain of this height asks for."""
        while self.height < height or len(self._running) > 0:
            self._rested.clear()
            await self._rested.wait()
        return await self.status()

    # In the loop

    async def _look(self) -> None:
        """At every contract."""
        heights = [await self._do(each, each.look) for each in self.contracts]
        self.height = min(heights)
        self._rested.set()

    async def _do(self, contract: Guarded, work: Work) -> int:
        """The height at which the work was done. GuardError ends the process, all else waits for
        the next look."""
        try:
            await self._act(contract, work)
        except GuardError:
            raise
        except ProtocolError as error:
            self._complain(contract, str(error))
        return contract.core.height

    async def _act(self, contract: Guarded, work: Work) -> None:
        await self._loop.run_in_executor(self._thread, contract.core.act, work)
        contract.fault = None

    def _complain(self, contract: Guarded, reason: str) -> None:
        if reason != contract.fault:
            event(log, "waiting", logging.WARNING, reason=reason)
        contract.fault = reason

    def _spawn(self, contract: Guarded, data: bytes) -> None:
        task = asyncio.create_task(self._retrace(contract, data))
        self._running.add(task)
        task.add_done_callback(lambda done: self._ended(contract, done))

    def _ended(self, contract: Guarded, task: asyncio.Task[None]) -> None:
        """A party asks for a trace once: if it does not get it, for whatever reason, it is made
        anew and asks again."""
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            contract.core.stale = True
            self._complain(contract, f"{type(error).__name__}: {error}")
        self._rested.set()

    async def _retrace(self, contract: Guarded, data: bytes) -> None:
        trace = await self.prover.history(contract.terms, data)
        chain = self.chain
        await self._act(contract, lambda p, now_ms: p.retraced(data, trace, chain, now_ms))

    def _changed(self) -> None:
        """Returns when there is something to look at, or after a while."""
        asked = count()
        with suppress(ChainError):  # nothing changed, or no node: the look will tell
            self.chain.wait(lambda: next(asked) > 0 or self.chain.height != self.height, LOOK_S)

    # Parts

    def _guarded(self, folder: TowerFolder) -> Guarded:
        terms, role = folder.terms, folder.role
        policy = tower_policy(terms, role, self.config.depth)

        def made(records: Sequence[bytes]) -> Party:
            guard, entropy = folder.disk.guard, secrets.token_bytes
            return Party(role, folder.keys, policy, guard, entropy, records, strategy=TOWER)

        def other(effect: Effect) -> Sequence[Effect]:
            # Whatever else a party wants is the party's own to do.
            if isinstance(effect, Retrace):
                self._loop.call_soon_threadsafe(self._spawn, contract, effect.data)
            return NOTHING

        core = PartyCore(folder.disk, self.chain, self._clock, self._wallet, made, _nothing, other)
        contract = Guarded(role, terms, core)
        return contract

    def _close(self) -> None:
        for executor in (self._thread, self._watcher):
            executor.shutdown(wait=False, cancel_futures=True)
        self.prover.close()
        self._owned.close()


def status_of(contract: Guarded) -> dict[str, Any]:
    """One contract as plain values."""
    party = contract.core.party
    return {
        "contract": contract_id(contract.terms).hex(),
        "role": contract.role.value,
        "stage": party.stage.value,
        "outcome": party.outcome,
        "over": party.over,
        "dispute": dispute_fields(party.dispute),
        "fault": contract.fault,
    }


def _nothing(_: Party, __: int) -> Sequence[Effect]:
    return NOTHING


def _wallet(config: WatchtowerConfig, chain: Chain) -> KeyWallet | None:
    return None if config.wallet is None else KeyWallet(Wallet(chain, load_key(config.wallet)))
