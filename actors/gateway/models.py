"""What clients send and get. Money is integer sats or a decimal string of dollars, times are
integer milliseconds since 1970, and sensitivities, which are neither, are numbers.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from protocol.bitcoin.tx import MAX_MONEY_SATS

ROWS_MAX: Final = 10_000
"""Quotes in one request."""
NAME_PATTERN: Final = (
    r"^[A-Z][A-Z0-9]{1,11}-[0-9]{2}[A-Z]{3}[0-9]{2}-[0-9d]{1,21}-[CP](-B)?(-(UO|DO)[0-9d]{1,21})?"
    r"(-A)?$"
)
"""In the OpenAPI document; ``parse_instrument`` decides, and says more than a pattern can."""
BTC: Final = 100_000_000

Name = Annotated[
    str,
    Field(
        max_length=80,
        description="Instrument: UNDERLYING-DDMMMYY-STRIKE-(C|P)[-B][-(UO|DO)LEVEL][-A]",
        examples=["BTC-27DEC26-50000-C"],
        json_schema_extra={"pattern": NAME_PATTERN},
    ),
]
Sats = Annotated[int, Field(ge=1, le=MAX_MONEY_SATS, description="Satoshis")]
Vol = Annotated[float, Field(ge=0.001, le=10, description="Per root year; 0.6 is 60 %")]
Dollars = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]+$", description="Decimal dollars")]
Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", description="Bytes in hex")]
Ms = Annotated[int, Field(ge=0, description="Milliseconds since 1970")]
Count = Annotated[int, Field(ge=0)]


class Model(BaseModel):
    """Unknown fields are refused, and numbers are not read from text."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(Model):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:oracle-vm:problem:unknown-instrument"])
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do about it")
    errors: list[dict[str, str]] | None = Field(None, description="Places in the request")


# In


class QuoteIn(BaseModel):
    """One option; unknown parameters are refused. ``collateral_sats`` is where a put's payoff ends,
    the quantity if it is left out; ``vol`` replaces the market's."""

    model_config = ConfigDict(extra="forbid")

    instrument: Name
    quantity_sats: Sats = BTC
    collateral_sats: Sats | None = None
    vol: Vol | None = None


class Ask(Model):
    """One row of a batch. ``collateral_sats``, where a put's payoff ends, is the quantity if it is
    left out."""

    instrument: Name
    quantity_sats: Sats = BTC
    collateral_sats: Sats | None = None


class Asks(Model):
    """A batch; ``vol`` replaces the market's volatility."""

    quotes: Annotated[list[Ask], Field(min_length=1, max_length=ROWS_MAX)]
    vol: Vol | None = None


class OrderIn(Model):
    """Buy ``quantity_sats`` of an option if it costs at most ``max_premium_sats``."""

    instrument: Name
    quantity_sats: Sats
    max_premium_sats: Sats
    collateral_sats: Sats | None = None


class ExerciseIn(Model):
    """The round of the oracles that settles an American option; the first that can still be named
    if it is left out."""

    round: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


# Out


class Greeks(Model):
    """Dollars for one bitcoin of the option. ``delta`` and ``gamma`` are by a dollar of the index,
    ``theta`` by the passing of a day, ``vega`` by a point of volatility, ``rho`` by a point of the
    rate, ``dividend_rho`` of the dividend yield."""

    delta: float
    gamma: float
    theta_per_day: float
    vega_per_point: float
    rho_per_point: float
    dividend_rho_per_point: float


class Priced(Greeks):
    """A row of an option chain: ``price_sats`` is the price of one bitcoin of it."""

    instrument: str
    price_usd: Dollars
    price_sats: Count
    vol: float = Field(description="Per root year; 0.6 is 60 %")


class Quote(Priced):
    """``premium_sats`` is what the writer asks for ``quantity_sats``, its markup included; a put's
    cap at its collateral is taken off. Behind ``orders_until_ms`` it is not sold."""

    quantity_sats: Count
    collateral_sats: Count
    premium_sats: Count
    round: Count
    index_usd: Dollars
    at_ms: Ms
    orders_until_ms: Ms
    expiry_ms: Ms


class Quotes(Model):
    """In the order of the request, all at one certified price."""

    round: Count
    index_usd: Dollars
    at_ms: Ms
    quotes: list[Quote]


class Instrument(Model):
    """A listed option."""

    instrument: str
    underlying: str
    expiry_ms: Ms
    strike_usd: Dollars
    kind: Literal["call", "put"]
    style: Literal["european", "american"]
    payoff: Literal["vanilla", "binary"]
    barrier: Literal["up-and-out", "down-and-out"] | None
    barrier_usd: Dollars | None


