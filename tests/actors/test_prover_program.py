"""A prover's process and the party that asks it: the same trace as alone, or no harm done."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from actors.party_prover import PartyProver, trace_of
from actors.prover_client import RemoteRun, checked_trace, remote_trace
from actors.prover_config import ProverConfig, load_prover
from actors.prover_frames import ANSWER, REQUEST, Answer, Request, read_frame, send_frame
from actors.prover_program import ProverProgram
from protocol.errors import ConfigError, EncodingError, GuardError, ProtocolError
from protocol.settlement.terms import SETTLEMENT_GUEST, terms_page
from tests.builders.claims import claim_at
from tests.builders.contracts import contract_terms
from tests.builders.terms import SMALL, claim_terms

TERMS = contract_terms(claim_terms(**SMALL))
CLAIM = claim_at(TERMS)
DATA = CLAIM.encode()
REQUESTED = Request(
    program=SETTLEMENT_GUEST,
    terms=terms_page(TERMS),
    data=DATA,
    log4_steps=TERMS.chain.log4_steps,
    width=TERMS.chain.width,
)


@asynccontextmanager
async def prover(folder):
    """One that serves; its socket."""
    program = ProverProgram(ProverConfig(folder / "prover.sock", 2, "info"))
    serving = asyncio.create_task(program.serve())
    try:
        async with asyncio.timeout(60):
            while not program.config.socket.exists():
                assert not serving.done(), serving.exception()
                await asyncio.sleep(0.01)
        yield program.config.socket
    finally:
        serving.cancel()
        await asyncio.wait((serving,))
    assert not program.config.socket.exists()


async def asked(socket, request):
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        await send_frame(writer, REQUEST, request)
        return await read_frame(reader, ANSWER)
    finally:
        writer.close()


async def test_its_trace_is_the_one_that_a_party_makes_alone(tmp_path):
    alone = trace_of(TERMS, DATA)
    async with prover(tmp_path) as socket:
        assert socket.stat().st_mode & 0o777 == 0o600
        with pytest.raises(GuardError, match="in use by another process"):
            await ProverProgram(ProverConfig(socket, 1, "info")).serve()
        party = PartyProver(RemoteRun(socket))
        assert await party.root(TERMS, CLAIM) == alone.root
        party.close()
        false = replace(CLAIM, units=CLAIM.units + 1).encode()
        traces = await asyncio.gather(
            *(asyncio.to_thread(remote_trace, socket, TERMS, data) for data in (DATA, false))
        )
        assert [trace.outcome.end for trace in traces] == ["HALT", "TRAP"]
        middle = alone.steps // 8
        assert traces[0].block(middle) == alone.block(middle)
        assert traces[0].open(4 * middle) == alone.open(4 * middle)


async def test_what_it_cannot_prove_it_refuses(tmp_path):
    async with prover(tmp_path) as socket:
        refused = await asked(socket, replace(REQUESTED, program="nothing"))
        assert "nothing" in refused.error
        assert refused.roots == b""
        assert "20 or 32" in (await asked(socket, replace(REQUESTED, width=24))).error
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write((1 << 31).to_bytes(4))
        assert await reader.read() == b"", "a frame that is too long ends the connection"
        writer.close()
        assert (await asked(socket, REQUESTED)).error == ""


async def test_a_prover_that_is_gone_or_lies_costs_nothing_but_time(tmp_path):
    alone = trace_of(TERMS, DATA)
    for lie in (None, Answer(roots=b"\1" * 20), Answer(error="no")):
        socket = tmp_path / "lies.sock"

        async def lies(reader, writer, lie=lie):
            await read_frame(reader, REQUEST)
            await send_frame(writer, ANSWER, lie)
            writer.close()

        server = None if lie is None else await asyncio.start_unix_server(lies, socket)
        with pytest.raises(ProtocolError):
            await asyncio.to_thread(remote_trace, socket, TERMS, DATA)
        trace = await asyncio.to_thread(RemoteRun(socket), TERMS, DATA)
        assert trace.root == alone.root
        if server is not None:
            server.close()


async def test_false_roots_are_found():
    execution = REQUESTED.execution()
    chunks = -(-trace_of(TERMS, DATA).steps // execution.chunk_steps)
    with pytest.raises(EncodingError, match="are false"):
        checked_trace(REQUESTED, bytes(chunks * REQUESTED.width))
    with pytest.raises(EncodingError, match=f"for the roots of {chunks} chunks"):
        checked_trace(REQUESTED, bytes((chunks + 1) * REQUESTED.width))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "prover"),
        ('[prover]\nsocket = ""', "socket"),
        ('[prover]\nsocket = "p.sock"\nworkers = 0', "workers"),
        ('[prover]\nsocket = "p.sock"\nkey = "k"', "key"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, says):
    (tmp_path / "prover.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_prover(tmp_path / "prover.toml")
    (tmp_path / "prover.toml").write_text('[prover]\nsocket = "p.sock"\n')
    assert load_prover(tmp_path / "prover.toml") == ProverConfig(tmp_path / "p.sock", 2, "info")
