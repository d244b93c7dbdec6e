"""The part of a contract that decides a payout: oracles, price, option and units.

    claim 132 + 32 n
        config_digest 32 | feed_id 32 | start_round u64 | grace_rounds u32 | rule u8 | window u32
        | min_rounds u32 | american u8 (0, 1) | kind u8 (1 call, 2 put) | binary u8 (0, 1)
        | barrier u8 (0 none, 1 up, 2 down) | level u64 | strike u64 | quantity u64
        | collateral u64 | unit_sats u64 | payout_bits u8 | q u8 | n u8 | n x x-only key 32

Everything is big-endian. The target round, which oracles read too, is in front of this
(protocol.settlement.terms).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from protocol.errors import EncodingError, TermsError
from protocol.options.instrument import Barrier, Instrument, KnockOut, OptionKind
from protocol.options.payoff import PAYOUT_BITS, Payoff, unit_of, units_of
from protocol.oracle.config import MAX_ORACLES, OracleConfig
from protocol.oracle.exercise import require_agreement
from protocol.oracle.expiry import Expiry, ExpirySlot, Rule
from protocol.oracle.layout import ZERO32, require_bytes, require_uint
from protocol.oracle.quorum import thresholds
from protocol.settlement.cursor import Cursor
from protocol.units import U32_MAX, PriceE8, Sats

GRACE_MIN_MS: Final = 600_000
"""One burnt or missing round must not strand a contract."""

_LAYOUT: Final = Struct(">32s32sQIBIIBBBBQQQQQBBB")
_DIRECTIONS: Final = (None, KnockOut.UP, KnockOut.DOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTerms:
    """The part of a contract that decides a payout.

    ``slot`` is what the oracles are asked, its subject zero; an American contract is settled in a
    round from its start to its target, under a subject of its own (``ContractTerms.expiry_slot``).
    ``roster`` holds the x-only keys of the configuration's oracles in its order, ``quorum`` is how
    many sign an expiry. ``grace_rounds`` behind the target the end round must have come, and
    ``min_rounds`` of the rounds from start to end must be certified. EncodingError names a field
    that cannot be encoded, TermsError one that cannot be honoured.
    """

    slot: ExpirySlot
    roster: tuple[bytes, ...]
    quorum: int
    grace_rounds: int
    min_rounds: int = 1
    payoff: Payoff
    is_american: bool = False
    payout_bits: int = PAYOUT_BITS

    def __post_init__(self) -> None:
        require_uint("grace_rounds", self.grace_rounds, 32)
        require_uint("min_rounds", self.min_rounds, 32)
        self._require_roster()
        self._require_rounds()
        if self.is_american and self.payoff.is_binary:
            raise TermsError("is_american: a binary option is European, remove one of them")
        unit_of(self.collateral_sats, self.payout_bits)

    def _require_roster(self) -> None:
        n = len(self.roster)
        for index, key in enumerate(self.roster):
            require_bytes(f"roster[{index}]", key, 32)
        if not 1 <= n <= MAX_ORACLES or len(set(self.roster)) != n:
            raise TermsError(f"roster: 1 to {MAX_ORACLES} different keys are needed")
        if not 1 <= self.quorum <= n:
            raise TermsError(f"quorum {self.quorum}: it must lie between 1 and the {n} oracles")

    def _require_rounds(self) -> None:
        slot = self.slot
        if slot.subject != ZERO32:
            raise TermsError("subject: the terms hold 32 zero bytes, an exercise sets it")
        most = slot.target_round - slot.start_round + 1
        if not 1 <= self.min_rounds <= most:
            raise TermsError(
                f"min_rounds {self.min_rounds}: it must lie between 1 and the {most} rounds from"
                " start to target"
            )
        if most == 1 and (self.is_american or self.payoff.barrier is not None):
            what = "an American option" if self.is_american else "a barrier"
            raise TermsError(
                f"start_round {slot.start_round}: {what} needs rounds before the target"
                f" {slot.target_round}, name an earlier one"
            )

    @property
    def collateral_sats(self) -> Sats:
        """What the writer locks; bounds every payout."""
        return self.payoff.collateral_sats

    @property
    def unit_sats(self) -> Sats:
        """The sats of one payout unit."""
        return unit_of(self.collateral_sats, self.payout_bits)

    @property
    def first_round(self) -> int:
        """The first round that an American contract can be exercised in: a mean needs its window
        behind it."""
        return self.slot.start_round + max(self.slot.window, self.min_rounds) - 1

    def payout_sats(self, units: int) -> Sats:
        """The sats in ``units`` units."""
        return Sats(units * self.unit_sats)

    def units(self, expiry: Expiry) -> int:
        """What the option pays on these prices, in units; nothing else of ``expiry`` is looked
        at."""
        prices = (expiry.price_e8, expiry.high_e8, expiry.low_e8)
        sats = self.payoff.sats(*map(PriceE8, prices))
        return units_of(sats, self.unit_sats, self.payout_bits)

    def encode(self) -> bytes:
        """132 bytes and 32 for each oracle; all but the slot's target and its zero subject."""
        slot, payoff, barrier = self.slot, self.payoff, self.payoff.barrier
        head = _LAYOUT.pack(
            slot.config_digest,
            slot.feed_id,
            slot.start_round,
            self.grace_rounds,
            slot.rule,
            slot.window,
            self.min_rounds,
            self.is_american,
            payoff.kind,
            payoff.is_binary,
            _DIRECTIONS.index(barrier and barrier.direction),
            barrier.level_e8 if barrier else 0,
            payoff.strike_e8,
            payoff.quantity_sats,
            payoff.collateral_sats,
            self.unit_sats,
            self.payout_bits,
            self.quorum,
            len(self.roster),
        )
        return head + b"".join(self.roster)

    @classmethod
    def read(cls, cursor: Cursor, target_round: int) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        config_digest, feed_id, start, grace, rule, window, min_rounds, american, kind, *rest = (
            cursor.read(_LAYOUT)
        )
        binary, direction, level, strike, quantity, collateral, unit, bits, quorum, n = rest
        slot = ExpirySlot(
            config_digest=config_digest,
            feed_id=feed_id,
            start_round=start,
            target_round=target_round,
            rule=Rule(_code("rule", rule, Rule)),
            window=window,
        )
        payoff = Payoff(
            kind=OptionKind(_code("kind", kind, OptionKind)),
            strike_e8=strike,
            quantity_sats=quantity,
            collateral_sats=collateral,
            is_binary=bool(_code("binary", binary, (0, 1))),
            barrier=_barrier(direction, level),
        )
        terms = cls(
            slot=slot,
            roster=tuple(cursor.take(32) for _ in range(n)),
            quorum=quorum,
            grace_rounds=grace,
            min_rounds=min_rounds,
            payoff=payoff,
            is_american=bool(_code("american", american, (0, 1))),
            payout_bits=bits,
        )
        if unit != terms.unit_sats:
            raise EncodingError(
                f"unit_sats {unit}: the collateral in {bits} bits gives {terms.unit_sats}"
            )
        return terms

    @classmethod
    def of_instrument(
        cls,
        instrument: Instrument,
        config: OracleConfig,
        feed_id: bytes,
        quantity_sats: Sats,
        collateral_sats: Sats,
        *,
        start_round: int | None = None,
        twap_rounds: int = 0,
        payout_bits: int = PAYOUT_BITS,
    ) -> Self:
        """The terms of a listed option that ``config``'s oracles settle in the round of its expiry.

        From ``start_round`` on, by default the expiry's, a barrier is watched and an American
        option can be exercised; ``twap_rounds`` of 0 settle on the price of one round, else on
        the mean of so many. The quorum is the configuration's, or what an American one takes.
        EncodingError or TermsError for what cannot be settled.
        """
        expiry = config.round_at(instrument.expiry_ms)
        needed = thresholds(len(config.oracles), config.faults).agreement
        terms = cls(
            slot=ExpirySlot(
                config_digest=config.digest,
                feed_id=feed_id,
                start_round=expiry if start_round is None else start_round,
                target_round=expiry,
                rule=Rule.TWAP if twap_rounds else Rule.SPOT,
                window=twap_rounds,
            ),
            roster=config.oracles,
            quorum=max(config.quorum, needed) if instrument.is_american else config.quorum,
            grace_rounds=grace_rounds_min(config),
            payoff=Payoff(
                kind=instrument.kind,
                strike_e8=instrument.strike_e8,
                quantity_sats=quantity_sats,
                collateral_sats=collateral_sats,
                is_binary=instrument.is_binary,
                barrier=instrument.barrier,
            ),
            is_american=instrument.is_american,
            payout_bits=payout_bits,
        )
        terms.require_config(config)
        return terms

    def require_config(self, config: OracleConfig) -> None:
        """TermsError unless roster and digest are those of ``config``, the quorum outnumbers its
        faults (and, of an American contract, cannot certify two rounds) and the grace lasts at
        least ten minutes of its rounds."""
        if self.slot.config_digest != config.digest or self.roster != config.oracles:
            raise TermsError("the terms name other oracles than this configuration")
        if self.quorum <= config.faults:
            raise TermsError(
                f"quorum {self.quorum}: with {config.faults} liars it takes {config.faults + 1}"
            )
        if self.is_american:
            require_agreement(config, self.quorum)
        if self.grace_rounds < grace_rounds_min(config):
            raise TermsError(
                f"grace_rounds {self.grace_rounds}: give at least {grace_rounds_min(config)},"
                " ten minutes"
            )


def grace_rounds_min(config: OracleConfig) -> int:
    """The fewest rounds of this configuration that last ten minutes, at most 2^32 - 1."""
    return min(-(-GRACE_MIN_MS // config.interval_ms), U32_MAX)


def _code(field: str, value: int, known: Iterable[int]) -> int:
    codes = [int(code) for code in known]
    if value not in codes:
        raise EncodingError(f"{field} {value}: expected one of {', '.join(map(str, codes))}")
    return value


def _barrier(direction: int, level_e8: int) -> Barrier | None:
    found = _DIRECTIONS[_code("barrier", direction, (0, 1, 2))]
    if found is not None:
        return Barrier(found, PriceE8(level_e8))
    if level_e8 != 0:
        raise EncodingError(f"level {level_e8}: write 0 where there is no barrier")
    return None
