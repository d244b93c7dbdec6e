"""The file of ``oracle-vm pool run`` (JSON; docs/pool.md, "Scenario files"): a pool, its users, and
batches of operations under prices that nobody certified.

Every amount and price is a decimal string. A file with an unknown field, a missing one or a number
that cannot be is refused in one line that names the place.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from actors.json_text import json_object
from protocol.errors import ConfigError, EncodingError
from protocol.oracle.feed import Feed
from protocol.pool.layout import stable_id
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.profiles import PROFILES

ALL: Final = "all"
USD_DECIMALS: Final = 6
STEP_S: Final = 60
"""Between two batches that do not say when they are."""

_NAME: Final = r"^[a-z][a-z0-9_-]{0,31}\Z"
_SYMBOL: Final = r"^[A-Z0-9]{1,12}\Z"
_DECIMAL: Final = r"^[0-9]{1,12}(\.[0-9]{1,12})?\Z"
_AMOUNT: Final = r"^([0-9]{1,12}(\.[0-9]{1,6})?|all)\Z"
_HINTS: Final = {
    _NAME: "a name of small letters, digits, - and _",
    _SYMBOL: "a symbol of capital letters and digits",
    _DECIMAL: 'a decimal string without separators, like "1000.50"',
    _AMOUNT: 'a decimal string with at most 6 decimals, like "1000.50"',
}
Name = Annotated[str, Meta(pattern=_NAME)]
Symbol = Annotated[str, Meta(pattern=_SYMBOL)]
Decimal = Annotated[str, Meta(pattern=_DECIMAL)]
Amount = Annotated[str, Meta(pattern=_AMOUNT)]
Side = Literal["long", "short"]
Stable = Literal["USDC", "USDT"]
Count = Annotated[int, Meta(ge=0, lt=2**53)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An object of the file."""


class Signed(Table, frozen=True, kw_only=True):
    """An operation of ``user``. The rest is for showing what is refused: a nonce that is not the
    next one, a deadline, the key of somebody else."""

    user: Name
    nonce: Count | None = None
    deadline_s: Count | None = None
    signed_by: Name | None = None


class AddLiquidity(Signed, frozen=True, kw_only=True, tag_field="op", tag="add_liquidity"):
    amount: Amount
    min_glp: Amount = "0"


class RemoveLiquidity(Signed, frozen=True, kw_only=True, tag_field="op", tag="remove_liquidity"):
    glp: Amount  # or "all"
    min_out: Amount = "0"


class Increase(Signed, frozen=True, kw_only=True, tag_field="op", tag="increase"):
    token: Symbol
    side: Side
    size: Amount
    deposit: Amount | None = None
    collateral: Amount | None = None  # instead of the deposit: the fee is put on top of it
    acceptable_price: Decimal | None = None


class Decrease(Signed, frozen=True, kw_only=True, tag_field="op", tag="decrease"):
    token: Symbol
    side: Side
    size: Amount = "0"  # or "all"
    collateral: Amount = "0"
    acceptable_price: Decimal | None = None


class Liquidate(Table, frozen=True, tag_field="op", tag="liquidate"):
    user: Name
    token: Symbol
    side: Side


class CloseAtCap(Table, frozen=True, tag_field="op", tag="close_at_cap"):
    user: Name
    token: Symbol
    side: Side


class CreateOrder(Signed, frozen=True, kw_only=True, tag_field="op", tag="create_order"):
    order: Name  # what this file calls it
    token: Symbol
    side: Side
    kind: Literal["market", "limit", "stop", "take_profit"]
    action: Literal["increase", "decrease"]
    size: Amount
    reduce_only: bool = False
    deposit: Amount | None = None
    collateral: Amount = "0"
    trigger_price: Decimal = "0"
    acceptable_price: Decimal | None = None
    expiry_s: Count | None = None


class CancelOrder(Signed, frozen=True, kw_only=True, tag_field="op", tag="cancel_order"):
    order: Name


class FillOrder(Table, frozen=True, tag_field="op", tag="fill_order"):
    user: Name
    order: Name


Operation = (
    AddLiquidity
    | RemoveLiquidity
    | Increase
    | Decrease
    | Liquidate
    | CloseAtCap
    | CreateOrder
    | CancelOrder
    | FillOrder
)


class Batch(Table, frozen=True):
    """``time_s`` after the pool began, by itself 60 after the batch before; prices that are not
    named stay. The pool begins at the prices of the first batch."""

    prices: dict[Symbol, Decimal] = field(default_factory=dict)
    conf: dict[Symbol, Decimal] = field(default_factory=dict)
    time_s: Count | None = None
    operations: tuple[Operation, ...] = ()
    note: str = ""


class User(Table, frozen=True):
    """``balance``: what the user can bring, together; without it no limit."""

    balance: Amount | None = None


class TokenRow(Table, frozen=True):
    """A token of a whole initial state, with the keys of the state's JSON. Derived ones may be
    there and must then agree."""

    reserved: Decimal
    open_interest_long: Decimal
    open_interest_short: Decimal
    utilization: str | UnsetType = UNSET
    funding_rate_long: str | UnsetType = UNSET
    funding_rate_short: str | UnsetType = UNSET


