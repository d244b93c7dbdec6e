"""The main job on one machine: one option, from exchange prices to a settled contract on Bitcoin.

A driver, not an actor: it starts everything, follows the story and reports what happened. It made
the key files of all parties, and says so; everything else about them is as in production.
"""

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from actors import placement
from actors.aggregator import Published
from actors.challenger import Opinion
from actors.clock import SimulatedClock
from actors.config import Config
from actors.faults import Lie, forge
from actors.feeds.endpoints import Endpoint
from actors.feeds.products import VENUES
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.oracle import Sight
from actors.outcomes import Answered, eventually, fetch, value
from actors.prover import Job
from actors.prover_pool import Proof, ProverPool
from actors.report import CertificateReport, DemoReport, DisputeReport, ProverReport
from actors.runtime import local_cluster
from actors.supervisor import deploy
from protocol.dispute.game import Fault, Party, Verdict
from protocol.errors import ConfigError
from protocol.options.instrument import parse_instrument
from protocol.options.payoff import units_max
from protocol.oracle.certificate import Certificate
from protocol.oracle.expiry import ExpiryCertificate
from protocol.oracle.observation import SignedObservation
from protocol.settlement.claim import Check, Claim, claim_of
from protocol.units import Sats

ROUNDS_BEFORE_EXPIRY = 2
SEED = 7
CALL_S = 60.0
EXCESS_UNITS = 1_000
"""What a liar claims on top, as far as the collateral goes."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on purpose: a lie of the prover, and how many oracles are killed."""

    lie: Lie | None = None
    kill: int = 0


