"""The main job on one machine: one option, from exchange prices to a settled contract on Bitcoin.

A driver, not an actor: it starts everything, follows the story and reports what happened. It made
the key files of all parties, and says so; everything else about them is as in production.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors import placement
from actors.aggregator import Published
from actors.clock import SimulatedClock
from actors.demo_config import Config
from actors.demo_contract import DemoContract
from actors.demo_instrument import ROUNDS_BEFORE_EXPIRY, claimant, exercised_round, price_e8
from actors.feeds.endpoints import Endpoint
from actors.feeds.products import VENUES
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.oracle import Sight
from actors.outcomes import Answered, eventually, fetch, value
from actors.report import CertificateReport, DemoReport, bitcoin
from actors.runtime import local_cluster
from actors.supervisor import deploy
from protocol.errors import ConfigError
from protocol.options.instrument import parse_instrument
from protocol.oracle.certificate import Certificate
from protocol.oracle.exercise import LEAD_MIN_MS
from protocol.oracle.expiry import ExpiryCertificate
from protocol.oracle.observation import SignedObservation
from protocol.settlement.terms import Role, contract_id, template_hash

SEED: Final = 7
CALL_S: Final = 120.0
PRODUCT: Final = "BTC-USD"


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on purpose: the lie that the claiming party tells (protocol.dispute.lies),
    and how many oracles are killed."""

    lie: str | None = None
    kill: int = 0


