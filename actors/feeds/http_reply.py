"""HTTP replies of the venues' REST interfaces: which status means what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from actors.feeds.events import Action, Error, Reason, Reject
from actors.feeds.strict_json import decode, shown
from protocol.errors import EncodingError

MAX_RETRY_DIGITS: Final = 9

_STATUS_ACTIONS: Final[Mapping[int, Action]] = {
    HTTPStatus.BAD_REQUEST: Action.CONFIG_FAULT,
    HTTPStatus.FORBIDDEN: Action.BACKOFF,
    HTTPStatus.NOT_FOUND: Action.CONFIG_FAULT,
    HTTPStatus.IM_A_TEAPOT: Action.STOP_UNTIL,
    HTTPStatus.TOO_MANY_REQUESTS: Action.BACKOFF,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: Action.STOP_UNTIL,
}


@dataclass(frozen=True, slots=True)
class HttpReply:
    """Status, headers (any case) and body of one reply; ``sent_ms`` is when it was asked for."""

    status: int
    body: str | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    sent_ms: int | None = None

    @property
    def raw(self) -> bytes:
        """The body as bytes."""
        return self.body if isinstance(self.body, bytes) else self.body.encode()

    def header(self, name: str) -> str | None:
        """The value of a header."""
        wanted = name.lower()
        return next((v for key, v in self.headers.items() if key.lower() == wanted), None)

    def retry_after_s(self) -> int | None:
        """Retry-After in seconds; None if it is absent or not a number of seconds."""
        value = self.header("retry-after") or ""
        if not (value.isascii() and value.isdigit() and len(value) <= MAX_RETRY_DIGITS):
            return None
        return int(value)

    def retry_at_unix(self) -> int | None:
        """Retry-After as unix seconds; None if it is absent or not an HTTP date."""
        try:
            moment = parsedate_to_datetime(self.header("retry-after") or "")
            return int(moment.timestamp()) if moment.tzinfo is not None else None
        except (ValueError, OverflowError):
            return None


def http_event(
    reply: HttpReply, code_action: Callable[[int], Action | None]
) -> Error | Reject | None:
    """The error that the status alone makes of a reply; None if the body decides (status 200).

    A redirect is refused, never followed: it may leave the venue's host or its TLS.
    """
    if reply.status == HTTPStatus.OK:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
        return Reject(Reason.REDIRECT, f"HTTP {reply.status}: redirects are not followed")
    code, message = _body_error(reply.body)
    by_code = code_action(code) if code is not None else None
    by_status = _STATUS_ACTIONS.get(reply.status, Action.RETRY)
    # A code may say more than "bad request"; it never softens a ban or a rate limit.
    action = by_code if by_code and reply.status == HTTPStatus.BAD_REQUEST else by_status
    text = f"HTTP {reply.status} {message}".strip()
    return Error(text, action, code, reply.retry_after_s(), reply.retry_at_unix())


def _body_error(body: str | bytes) -> tuple[int | None, str]:
    """The numeric code and the message of an error body; (None, "") if it has none."""
    try:
        value = decode(body)
    except EncodingError:
        return None, ""
    if not isinstance(value, dict):
        return None, ""
    code = value.get("code")
    message = value.get("msg", value.get("message", ""))
    return (code if type(code) is int else None), shown(message) if message else ""
