"""The contracts of a market and what may happen to each, as values.

    ordered    accepted here at a premium; the parties have not been told
    offered    both parties have the terms and are signing
    open       funded on the chain
    settling   somebody closes or claims
    disputed   a claim is challenged
    closed     who gets what is decided and swept; ``outcome`` is the transaction that did it
    failed     never funded: nobody has lost anything

The chain decides, through what the parties say of it; nothing here can move a coin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from protocol.errors import TermsError
from protocol.options.instrument import Instrument, KnockOut, OptionKind
from protocol.options.margin import payoff_of
from protocol.options.payoff import bits_that_fit
from protocol.units import PriceE8, Round, Sats, UnixMs

CLOSING_MS: Final = 3_600_000
"""Before expiry, at blocks of ten minutes: what is ordered later could not be funded in time."""


class Stage(StrEnum):
    """Where a contract stands, as the module's head says."""

    ORDERED = "ordered"
    OFFERED = "offered"
    OPEN = "open"
    SETTLING = "settling"
    DISPUTED = "disputed"
    CLOSED = "closed"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens any more."""
        return self in (Stage.CLOSED, Stage.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants to hold, and the most it may cost. TermsError names a field that no
    contract can have. ``collateral_sats`` is the quantity except for a put, whose payoff ends
    there."""

    instrument: Instrument
    quantity_sats: Sats
    collateral_sats: Sats
    max_premium_sats: Sats

    def __post_init__(self) -> None:
        payoff_of(self.instrument, self.quantity_sats, self.collateral_sats)
        is_put = self.instrument.kind is OptionKind.PUT and not self.instrument.is_binary
        if not is_put and self.collateral_sats != self.quantity_sats:
            raise TermsError(
                f"collateral_sats {self.collateral_sats}: this option never pays more than its"
                f" quantity, leave it out or write {self.quantity_sats}"
            )
        bits_that_fit(self.collateral_sats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The certified price that settles a contract, its round, and what it gives the holder."""

    round: Round
    price_e8: PriceE8
    payout_sats: Sats


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One of a contract's; ``fee`` in sats, ``height`` None in the mempool."""

    name: str
    txid: str
    vsize: int
    fee: int
    height: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One contract. ``round`` and ``index_e8`` are the certified price that it was sold at;
    ``contract_id`` is the parties', once they have agreed; ``exercise_round`` the round that the
    holder of an American option has named; ``knocked_round`` the one whose price touched the
    barrier, as far as it was seen here; ``settlement`` what the oracles certified for it, and
    ``transactions`` those on the chain once it is over."""

    id: int
    instrument: Instrument
    quantity_sats: Sats
    collateral_sats: Sats
    premium_sats: Sats
    round: Round
    index_e8: PriceE8
    opened_ms: UnixMs
    stage: Stage = Stage.ORDERED
    outcome: str = ""
    fault: str = ""
    contract_id: str = ""
    exercise_round: Round | None = None
    knocked_round: Round | None = None
    settlement: Settlement | None = None
    transactions: tuple[Transaction, ...] = ()

    def seen(self, round_id: Round, index_e8: PriceE8) -> Self:
        """After a certified price: a barrier that it touches knocks the option out."""
        barrier = self.instrument.barrier
        if barrier is None or self.knocked_round is not None or self.stage.is_over:
            return self
        if barrier.direction is KnockOut.UP:
            is_touched = index_e8 >= barrier.level_e8
        else:
            is_touched = index_e8 <= barrier.level_e8
        return replace(self, knocked_round=round_id) if is_touched else self

    def exercised(self, round_id: Round, first: Round, expiry: Round) -> Self:
        """With the round that the holder names; ``first`` is the earliest one that still can be,
        ``expiry`` that of the expiry. TermsError says why it cannot be exercised."""
        if not self.instrument.is_american:
            raise TermsError(
                f"contract {self.id}: {self.instrument} is European, it settles by itself at expiry"
            )
        if self.stage is not Stage.OPEN:
            raise TermsError(f"contract {self.id} is {self.stage}: only an open one is exercised")
        if self.exercise_round is not None and self.exercise_round != round_id:
            raise TermsError(
                f"contract {self.id} is exercised in round {self.exercise_round}: once is for good"
            )
        if self.exercise_round is None and not first <= round_id < expiry:
            raise TermsError(
                f"round {round_id}: name one from {first}, a minute ahead, to {expiry - 1}, the"
                " last before expiry"
            )
        return replace(self, exercise_round=round_id)

    def followed(self, sides: Sequence["Side"]) -> Self:
        """As the parties say it stands now; the one that knows more is believed, but it is over
        only if neither has anything left to do."""
        if self.stage.is_over or not sides:
            return self
        side = max(sides, key=lambda side: _ORDER.index(side.stage))
        left = [side.stage for side in sides if not side.stage.is_over]
        stage = max(self.stage, *(left or [side.stage]), key=_ORDER.index)
        fault = "; ".join(f"{s.role}: {s.fault}" for s in sides if s.fault)
        return replace(
            self,
            stage=stage,
            outcome=side.outcome,
            fault=fault or (self.fault if stage is Stage.FAILED else ""),
            contract_id=side.contract_id or self.contract_id,
            settlement=side.settlement or self.settlement,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one party says of its contract."""

    role: str
    stage: Stage
    outcome: str = ""
    fault: str = ""
    contract_id: str = ""
    settlement: Settlement | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """All contracts by number."""

    contracts: Mapping[int, Contract]

    def place(
        self, order: Order, premium_sats: Sats, round_id: Round, index_e8: PriceE8, now_ms: UnixMs
    ) -> Contract:
        """The contract that fills the order at this premium. TermsError if that is more than it may
        cost."""
        if premium_sats > order.max_premium_sats:
            raise TermsError(
                f"max_premium_sats {order.max_premium_sats}: it costs {premium_sats} now; quote it"
                " again"
            )
        return Contract(
            id=max(self.contracts, default=0) + 1,
            instrument=order.instrument,
            quantity_sats=order.quantity_sats,
            collateral_sats=order.collateral_sats,
            premium_sats=premium_sats,
            round=round_id,
            index_e8=index_e8,
            opened_ms=now_ms,
        )

    def after(self, contract: Contract) -> "Book":
        """With this contract as it is now."""
        return Book({**self.contracts, contract.id: contract})


def require_in_time(order: Order, now_ms: UnixMs, closing_ms: int = CLOSING_MS) -> None:
    """TermsError if it is less than ``closing_ms`` before expiry."""
    if order.instrument.expiry_ms - now_ms < closing_ms:
        raise TermsError(
            f"{order.instrument}: orders end {closing_ms / 60_000:g} minutes before expiry; choose"
            " a later one"
        )


_ORDER: Final = tuple(Stage)
