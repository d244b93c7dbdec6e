"""What must hold at every event and at the end of a schedule, and how often it was checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from protocol.errors import ProtocolError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.layout import ZERO32
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.report import Grade, Report

if TYPE_CHECKING:
    from actors.simulation.process import OracleProcess, Process
    from actors.simulation.world import World

MILLION = 1_000_000


class Invariant(StrEnum):
    """The names that a violation is reported under."""

    HONEST_NOT_CONVICTED = "no evidence convicts an honest oracle"
    DOUBLE_SIGNER_CONVICTED = "who signed two certificates of a round is convicted"
    FULL_IN_RANGE = "a FULL price lies between honest observations"
    DEGRADED_IN_DELTA = "a DEGRADED price of two lies within delta/2 of the honest observation"
    CERTIFICATE_VALID = "a stored certificate verifies, signed by a quorum"
    SIGNED_ONCE = "an honest oracle signs one message a slot"
    SIGNED_IN_TIME = "an honest oracle signs no round that is over"
    HEAD_FORWARD = "the head never goes back, also over a crash"
    CHAIN_LINKED = "a certificate links to a certified report of an earlier round"
    HISTORY_COMPLETE = "at the end every honest oracle holds the whole chain"
    CHAINS_AGREE = "at the end all honest members have the same chain up to the last seconds"
    LIVE_WITH_ONE_FAULT = "with one fault at most, a new certificate within the bound"
    LIVE_AFTER_FAULTS = "after the faults, a new certificate within the bound"


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold, where, and at which ms of the schedule."""

    invariant: Invariant
    schedule: int
    at_ms: int
    detail: str


