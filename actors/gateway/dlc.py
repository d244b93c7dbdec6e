"""Routes of discreet log contracts: an oracle's announcements and attestations, from the folder
that ``oracle-vm oracle dlc`` writes ([api] dlc). They are read beside the loop: disk is slow."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from pydantic import Field

from actors.dlc_store import NAME, announcement_file, attestation_file
from actors.gateway.models import Hex, Model
from actors.gateway.prices import market_of, reply
from actors.gateway.problems import Problem, documented
from protocol.errors import EncodingError
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.attestation import Attestation

PAGE_MAX: Final = 100

EventId = Annotated[str, InPath(pattern=f"^{NAME.pattern}$", examples=["btcusd-1790359200"])]
Seconds = Annotated[int, Field(ge=0, description="Unix seconds")]

_Message = TypeVar("_Message", Announcement, Attestation)

router = APIRouter(prefix="/v1/dlc", tags=["discreet log contracts"])


class AnnouncementOut(Model):
    """``announcement`` is an ``oracle_announcement_v0`` TLV: sign a contract on its nonces after
    its signature and ``public_key`` are what you expect."""

    event_id: str
    maturity_s: Seconds
    public_key: Hex
    announcement: Hex


class AnnouncementsOut(Model):
    """The latest maturity first."""

    announcements: list[AnnouncementOut]


class AttestationOut(Model):
    """``attestation`` is an ``oracle_attestation_v0`` TLV; ``outcomes`` are the texts that are
    signed, one for each nonce."""

    event_id: str
    public_key: Hex
    outcomes: list[str]
    announcement: Hex
    attestation: Hex


@router.get(
    "/announcements",
    summary="Announced events",
    response_model=AnnouncementsOut,
    responses=documented("malformed-request", "not-found", "no-storage"),
)
def announcements(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    before_s: Annotated[int | None, Query(ge=0, description="To page back: a maturity")] = None,
) -> Response:
    """What the oracle will attest, and has attested."""
    folder = _folder(request)
    ending = announcement_file(folder, "").name
    files = (folder / "public").glob(f"[!.]*{ending}")
    found = sorted(((_maturity(file), file) for file in files), reverse=True)
    chosen = [file for at, file in found if before_s is None or at < before_s][:limit]
    return reply({"announcements": [_announcement(file) for file in chosen]})


@router.get(
    "/announcements/{event_id}",
    summary="One announced event",
    response_model=AnnouncementOut,
    responses=documented("malformed-request", "not-found", "no-storage"),
)
def announcement(request: Request, event_id: EventId) -> Response:
    """Its bytes, as they were signed."""
    return reply(_announcement(announcement_file(_folder(request), event_id)))


@router.get(
    "/attestations/{event_id}",
    summary="The outcome of an event",
    response_model=AttestationOut,
    responses=documented("malformed-request", "not-found", "no-storage"),
)
def attestation(request: Request, event_id: EventId) -> Response:
    """Once it is known; before that a problem: not found."""
    record = _read(attestation_file(_folder(request), event_id))
    attested = _decoded(Attestation, record["attestation"])
    return reply(
        {
            "event_id": attested.event_id,
            "public_key": attested.public.hex(),
            "outcomes": attested.outcomes,
            **{kind: data.hex() for kind, data in record.items()},
        }
    )


def _folder(request: Request) -> Path:
    folder = market_of(request).config.dlc
    if folder is None:
        raise Problem("not-found", "this gateway serves no DLC events: [api] dlc names the folder")
    return folder


def _announcement(file: Path) -> dict[str, object]:
    record = _read(file)
    made = _decoded(Announcement, record["announcement"])
    return {
        "event_id": made.event.event_id,
        "maturity_s": made.event.maturity_s,
        "public_key": made.public.hex(),
        "announcement": record["announcement"].hex(),
    }


@lru_cache(maxsize=20_000)
def _maturity(file: Path) -> int:
    """An announcement never changes."""
    return _decoded(Announcement, _read(file)["announcement"]).event.maturity_s


def _read(file: Path) -> dict[str, bytes]:
    """The messages of a public file, by kind."""
    try:
        record = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        return {kind: bytes.fromhex(text) for kind, text in record.items()}
    except FileNotFoundError:
        raise Problem("not-found", f"{file.name.split('.')[0]}: there is none (yet)") from None
    except (OSError, ValueError) as error:
        raise Problem("no-storage", f"{file.name}: cannot be read ({error})") from None


def _decoded(kind: type[_Message], data: bytes) -> _Message:
    try:
        return kind.decode(data)
    except EncodingError as error:
        raise Problem("no-storage", f"a public file of this oracle is damaged: {error}") from None
