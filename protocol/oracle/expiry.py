"""What a quorum signs for contracts that end in one round (``EXP1``, 190 bytes; options.md 2).

An expiry is a function of one certified history: the run of reports linked by prev_report_hash
that ends in ``report_hash``. An oracle signs at most one expiry per slot, ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from struct import Struct
from typing import Final, Self

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, QuorumError
from protocol.oracle import signatures as sigs
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import EXPO, ZERO32, require_bytes, require_expo, require_uint, unpack
from protocol.oracle.report import Report
from protocol.oracle.signatures import Signatures

MAGIC: Final = b"EXP1"
SIZE: Final = 190
TAG: Final = "btcfi/oracle/expiry/v1"
LAYOUT: Final = Struct(">4s32s32s32sQQQQQQIbBI32s")
_SLOT: Final = Struct(">32s32s32sQQBI")


class Rule(IntEnum):
    """How the settlement price follows from the certified rounds."""

    SPOT = 1
    """The price of the end round."""
    TWAP = 2
    """The floor of the mean of all certified prices in the ``window`` rounds that end with the end
    round. A round without a certificate is left out: it has no price and no weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpirySlot:
    """The question that an expiry answers, and what an oracle signs at most once.

    ``subject`` is 32 zero bytes for a European option; ``window`` counts rounds, 0 for SPOT, for
    TWAP it must lie between ``start_round`` and ``target_round``. EncodingError otherwise.
    """

    config_digest: bytes
    feed_id: bytes
    start_round: int
    target_round: int
    subject: bytes = ZERO32
    rule: Rule = Rule.SPOT
    window: int = 0

    def __post_init__(self) -> None:
        for name in ("config_digest", "feed_id", "subject"):
            require_bytes(f"expiry {name}", getattr(self, name), 32)
        for name in ("start_round", "target_round"):
            require_uint(f"expiry {name}", getattr(self, name), 64)
        require_uint("expiry window", self.window, 32)
        if not isinstance(self.rule, Rule):
            raise EncodingError(f"expiry rule {self.rule!r} is unknown: 1 SPOT, 2 TWAP")
        if self.start_round > self.target_round:
            raise EncodingError(
                f"expiry start_round {self.start_round} is after target_round {self.target_round}"
            )
        if self.rule is Rule.SPOT and self.window != 0:
            raise EncodingError(f"expiry window {self.window}: a SPOT has none, write 0")
        most = self.target_round - self.start_round + 1
        if self.rule is Rule.TWAP and not 1 <= self.window <= most:
            raise EncodingError(
                f"expiry window {self.window}: a TWAP from round {self.start_round} to"
                f" {self.target_round} takes 1 to {most} rounds"
            )

    @property
    def slot_id(self) -> bytes:
        """32 bytes that name the slot in a sign guard."""
        packed = _SLOT.pack(
            self.config_digest,
            self.feed_id,
            self.subject,
            self.start_round,
            self.target_round,
            self.rule,
            self.window,
        )
        return tagged_hash("btcfi/oracle/expiry-slot/v1", packed)