class Invariants:
    """Watches one schedule. ``checked`` counts by invariant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.checked: Counter[Invariant] = Counter()
        self.violations: list[Violation] = []
        self.certified: dict[bytes, Any] = {}
        self._signed: dict[tuple[int, bytes], bytes] = {}
        self._seen: dict[tuple[int, int, bytes], int] = {}
        self._heads: dict[Process, int] = {}
        self._advanced_ms: dict[int, int] = {}

    def require(self, invariant: Invariant, holds: bool, detail: str) -> None:
        """Count the check and remember a violation."""
        self.checked[invariant] += 1
        if not holds:
            world = self._world
            self.violations.append(
                Violation(invariant, world.scenario.number, world.elapsed_ms, detail)
            )

    # At every event

    def check_signature(
        self,
        oracle: OracleProcess,
        kind: bytes,
        digest: bytes,
        feed: bytes,
        round_id: int,
        message: bytes,
    ) -> None:
        """An honest oracle is about to sign ``message``."""
        who = f"oracle {oracle.address} round {round_id} {kind.decode()}"
        slot = oracle.address, kind + digest + feed + round_id.to_bytes(8)
        first = self._signed.setdefault(slot, message)
        self.require(Invariant.SIGNED_ONCE, first == message, who)
        config = self._world.config
        late_ms = oracle.now_ms - config.starts_ms(round_id)
        limit_ms = 2 * config.max_age_ms
        if first == message:  # a restart may repeat what was signed in time
            self.require(Invariant.SIGNED_IN_TIME, late_ms <= limit_ms, f"{who}: {late_ms} ms late")

    def hear(self, oracle: int, signed: Any) -> None:
        """An honest oracle tells what it observes."""
        for feed, price in signed.prices.items():
            self._seen[oracle, signed.round, feed] = price

    def check_node(self, process: Process) -> None:
        """After each event of an honest member."""
        node = process.member.node
        traitors = self._world.scenario.traitors
        convicted = set(node.inbox.convicted) - set(traitors)
        self.require(Invariant.HONEST_NOT_CONVICTED, not convicted, f"{sorted(convicted)}")
        head, before = node.chain.round, self._heads.get(process, -1)
        if head > before:
            self._heads[process] = head
            self._check_pace(process)
        self.require(
            Invariant.HEAD_FORWARD,
            head >= before or process.address in self._world.stale,
            f"{process.address}: {before} to {head}",
        )

    def check_certificate(self, process: Process, certificate: Any) -> None:
        """An honest member has stored a certificate."""
        where = f"round {certificate.round} at {process.address}"
        try:
            process.member.node.chain.check(certificate)
            fault = ""
        except ProtocolError as error:
            fault = str(error)
        self.require(Invariant.CERTIFICATE_VALID, not fault, f"{where}: {fault}")
        for report in reports_of(certificate):
            self._check_range(report, where)
        previous = self.certified.get(certificate.previous_hash)
        self.require(
            Invariant.CHAIN_LINKED,
            certificate.previous_hash == ZERO32
            or (previous is not None and previous.round < certificate.round),
            where,
        )
        self.certified[certificate.hash] = certificate

    def _check_range(self, report: Any, where: str) -> None:
        honest = [
            self._seen[oracle, report.round, report.feed_id]
            for oracle in range(self._world.scenario.oracles)
            if report.observers >> oracle & 1
            and (oracle, report.round, report.feed_id) in self._seen
        ]
        price, delta = report.price_e8, self._world.config.delta_ppm
        if report.grade is Grade.FULL:
            holds = bool(honest) and min(honest) <= price <= max(honest)
            self.require(Invariant.FULL_IN_RANGE, holds, f"{where}: {price} of {honest}")
        elif report.n_obs == 2:
            # Doubled, to stay in integers; the floor of the mean may take one half away.
            holds = bool(honest) and all(
                (2 * abs(price - seen) - 1) * MILLION <= delta * seen for seen in honest
            )
            self.require(Invariant.DEGRADED_IN_DELTA, holds, f"{where}: {price} of {honest}")

    # Liveness

    def _check_pace(self, process: Process) -> None:
        world = self._world
        last = self._advanced_ms.get(process.address, 0)
        self._advanced_ms[process.address] = world.elapsed_ms
        self._require_pace(process, last, world.elapsed_ms)

    def _require_pace(self, process: Process, since_ms: int, until_ms: int) -> None:
        world = self._world
        scenario = world.scenario
        if process.address == AGGREGATOR or not (scenario.is_one_fault or scenario.is_live_after):
            return
        well_since = world.well_since_ms(process.address)
        if well_since is None or until_ms < well_since:
            return
        took = until_ms - max(since_ms, well_since)
        self.require(
            Invariant.LIVE_WITH_ONE_FAULT if scenario.is_one_fault else Invariant.LIVE_AFTER_FAULTS,
            took <= world.bound_ms,
            f"oracle {process.address} waited {took} ms for a certificate",
        )

    # At the end

    def check_end(self, honest: list[Process]) -> None:
        """The schedule is over and every fault that can heal has healed long ago."""
        world = self._world
        for process in honest:
            since = self._advanced_ms.get(process.address, 0)
            self._require_pace(process, since, world.elapsed_ms)
            self._check_double_signers(process)
        if not (world.scenario.is_live_after and not world.scenario.traitors):
            return
        chains = {self._chain(process) for process in honest}
        self.require(Invariant.CHAINS_AGREE, len(chains) <= 1, f"{len(chains)} chains")
        for process in honest:
            if process.address != AGGREGATOR:
                self._check_history(process)

    def _chain(self, process: Process) -> tuple[bytes, ...]:
        """The hashes of its chain without the rounds that may still be on their way."""
        world = self._world
        settled = world.config.round_at(world.now_ms - world.bound_ms)
        link, chain = process.member.node.chain.head_hash, []
        while link in self.certified:
            if self.certified[link].round <= settled:
                chain.append(link)
            link = self.certified[link].previous_hash
        return tuple(chain)

    def _check_history(self, process: Process) -> None:
        link = process.member.node.chain.head_hash
        while link != ZERO32 and link in process.disk.certificates:
            link = process.disk.certificates[link].previous_hash
        missing = self.certified.get(link)
        detail = f"{process.address} lacks round {missing.round if missing else '?'}"
        self.require(Invariant.HISTORY_COMPLETE, link == ZERO32, detail)

    def _check_double_signers(self, process: Process) -> None:
        by_round: dict[int, list[Any]] = {}
        for certificate in self.certified.values():
            if certificate.hash in process.disk.certificates:
                by_round.setdefault(certificate.round, []).append(certificate)
        for round_id, held in by_round.items():
            for other in held[1:]:
                both = set(held[0].signers) & set(other.signers)
                convicted = both <= set(process.member.node.inbox.convicted)
                detail = f"round {round_id} at {process.address}: {sorted(both)}"
                self.require(Invariant.DOUBLE_SIGNER_CONVICTED, convicted, detail)


def reports_of(certificate: Any) -> tuple[Report, ...]:
    """The one report of a certificate, or those of a batch."""
    if isinstance(certificate, BatchCertificate):
        return tuple(certificate.reports)
    return (certificate.report,)
