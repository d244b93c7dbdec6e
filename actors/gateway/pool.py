"""Routes of the pool: its state, its batches, positions, orders, owners, and signed operations."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response

from actors.gateway import pool_models as models
from actors.gateway.prices import reply
from actors.gateway.problems import Problem, documented
from actors.pool_desk import PoolDesk
from protocol.errors import EncodingError
from protocol.pool.operation import decode

ACCEPTED: Final = 202
ROWS_MAX: Final = 1_000
"""Positions or orders in one answer."""
BATCHES_MAX: Final = 500
PENDING_MAX: Final = 10_000
"""Operations that may wait for a batch; more are refused until one has run."""

router = APIRouter(tags=["pool"])

Owner = Annotated[
    str,
    Path(pattern="^[0-9a-f]{64}$", description="x-only public key in hex", examples=["ab" * 32]),
]
OwnerFilter = Annotated[
    str | None,
    Query(pattern="^[0-9a-f]{64}$", description="x-only public key in hex; else all"),
]
Limit = Annotated[int, Query(ge=1, le=ROWS_MAX)]
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description="A new one for each operation. The same operation is taken once, under whatever"
        " key it comes again.",
        examples=["7f3c1b9e"],
    ),
]
READING: Final = ("no-pool", "malformed-request")


def desk_of(request: Request) -> PoolDesk:
    """The pool behind the app; a problem where none is kept."""
    desk: PoolDesk | None = request.app.state.pool
    if desk is None:
        raise Problem("no-pool", "no pool is kept here: the gateway's file names none in [api]")
    return desk


@router.get(
    "/v1/pool",
    summary="The pool as people read it",
    response_model=models.PoolState,
    responses=documented("no-pool"),
)
async def state(request: Request) -> Response:
    """After the newest batch: liquidity, shares, and every token's use and funding."""
    return reply(desk_of(request).state)


@router.get(
    "/v1/pool/details",
    summary="Everything of the newest state",
    response_model=models.PoolDetails,
    responses=documented("no-pool"),
)
async def details(request: Request) -> Response:
    """Exact, with limits, value, PnL and the state's root."""
    return reply(desk_of(request).details)


@router.get(
    "/v1/pool/batches",
    summary="The newest batches",
    response_model=models.Batches,
    responses=documented(*READING),
)
async def batches(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=BATCHES_MAX)] = 20,
    before: Annotated[int | None, Query(ge=0, le=2**63 - 1, description="To page back")] = None,
) -> Response:
    """Newest first, each with the roots of its journal and what carried it onto the chain."""
    return reply({"batches": await desk_of(request).batches(limit, before)})


@router.get(
    "/v1/positions",
    summary="Open positions",
    response_model=models.Positions,
    responses=documented(*READING),
)
async def positions(request: Request, owner: OwnerFilter = None, limit: Limit = 100) -> Response:
    """With what each has won, what it owes, its leverage and where it is liquidated, at the prices
    of the newest batch."""
    return reply({"positions": await desk_of(request).positions(_bytes(owner), limit)})


@router.get(
    "/v1/orders",
    summary="Orders that wait",
    response_model=models.Orders,
    responses=documented(*READING),
)
async def orders(request: Request, owner: OwnerFilter = None, limit: Limit = 100) -> Response:
    """Each with its deposit in escrow and the price that it waits for."""
    return reply({"orders": await desk_of(request).orders(_bytes(owner), limit)})


@router.get(
    "/v1/pool/accounts/{owner}",
    summary="An owner as provider and as trader",
    response_model=models.Account,
    responses=documented(*READING),
)
async def account(request: Request, owner: Owner) -> Response:
    """Shares, their value and the fees that they have earned; sums over open positions; and the
    nonce of the next operation. Of an owner who has never come, zeros."""
    return reply(await desk_of(request).account(bytes.fromhex(owner)))


@router.post(
    "/v1/pool/operations",
    summary="Submit a signed operation",
    status_code=ACCEPTED,
    response_model=models.Submitted,
    responses=documented(
        "refused", "key-reused", "malformed-request", "too-large", "no-pool", "no-storage", "busy"
    ),
)
async def submit(request: Request, asked: models.OperationIn, key: Key) -> Response:
    """Bytes and signature as docs/pool.md defines them. It is on disk when this answers and will be
    in a batch, in the order in which it came; what became of it says the next route."""
    desk = desk_of(request)
    if desk.pending >= PENDING_MAX:
        raise Problem("busy", f"{desk.pending} operations wait; send it again after a batch")
    body = bytes.fromhex(asked.operation)
    try:
        decode(body)
    except EncodingError as error:
        pointer = {"pointer": "#/operation", "detail": str(error)}
        raise Problem("malformed-request", f"operation: {error}", [pointer]) from None
    return reply(await desk.submit(body, key), ACCEPTED)


@router.get(
    "/v1/pool/operations/{id}",
    summary="What became of an operation",
    response_model=models.Operation,
    responses=documented("not-found", *READING),
)
async def operation(
    request: Request,
    id: Annotated[str, Path(pattern="^[0-9a-f]{64}$", examples=["cd" * 32])],  # noqa: A002
) -> Response:
    """Pending, accepted with what it paid and brought, or rejected with the code that says why."""
    found: dict[str, Any] | None = await desk_of(request).operation(bytes.fromhex(id))
    if found is None:
        raise Problem("not-found", f"operation {id}: none has come; POST it to /v1/pool/operations")
    return reply(found)


def _bytes(owner: str | None) -> bytes | None:
    return None if owner is None else bytes.fromhex(owner)
