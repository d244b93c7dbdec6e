"""The aggregator as an actor: asks the oracles, proposes, collects votes, keeps the certificates.

Trusted with nothing: every oracle recomputes what it proposes. Durable: a certificate is on disk
before anybody is told; a restart continues the chain from the last one.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

from actors.clock import Clock
from actors.journal import Journal
from actors.oracle import Sight
from actors.outcomes import Answered, Lost, Outcome, Refused, ask
from protocol.errors import EncodingError, QuorumError
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import ExpirySlot, assemble
from protocol.oracle.feed import Feed
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import Proposal, Refusal, Vote
from protocol.oracle.round import AggregatorNode


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """Public values, the folder of the certificates, and the deadlines of a round."""

    config: bytes  # CFG1
    feed: bytes
    folder: Path
    collect_ms: int
    certify_ms: int
    clock: Clock


@dataclass(frozen=True, slots=True)
class Sights:
    """What the observe step gave: sights by oracle index, and why others are missing."""

    round: int
    seen: dict[int, Sight]
    missing: dict[int, str]


@dataclass(frozen=True, slots=True)
class Published:
    """A certificate (bytes) and the time from the first venue frame behind it to now."""

    certificate: bytes
    latency_ms: float


class Aggregator:
    """The actor. ``oracles`` names the oracle actors in the order of the configuration."""

    def __init__(self, settings: AggregatorSettings, oracles: Sequence[str]) -> None:
        settings.folder.mkdir(parents=True, exist_ok=True)
        self._journal, records = Journal.open(settings.folder / "certificates.journal")
        kept = [Certificate.decode(record) for record in records]
        self._kept = len(kept)
        self._settings = settings
        self._clock = settings.clock
        self._oracles = [ray.get_actor(name) for name in oracles]
        self._node = AggregatorNode(
            OracleConfig.decode(settings.config),
            Feed.decode(settings.feed).feed_id,
            last=kept[-1] if kept else None,
            wait_ms=settings.collect_ms,
        )

    async def pid(self) -> int:
        """The operating system's process id."""
        return os.getpid()

    async def ready(self) -> int:
        """The number of certificates on disk."""
        return self._kept

    async def round(self, round_id: int) -> Published:
        """One whole round, begun at its boundary. QuorumError says why there is no certificate."""
        return await self.certify(await self.observe(round_id))

    async def observe(self, round_id: int) -> Sights:
        """Wait for the round to begin and collect observations until all came or time is up."""
        await self._until(self._node.config.starts_ms(round_id))
        deadline_s = self._settings.collect_ms / 1000
        calls: list[Awaitable[Outcome[Sight]]] = [
            ask(oracle.observe.remote(round_id), deadline_s) for oracle in self._oracles
        ]
        outcomes = await asyncio.gather(*calls)
        sights = Sights(round_id, {}, {})
        for index, outcome in enumerate(outcomes):
            taken = self._take(index, outcome)
            if isinstance(taken, Sight):
                sights.seen[index] = taken
            else:
                sights.missing[index] = taken
        for index, sight in sights.seen.items():
            for peer, oracle in enumerate(self._oracles):
                if peer != index:
                    oracle.hear.remote(sight.signed)
        return sights

    async def certify(self, sights: Sights) -> Published:
        """Propose what was observed and collect votes. QuorumError if the quorum does not sign."""
        round_id = sights.round
        opened = self._node.deadline_ms(round_id)
        await self._until(0 if len(sights.seen) >= len(self._oracles) else opened or 0)
        proposal = self._node.propose(round_id, self._clock.now_ms())
        if proposal is None:
            raise self._node.failure(round_id)
        certificate = await self._vote(proposal)
        if certificate is None:
            raise self._node.failure(round_id)
        encoded = certificate.encode()
        self._journal.append(encoded)
        self._kept += 1
        used = certificate.report.observers
        now_ns = time.monotonic_ns()
        first_ns = min(
            (s.first_frame_ns for i, s in sights.seen.items() if used >> i & 1), default=now_ns
        )
        latency_ms = (now_ns - first_ns) / 1e6
        for oracle in self._oracles:
            oracle.adopt.remote(encoded)
        return Published(encoded, latency_ms)

    async def expire(self, slot: ExpirySlot, grace_rounds: int) -> bytes:
        """The certificate of an expiry (bytes): what a quorum of oracles computed alike and signed.

        QuorumError says which oracle did not.
        """
        last = self._node.last
        if last is None:
            raise QuorumError("there is no certified round to expire on")
        deadline_s = self._settings.certify_ms / 1000
        outcomes: list[Outcome[tuple[bytes, bytes]]] = await asyncio.gather(
            *(
                ask(oracle.expire.remote(slot, grace_rounds, last.encode()), deadline_s)
                for oracle in self._oracles
            )
        )
        answers = {i: o.value for i, o in enumerate(outcomes) if isinstance(o, Answered)}
        try:
            return assemble(self._node.config, slot, answers).encode()
        except QuorumError as error:
            fates = (
                f"; oracle {index} {outcome.reason}"
                for index, outcome in enumerate(outcomes)
                if not isinstance(outcome, Answered)
            )
            raise QuorumError(f"no expiry certificate: {error}{''.join(fates)}") from None

    async def _vote(self, proposal: Proposal) -> Certificate | None:
        """Show the proposal to all. An oracle that holds an observation that was missing gives it
        back with its refusal: then the better proposal is shown to all, once."""
        certificate, better = await self._poll(proposal)
        if certificate is None and better is not None:
            certificate, _ = await self._poll(better)
        return certificate

    async def _poll(self, proposal: Proposal) -> tuple[Certificate | None, Proposal | None]:
        deadline_s = self._settings.certify_ms / 1000
        pending: dict[asyncio.Future[Outcome[Vote | Refusal]], int] = {
            asyncio.ensure_future(ask(oracle.certify.remote(proposal), deadline_s)): index
            for index, oracle in enumerate(self._oracles)
        }
        certificate: Certificate | None = None
        better: Proposal | None = None
        while pending and certificate is None:
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for call in done:
                answer = self._count(pending.pop(call), call.result(), proposal)
                if isinstance(answer, Certificate):
                    certificate = answer
                elif isinstance(answer, Proposal):
                    better = answer
        for call in pending:
            call.cancel()
        return certificate, better

    def _count(
        self, oracle: int, outcome: Outcome[Vote | Refusal], proposal: Proposal
    ) -> Certificate | Proposal | None:
        if not isinstance(outcome, Answered):
            return None
        if not isinstance(outcome.value, Vote | Refusal):
            return None
        if isinstance(outcome.value, Refusal):
            round_id, now_ms = proposal.report.round, self._clock.now_ms()
            return self._node.receive_refusal(oracle, round_id, outcome.value, now_ms)
        answer = self._node.receive_vote(outcome.value)
        return answer if isinstance(answer, Certificate) else None

    def _take(self, oracle: int, outcome: Outcome[Sight]) -> Sight | str:
        """The sight of ``oracle``, or why it is missing: an oracle may answer anything."""
        if isinstance(outcome, Refused | Lost):
            return outcome.reason
        sight = outcome.value
        if not isinstance(sight, Sight):
            return "the answer is no observation"
        try:
            signed = SignedObservation.decode(sight.signed)
        except EncodingError as error:
            return str(error)
        if signed.oracle != oracle:
            return f"signed as oracle {signed.oracle}"
        refusal = self._node.receive_observation(signed, self._clock.now_ms())
        return sight if refusal is None else str(refusal)

    async def _until(self, unix_ms: int) -> None:
        while (wait_ms := unix_ms - self._clock.now_ms()) > 0:
            await asyncio.sleep(min(wait_ms, 50) / 1000)
