"""A party of a contract as a Ray actor: the program of ``oracle-vm party run`` on a thread.

It is given paths, never keys. Durable as that program is: after a crash it is started again on its
folder, which says where to go on. What it runs of the machine, its provers do if it has some: the
machine takes a second to import, and a party that runs nothing does without.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors import placement
from actors.demo_config import Proving
from actors.demo_dispute import dispute_report
from actors.logs import event
from actors.party import PartyProgram
from actors.party_config import load_party
from actors.party_control import PartyControl
from actors.party_prover import PartyProver, trace_of
from actors.program import Running
from actors.report import DisputeReport, ProofReport, ProverReport
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ProtocolError
from protocol.settlement.dispute.story import story_of
from protocol.settlement.terms import ContractTerms, settlement_template, terms_page

if TYPE_CHECKING:
    from riscv_vm.trace import Trace

Run = Callable[[ContractTerms, bytes], "Trace"]

log = logging.getLogger(__name__)


class PartyActor:
    """The actor. With a ``lie`` (protocol.dispute.lies) it lies about its claim."""

    def __init__(
        self,
        party_file: Path,
        proving: Proving,
        provers: Sequence[str] = (),
        lie: str | None = None,
    ) -> None:
        """``provers`` are names of prover actors; without any it computes here. ConfigError
        and GuardError as the program's."""
        config = load_party(party_file)
        strategy = HONEST if lie is None else self._lying(lie)
        self._proofs: list[ProofReport] = []
        prover = PartyProver(self._pool(provers, proving)) if provers else None
        self._program = PartyProgram(config, config.oracles.clock, strategy=strategy, prover=prover)
        self._methods = PartyControl(self._program).methods()
        self._running = Running(self._program, config.folder, config.log)

    async def pid(self) -> int:
        """The operating system's process id."""
        return os.getpid()

    async def ask(self, method: str, **arguments: Any) -> Any:
        """What the party's control socket would answer."""
        return await self._running.ask(self._methods[method](**arguments))

    async def dispute(self) -> DisputeReport | None:
        """How the claim on the chain fared; None where there is none, or it is open."""
        graph, chain = self._program.party.graph, self._program.chain
        if graph is None:
            return None
        read = self._program.ask(lambda: dispute_report(story_of(graph, chain)))
        return await self._running.ask(read)

    async def proof(self) -> ProofReport | None:
        """The last proof by its provers."""
        return self._proofs[-1] if self._proofs else None

    def _lying(self, lie: str) -> Strategy:
        from actors.party_lie import lying

        return lying(lie, lambda: self._program.party)

    def _pool(self, names: Sequence[str], proving: Proving) -> Run:
        """The machine, run by prover actors; by this process where they cannot."""
        from actors.prover import Job
        from actors.prover_pool import ProverPool

        pool = ProverPool(settlement_template(), placement.named(placement.PROVER, names))

        def run(terms: ContractTerms, data: bytes) -> "Trace":
            chain, chunk = terms.chain, proving.log4_chunk
            job = Job(data, chain.log4_steps, chain.width, chunk, terms_page(terms))
            try:
                proof = pool.prove(job, proving.task_steps)
            except (ProtocolError, TimeoutError) as error:
                event(log, "own run", logging.WARNING, reason=str(error))
                return trace_of(terms, data)
            shares = [
                ProverReport(name, share.chunks, share.steps, share.seconds)
                for name, share in proof.shares.items()
            ]
            trace = proof.trace
            self._proofs.append(ProofReport(trace.steps, trace.root.hex(), proof.seconds, shares))
            return trace

        return run
