"""``oracle-vm feeds ...``: watch, record, replay and simulate venues, parse recorded frames."""

import asyncio
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from actors.clock import SystemClock
from actors.feeds.endpoints import ADVANCED_TRADE, LIVE, Endpoint
from actors.feeds.live import Watch
from actors.feeds.price_text import dollars
from actors.feeds.products import PRODUCTS, VENUES
from actors.feeds.recording import Recorder, Recording
from actors.feeds.rows import parse_rows
from actors.feeds.simulated import SimulatedExchanges
from actors.logs import event, open_log
from actors.network import load_network
from actors.replay import Replay
from protocol.errors import ConfigError, EncodingError, PriceError

feeds = typer.Typer(no_args_is_help=True, help="Exchange feeds.")

SIMULATED_PORT: Final = 9470

log = logging.getLogger(__name__)

Venue = Annotated[str | None, typer.Option("--venue", help="One venue alone (single-venue mode).")]
Product = Annotated[list[str], typer.Option("--product", help="Repeatable.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="How long to watch.")]
Quotes = Annotated[
    int | None, typer.Option(min=1, help="End before that, with so many of every venue.")
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        help="VENUE=WEBSOCKET_URL[,REST_URL], in place of the live venues; repeatable.",
    ),
]
Advanced = Annotated[
    bool, typer.Option("--advanced-trade", help="Coinbase by its Advanced Trade interface.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@feeds.command()
def parse(
    file: Annotated[Path, typer.Argument(help="JSON rows, one a line (tests/vectors/feeds).")],
) -> None:
    """Parse recorded frames: one JSON object a row with its id, its class and what it says."""
    for answer in _answers(file):
        print(json.dumps(answer))


@feeds.command()
def live(
    venue: Venue = None,
    product: Product = ["BTC-USD"],  # noqa: B006 (typer copies it)
    seconds: Seconds = 60.0,
    quotes: Quotes = None,
    record: Annotated[Path | None, typer.Option(help="Write every frame to this new file.")] = None,
    endpoint: Endpoints = None,
    advanced_trade: Advanced = False,
    as_json: Json = False,
) -> None:
    """Connect to the venues; show prices, ages, message rates and what no adapter knows."""
    endpoints = _endpoints(endpoint, advanced_trade)
    _watch(venue, product, seconds, quotes, record, endpoints, as_json)


@feeds.command("record")
def record_command(
    file: Annotated[Path, typer.Argument(help="A new file.")],
    venue: Venue = None,
    product: Product = ["BTC-USD"],  # noqa: B006 (typer copies it)
    seconds: Seconds = 60.0,
    quotes: Quotes = None,
    endpoint: Endpoints = None,
    advanced_trade: Advanced = False,
    as_json: Json = False,
) -> None:
    """The same, and write every frame to FILE."""
    endpoints = _endpoints(endpoint, advanced_trade)
    _watch(venue, product, seconds, quotes, file, endpoints, as_json)


@feeds.command("replay")
def replay_command(
    file: Annotated[Path, typer.Argument(help="A recording.")],
    interval_ms: Annotated[int, typer.Option(min=1, help="A round every so often.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Write the certificates to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Play a recording to three pure oracles with public keys; print the certificates.

    The same recording gives the same bytes each time.
    """
    recording = Recording(file, _warn)
    played = Replay(recording.header, interval_ms, _warn)
    records = []
    for product, certificate in played.play(recording.rows()):
        report = certificate.report
        records.append(
            {
                "product": product,
                "round": report.round,
                "price_e8": report.price_e8,
                "grade": report.grade.name,
                "certificate": certificate.encode().hex(),
            }
        )
        if not as_json:
            print(
                f"{product} round {report.round}  {dollars(report.price_e8)}"
                f"  {report.grade.name}  {certificate.encode().hex()}"
            )
    result = {"config": played.config.encode().hex(), "certificates": records}
    if as_json:
        print(json.dumps(result))
    if out is not None:
        try:
            out.write_text(json.dumps(result) + "\n")
        except OSError as error:
            raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None


@feeds.command()
def simulate(
    port: Annotated[
        int, typer.Option(min=1, max=65533, help="The first of three ports.")
    ] = SIMULATED_PORT,
    seed: Annotated[int, typer.Option(help="Of the price path.")] = 1,
    network: Annotated[
        Path | None,
        typer.Option(help="The network file whose clock they follow, if not real time."),
    ] = None,
) -> None:
    """Serve three simulated venues on loopback until interrupted; print a [venues] table."""
    clock = SystemClock() if network is None else load_network(network).clock
    open_log()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with SimulatedExchanges(seed, clock.now_ms, products=PRODUCTS, base_port=port) as exchanges:
            print("[venues]")
            for venue, endpoint in exchanges.endpoints.items():
                websocket, rest = endpoint.websocket_url, endpoint.rest_url
                print(f'{venue} = {{websocket = "{websocket}", rest = "{rest}"}}')
            sys.stdout.flush()
            event(log, "serving", port=port)
            stop.wait()
    except OSError as error:
        ports = f"{port} to {port + 2}"
        raise ConfigError(f"--port {port}: {ports} must be free ({error.strerror})") from None


def _watch(
    venue: str | None,
    products: list[str],
    seconds: float,
    quotes: int | None,
    record: Path | None,
    endpoints: dict[str, Endpoint],
    as_json: bool,
) -> None:
    venues = tuple(endpoints) if venue is None else (venue,)
    with ExitStack() as files:
        recorder = None
        if record is not None:
            try:
                file = files.enter_context(record.open("xb"))
            except OSError as error:
                raise ConfigError(
                    f"--record {record}: cannot be created ({error.strerror}); name a new file"
                ) from None
            recorder = Recorder(file, products, venues)
        say = _warn if as_json else print
        watch = Watch(products, endpoints, venues, say, recorder, quotes)
        summary = asyncio.run(_until_stopped(watch, seconds))
    print(json.dumps(summary) if as_json else _shown(summary))
    silent = [v for v, figures in summary["venues"].items() if not figures["messages"]]
    if len(silent) == len(summary["venues"]):
        faults = "; ".join(f"{v}: {summary['venues'][v]['fault']}" for v in silent)
        raise PriceError(f"no venue answered ({faults}); check the network")


async def _until_stopped(watch: Watch, seconds: float) -> dict[str, Any]:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await watch.run(seconds, stop)


def _shown(summary: dict[str, Any]) -> str:
    lines = [f"after {summary['seconds']} s:"]
    for venue, figures in summary["venues"].items():
        offset_ms = figures["offset_ms"]
        offset = "unknown" if offset_ms is None else f"{offset_ms} ms"
        counts = ", ".join(f"{n} {kind}" for kind, n in figures["events"].items())
        lines.append(
            f"  {venue}: {figures['messages']} messages, {figures['messages_per_s']}/s; {counts};"
            f" {figures['connects']} connections, clock offset {offset}"
            + (f"; last fault: {figures['fault']}" if figures["fault"] else "")
        )
    lines += [f"  not known: {n} x {what}" for what, n in summary["unknown"].items()]
    return "\n".join(lines)


def _endpoints(texts: list[str] | None, advanced_trade: bool) -> dict[str, Endpoint]:
    if not texts:
        coinbase = ADVANCED_TRADE if advanced_trade else LIVE["coinbase"]
        return {**LIVE, "coinbase": coinbase}
    found = {}
    for text in texts:
        venue, _, urls = text.partition("=")
        websocket, _, rest = urls.partition(",")
        if venue not in VENUES:
            raise ConfigError(f"--endpoint {text}: no venue {venue!r}; use {', '.join(VENUES)}")
        found[venue] = Endpoint(websocket, rest or None)
    if advanced_trade and "coinbase" in found:
        found["coinbase"] = replace(found["coinbase"], api="advanced-trade")
    return found


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _answers(file: Path) -> Iterator[dict[str, Any]]:
    """EncodingError names the line that is no row; those before it are answered."""
    number = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal number
        for line in lines:
            number += 1
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise TypeError("a row is an object")
                yield row

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        yield from parse_rows(rows())
    except OSError as error:
        raise EncodingError(f"{file}: cannot be read ({error.strerror})") from None
    except KeyError as error:
        raise EncodingError(f"{file}:{number}: the row has no {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EncodingError(f"{file}:{number}: not a row of a feed ({error})") from None