class Demo:
    """One run in ``folder``, which must be empty. ``announce`` hears each stage as it begins."""

    def __init__(
        self, config: Config, faults: Faults, folder: Path, announce: Callable[[str], None]
    ) -> None:
        if not config.venues.simulated:
            raise ConfigError("[venues] the demo runs on simulated exchanges: set all to simulated")
        if not 0 <= faults.kill <= len(config.oracle.names):
            raise ConfigError(f"--kill: there are 0 to {len(config.oracle.names)} oracles to kill")
        instrument = parse_instrument(config.option.instrument)
        interval_ms = config.oracle.interval_ms
        self._config = config
        self._faults = faults
        self._folder = folder
        self._announce = announce
        self._target = instrument.expiry_ms // interval_ms
        start_ms = (self._target - ROUNDS_BEFORE_EXPIRY) * interval_ms - interval_ms // 2
        self._clock = SimulatedClock(start_ms, folder / "clock")
        self._seen: dict[int, Sight] = {}
        self.report = DemoReport(instrument=instrument.name, clock=self._clock.name)

    def run(self) -> DemoReport:
        """The whole story."""
        begin = time.perf_counter()
        with ExitStack() as running:
            exchanges = running.enter_context(SimulatedExchanges(SEED, self._clock.now_ms))
            with self._stage("start Ray"):
                running.enter_context(local_cluster(cpus=self._config.proving.provers + 2))
            self._story(exchanges.endpoints)
        self.report.seconds = time.perf_counter() - begin
        self.report.ok = True
        return self.report

    def _story(self, endpoints: dict[str, Endpoint]) -> None:
        with self._stage("start actors (the first run compiles the machine)"):
            self._all = deploy(self._config, self._folder, self._clock, endpoints, self._faults.lie)
            self._all.wait()
        with self._stage("fund the contract"):
            value(self._all.coordinator.fund.remote(), CALL_S)
        with self._stage("oracle rounds"):
            expiry = self._expire() if self._certify() else None
        if expiry is None:
            self._refund("No certificate, so no claim: REFUND returned the collateral.")
        else:
            self._settle(expiry)
        self.report.txs = value(self._all.coordinator.transactions.remote(), CALL_S)
        value(self._all.coordinator.close.remote(), CALL_S)

    # Prices

    def _certify(self) -> bool:
        """Let the rounds run up to expiry; whether the last one gave a certificate."""
        aggregator, target = self._all.aggregator, self._target
        self._wait_for_network()
        if self._faults.kill:
            value(aggregator.hold.remote(target), CALL_S)
        self._clock.release()
        if self._faults.kill:
            eventually(self._look, CALL_S)
            self._kill()
            value(aggregator.release.remote(target), CALL_S)
        outcome = fetch(aggregator.certificate.remote(target, CALL_S), 2 * CALL_S)
        self._look()
        self._report_prices()
        if not isinstance(outcome, Answered):
            self.report.no_certificate = self._named(outcome.reason)
            return False
        published: Published = outcome.value
        self._report_certificate(published)
        record = {
            "config": self._all.oracle_config.encode().hex(),
            "certificate": published.certificate.hex(),
        }
        (self._folder / "certificate.json").write_text(json.dumps(record) + "\n")
        return True

    def _look(self) -> bool:
        """Ask the oracles what they have signed for the target round; whether all have answered."""
        for index, oracle in enumerate(self._all.oracles):
            if index not in self._seen:
                outcome = fetch(oracle.sight.remote(self._target), CALL_S)
                if isinstance(outcome, Answered) and outcome.value is not None:
                    self._seen[index] = outcome.value
        return len(self._seen) == len(self._all.oracles)

    def _expire(self) -> ExpiryCertificate | None:
        """What the oracles sign for the contract once its round is certified."""
        terms = self._all.terms.claim
        outcome = fetch(self._all.aggregator.expire.remote(terms.slot, terms.grace_rounds), CALL_S)
        if isinstance(outcome, Answered):
            return ExpiryCertificate.decode(outcome.value)
        self.report.no_certificate = self._named(outcome.reason)
        return None

    def _wait_for_network(self) -> None:
        """Until every oracle hears every venue and everybody; the clock, and with it prices,
        stand."""
        whole = (len(VENUES), len(self._all.oracles))
        oracles = self._all.oracles
        eventually(lambda: all(value(o.ready.remote(), CALL_S) == whole for o in oracles), CALL_S)

    def _kill(self) -> None:
        """SIGKILL the first oracles, which have just signed what they see, for good."""
        for index in range(self._faults.kill):
            oracle = self._all.oracles[index]
            os.kill(value(oracle.pid.remote(), CALL_S), signal.SIGKILL)
            placement.stop(oracle)
            self.report.killed.append(self._config.oracle.names[index])

    # Claim, proof, settlement

    def _settle(self, certificate: ExpiryCertificate) -> None:
        coordinator, lie = self._all.coordinator, self._faults.lie
        with self._stage("prove the claim"):
            claim, job, proof = self._prove(certificate)
        root = secrets.token_bytes(job.width) if lie in (Lie.ROOT, Lie.STALL) else proof.trace.root
        self._report_proof(proof, root)
        shape = (job.log4_steps, job.width)
        value(coordinator.claim.remote(claim, root, *shape), CALL_S)
        with self._stage("challenger re-executes"):
            opinion = value(self._all.challenger.check.remote(job, root), CALL_S)
        if opinion.agrees:
            self._close(root, "Both agree: CLOSE paid the claim in one block.")
            return
        with self._stage("dispute"):
            verdict = self._dispute(job, opinion)
        if verdict.fault is Fault.TIMEOUT and verdict.winner is Party.CHALLENGER:
            self._refund("The prover fell silent: REFUND returned the collateral.")
        else:
            self._close(opinion.root, f"The {verdict.winner} won: CLOSE paid what is due.")

    def _prove(self, certificate: ExpiryCertificate) -> tuple[Claim, Job, Proof]:
        """The claim and its proof by the pool: honest, or as the lie wants it."""
        terms = self._all.terms.claim
        claim = claim_of(self._all.terms, certificate)
        if self._faults.lie is not None:
            claim = replace(claim, units=_false_units(claim.units, units_max(terms.payout_bits)))
        self.report.claimed_sats = terms.payout_sats(claim.units)
        proving, image = self._config.proving, self._all.image
        job = Job(claim.encode(), proving.log4_steps, proving.width, proving.log4_chunk)
        pool = ProverPool(image, self._all.provers)
        proof = pool.prove(job, proving.task_steps)
        if self._faults.lie is Lie.STEP:
            forged = forge(job.execution(image), proof.trace.steps)
            job = replace(job, forgery=forged.forgery)
            proof = pool.prove(job, proving.task_steps)
        return claim, job, proof

    def _dispute(self, job: Job, opinion: Opinion) -> Verdict:
        defender = next(iter(self._all.provers.values()))
        moves_s = 2 * job.log4_steps * self._config.dispute.move_ms / 1000
        verdict: Verdict = value(
            self._all.coordinator.dispute.remote(defender, job, self._all.challenger),
            moves_s + CALL_S,
        )
        reason = verdict.reason
        if verdict.fault is Fault.NOT_HALT and opinion.end == "TRAP":
            checks = {check.value: check.name for check in Check}
            failed = checks.get(opinion.exit_code, f"exit code {opinion.exit_code}")
            reason += f": the guest's check {failed} fails"
        self.report.dispute = DisputeReport(
            kind=str(self._faults.lie),
            step=verdict.step,
            instruction=verdict.instruction,
            fault=verdict.fault,
            rounds=verdict.rounds,
            reason=reason,
            winner=verdict.winner,
        )
        return verdict

    def _close(self, root: bytes, outcome: str) -> None:
        with self._stage("settle on Bitcoin"):
            self.report.payout_sats = value(self._all.coordinator.settle.remote(root), CALL_S)
        self.report.outcome = outcome

    def _refund(self, outcome: str) -> None:
        with self._stage("refund on Bitcoin"):
            value(self._all.coordinator.refund.remote(), CALL_S)
        self.report.outcome = outcome
        self.report.payout_sats = Sats(0)

    # Report

    def _report_prices(self) -> None:
        for index, name in enumerate(self._config.oracle.names):
            sight = self._seen.get(index)
            signed = SignedObservation.decode(sight.signed).observation if sight else None
            self.report.prices.append(
                {
                    "oracle": name,
                    "venues_e8": sight.venue_prices_e8 if sight else {},
                    "price_e8": signed.price_e8 if signed else None,
                    "missing": None if sight else "no observation",
                }
            )

    def _named(self, reason: str) -> str:
        """``reason`` with the oracles' names for their indexes."""
        for index, name in enumerate(self._config.oracle.names):
            reason = reason.replace(f"oracle {index} ", f"{name} ")
        return reason

    def _report_certificate(self, published: Published) -> None:
        certificate = Certificate.decode(published.certificate)
        used = certificate.report.observers
        first_ns = min(s.first_frame_ns for i, s in self._seen.items() if used >> i & 1)
        self.report.certificate = CertificateReport(
            price_e8=certificate.report.price_e8,
            grade=certificate.report.grade.name,
            signers=[self._config.oracle.names[i] for i in certificate.signers],
            latency_ms=round((published.at_ns - first_ns) / 1e6, 3),
        )

    def _report_proof(self, proof: Proof, root: bytes) -> None:
        self.report.steps = proof.trace.steps
        self.report.root = root.hex()
        self.report.prove_seconds = proof.seconds
        self.report.provers = [
            ProverReport(name=name, **asdict(share)) for name, share in proof.shares.items()
        ]

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._announce(name)
        begin = time.perf_counter()
        yield
        self.report.stages[name.split(" (")[0]] = time.perf_counter() - begin


def _false_units(honest: int, most: int) -> int:
    """More than what is due or, where nothing is left to take, less."""
    return min(honest + EXCESS_UNITS, most) if honest < most else honest // 2
