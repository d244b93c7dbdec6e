"""Errors as problem documents (RFC 9457): what is wrong, where, and what to do about it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from protocol.errors import (
    ConfigError,
    EncodingError,
    GuardError,
    PriceError,
    ProtocolError,
    SignatureError,
    TermsError,
)

log = logging.getLogger(__name__)

PROBLEM_JSON: Final = "application/problem+json"
TYPE: Final = "urn:oracle-vm:problem:"

NAMES: Final[Mapping[str, int]] = {
    "malformed-request": 422,
    "unknown-instrument": 404,
    "not-found": 404,
    "method-not-allowed": 405,
    "refused": 409,
    "key-reused": 422,
    "too-large": 413,
    "wrong-host": 421,
    "no-price": 503,
    "no-desk": 503,
    "no-pool": 503,
    "no-storage": 503,
    "busy": 503,
    "fault": 500,
}
"""The last part of ``type``, and the HTTP status."""


class Problem(HTTPException):
    """Refuses a request. ``errors`` are places in it, each with a sentence."""

    def __init__(
        self,
        name: str,
        detail: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(NAMES[name], detail, dict(headers or {}))
        self.name = name
        self.errors = list(errors)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of the problem."""
        title = self.name.replace("-", " ").capitalize()
        found = {"type": TYPE + self.name, "title": title, "status": self.status_code}
        found["detail"] = self.detail
        return found | ({"errors": self.errors} if self.errors else {})


def problem_of(error: ProtocolError) -> Problem:
    """What an error of the market is to a client."""
    names = {
        TermsError: "refused",
        EncodingError: "key-reused",
        PriceError: "no-price",
        ConfigError: "no-desk",
        GuardError: "no-storage",
        SignatureError: "refused",
    }
    return Problem(names.get(type(error), "busy"), str(error))


def answer(problem: Problem) -> Response:
    """The problem as a response."""
    body = msgspec.json.encode(problem.document)
    return Response(body, problem.status_code, problem.headers, PROBLEM_JSON)


def documented(*names: str) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route that may answer these problems."""
    reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
    found: dict[int | str, dict[str, Any]] = {}
    for name in names:
        status = NAMES[name]
        said = found.get(status, {}).get("description")
        text = f"{said}, {name}" if said else name
        found[status] = {"description": text, "content": {PROBLEM_JSON: reference}}
    return found


def install(app: FastAPI) -> None:
    """Have every error of the app answered by a problem document."""
    handlers: dict[type[Exception], Any] = {
        HTTPException: _http,
        RequestValidationError: _invalid,
        ProtocolError: _ours,
        Exception: _fault,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _http(_: Request, error: HTTPException) -> Response:
    if isinstance(error, Problem):
        return answer(error)
    known = {404: "not-found", 405: "method-not-allowed"}
    name = known.get(error.status_code, "malformed-request")
    detail = _DETAILS.get(error.status_code, error.detail)
    return answer(Problem(name, detail, headers=error.headers))


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    errors = [
        {"pointer": _pointer(found["loc"]), "detail": str(found["msg"])}
        for found in error.errors()[:16]
    ]
    detail = "; ".join(f"{found['pointer']}: {found['detail']}" for found in errors[:3])
    return answer(Problem("malformed-request", f"{detail}; see /openapi.json", errors))


async def _ours(_: Request, error: ProtocolError) -> Response:
    return answer(problem_of(error))


async def _fault(request: Request, error: Exception) -> Response:
    log.error("fault", exc_info=error)
    return answer(Problem("fault", f"{request.url.path}: a fault of the gateway; its log has it"))


def _pointer(place: Sequence[int | str]) -> str:
    """``query/limit``; a JSON pointer (RFC 6901) inside the body: ``#/quotes/3/instrument``."""
    first, *rest = (str(part).replace("~", "~0").replace("/", "~1") for part in place)
    return "/".join(["#", *rest]) if first == "body" else "/".join([first, *rest])


_DETAILS: Final = {
    404: "nothing is served at this path; /openapi.json lists what is",
    405: "this path does not take this method; the Allow header names those that it takes",
}
