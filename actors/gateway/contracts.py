"""Routes of contracts: what is open, orders, exercise, disputes."""

import hashlib
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Path, Request, Response

from actors.gateway import models, views
from actors.gateway.prices import JSON, instrument_of, market_of, reply
from actors.gateway.problems import Problem, documented
from actors.market import Market
from actors.market_store import Answer
from protocol.options.book import Contract, Order
from protocol.options.margin import total
from protocol.units import Round, Sats

ACCEPTED: Final = 202

router = APIRouter(tags=["contracts"])

Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description="A new one for each command. The same command with the same key is done once"
        " and answered alike, also after a crash.",
        examples=["7f3c1b9e"],
    ),
]
Number = Annotated[int, Path(ge=0, le=2**63 - 1, description="`id` of a contract", examples=[1])]


@router.get("/v1/contracts", summary="All contracts", response_model=models.Contracts)
async def contracts(request: Request) -> Response:
    """The newest first, each with its margin, and the margin of all that are not over."""
    market = market_of(request)
    held = [(row, market.margin_if_any(row)) for row in market.book.contracts.values()]
    rows = [views.marked(row, margin) for row, margin in held]
    return reply(
        {
            "custody": None if market.desk is None else market.desk.custody,
            "margin": views.margin(total(margin for _, margin in held if margin is not None)),
            "contracts": rows[::-1],
        }
    )


@router.get(
    "/v1/contracts/{id}",
    summary="One contract and its transactions",
    response_model=models.Detailed,
    responses=documented("not-found", "malformed-request", "no-desk"),
)
async def contract(request: Request, id: Number) -> Response:  # noqa: A002 - the path's name
    """With what the chain holds of it."""
    market = market_of(request)
    found = _contract(market, id)
    row = views.marked(found, market.margin_if_any(found))
    return reply({**row, "transactions": list(await market.transactions(found))})


@router.post(
    "/v1/contracts",
    summary="Order an option",
    status_code=ACCEPTED,
    response_model=models.Contract,
    responses=documented(
        "unknown-instrument", "refused", "key-reused", "malformed-request", "too-large",
        "no-price", "no-desk", "no-storage",
    ),
)  # fmt: skip
async def order(request: Request, asked: models.OrderIn, key: Key) -> Response:
    """Sold at the price of this moment if that is at most `max_premium_sats`, else refused, and
    nothing is kept. Then the terms go to the two parties, who fund it; `stage` says how far they
    are."""
    market, quantity = market_of(request), Sats(asked.quantity_sats)
    collateral = Sats(asked.collateral_sats or asked.quantity_sats)
    wanted = Order(
        instrument=instrument_of(asked.instrument),
        quantity_sats=quantity,
        collateral_sats=collateral,
        max_premium_sats=Sats(asked.max_premium_sats),
    )
    digest = _digest("order", asked)
    return _response(await market.order(key, digest, wanted, accepted))


@router.post(
    "/v1/contracts/{id}/exercise",
    summary="Exercise an American option",
    status_code=ACCEPTED,
    response_model=models.Contract,
    responses=documented(
        "not-found", "refused", "key-reused", "malformed-request", "too-large", "no-desk",
        "no-storage",
    ),
)  # fmt: skip
async def exercise(
    request: Request,
    id: Number,  # noqa: A002 - the path's name
    asked: models.ExerciseIn,
    key: Key,
) -> Response:
    """Names the oracles' round whose price settles it, once and for good. The holder's party signs
    the notice; the oracles take it a minute ahead, so the round lies at least two minutes ahead."""
    market = market_of(request)
    _contract(market, id)
    digest = _digest(f"exercise {id}", asked)
    return _response(await market.exercise(key, digest, id, _round(asked), accepted))


@router.get(
    "/v1/disputes/{id}",
    summary="The dispute of a contract",
    response_model=models.Dispute,
    responses=documented("not-found", "malformed-request", "no-desk"),
)
async def dispute(request: Request, id: Number) -> Response:  # noqa: A002 - the path's name
    """Whose move it is, what they disagree on, and the transactions so far."""
    market = market_of(request)
    found = await market.dispute(_contract(market, id))
    if found is None:
        raise Problem("not-found", f"contract {id}: nobody has claimed, so there is no dispute")
    return reply(views.dispute(id, found))


def _contract(market: Market, number: int) -> Contract:
    found = market.book.contracts.get(number)
    if found is None:
        raise Problem("not-found", f"contract {number}: there is none; see /v1/contracts")
    return found


def accepted(contract: Contract) -> Answer:
    """To a command that made the contract what it is now."""
    return Answer(ACCEPTED, msgspec.json.encode(views.contract(contract)))


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, media_type=JSON)


def _digest(command: str, asked: Any) -> bytes:
    """Of what was asked, however its JSON was spaced."""
    return hashlib.sha256(f"{command} {asked.model_dump_json()}".encode()).digest()


def _round(asked: models.ExerciseIn) -> Round | None:
    return None if asked.round is None else Round(asked.round)
