"""Routes of prices: instruments, quotes, index, certificates."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from actors.gateway import models, views
from actors.gateway.problems import Problem, documented
from actors.market import Market
from protocol.errors import ProtocolError
from protocol.options.instrument import Instrument, parse_instrument
from protocol.options.sheet import (
    UNDERLYING,
    Columns,
    Conditions,
    Flat,
    is_slow,
    put_below,
    quote,
    with_markup,
)
from protocol.units import Sats

JSON: Final = "application/json"
SLOW_MAX: Final = 4
"""American knock-outs in one batch: each takes a fifth of a second."""
IN_LOOP: Final = 64
"""Rows that are priced at once; longer batches are priced beside the loop."""
CERTIFICATES_MAX: Final = 100

router = APIRouter(tags=["prices"])

_parsed = lru_cache(maxsize=20_000)(parse_instrument)


def market_of(request: Request) -> Market:
    """The market behind the app."""
    market: Market = request.app.state.market
    return market


def reply(value: Any, status: int = 200) -> Response:
    """JSON."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def instrument_of(name: str) -> Instrument:
    """The instrument of a name; a problem if there is no such option here."""
    try:
        instrument = _parsed(name)
    except ProtocolError as error:
        raise Problem("unknown-instrument", str(error)) from None
    if instrument.underlying != UNDERLYING:
        raise Problem("unknown-instrument", f"{name}: options here are on {UNDERLYING}")
    return instrument


def require_alive(instrument: Instrument, conditions: Conditions, now_ms: int) -> None:
    """A problem once it has expired."""
    if instrument.expiry_ms <= max(conditions.at_ms, now_ms):
        raise Problem("unknown-instrument", f"{instrument}: it has expired; see /v1/instruments")


@router.get(
    "/v1/instruments",
    summary="What is listed now",
    response_model=models.Instruments,
    responses=documented("no-price", "malformed-request"),
)
async def instruments(
    request: Request,
    expiry: Annotated[
        str | None,
        Query(pattern="^[0-9]{2}[A-Z]{3}[0-9]{2}$", description="One of `expiries`; else all"),
    ] = None,
) -> Response:
    """Every listed option: strikes around the index, expiries of days, weeks, months and quarters.
    What is not listed is quoted as well, if its name can be written."""
    market = market_of(request)
    conditions = market.conditions()
    named = {views.expiry_name(rows[0]): rows for rows in market.listed.values()}
    chosen = named.values() if expiry is None else [named.get(expiry, ())]
    return reply(
        {
            **views.moment(conditions),
            "expiries": list(named),
            "instruments": [views.instrument(row) for rows in chosen for row in rows],
        }
    )


@router.get(
    "/v1/quote",
    summary="Premium and Greeks of one option",
    response_model=models.Quote,
    responses=documented("unknown-instrument", "no-price", "malformed-request"),
)
async def one_quote(request: Request, asked: Annotated[models.QuoteIn, Query()]) -> Response:
    """At the newest certified price. ``collateral_sats`` is where a put's payoff ends, the quantity
    if it is left out; ``vol`` replaces the market's volatility."""
    market, named = market_of(request), instrument_of(asked.instrument)
    conditions = _conditions(market, asked.vol)
    require_alive(named, conditions, market.now_ms())
    if is_slow(named):
        quoted = await market.price(lambda: quote(named, conditions))
    else:
        quoted = quote(named, conditions)
    quantity = Sats(asked.quantity_sats)
    collateral = Sats(asked.collateral_sats or asked.quantity_sats)
    premium = market.premium(quoted, quantity, collateral, conditions)
    return reply(views.quote(quoted, conditions, quantity, collateral, premium, market.closing_ms))


