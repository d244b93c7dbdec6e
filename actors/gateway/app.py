"""The application: routes, the stream, error documents, the dashboard's files, OpenAPI."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.routing import APIRoute
from starlette.responses import FileResponse
from starlette.types import ASGIApp

from actors.gateway import contracts, dlc, models, pool, prices, problems, status
from actors.gateway.guard import Guard
from actors.gateway.meters import ApiMeters
from actors.gateway.socket import Connection
from actors.gateway.stream import CHANNELS, Stream
from actors.market import Market
from actors.pool_desk import PoolDesk

STATIC: Final = Path(__file__).with_name("static")
CLIENTS_MAX: Final = 1_000
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Of the dashboard: its own files and its own API, nothing inline, nothing evaluated."""

_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

ABOUT: Final = f"""Options on bitcoin at prices that independent oracles sign, settled on Bitcoin;
and a pool of one stablecoin in which many tokens are traded at the same prices.

Money is integer satoshis or a decimal string of dollars, times are integer milliseconds since 1970.
Every error is a problem document (RFC 9457). Commands take an `Idempotency-Key`.

`/v1/stream` is a WebSocket with Deribit's subscribe envelope. Channels: {CHANNELS}."""


def create_app(market: Market, static: Path = STATIC, pool_desk: PoolDesk | None = None) -> ASGIApp:
    """The gateway of a market, and of a pool if there is one, that are running; ``static`` holds
    the dashboard."""
    app = FastAPI(
        title="oracle-vm",
        version="1",
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
    )
    parts = (prices.router, contracts.router, pool.router, dlc.router, status.router)
    for part in parts:
        app.include_router(part)
    problems.install(app)
    paths = {route.path for part in parts for route in part.routes if isinstance(route, APIRoute)}
    meters = ApiMeters(market, sorted(paths))
    app.state.market, app.state.meters, app.state.pool = market, meters, pool_desk
    stream = Stream(market, pool_desk)

    @app.websocket("/v1/stream")
    async def connect(socket: WebSocket) -> None:
        if meters.clients >= CLIENTS_MAX:
            await socket.close(1013, "too many clients")
            return
        meters.clients += 1
        try:
            await Connection(socket, stream).serve()
        finally:
            meters.clients -= 1

    for file in sorted(static.rglob("*")):
        if file.is_file():
            path = file.relative_to(static).as_posix()
            app.add_route("/" if path == "index.html" else f"/{path}", _page(file))
    app.openapi = _openapi(app)  # type: ignore[method-assign]
    return Guard(app, market.config.hosts, meters.observe)


def _page(file: Path) -> Callable[[Request], Awaitable[Response]]:
    """A route that shows one file of the dashboard."""

    async def page(_: Request) -> Response:
        return FileResponse(file, headers=_HEADERS)

    return page


def _openapi(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The document of the app, with the schema of problems in it."""
    made = app.openapi

    def document() -> dict[str, Any]:
        schema = made()
        schemas = schema["components"]["schemas"]
        schemas["Problem"] = models.Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        return schema

    return document
