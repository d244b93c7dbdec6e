"""The machine's runs beside a party: each once, to whatever end."""

import asyncio
from dataclasses import replace

import pytest

from actors.party_prover import PartyProver, prove_claim, trace_of
from protocol.errors import TermsError
from riscv_vm.isa import HALT, TRAP
from tests.builders.claims import claim_at
from tests.builders.contracts import contract_terms
from tests.builders.terms import SMALL, claim_terms

TERMS = contract_terms(claim_terms(**SMALL))
TRUE = claim_at(TERMS)
FALSE = replace(TRUE, units=TRUE.units + 1)


async def test_a_run_is_done_once_and_a_false_claim_is_told_to_its_end() -> None:
    runs = []

    def counted(terms, data):
        runs.append(data)
        return trace_of(terms, data)

    prover = PartyProver(counted)
    try:
        asked = [prover.history(TERMS, TRUE.encode()) for _ in range(3)]
        first, *others = await asyncio.gather(*asked)
        assert not prover.busy
        assert all(trace is first for trace in others)
        assert await prover.root(TERMS, TRUE) == first.root == prove_claim(TERMS, TRUE)
        false = await prover.history(TERMS, FALSE.encode())
        with pytest.raises(TermsError, match="ends in TRAP on this claim: do not sign"):
            await prover.root(TERMS, FALSE)
        assert runs == [TRUE.encode(), FALSE.encode()]
        last = 4**TERMS.chain.log4_steps - 1
        for trace, end in ((first, HALT), (false, TRAP)):
            assert trace.step(last).record.next_pc == end
            assert (
                trace.step(trace.steps // 2).record
                == trace.block(trace.steps // 8)[trace.steps // 2 % 4]
            )
    finally:
        prover.close()