@router.post(
    "/v1/quotes",
    summary="Premiums and Greeks of many options",
    response_model=models.Quotes,
    responses=documented("unknown-instrument", "no-price", "too-large", "malformed-request"),
)
async def many_quotes(request: Request, asks: models.Asks) -> Response:
    """All at one certified price, in the order of the request; nothing is quoted if one name is
    unknown. At most 4 American knock-outs, which take longer than all others together."""
    market = market_of(request)
    conditions = _conditions(market, asks.vol)
    named = _all_instruments(asks, conditions, market.now_ms())
    if sum(map(is_slow, named)) > SLOW_MAX:
        raise Problem(
            "malformed-request", f"quotes: at most {SLOW_MAX} American knock-outs in a request"
        )

    def priced() -> bytes:
        rows = _rows(asks, named, conditions, market)
        return msgspec.json.encode({**views.moment(conditions), "quotes": rows})

    is_short = len(named) <= IN_LOOP and not any(map(is_slow, named))
    return Response(priced() if is_short else await market.price(priced), media_type=JSON)


@router.get(
    "/v1/index/{asset}",
    summary="The certified price of an asset",
    response_model=models.Index,
    responses=documented("not-found", "no-price", "malformed-request"),
)
async def index(
    request: Request,
    asset: Annotated[str, Path(pattern="^[A-Z0-9]{2,12}$", examples=["BTC"])],
) -> Response:
    """With its oracles, their signatures, and the certificate that `oracle-vm verify` takes: save
    the answer in a file and verify that. It is shown however old it is."""
    market, symbol = market_of(request), f"{asset}/USD"
    known = [feed.symbol for feed in market.config.network.feeds]
    if symbol not in known:
        raise Problem("not-found", f"{asset}: the oracles price {', '.join(known)}")
    found = market.indexes.get(symbol)
    if found is None:
        raise Problem("no-price", f"{symbol}: no certified price has been heard yet")
    return reply(views.index(market, found))


@router.get(
    "/v1/certificates",
    summary="The newest certificates",
    response_model=models.Certificates,
    responses=documented("malformed-request"),
)
async def certificates(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=CERTIFICATES_MAX)] = 20,
    before_round: Annotated[int | None, Query(ge=0, description="To page back")] = None,
) -> Response:
    """Newest first, each with its bytes."""
    market = market_of(request)
    found = sorted(market.certificates, key=lambda c: c.round, reverse=True)
    chosen = [c for c in found if before_round is None or c.round < before_round][:limit]
    config = market.network.config.encode().hex()
    rows = [views.certificate(market, row) for row in chosen]
    return reply({"config": config, "certificates": rows})


def _conditions(market: Market, vol: float | None) -> Conditions:
    conditions = market.conditions()
    if vol is None:
        return conditions
    return replace(conditions, smile=Flat(vol))


def _rows(
    asks: models.Asks, named: Sequence[Instrument], conditions: Conditions, market: Market
) -> list[views.Json]:
    """``models.Quote`` of every row; what caps the puts is priced in rows too."""
    amounts = [
        (Sats(asked.quantity_sats), Sats(asked.collateral_sats or asked.quantity_sats))
        for asked in asks.quotes
    ]
    lower = [put_below(row, *amount) for row, amount in zip(named, amounts, strict=True)]
    priced = iter(Columns.of([row for row in lower if row is not None]).quotes(conditions))
    below = [0.0 if row is None else next(priced).greeks.price for row in lower]
    markup_bps, found = market.config.pricing.markup_bps, []
    for quoted, cap, amount in zip(
        Columns.of(named).quotes(conditions), below, amounts, strict=True
    ):
        premium = with_markup(quoted, cap, *amount, conditions, markup_bps)
        found.append(views.quote(quoted, conditions, *amount, premium, market.closing_ms))
    return found


def _all_instruments(asks: models.Asks, conditions: Conditions, now_ms: int) -> list[Instrument]:
    """A problem that names every unknown one."""
    named, errors = [], []
    for number, asked in enumerate(asks.quotes):
        try:
            instrument = instrument_of(asked.instrument)
            require_alive(instrument, conditions, now_ms)
            named.append(instrument)
        except Problem as problem:
            pointer = f"#/quotes/{number}/instrument"
            errors.append({"pointer": pointer, "detail": str(problem.detail)})
    if errors:
        detail = f"quotes: {len(errors)} of {len(asks.quotes)} unknown: {errors[0]['detail']}"
        raise Problem("unknown-instrument", detail, errors[:16])
    return named
