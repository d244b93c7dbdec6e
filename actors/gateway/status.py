"""Routes of the process itself: the nodes that it hears, health, metrics."""

from fastapi import APIRouter, Request, Response

from actors.gateway import models, views
from actors.gateway.meters import ApiMeters
from actors.gateway.prices import market_of, reply
from actors.gateway.problems import documented
from actors.metrics import CONTENT_TYPE

router = APIRouter(tags=["status"])


@router.get("/v1/nodes", summary="The oracle network", response_model=models.Nodes)
async def nodes(request: Request) -> Response:
    """The aggregator and every oracle, as far as they are heard here."""
    return reply({"nodes": [views.node(node) for node in market_of(request).nodes]})


@router.get("/v1/status", summary="Clock and network", response_model=models.Status)
async def status(request: Request) -> Response:
    """What time it is here. On a simulated clock everything else here is of that time, too."""
    return reply(views.status(market_of(request)))


@router.get("/healthz", summary="The process lives", response_model=models.Health)
async def healthz() -> Response:
    """Always, if it answers at all."""
    return reply({"status": "ok"})


@router.get(
    "/readyz",
    summary="Prices are quoted",
    response_model=models.Health,
    responses=documented("no-price"),
)
async def readyz(request: Request) -> Response:
    """There is a certified price and it is young enough; else a problem that says why not."""
    market_of(request).conditions()
    return reply({"status": "ok"})


@router.get(
    "/metrics",
    summary="For Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Exposition format 0.0.4."""
    meters: ApiMeters = request.app.state.meters
    return Response(meters.text(), headers={"content-type": CONTENT_TYPE})
