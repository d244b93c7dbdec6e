"""What the operator of a running party may ask over its control socket."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from actors.contract_txs import contract_txs
from actors.control import Method
from actors.demo_dispute import dispute_report
from protocol.bitcoin.address import encode_address
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, TermsError
from protocol.oracle.exercise import ExerciseNotice, notice_message
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.claim import claim_of
from protocol.settlement.contract_file import ContractFile
from protocol.settlement.dispute.story import story_of
from protocol.settlement.disputing import Dispute
from protocol.settlement.policy import Close
from protocol.settlement.record import Known
from protocol.settlement.terms import ContractTerms, contract_id, template_hash

if TYPE_CHECKING:
    from actors.party import PartyProgram


class PartyControl:
    """The methods of one party's socket; every answer is plain JSON."""

    def __init__(self, program: "PartyProgram") -> None:
        self._program = program

    def methods(self) -> Mapping[str, Method]:
        """By the names in requests."""
        return {
            "status": self.status,
            "at": self.at,
            "transactions": self.transactions,
            "dispute": self.dispute,
            "contract_file": self.contract_file,
            "exercise": self.exercise,
            "settle": self.settle,
            "close": self.close,
            "claim": self.claim,
        }

    async def status(self) -> dict[str, Any]:
        """Where the party stands; ``height`` is that of the chain it has looked at."""
        program, party = self._program, self._program.party
        terms = party.terms
        return {
            "pid": os.getpid(),
            "role": program.config.role.value,
            "connected": bool(program.transport.connected),
            "height": program.height,
            "stage": party.stage.value,
            "outcome": party.outcome,
            "certified": certified_fields(terms, party.facts.known),
            "dispute": dispute_fields(party.dispute),
            "over": party.over,
            "contract": contract_id(terms).hex() if terms else None,
            "terms": terms.encode().hex() if terms else None,
            "address": encode_address(program.wallet.script, program.config.network),
            "proving": program.prover.busy,
            "fault": program.fault,
        }

    async def at(self, height: int) -> dict[str, Any]:
        """The status, once the party has looked at the chain of this height and rests."""
        await self._program.until_at(height)
        return await self.status()

    async def transactions(self) -> list[dict[str, Any]]:
        """Those of the contract that the node knows, parents first."""
        graph, chain = self._program.party.graph, self._program.chain
        if graph is None:
            return []
        rows = await self._program.ask(lambda: contract_txs(graph, chain))
        return [asdict(row) for row in rows]

    async def dispute(self) -> dict[str, Any] | None:
        """How the claim on the chain fared; None where there is none, or it is open."""
        graph, chain = self._program.party.graph, self._program.chain
        if graph is None:
            return None
        found = await self._program.ask(lambda: dispute_report(story_of(graph, chain)))
        return None if found is None else asdict(found)

    async def contract_file(self) -> str:
        """A watcher's file of the contract in hex, as `contract export` writes it: no secret in it.
        TermsError before both sides have signed everything."""
        program = self._program
        folder, facts = program.folder, program.party.facts
        file = ContractFile.of(program.config.role, folder.keys, facts, folder.guard.get)
        return file.public().encode().hex()

    async def exercise(self, round_id: int) -> dict[str, str]:
        """The holder's signed notice (EXN1) that it exercises its American option in this round of
        the oracles, for ``oracle-vm aggregator notice``."""
        terms = self._terms()
        slot = terms.expiry_slot(round_id)
        message = notice_message(contract_id(terms), slot.target_round)
        key = self._program.folder.keys.signer(terms.holder.key)
        signature = key.sign(message, secrets.token_bytes(32))
        preimage = terms.encode() + template_hash()
        return {"notice": ExerciseNotice(preimage, round_id, signature).encode().hex()}

    async def settle(self, certificate: str) -> dict[str, Any]:
        """The oracles have spoken: close with the other side, or claim, as the configuration says.
        ``certificate`` is what they signed, in hex."""
        program, terms = self._program, self._terms()
        try:
            found = ExpiryCertificate.decode(bytes.fromhex(certificate))
        except ValueError as error:
            raise EncodingError(f"certificate: {error}") from None
        anchor = b""
        if terms.chain.anchored and program.policy.close is Close.OFFER:
            root = await program.prover.root(terms, claim_of(terms, found))
            anchor = tagged_hash("btcfi/anchor/v1", root + found.expiry.report_hash)
        await program.do(
            lambda party, now_ms: party.settle(found, program.chain, now_ms, anchor=anchor)
        )
        return await self.status()

    async def close(self) -> dict[str, Any]:
        """From now on, close together with the other side if it will, whatever the file says."""
        return await self._behave(close=Close.OFFER)

    async def claim(self) -> dict[str, Any]:
        """From now on, claim without waiting for the other side, whatever the file says."""
        return await self._behave(
            close=Close.NEVER, claims=True, claim_after_ms=0, claim_after_blocks=0
        )

    async def _behave(self, **changes: Any) -> dict[str, Any]:
        program = self._program
        await program.adopt(replace(program.policy, **changes))
        return await self.status()

    def _terms(self) -> ContractTerms:
        terms = self._program.party.terms
        if terms is None:
            raise TermsError("there is no contract yet: wait until both sides have agreed")
        return terms


def certified_fields(terms: ContractTerms | None, known: Known | None) -> dict[str, Any] | None:
    """What the oracles have certified for the contract, and what that gives the holder; None while
    this party has not been told."""
    if terms is None or known is None:
        return None
    expiry, claim = known.certificate.expiry, terms.claim
    payout_sats = claim.payout_sats(claim.units(expiry))
    return {"round": expiry.end_round, "price_e8": expiry.price_e8, "payout_sats": payout_sats}


def dispute_fields(dispute: Dispute | None) -> dict[str, Any] | None:
    """The game about a claim as plain values; None before KICKOFF."""
    if dispute is None:
        return None
    fields = asdict(dispute)
    return {
        name: value.value if isinstance(value, Enum) else value for name, value in fields.items()
    }
