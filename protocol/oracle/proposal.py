"""A proposed report and everything that an oracle checks before it signs one (the certify step).

The aggregator that builds a proposal is trusted with nothing: whatever it claims is recomputed from
the signed observations that it must show.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from protocol.errors import QuorumError
from protocol.oracle import evidence, merkle, quorum
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import ZERO32
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.report import Grade, Report
from protocol.oracle.signatures import Signatures


class Reason(StrEnum):
    """Why a message was refused; the label of every counter."""

    SIGNER = "signer"
    EXCLUDED = "excluded"
    DUPLICATE = "duplicate"
    EQUIVOCATION = "equivocation"
    CONFIG = "config"
    FEED = "feed"
    ROUND = "round"
    STALE = "stale"
    FUTURE = "future"
    VENUES = "venues"
    SEQUENCE = "sequence"
    SIGNATURE = "signature"
    QUORUM = "quorum"
    MEDIAN = "median"
    CONF = "conf"
    GRADE = "grade"
    BITMAP = "bitmap"
    ROOT = "root"
    TIME = "time"
    CHAIN = "chain"
    OWN = "own"
    DEVIATION = "deviation"
    WITHHELD = "withheld"
    BREAKER = "breaker"
    GUARD = "guard"
    FLOOD = "flood"
    MISSING = "missing"


class Proof(Protocol):
    """Evidence, or a certificate or observation, of one feed or of many."""

    def encode(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused message: the reason to count, a sentence to read, and a proof to pass on, if any
    (evidence of an equivocation, the certificate or the observation that the sender lacks)."""

    reason: Reason
    detail: str
    proof: Proof | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A report to sign, the observations behind it, and the certificate that it links to, for an
    oracle that has missed it (None before a feed's first certificate)."""

    report: Report
    observations: tuple[SignedObservation, ...]
    previous: Certificate | None

    @property
    def round(self) -> int:
        return self.report.round

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Those that it brings along."""
        return () if self.previous is None else (self.previous,)

    @property
    def is_full(self) -> bool:
        return self.report.grade is Grade.FULL

    def certify(self, signatures: Signatures) -> Certificate:
        """The certificate that these signatures make of the report."""
        return Certificate(self.report, signatures)


@dataclass(frozen=True, slots=True)
class Vote:
    """An oracle's signature under a proposed report."""

    oracle: int
    round: int
    report_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What an oracle knows when it judges a proposal."""

    own: Observation | None
    """Its own observation of the round."""
    held: Mapping[int, SignedObservation]
    """Every valid observation of the round that reached it, by oracle index; its own among them."""
    fresh: Mapping[int, SignedObservation]
    """Those of them that others will still find valid when they judge a proposal."""
    last: Report | None
    """The last certified report."""
    jump: Report | None
    """The FULL report that the breaker stopped in the round before, if any."""
    excluded: Collection[int]
    """Oracles convicted of equivocation under this configuration."""


def propose(
    config: OracleConfig,
    feed_id: bytes,
    round_id: int,
    observations: Sequence[SignedObservation],
    prev_report_hash: bytes,
    time: int,
) -> Report:
    """The one report that these observations (of distinct oracles, any order) give.

    ``time`` is unix ms; ``prev_report_hash`` the last certified report's, or 32 zero bytes.
    QuorumError if they are too few, or degraded and more than delta apart, or one oracle's twice.
    """
    ordered = sorted(observations, key=lambda s: s.oracle)
    observers = 0
    for signed in ordered:
        if observers >> signed.oracle & 1:
            raise QuorumError(f"oracle {signed.oracle} is counted twice")
        observers |= 1 << signed.oracle
    prices = [s.observation.price_e8 for s in ordered]
    grade = quorum.grade(prices, config.faults, config.delta_ppm)
    return Report(
        config_digest=config.digest,
        feed_id=feed_id,
        round=round_id,
        price_e8=quorum.median(prices),
        conf_e8=quorum.confidence(prices, [s.observation.conf_e8 for s in ordered]),
        grade=grade,
        observers=observers,
        time=time,
        observations_root=merkle.root([s.leaf for s in ordered]),
        prev_report_hash=prev_report_hash,
    )


def check_observation(
    config: OracleConfig,
    feed_id: bytes,
    round_id: int,
    signed: SignedObservation,
    now_ms: int,
    excluded: Collection[int] = (),
) -> Refusal | None:
    """Why this is no valid observation of the round at ``now_ms``, or None."""
    return check_fields(config, feed_id, round_id, signed, now_ms, excluded) or _check_signature(
        config, signed
    )


def check_fields(
    config: OracleConfig,
    feed_id: bytes,
    round_id: int,
    signed: SignedObservation,
    now_ms: int,
    excluded: Collection[int],
) -> Refusal | None:
    """``check_observation`` without the signature, its one slow part."""
    seen, who = signed.observation, f"oracle {signed.oracle}"
    since_start = seen.obs_time - config.starts_ms(round_id)
    if signed.oracle >= len(config.oracles):
        return Refusal(Reason.SIGNER, f"{who} is not one of {len(config.oracles)} oracles")
    if signed.oracle in excluded:
        return Refusal(Reason.EXCLUDED, f"{who} has signed two messages for one slot")
    if seen.config_digest != config.digest:
        return Refusal(Reason.CONFIG, f"{who} observes under another configuration")
    if seen.feed_id != feed_id:
        return Refusal(Reason.FEED, f"{who} observes another feed")
    if seen.round != round_id:
        return Refusal(Reason.ROUND, f"{who} observes round {seen.round}, not {round_id}")
    if seen.obs_time > now_ms + config.future_ms:
        return Refusal(
            Reason.FUTURE, f"{who} is {seen.obs_time - now_ms} ms ahead: check its clock"
        )
    if abs(since_start) > config.max_age_ms:
        return Refusal(Reason.STALE, f"{who} observed {since_start} ms from the round's start")
    if now_ms - seen.obs_time > config.max_age_ms:
        return Refusal(Reason.STALE, f"{who} observed {now_ms - seen.obs_time} ms ago")
    if seen.n_venues < config.min_venues:
        return Refusal(Reason.VENUES, f"{who} used {seen.n_venues} venues of {config.min_venues}")
    return None


def times(config: OracleConfig, round_id: int, now_ms: int, margin_ms: int = 0) -> tuple[int, int]:
    """The earliest and latest ``obs_time`` that is valid at ``now_ms``, from 0 on; with a margin,
    those that remain valid for so long, and for a clock so much behind."""
    start = config.starts_ms(round_id)
    earliest = max(start - config.max_age_ms, now_ms + margin_ms - config.max_age_ms, 0)
    latest = min(start + config.max_age_ms, now_ms - margin_ms + config.future_ms)
    return earliest, latest


def margin_ms(config: OracleConfig) -> int:
    """How long an observation must remain valid to count in a proposal: long enough for others to
    judge it. Else a liar could stamp one so that it expires on the way, and the proposal with it.
    """
    return min(config.max_age_ms, config.future_ms) // 4


def is_fresh(config: OracleConfig, seen: Observation, now_ms: int) -> bool:
    """Whether a valid observation remains valid for ``margin_ms``."""
    earliest, latest = times(config, seen.round, now_ms, margin_ms(config))
    return earliest <= seen.obs_time <= latest


def _check_signature(config: OracleConfig, signed: SignedObservation) -> Refusal | None:
    if not signed.verify(config.oracles[signed.oracle]):
        return Refusal(
            Reason.SIGNATURE, f"oracle {signed.oracle}: the observation's signature does not verify"
        )
    return None


def check_proposal(
    config: OracleConfig, feed_id: bytes, proposal: Proposal, view: View, now_ms: int
) -> Refusal | None:
    """Why an oracle with this ``view`` must not sign the proposal at ``now_ms``, or None.

    The breaker comes last: BREAKER means that nothing else is wrong with the report.
    """
    return (
        _check_identity(config, feed_id, proposal.report, view)
        or _check_observations(config, feed_id, proposal, view, now_ms)
        or _check_arithmetic(config, proposal)
        or _check_time(config, proposal, now_ms)
        or _check_own(config, proposal.report, view)
        or _check_withheld(config, proposal, view)
        or _check_breaker(config, proposal.report, view)
    )


def _check_identity(
    config: OracleConfig, feed_id: bytes, report: Report, view: View
) -> Refusal | None:
    if report.config_digest != config.digest:
        return Refusal(Reason.CONFIG, "the report is of another configuration")
    if report.feed_id != feed_id:
        return Refusal(Reason.FEED, "the report is of another feed")
    if view.last is not None and report.round <= view.last.round:
        return Refusal(
            Reason.ROUND, f"round {report.round}: round {view.last.round} is certified already"
        )
    if report.prev_report_hash != (ZERO32 if view.last is None else view.last.hash):
        return Refusal(Reason.CHAIN, "the report does not link to the last certified one")
    return None


def _check_observations(
    config: OracleConfig, feed_id: bytes, proposal: Proposal, view: View, now_ms: int
) -> Refusal | None:
    round_id = proposal.report.round
    counted: set[int] = set()
    for signed in proposal.observations:
        held = view.held.get(signed.oracle)
        if signed.oracle in counted:
            return Refusal(Reason.DUPLICATE, f"oracle {signed.oracle} is counted twice")
        counted.add(signed.oracle)
        refusal = check_fields(config, feed_id, round_id, signed, now_ms, view.excluded)
        if refusal is None and held != signed:  # a held one was verified when it arrived
            refusal = _check_signature(config, signed) or _check_same(config, held, signed)
        if refusal is not None:
            return refusal
    return None


def _check_same(
    config: OracleConfig, held: SignedObservation | None, signed: SignedObservation
) -> Refusal | None:
    if held is None or held.observation == signed.observation:
        return None
    return Refusal(
        Reason.EQUIVOCATION,
        f"oracle {signed.oracle} has signed two observations for round {signed.observation.round}",
        evidence.of_observations(config.oracles[signed.oracle], held, signed),
    )


def _check_arithmetic(config: OracleConfig, proposal: Proposal) -> Refusal | None:
    report = proposal.report
    try:
        expected = propose(
            config,
            report.feed_id,
            report.round,
            proposal.observations,
            report.prev_report_hash,
            report.time,
        )
    except QuorumError as error:
        return Refusal(Reason.QUORUM, str(error))
    for reason, claimed, computed in (
        (Reason.BITMAP, report.observers, expected.observers),
        (Reason.GRADE, report.grade, expected.grade),
        (Reason.MEDIAN, report.price_e8, expected.price_e8),
        (Reason.CONF, report.conf_e8, expected.conf_e8),
    ):
        if claimed != computed:
            return Refusal(reason, f"the report says {claimed}, its observations give {computed}")
    if report.observations_root != expected.observations_root:
        return Refusal(
            Reason.ROOT, "the report's observations_root is not that of its observations"
        )
    return None


def _check_time(config: OracleConfig, proposal: Proposal, now_ms: int) -> Refusal | None:
    time = proposal.report.time
    since_start = time - config.starts_ms(proposal.report.round)
    if time > now_ms + config.future_ms:
        return Refusal(Reason.TIME, f"the report is {time - now_ms} ms ahead of this clock")
    if abs(since_start) > config.max_age_ms:
        return Refusal(Reason.TIME, f"the report is {since_start} ms from the round's start")
    if time < max((s.observation.obs_time for s in proposal.observations), default=0):
        return Refusal(Reason.TIME, "the report is older than an observation in it")
    return None


def _check_own(config: OracleConfig, report: Report, view: View) -> Refusal | None:
    if view.own is None:
        return Refusal(Reason.OWN, f"no own observation of round {report.round} to compare with")
    own_e8 = view.own.price_e8
    if not quorum.within(report.price_e8, own_e8, config.delta_ppm):
        return Refusal(
            Reason.DEVIATION,
            f"{report.price_e8} is more than {config.delta_ppm} ppm from this oracle's {own_e8}",
        )
    return None


def _check_withheld(config: OracleConfig, proposal: Proposal, view: View) -> Refusal | None:
    if proposal.report.grade is Grade.FULL:
        return None
    proposed = {s.oracle for s in proposal.observations}
    withheld = sorted(view.fresh.keys() - proposed - set(view.excluded))
    if not withheld or len(proposed) + len(withheld) < config.full_observations:
        return None
    return Refusal(
        Reason.WITHHELD,
        f"DEGRADED without oracle {withheld[0]}, whose observation is here: FULL is possible",
        view.fresh[withheld[0]],
    )


def _check_breaker(config: OracleConfig, report: Report, view: View) -> Refusal | None:
    last, jump = view.last, view.jump
    if last is None or quorum.within(report.price_e8, last.price_e8, config.max_move_ppm):
        return None
    confirmed = (
        report.grade is Grade.FULL
        and jump is not None
        and jump.round < report.round
        and quorum.within(report.price_e8, jump.price_e8, config.max_move_ppm)
    )
    if confirmed:
        return None
    return Refusal(
        Reason.BREAKER,
        f"{last.price_e8} to {report.price_e8} is more than {config.max_move_ppm} ppm:"
        " two FULL rounds in a row must show it",
    )
