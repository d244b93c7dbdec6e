"""Running the settlement program beside everything else: for a claim, and for a dispute.

One run at a time, on a thread that leaves the others alone: the machine's code holds no lock of
Python. A trace keeps chunk roots and checkpoints, so that what a dispute asks of it takes
milliseconds wherever that is.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from protocol.errors import TermsError
from protocol.settlement.claim import Claim
from protocol.settlement.terms import ContractTerms, settlement_image

if TYPE_CHECKING:
    from riscv_vm.trace import Trace

TRACES_KEPT: Final = 8
"""A contract has one true claim, and a liar pays for each other one."""


class PartyProver:
    """Traces by contract and input: one run at a time, each once."""

    def __init__(self, run: "Callable[[ContractTerms, bytes], Trace] | None" = None) -> None:
        """``run`` makes a trace; by default the machine in this process."""
        self._run = run or trace_of
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prover")
        self._runs: OrderedDict[tuple[ContractTerms, bytes], asyncio.Task[Trace]] = OrderedDict()

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return any(not run.done() for run in self._runs.values())

    async def history(self, terms: ContractTerms, data: bytes) -> "Trace":
        """The machine's trace on the whole input ``data``, however it ends: the ``History`` of a
        dispute (protocol.dispute.rules). It belongs to one thread at a time."""
        name = terms, data
        if name not in self._runs:
            loop = asyncio.get_running_loop()
            run = loop.run_in_executor(self._thread, self._run, terms, data)
            self._runs[name] = asyncio.ensure_future(run)
            while len(self._runs) > TRACES_KEPT:
                self._runs.popitem(last=False)
        return await asyncio.shield(self._runs[name])

    async def root(self, terms: ContractTerms, claim: Claim) -> bytes:
        """The root of the machine's trace on ``claim``. TermsError if the program does not accept
        it: such a claim would lose every dispute."""
        return _accepted(await self.history(terms, claim.encode()))

    def close(self) -> None:
        """No more runs; one under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def prove_claim(terms: ContractTerms, claim: Claim) -> bytes:
    """The same here and now."""
    return _accepted(trace_of(terms, claim.encode()))


def trace_of(terms: ContractTerms, data: bytes) -> "Trace":
    """Run the program on ``data`` under the terms' settings."""
    # The machine takes a second to import: a party that never claims does without.
    from riscv_vm.prove import Execution, prove

    chain = terms.chain
    execution = Execution(
        settlement_image(terms), data, log4_steps=chain.log4_steps, width=chain.width
    )
    return prove(execution)


def _accepted(trace: "Trace") -> bytes:
    if trace.outcome.end != "HALT":
        raise TermsError(f"the program ends in {trace.outcome.end} on this claim: do not sign")
    return trace.root