class Demo:
    """One run in ``folder``, which must be empty. ``announce`` hears each stage as it begins,
    ``mined`` the height of each block from FUND on."""

    def __init__(
        self,
        config: Config,
        faults: Faults,
        folder: Path,
        announce: Callable[[str], None],
        mined: Callable[[int], None] = lambda _: None,
    ) -> None:
        if not config.venues.simulated:
            raise ConfigError("[venues] the demo runs on simulated exchanges: set all to simulated")
        if not 0 <= faults.kill <= len(config.oracle.names):
            raise ConfigError(f"--kill: there are 0 to {len(config.oracle.names)} oracles to kill")
        self._instrument = parse_instrument(config.option.instrument)
        self._config = config
        self._faults = faults
        self._folder = folder
        self._announce = announce
        self._mined = mined
        self._exercised = exercised_round(config)
        expiry = self._instrument.expiry_ms // config.oracle.interval_ms
        self._target = expiry if self._exercised is None else self._exercised
        self._clock = SimulatedClock(self._starts_ms() - self._lead_ms(), folder / "clock")
        self._seen: dict[int, Sight] = {}
        self.report = DemoReport(instrument=self._instrument.name, clock=self._clock.name)

    def run(self) -> DemoReport:
        """The whole story."""
        begin = time.perf_counter()
        prices = {PRODUCT: price_e8(self._instrument)}
        with ExitStack() as running:
            exchanges = running.enter_context(
                SimulatedExchanges(SEED, self._clock.now_ms, prices_e8=prices)
            )
            with self._stage("start Ray"):
                running.enter_context(local_cluster(cpus=self._config.proving.provers + 2))
            self._story(exchanges.endpoints)
        self.report.seconds = time.perf_counter() - begin
        self.report.ok = True
        return self.report

    def _story(self, endpoints: dict[str, Endpoint]) -> None:
        with self._stage("start actors (the first run compiles the machine)"):
            self._claimant = claimant(self._instrument)
            self.actors = deploy(
                self._config, self._folder, self._clock, endpoints, self._claimant, self._faults.lie
            )
            self.actors.wait()
        self._contract = DemoContract(self.actors, self._folder, self._mined)
        with self._stage("agree, sign everything, fund"):
            self._contract.fund()
        with self._stage("oracle rounds"):
            expiry = self._expire() if self._certify() else None
        if expiry is None:
            with self._stage("refund on Bitcoin"):
                self._contract.refund()
        else:
            self._settle(expiry)
        self._report_end()
        self._contract.leave()

    # Time

    def _starts_ms(self) -> int:
        """When the clock runs on: shortly before the rounds that are certified."""
        interval_ms = self._config.oracle.interval_ms
        return (self._target - ROUNDS_BEFORE_EXPIRY) * interval_ms - interval_ms // 2

    def _lead_ms(self) -> int:
        """How much earlier it stands: a notice of exercise comes well before its round."""
        return 0 if self._exercised is None else 2 * LEAD_MIN_MS

    # Prices

    def _certify(self) -> bool:
        """Let the rounds run up to expiry; whether the last one gave a certificate."""
        aggregator, target = self.actors.aggregator, self._target
        self._wait_for_network()
        if self._exercised is not None:
            self._exercise(self._exercised)
        if self._faults.kill:
            value(aggregator.hold.remote(target), CALL_S)
        self._clock.release(self._starts_ms())
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
            "config": self.actors.oracle_config.encode().hex(),
            "certificate": published.certificate.hex(),
        }
        (self._folder / "certificate.json").write_text(json.dumps(record) + "\n")
        return True

    def _look(self) -> bool:
        """Ask the oracles what they have signed for the target round; whether all have answered."""
        for index, oracle in enumerate(self.actors.oracles):
            if index not in self._seen:
                outcome = fetch(oracle.sight.remote(self._target), CALL_S)
                if isinstance(outcome, Answered) and outcome.value is not None:
                    self._seen[index] = outcome.value
        return len(self._seen) == len(self.actors.oracles)

    def _expire(self) -> ExpiryCertificate | None:
        """What the oracles sign for the contract once its round is certified."""
        terms = self._contract.terms
        slot, claim = terms.expiry_slot(self._exercised), terms.claim
        contract = terms.encode() + template_hash() if claim.is_american else b""
        asked = self.actors.aggregator.expire.remote(
            slot, claim.grace_rounds, contract, claim.quorum
        )
        outcome = fetch(asked, CALL_S)
        if isinstance(outcome, Answered):
            return ExpiryCertificate.decode(outcome.value)
        self.report.no_certificate = self._named(outcome.reason)
        return None

    def _wait_for_network(self) -> None:
        """Until every oracle hears every venue and everybody; the clock, and with it prices,
        stand."""
        whole = (len(VENUES), len(self.actors.oracles))
        oracles = self.actors.oracles
        eventually(lambda: all(value(o.ready.remote(), CALL_S) == whole for o in oracles), CALL_S)

    def _exercise(self, round_id: int) -> None:
        """The holder names its round, and every oracle has heard it."""
        notice, contract = self._contract.exercise(round_id), contract_id(self._contract.terms)
        value(self.actors.aggregator.notice.remote(notice), CALL_S)
        heard = [oracle.exercised for oracle in self.actors.oracles]
        eventually(
            lambda: all(value(h.remote(contract), CALL_S) == round_id for h in heard), CALL_S
        )

    def _kill(self) -> None:
        """SIGKILL the first oracles, which have just signed what they see, for good."""
        for index in range(self._faults.kill):
            oracle = self.actors.oracles[index]
            os.kill(value(oracle.pid.remote(), CALL_S), signal.SIGKILL)
            placement.stop(oracle)
            self.report.killed.append(self._config.oracle.names[index])

    # Settlement

    def _settle(self, certificate: ExpiryCertificate) -> None:
        """Both close together; or one lies, and Bitcoin decides."""
        terms, report = self._contract.terms.claim, self.report
        report.due_sats = report.claimed_sats = terms.payout_sats(terms.units(certificate.expiry))
        if self._faults.lie is None:
            with self._stage("close together on Bitcoin"):
                self._contract.close(certificate)
        else:
            with self._stage("claim, challenge and verdict on Bitcoin"):
                self._contract.claim(certificate)

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

    def _report_end(self) -> None:
        """What the chain shows in the end, and what the claiming side computed for it."""
        report, contract = self.report, self._contract
        report.end, report.txs = contract.outcome(), contract.transactions()
        report.balances = contract.balances()
        report.premium_sats = contract.terms.chain.premium_sats
        proof = contract.proof(self._claimant)
        if proof is not None:
            report.steps, report.root = proof.steps, proof.root
            report.prove_seconds, report.provers = proof.seconds, proof.provers
        heights = {tx.name: tx.height or 0 for tx in report.txs}
        report.blocks = heights[report.end] - heights["FUND"]
        match report.end:
            case "CLOSE":
                report.payout_sats = report.due_sats
                paid = bitcoin(report.payout_sats or 0)
                report.outcome = f"Both signed CLOSE: the next block paid the holder {paid}."
            case "REFUND":
                report.payout_sats = 0
                report.outcome = "No certificate, no claim: REFUND returned the collateral."
            case _:
                self._report_dispute()

    def _report_dispute(self) -> None:
        """A claim that was disputed, or paid."""
        report, dispute = self.report, self._contract.dispute()
        assert dispute is not None, "what ended it ended a claim"
        dispute.kind = self._faults.lie or ""
        report.claimed_sats, report.root = dispute.claimed_sats, dispute.root
        report.dispute = dispute
        collateral = self._contract.terms.claim.collateral_sats
        report.payout_sats = 0 if dispute.loser == Role.HOLDER.value else collateral
        bond = self._contract.terms.chain.bond_sats
        loser, winner = Role(dispute.loser), Role(dispute.loser).other
        report.outcome = (
            f"The {loser.value}'s bond of {bitcoin(bond)} and the collateral of"
            f" {bitcoin(collateral)} went to the {winner.value}, on chain: no referee decided."
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._announce(name)
        begin = time.perf_counter()
        yield
        self.report.stages[name.split(" (")[0]] = time.perf_counter() - begin
