"""Running the settlement program for a claim, on a thread beside everything else."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from protocol.errors import TermsError
from protocol.settlement.claim import Claim
from protocol.settlement.terms import ContractTerms, settlement_image


class PartyProver:
    """Roots of traces by claim. One run at a time, each claim once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prover")
        self._runs: dict[bytes, asyncio.Task[bytes]] = {}

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return any(not run.done() for run in self._runs.values())

    async def root(self, terms: ContractTerms, claim: Claim) -> bytes:
        """The root of the machine's trace on ``claim``; TermsError if the program refuses it."""
        data = claim.encode()
        if data not in self._runs:
            loop = asyncio.get_running_loop()
            run = loop.run_in_executor(self._thread, prove_claim, terms, claim)
            self._runs[data] = asyncio.ensure_future(run)
        return await asyncio.shield(self._runs[data])

    def close(self) -> None:
        """No more runs; one under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def prove_claim(terms: ContractTerms, claim: Claim) -> bytes:
    """Run the program on ``claim``; the root of its trace. TermsError if it does not accept
    it: such a claim would lose every dispute."""
    # The machine takes a second to import: a party that never claims does without.
    from riscv_vm.prove import Execution, prove

    chain = terms.chain
    trace = prove(
        Execution(
            settlement_image(terms), claim.encode(), log4_steps=chain.log4_steps, width=chain.width
        )
    )
    if trace.outcome.end != "HALT":
        raise TermsError(f"the program ends in {trace.outcome.end} on this claim: do not sign")
    return trace.root
