"""A party's way to a prover's process: the roots are the prover's, everything else is its own.

The plain run, which a trace needs anyway, is made here: outcome and checkpoints are the party's
own. Of the roots, which take five times as long, a random stretch is hashed again. That
finds a prover that is broken, and with luck one that lies about a single chunk: name one that is
yours. Whatever is wrong with it, the party runs all of the machine itself.
"""

import asyncio
import logging
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.control import short_path
from actors.logs import event
from actors.prover_frames import ANSWER, REQUEST, Answer, Request, read_frame, send_frame
from protocol.errors import EncodingError, ProtocolError
from protocol.settlement.terms import SETTLEMENT_GUEST, ContractTerms, terms_page

if TYPE_CHECKING:
    from riscv_vm.trace import Trace

PROVE_S: Final = 120.0
"""For an answer: proofs of other parties may come first."""

log = logging.getLogger(__name__)


def remote_trace(socket: Path, terms: ContractTerms, data: bytes) -> "Trace":
    """The machine's trace of the settlement program on ``data``. ProtocolError says why the prover
    behind ``socket`` did not give one that can be believed."""
    chain = terms.chain
    request = Request(
        program=SETTLEMENT_GUEST,
        terms=terms_page(terms),
        data=data,
        log4_steps=chain.log4_steps,
        width=chain.width,
    )
    try:
        answer = asyncio.run(asyncio.wait_for(_ask(socket, request), PROVE_S))
    except (OSError, TimeoutError, EOFError) as error:
        raise ProtocolError(f"{socket}: no prover answers ({error or 'too late'})") from None
    if answer.error:
        raise ProtocolError(f"{socket}: the prover refuses: {answer.error}")
    return checked_trace(request, answer.roots)


def checked_trace(request: Request, roots: bytes) -> "Trace":
    """The trace with these chunk roots. EncodingError if they are too few or too many, or if those
    of a random stretch are not what the machine gives here."""
    from riscv_vm.prove import CHECKPOINT_STEPS, PrePass, prove_chunks

    execution = request.execution()
    prepass = PrePass(execution, CHECKPOINT_STEPS // execution.chunk_steps)
    tasks, width = tuple(prepass), request.width
    chunks = tasks[-1].first + tasks[-1].count
    if len(roots) != chunks * width:
        raise EncodingError(f"the prover gave {len(roots)} bytes for the roots of {chunks} chunks")
    found = [roots[at : at + width] for at in range(0, len(roots), width)]
    task = secrets.choice(tasks)
    if prove_chunks(execution, task) != tuple(found[task.first : task.first + task.count]):
        raise EncodingError(f"the prover's roots from chunk {task.first} on are false")
    return prepass.trace([found])


class RemoteRun:
    """Runs for ``PartyProver``: by the prover behind ``socket``, or else here."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def __call__(self, terms: ContractTerms, data: bytes) -> "Trace":
        """The machine's trace on ``data``."""
        from actors.party_prover import trace_of

        try:
            return remote_trace(self._socket, terms, data)
        except ProtocolError as error:
            event(log, "own run", logging.WARNING, reason=str(error))
            return trace_of(terms, data)


async def _ask(socket: Path, request: Request) -> Answer:
    with short_path(socket) as near:
        reader, writer = await asyncio.open_unix_connection(near)
    try:
        await send_frame(writer, REQUEST, request)
        answer: Answer = await read_frame(reader, ANSWER)
        return answer
    finally:
        writer.close()
