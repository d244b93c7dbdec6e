"""What a simulated venue does wrong on command."""

from dataclasses import dataclass, field
from enum import StrEnum


class Bad(StrEnum):
    """How the answers to REST requests are wrong, whatever was asked."""

    HTML = "html"  # a captive portal: status 200, no JSON
    REDIRECT = "redirect"
    SLOW = "slow"  # a byte now and then, for ever
    HUGE = "huge"
    CUT = "cut"  # fewer bytes than the header says
    GARBAGE = "garbage"  # not even HTTP


@dataclass(slots=True)
class Faults:
    """All off at first; a test, in any thread, turns them on and off while the venue runs.

    ``status`` with ``headers`` and ``body`` replaces the answer to every HTTP request, WebSocket
    handshakes included. The books' faults are of the stream and of REST.
    """

    silent: bool = False  # sockets stay open, no frame is sent
    stalled: bool = False  # trades go on and tickers do not; heartbeats tell (Coinbase)
    unconfirmed: bool = False  # subscriptions are not answered
    refused: bool = False  # subscriptions are refused
    crossed: bool = False
    one_sided: bool = False
    wrong_symbol: bool = False
    rest: Bad | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