class Instruments(Model):
    """What is listed at the newest certified price; ``expiries`` as names write them."""

    round: Count
    index_usd: Dollars
    at_ms: Ms
    expiries: list[str]
    instruments: list[Instrument]


class Source(Model):
    """An oracle: whether its price is in the median, and its signature if it is one of the
    quorum's."""

    index: Count
    name: str
    key: Hex
    observed: bool
    signature: Hex | None


class Index(Model):
    """A certified price. ``certificate`` and ``config`` are what ``oracle-vm verify`` takes: the
    BIP340 signatures are over ``message``, the tagged hash (``tag``) of ``signed``."""

    asset: str
    feed: str
    round: Count
    time_ms: Ms
    price_usd: Dollars
    conf_usd: Dollars
    grade: Literal["FULL", "DEGRADED"]
    quorum: Count
    sources: list[Source]
    tag: str
    signed: Hex
    message: Hex
    certificate: Hex
    config: Hex
    vol: float | None = Field(
        description="That quotes use, null if it is a surface, or another asset"
    )
    vol_assumed: bool


class CertificateRow(Model):
    """A certificate of one round."""

    round: Count
    time_ms: Ms
    prices: dict[str, Dollars]
    signers: list[Count]
    hash: Hex
    previous_hash: Hex
    certificate: Hex
    config: Hex


class Certificates(Model):
    """The newest first; each row has the configuration of its own epoch."""

    config: Hex
    certificates: list[CertificateRow]


class Margin(Model):
    """What the writer may owe, in sats; ``cap_usd`` is where a put's payoff ends."""

    collateral_sats: Count
    mark_sats: Count
    intrinsic_sats: Count
    most_sats: Count
    free_sats: int
    cap_usd: Dollars | None


class Settlement(Model):
    """What the oracles certified for a contract: the price, its round, and what that gives the
    holder. Who gets what is decided by the transactions."""

    round: Count
    price_usd: Dollars
    payout_sats: Count


class Contract(Model):
    """``id`` is this market's number, ``contract_id`` the parties', once they have agreed."""

    id: Count
    instrument: str
    quantity_sats: Count
    collateral_sats: Count
    premium_sats: Count
    round: Count
    index_usd: Dollars
    opened_ms: Ms
    expiry_ms: Ms
    stage: Literal["ordered", "offered", "open", "settling", "disputed", "closed", "failed"]
    outcome: str
    fault: str
    contract_id: Hex
    exercise_round: Count | None
    knocked_round: Count | None
    settlement: Settlement | None


class Marked(Contract):
    """With its margin at the newest index, while it is not over."""

    margin: Margin | None


class Transaction(Model):
    """Of a contract: fee in sats, ``height`` null in the mempool."""

    name: str
    txid: Hex
    vsize: Count
    fee: int
    height: Count | None


class Detailed(Marked):
    """With its transactions on the chain, parents first."""

    transactions: list[Transaction]


class Contracts(Model):
    """``custody``: who runs the parties, their ``owners`` or, in a demo, the ``desk``; null if
    nothing can be ordered. ``margin`` is of all that are not over."""

    custody: Literal["owners", "desk"] | None
    margin: Margin
    contracts: list[Marked]


class Dispute(Model):
    """The game about a claim on the chain, as a party sees it: ``wait`` is what its newest output
    waits for, ``turn`` whose move that is, ``since`` and ``deadline`` the heights of that output
    and of the last block for the move. ``digits`` are the children picked so far, of 4 each, down
    ``log4_steps`` levels to the disputed ``step``; ``fault``, ``leaf`` and ``winner`` say how it
    ended."""

    id: Count
    contract_id: Hex
    stage: str
    height: Count
    prover: str | None
    wait: str | None
    turn: str | None
    since: Count | None
    deadline: Count | None
    digits: list[Count]
    log4_steps: Count | None
    step: Count | None
    fault: str | None
    leaf: str | None
    winner: str | None
    transactions: list[Transaction]


class Node(Model):
    """A node of the oracle network, as far as it is heard here."""

    name: str
    url: str
    key: Hex
    connected: bool
    round: Count | None
    refused: Count
    fault: str


class Nodes(Model):
    """Empty where certificates are read from a history alone."""

    nodes: list[Node]


class Status(Model):
    """``clock`` is `system-clock`, or `simulated-clock`: real time plus ``clock_offset_ms``, in all
    programs of this network. ``custody`` as in `/v1/contracts`."""

    clock: str
    now_ms: Ms
    clock_offset_ms: int
    oracles: Count
    quorum: Count
    custody: Literal["owners", "desk"] | None


class Health(Model):
    """All is well."""

    status: Literal["ok"]