class State(Table, frozen=True):
    """A whole initial state, as the command prints one."""

    total_liquidity: Decimal
    glp_supply: Decimal
    tokens: dict[Symbol, TokenRow]
    stablecoin: Stable = "USDC"


class Scenario(Table, frozen=True):
    """A whole file. ``pool`` and ``tokens`` change fields of the profile's parameters."""

    name: str
    tokens: dict[Symbol, dict[str, int]]
    batches: Annotated[tuple[Batch, ...], Meta(min_length=1)]
    about: str = ""
    profile: str = "brief"
    stablecoin: Stable = "USDC"
    pool: dict[str, int | bool] = field(default_factory=dict)
    liquidity: Decimal | None = None
    state: State | None = None
    users: dict[Name, User] = field(default_factory=dict)
    compare: Literal["separate_pools"] | None = None

    @property
    def symbols(self) -> dict[int, str]:
        """Token id -> symbol: ids from 1, in the file's order."""
        return dict(enumerate(self.tokens, start=1))

    def times(self) -> list[int]:
        """Of every batch, in seconds since the pool began. ConfigError if they do not ascend."""
        times = [0]
        for at, batch in enumerate(self.batches):
            time_s = times[-1] + STEP_S if batch.time_s is None else batch.time_s
            if time_s <= times[-1]:
                raise ConfigError(f"batches[{at}].time_s: {time_s} is not after {times[-1]}")
            times.append(time_s)
        return times[1:]

    def token_params(self) -> dict[int, TokenParams]:
        """The parameters of every token. ConfigError names the token."""
        profile = PROFILES[self.profile]
        rows = {}
        for token, symbol in self.symbols.items():
            try:
                fields = profile.token_fields(symbol) | self.tokens[symbol]
                rows[token] = TokenParams(**fields)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"tokens.{symbol}: {_plain(error)}") from None
        return rows

    def pool_params(self, oracle_config: bytes = bytes(32)) -> PoolParams:
        """The pool's terms; every token's feed is that of SYMBOL/USD. ConfigError names a field."""
        feeds = tuple((token, Feed(f"{name}/USD").feed_id) for token, name in self.symbols.items())
        try:
            fields = dict(PROFILES[self.profile].pool) | self.pool
            return PoolParams(
                feeds=feeds,
                oracle_config=oracle_config,
                stable_id=stable_id(self.stablecoin),
                **fields,
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"pool: {_plain(error)}") from None


def load_scenario(file: Path) -> Scenario:
    """The scenario of a file. ConfigError names the file and the place in it."""
    try:
        scenario = msgspec.convert(json_object(file.read_bytes()), Scenario)
        _check(scenario)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (msgspec.ValidationError, EncodingError, ConfigError) as error:
        text = str(error)
        for pattern, hint in _HINTS.items():
            text = text.replace(f"`str` matching regex {pattern!r}", hint)
        raise ConfigError(f"{file}: {text}") from None
    return scenario


def parse(text: str, decimals: int, place: str) -> int:
    """``text`` in units of 10^-decimals; ConfigError if it has more digits than that."""
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    if len(part) > decimals:
        raise ConfigError(f"{place}: `{text}` has more than {decimals} decimals")
    return int(whole + part.ljust(decimals, "0"))


def _check(scenario: Scenario) -> None:
    if scenario.profile not in PROFILES:
        raise ConfigError(f"profile `{scenario.profile}`: choose one of {', '.join(PROFILES)}")
    if not scenario.tokens:
        raise ConfigError("tokens: name at least one")
    if (scenario.liquidity is None) == (scenario.state is None):
        raise ConfigError("liquidity: give either `liquidity` or a whole `state`")
    if scenario.state and scenario.state.stablecoin != scenario.stablecoin:
        raise ConfigError(f"state.stablecoin: the pool counts in {scenario.stablecoin}")
    if scenario.pool.get("backed"):
        raise ConfigError("pool.backed: a scenario's pool holds USDC, not sats")
    scenario.token_params()
    scenario.pool_params()
    known = set(scenario.tokens)
    if scenario.state and set(scenario.state.tokens) - known:
        raise ConfigError(f"state.tokens: only {', '.join(scenario.tokens)} are in `tokens`")
    if missing := known - set(scenario.batches[0].prices):
        raise ConfigError(f"batches[0].prices: `{min(missing)}` is missing; the first names all")
    scenario.times()
    for at, batch in enumerate(scenario.batches):
        place = f"batches[{at}]"
        if strange := (set(batch.prices) | set(batch.conf)) - known:
            raise ConfigError(f"{place}.prices: `{min(strange)}` is not in `tokens`")
        for number, operation in enumerate(batch.operations):
            _check_operation(operation, known, f"{place}.operations[{number}]")


def _check_operation(operation: Operation, known: set[str], place: str) -> None:
    token = getattr(operation, "token", None)
    if token is not None and token not in known:
        raise ConfigError(f"{place}.token: `{token}` is not in `tokens`")
    if isinstance(operation, Increase) and (operation.deposit is None) == (
        operation.collateral is None
    ):
        raise ConfigError(f"{place}: give either `deposit` or `collateral`")


def _plain(error: Exception) -> str:
    """The message, without the name of a function that a TypeError begins with."""
    text = str(error)
    return text.partition("() ")[2] or text
