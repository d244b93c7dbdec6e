"""A proposed batch and everything that an oracle checks before it signs one.

For every feed the rules are those of ``proposal.check_proposal``: ``check_feed`` runs it on what
the batch says of one feed. ``check_batch_proposal`` finds the feeds that it would refuse with a few
operations on whole columns and asks it about the first of them; a batch is signed whole or not.

A proposal names the observation batches it is made of by their messages. It carries them, and the
certificates that a lagging oracle needs, only after an oracle has refused with MISSING or CHAIN.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from struct import Struct
from typing import Final, Self

import numpy as np

from protocol.errors import EncodingError
from protocol.oracle import batch
from protocol.oracle import report as rpt
from protocol.oracle.batch import BatchReport
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_chain import BatchChain
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.breaker import Breaker
from protocol.oracle.config import MAX_ORACLES, OracleConfig
from protocol.oracle.evidence import Evidence
from protocol.oracle.layout import require_bytes, require_uint
from protocol.oracle.proposal import Proposal, Reason, Refusal, View, check_proposal, times
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import Digests, Mask, Positions, ReportRows, digests
from protocol.oracle.sheet import Sheet, within
from protocol.oracle.signatures import Signatures
from protocol.units import U64_MAX

MAGIC: Final = b"BPR1"
_HEAD: Final = len(MAGIC) + batch.REPORT_SIZE
_LENGTH: Final = Struct(">I")
_REFERENCE: Final = 1 + 32
MOST_EARLIER: Final = 64
"""Certificates that a proposal carries for reports of left out feeds."""


@dataclass(frozen=True, slots=True)
class BatchProposal:
    """A header to sign, the reports behind it, and the observation batches behind them: (oracle,
    message of its batch), oracles strictly ascending. EncodingError on a malformed field."""

    report: BatchReport
    reports: ReportRows
    references: tuple[tuple[int, bytes], ...]
    observations: tuple[SignedObservationBatch, ...] = ()
    """The batches themselves, if somebody lacked one."""
    previous: BatchCertificate | None = None
    """The certificate that the header links to, if somebody lacked it."""
    earlier: tuple[BatchCertificate, ...] = ()
    """Those that reports of left out feeds link to, oldest first, likewise."""

    def __post_init__(self) -> None:
        if self.report.n != len(self.reports):
            raise EncodingError(
                f"batch proposal n {self.report.n} disagrees with {len(self.reports)} reports"
            )
        for oracle, message in self.references:
            require_uint("batch proposal oracle", oracle, 8)
            require_bytes(f"batch proposal message of oracle {oracle}", message, 32)
        indexes = [oracle for oracle, _ in self.references]
        if indexes != sorted(set(indexes)) or len(indexes) > MAX_ORACLES:
            raise EncodingError(f"batch proposal oracles must strictly ascend, got {indexes}")

    @property
    def round(self) -> int:
        return self.report.round

    @property
    def certificates(self) -> tuple[BatchCertificate, ...]:
        """Those that it brings along, oldest first."""
        return self.earlier if self.previous is None else (*self.earlier, self.previous)

    @property
    def is_full(self) -> bool:
        """Whether the report of every feed is FULL."""
        return bool((self.reports.columns["grade"] == Grade.FULL).all())

    def certify(self, signatures: Signatures) -> BatchCertificate:
        """The certificate that these signatures make of the header."""
        return BatchCertificate(self.report, self.reports, signatures)

    def encode(self) -> bytes:
        """``"BPR1" | BAT1 | n x RPT | u8 k | k x (oracle u8 | message 32) | u8 | observation
        batches | u8 0 or 1 | previous | u8 | earlier``, the last three with a u32 length each."""
        return b"".join(
            (
                MAGIC,
                self.report.encode(),
                self.reports.data,
                bytes([len(self.references)]),
                *(bytes([oracle]) + message for oracle, message in self.references),
                _pack([signed.encode() for signed in self.observations]),
                _pack([] if self.previous is None else [self.previous.encode()]),
                _pack([certificate.encode() for certificate in self.earlier]),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The proposal of exactly these bytes; EncodingError names the field that is wrong."""
        if data[: len(MAGIC)] != MAGIC:
            raise EncodingError(f"batch proposal version: magic {data[:4]!r}, expected BPR1")
        header = BatchReport.decode(data[len(MAGIC) : _HEAD])
        end = _HEAD + header.n * rpt.SIZE
        rows = ReportRows(data[_HEAD:end])
        count, rest = _split(data[end:], 1)
        entries, rest = _split(rest, count[0] * _REFERENCE)
        starts = range(0, len(entries), _REFERENCE)
        references = tuple((entries[i], entries[i + 1 : i + _REFERENCE]) for i in starts)
        observations, rest = _unpack(rest, MAX_ORACLES)
        previous, rest = _unpack(rest, 1)
        earlier, rest = _unpack(rest, MOST_EARLIER)
        if rest:
            raise EncodingError(f"batch proposal has {len(rest)} bytes too many")
        return cls(
            header,
            rows,
            references,
            tuple(map(SignedObservationBatch.decode, observations)),
            BatchCertificate.decode(previous[0]) if previous else None,
            tuple(map(BatchCertificate.decode, earlier)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """What an oracle knows when it judges a proposal."""

    own: int
    """Its index."""
    held: Mapping[int, SignedObservationBatch]
    """Every valid observation batch of the round that reached it, by oracle; its own among them."""
    fresh: Collection[int]
    """The oracles whose batch a proposer can be asked to use."""
    chain: BatchChain
    breaker: Breaker
    """With the rounds before the proposal's closed."""
    excluded: Mapping[int, Evidence]
    """Oracles convicted of equivocation under this configuration."""


def propose_batch(
    config: OracleConfig, round_id: int, sheet: Sheet, chain: BatchChain, at: Positions, time: int
) -> tuple[BatchReport, ReportRows]:
    """The one batch that a sheet gives for the feeds in the columns ``at`` (ascending, each with a
    quorum, at least one). ``time`` is unix ms."""
    ids = feed_ids(chain)
    rows = sheet.reports(config.digest, round_id, at, ids, chain.hashes, time)
    header = BatchReport(
        config_digest=config.digest,
        round=round_id,
        n=len(rows),
        root=rows.root,
        prev_batch_hash=chain.head_hash,
    )
    return header, rows


def check_batch_proposal(
    config: OracleConfig, proposal: BatchProposal, view: BatchView, now_ms: int
) -> Refusal | None:
    """Why an oracle with this ``view`` must not sign the proposal at ``now_ms``, or None. The
    detail names the first feed that is wrong."""
    refusal = _check_header(config, proposal, view) or _check_references(config, proposal, view)
    if refusal is not None:
        return refusal
    feeds = proposal.reports.feeds
    for index in np.flatnonzero(suspects(config, proposal, view, now_ms)).tolist():
        refusal = check_feed(config, feeds[index], proposal, view, now_ms)
        if refusal is not None:
            return replace(refusal, detail=f"feed {feeds[index].hex()}: {refusal.detail}")
    if proposal.reports.root != proposal.report.root:
        return Refusal(Reason.ROOT, "the batch's root is not that of its reports")
    return None


def check_feed(
    config: OracleConfig, feed_id: bytes, proposal: BatchProposal, view: BatchView, now_ms: int
) -> Refusal | None:
    """The reference: ``proposal.check_proposal`` of one feed of a batch whose header and references
    are good."""
    report = proposal.reports[proposal.reports.feeds.index(feed_id)]
    if report.round != proposal.round:
        return Refusal(Reason.ROUND, f"its report is of round {report.round}, not {proposal.round}")
    used = [oracle for oracle, _ in proposal.references]
    signed = {
        oracle: found
        for oracle, held in view.held.items()
        if (oracle in used or oracle in view.fresh or oracle == view.own)
        and (found := held.of_feed(feed_id)) is not None
    }
    own = signed.get(view.own)
    of_feed = View(
        own=None if own is None else own.observation,
        held=signed,
        fresh=signed,
        last=view.chain.report(feed_id),
        jump=_jump(config, report, view),
        excluded=view.excluded,
    )
    observations = tuple(signed[oracle] for oracle in used if oracle in signed)
    single = Proposal(report, observations, None)
    refusal = check_proposal(config, feed_id, single, of_feed, now_ms)
    if refusal is None:
        return None
    if refusal.reason is Reason.WITHHELD:
        withheld = min(set(signed) - set(used) - set(view.excluded))
        return replace(refusal, proof=view.held[withheld])
    if refusal.reason in (Reason.CHAIN, Reason.ROUND):
        return replace(refusal, proof=view.chain.certificate(feed_id))
    return refusal


def suspects(config: OracleConfig, proposal: BatchProposal, view: BatchView, now_ms: int) -> Mask:
    """The feeds of the proposal that ``check_feed`` refuses, from whole columns."""
    chain, claimed, round_id = view.chain, proposal.reports, proposal.round
    used = {oracle: view.held[oracle] for oracle, _ in proposal.references}
    sheet = Sheet.of(config, chain.feeds, used)
    at = claimed.places(chain.feeds)
    time = claimed.column("time")
    bad = ~sheet.has_quorum[at] | (chain.known[at] & (chain.rounds[at] >= round_id))
    good = np.flatnonzero(~bad)
    if len(good):
        expected = sheet.reports(
            config.digest, round_id, at[good], feed_ids(chain), chain.hashes, time[good]
        )
        bad[good] = (expected.matrix != claimed.matrix[good]).any(axis=1)
    earliest, latest = times(config, round_id, now_ms)
    bad |= _outside(sheet.oldest[at], earliest, latest)
    # Observations are not newer than the report, and its latest time is theirs.
    begin = max(config.starts_ms(round_id) - config.max_age_ms, 0)
    bad |= _outside(time, begin, latest) | (time < sheet.newest[at])
    bad |= ~_agrees(config, view, sheet)[at] | _withheld(config, view, sheet)[at]
    return bad | view.breaker.is_open(config, chain, round_id, sheet)[at]


def feed_ids(chain: BatchChain) -> Digests:
    """The ids of a chain's columns."""
    return digests(tuple(chain.feeds))


def _check_header(config: OracleConfig, proposal: BatchProposal, view: BatchView) -> Refusal | None:
    report, chain = proposal.report, view.chain
    if report.config_digest != config.digest:
        return Refusal(Reason.CONFIG, "the batch is of another configuration")
    if report.round <= chain.round:
        detail = f"round {report.round}: {chain.round} is certified already"
        return Refusal(Reason.ROUND, detail, chain.last)
    if report.prev_batch_hash != chain.head_hash:
        detail = "the batch does not link to the last certified one"
        return Refusal(Reason.CHAIN, detail, chain.last)
    for feed_id in proposal.reports.feeds:
        if feed_id not in chain.feeds:
            return Refusal(Reason.FEED, f"the batch has the unknown feed {feed_id.hex()}")
    return None


def _check_references(
    config: OracleConfig, proposal: BatchProposal, view: BatchView
) -> Refusal | None:
    for oracle, message in proposal.references:
        who = f"oracle {oracle}"
        if oracle >= len(config.oracles):
            return Refusal(Reason.SIGNER, f"{who} is not one of {len(config.oracles)} oracles")
        if oracle in view.excluded:
            detail = f"{who} has signed two messages for one slot"
            return Refusal(Reason.EXCLUDED, detail, view.excluded[oracle])
        held = view.held.get(oracle)
        if held is None:
            return Refusal(Reason.MISSING, f"the observation batch of {who} is not here: send it")
        if held.observation.message != message:
            return Refusal(Reason.MISSING, f"another observation batch of {who} is here", held)
    return None


def _outside(time: np.ndarray, earliest: int, latest: int) -> Mask:
    if latest < earliest or earliest > U64_MAX:
        return np.ones(len(time), dtype=np.bool_)
    return (time < np.uint64(earliest)) | (time > np.uint64(min(latest, U64_MAX)))


def _agrees(config: OracleConfig, view: BatchView, sheet: Sheet) -> Mask:
    """Where the oracle's own price is within delta of the median."""
    own = view.held.get(view.own)
    agrees: Mask = np.zeros(len(sheet.price), dtype=np.bool_)
    if own is not None:
        at = own.observations.places(view.chain.feeds)
        prices = own.observations.column("price_e8")
        agrees[at] = within(sheet.price[at], prices, config.delta_ppm)
    return agrees


def _withheld(config: OracleConfig, view: BatchView, sheet: Sheet) -> Mask:
    """Where the report is DEGRADED and the batches that were left out would make it FULL."""
    further = np.zeros(len(sheet.price), dtype=np.intp)
    for oracle, held in view.held.items():
        left_out = oracle not in sheet.oracles and oracle not in view.excluded
        if left_out and (oracle in view.fresh or oracle == view.own):
            further[held.observations.places(view.chain.feeds)] += 1
    enough = sheet.count + further >= config.full_observations
    return ~sheet.is_full & (further > 0) & enough


def _jump(config: OracleConfig, report: Report, view: BatchView) -> Report | None:
    """What the breaker has seen of the report's feed, in the form that the scalar rule reads."""
    column = view.chain.feeds[report.feed_id]
    if not view.breaker.jumps(config, view.chain, report.round)[column]:
        return None
    return replace(
        report,
        round=int(view.breaker.rounds[column]),
        price_e8=int(view.breaker.prices[column]),
    )


def _pack(items: list[bytes]) -> bytes:
    return bytes([len(items)]) + b"".join(_LENGTH.pack(len(item)) + item for item in items)


def _unpack(data: bytes, most: int) -> tuple[list[bytes], bytes]:
    count, rest = _split(data, 1)
    if count[0] > most:
        raise EncodingError(f"batch proposal: {count[0]} parts, at most {most} are allowed")
    items = []
    for _ in range(count[0]):
        length, rest = _split(rest, _LENGTH.size)
        item, rest = _split(rest, _LENGTH.unpack(length)[0])
        items.append(item)
    return items, rest


def _split(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise EncodingError("batch proposal is cut short")
    return data[:size], data[size:]
