"""The parties of a soak: the real programs on their own folders, in the loop of the run.

They stand where ``actors.market_children`` starts processes: a day of processes would spend its
time on imports. A party looks at the chain when a block has come, and now and then.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from actors.clock import Clock
from actors.party import PartyProgram
from actors.party_config import PartyConfig, load_party
from protocol.dispute.sides import HONEST, Strategy
from protocol.settlement.terms import Role
from tests.soak.plan import Plan

LOOK_S: Final = 600.0


class Bell:
    """Rung with every block."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, at_most_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._rung.wait()


class SoakParty(PartyProgram):
    """A party whose wait for blocks is the loop's, so that time can go on meanwhile."""

    def __init__(self, bell: Bell, config: PartyConfig, clock: Clock, strategy: Strategy) -> None:
        super().__init__(config, clock, strategy=strategy)
        self._bell = bell

    async def _watch(self) -> None:
        while True:
            await self._bell.wait(LOOK_S)
            await self._do_quietly(lambda party, now_ms: party.look(self.chain, now_ms))


class Running:
    """One party and the task that it is."""

    def __init__(self, program: SoakParty) -> None:
        self.program = program
        self.task = asyncio.create_task(program.serve())

    @property
    def fault(self) -> str:
        """What it died of, empty while it lives."""
        if not self.task.done() or self.task.cancelled():
            return ""
        return f"it ended: {self.task.exception()}"

    def wait(self) -> None:
        """Nothing is left to wait for, as the desk would for a process."""


class Parties:
    """As ``PartyChildren``, of contracts whose number is their folder's name. ``plan_of`` says how
    each one is to end, ``wallet_of`` which key pays."""

    def __init__(
        self,
        bell: Bell,
        clock: Clock,
        plan_of: Callable[[int], Plan],
        wallet_of: Callable[[int, Role], Path],
    ) -> None:
        self._bell, self._clock = bell, clock
        self._plan_of, self._wallet_of = plan_of, wallet_of
        self._running: dict[Path, Running] = {}
        self.faults: list[str] = []

    def keep(self, folder: Path, role: Role) -> str:
        file = folder / f"{role.value}.toml"
        if file not in self._running:
            self._running[file] = Running(self._program(file, role))
        fault = self._running[file].fault
        if fault:
            self.faults.append(f"{file.parent.name}/{role.value}: {fault}")
        return fault

    def answered(self, folder: Path, role: Role) -> None:
        """It is well."""

    def is_starting(self, folder: Path, role: Role) -> bool:
        return False

    def end(self, files: Iterable[Path]) -> list[Running]:
        ended = [self._running.pop(file) for file in files if file in self._running]
        for running in ended:
            running.task.cancel()
        return ended

    def end_all(self) -> list[Running]:
        return self.end(list(self._running))

    def party(self, folder: Path, role: Role) -> SoakParty:
        """The program of one side."""
        return self._running[folder / f"{role.value}.toml"].program

    def _program(self, file: Path, role: Role) -> SoakParty:
        config, number = load_party(file), int(file.parent.name)
        plan = self._plan_of(number)
        keys = dict(config.keys) | {"wallet": self._wallet_of(number, role)}
        config = replace(config, keys=keys, close=plan.closing(role), depth=1)
        lie, made = plan.lie_of(role), []
        strategy: Any = HONEST
        if lie is not None:
            from actors.party_lie import lying

            strategy = lying(lie, lambda: made[0].party)
        made.append(SoakParty(self._bell, config, self._clock, strategy))
        return made[0]