def exercise_subject(contract_id: bytes, exercise_round: int) -> bytes:
    """The 32-byte subject of an American contract's expiry; its target is ``exercise_round``."""
    return tagged_hash("btcfi/exercise/v1", contract_id + exercise_round.to_bytes(8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """The answer: prices in 10^-8 USD; ``high_e8``, ``low_e8`` and ``rounds`` (how many were
    certified) are over start to end round; ``report_hash`` is the end round's. EncodingError on a
    field that is out of range or that no history can give."""

    slot: ExpirySlot
    end_round: int
    price_e8: int
    high_e8: int
    low_e8: int
    rounds: int
    report_hash: bytes

    def __post_init__(self) -> None:
        for name in ("end_round", "price_e8", "high_e8", "low_e8"):
            require_uint(f"expiry {name}", getattr(self, name), 64)
        require_uint("expiry rounds", self.rounds, 32)
        require_bytes("expiry report_hash", self.report_hash, 32)
        if self.end_round < self.slot.target_round:
            raise EncodingError(
                f"expiry end_round {self.end_round} is before target_round {self.slot.target_round}"
            )
        if not 0 < self.low_e8 <= self.price_e8 <= self.high_e8:
            raise EncodingError(
                f"expiry price {self.price_e8}: it must lie above 0, from low {self.low_e8} to"
                f" high {self.high_e8}"
            )
        most = self.end_round - self.slot.start_round + 1
        if not 1 <= self.rounds <= most:
            raise EncodingError(
                f"expiry rounds {self.rounds}: between 1 and {most} lie in start to end"
            )

    @property
    def hash(self) -> bytes:
        """The 32 bytes that oracles sign."""
        return tagged_hash(TAG, self.encode())

    def encode(self) -> bytes:
        """The 190 ``EXP1`` bytes."""
        slot = self.slot
        return LAYOUT.pack(
            MAGIC,
            slot.config_digest,
            slot.feed_id,
            slot.subject,
            slot.start_round,
            slot.target_round,
            self.end_round,
            self.price_e8,
            self.high_e8,
            self.low_e8,
            self.rounds,
            EXPO,
            slot.rule,
            slot.window,
            self.report_hash,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The expiry of exactly these bytes; EncodingError names the field that is wrong."""
        config_digest, feed_id, subject, start, target, *rest = unpack(
            "expiry", LAYOUT, MAGIC, data
        )
        end, price, high, low, rounds, expo, rule, window, report_hash = rest
        require_expo("expiry", expo)
        if rule not in tuple(Rule):
            raise EncodingError(f"expiry rule {rule} is unknown: 1 SPOT, 2 TWAP")
        slot = ExpirySlot(
            config_digest=config_digest,
            feed_id=feed_id,
            subject=subject,
            start_round=start,
            target_round=target,
            rule=Rule(rule),
            window=window,
        )
        return cls(
            slot=slot,
            end_round=end,
            price_e8=price,
            high_e8=high,
            low_e8=low,
            rounds=rounds,
            report_hash=report_hash,
        )


@dataclass(frozen=True, slots=True)
class ExpiryCertificate:
    """``signatures`` are (oracle index, BIP340 signature of ``expiry.hash``), indexes strictly
    ascending, EncodingError otherwise. A decoded certificate proves nothing until ``check``."""

    expiry: Expiry
    signatures: Signatures

    def __post_init__(self) -> None:
        sigs.require_signatures("expiry certificate", self.signatures)

    @property
    def signers(self) -> tuple[int, ...]:
        return tuple(index for index, _ in self.signatures)

    def encode(self) -> bytes:
        """``EXP | quorum x (oracle index u8 | signature 64)``."""
        return self.expiry.encode() + sigs.encode(self.signatures)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The certificate of exactly these bytes; EncodingError names the field that is wrong."""
        expiry, signatures = sigs.split("expiry certificate", data, SIZE)
        return cls(Expiry.decode(expiry), signatures)

    def check(self, config: OracleConfig, quorum: int | None = None) -> None:
        """Returns if exactly ``quorum`` oracles (by default the configured number) signed this
        expiry under this configuration. QuorumError or SignatureError say what is wrong."""
        if self.expiry.slot.config_digest != config.digest:
            raise QuorumError(
                "expiry certificate is of another configuration (network, epoch or members)"
            )
        needed = config.quorum if quorum is None else quorum
        sigs.require_quorum("expiry certificate", self.signatures, config, needed)
        sigs.verify("expiry certificate", self.signatures, config, self.expiry.hash)


def assemble(
    config: OracleConfig,
    slot: ExpirySlot,
    answers: Mapping[int, tuple[bytes, bytes]],
    quorum: int | None = None,
) -> ExpiryCertificate:
    """The certificate that the answers of oracles give: each is ``EXP`` bytes and a signature, from
    the oracle of that index, and may be anything. ``quorum`` is a term of the contract, by default
    the configuration's. QuorumError says what is wrong with each answer."""
    needed = config.quorum if quorum is None else quorum
    votes: dict[Expiry, list[tuple[int, bytes]]] = {}
    faults = []
    for index, answer in sorted(answers.items()):
        try:
            encoded, signature = answer
            expiry = Expiry.decode(encoded)
            if expiry.slot != slot:
                raise QuorumError("an expiry of another slot")
            sigs.verify("expiry", ((index, signature),), config, expiry.hash)
            votes.setdefault(expiry, []).append((index, signature))
        except (ValueError, TypeError) as error:
            faults.append(f"oracle {index}: {error}")
    for expiry, signatures in votes.items():
        if len(signatures) >= needed:
            return ExpiryCertificate(expiry, tuple(signatures[:needed]))
    valid = sum(map(len, votes.values()))
    raise QuorumError(
        f"{valid} valid signatures over {len(votes)} expiries, {needed} over one are needed"
        + "".join(f"; {fault}" for fault in faults)
    )


def expiry_of(slot: ExpirySlot, grace_rounds: int, reports: Sequence[Report]) -> Expiry:
    """The expiry that ``reports`` give.

    ``reports`` are of certificates that the caller checked, each under its own epoch's
    configuration: consecutive links of the feed's prev_report_hash chain, oldest first, from one
    before ``slot.start_round`` (or the feed's first report) to the first in target to target +
    ``grace_rounds`` or beyond. QuorumError says what is missing.
    """
    _require_chain(slot, reports)
    end = _end(slot, grace_rounds, reports)
    history = [r for r in reports if slot.start_round <= r.round <= end.round]
    prices = [r.price_e8 for r in history]
    return Expiry(
        slot=slot,
        end_round=end.round,
        price_e8=end.price_e8 if slot.rule is Rule.SPOT else _mean(slot.window, end, history),
        high_e8=max(prices),
        low_e8=min(prices),
        rounds=len(history),
        report_hash=end.hash,
    )


def _require_chain(slot: ExpirySlot, reports: Sequence[Report]) -> None:
    if not reports:
        raise QuorumError("expiry: there is no certified report yet")
    for report in reports:
        if report.feed_id != slot.feed_id:
            raise QuorumError(f"expiry: the report of round {report.round} is of another feed")
    for earlier, later in pairwise(reports):
        if later.prev_report_hash != earlier.hash or later.round <= earlier.round:
            raise QuorumError(
                f"expiry: the report of round {later.round} does not follow that of round"
                f" {earlier.round}: fetch the missing certificates"
            )
    first = reports[0]
    if first.round >= slot.start_round and first.prev_report_hash != ZERO32:
        raise QuorumError(
            f"expiry: the chain begins in round {first.round}, what came before is unknown: fetch"
            f" it back to one certificate before start_round {slot.start_round}"
        )


def _end(slot: ExpirySlot, grace_rounds: int, reports: Sequence[Report]) -> Report:
    """The first report in target to target + grace."""
    late = slot.target_round + grace_rounds
    end = next((r for r in reports if r.round >= slot.target_round), None)
    if end is None:
        raise QuorumError(
            f"expiry: the last certified round is {reports[-1].round}: wait for the first from"
            f" {slot.target_round} on"
        )
    if end.round > late:
        raise QuorumError(
            f"expiry: no round from {slot.target_round} to {late} was certified, the next is"
            f" {end.round}: the contract can only be closed by both or refunded"
        )
    return end


def _mean(window: int, end: Report, history: Sequence[Report]) -> int:
    prices = [r.price_e8 for r in history if r.round > end.round - window]
    return sum(prices) // len(prices)
