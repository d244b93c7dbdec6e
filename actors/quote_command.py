"""``oracle-vm quote``: a premium and its Greeks, of a listed instrument or of a file of cases."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from actors.clock import SystemClock
from protocol.errors import ConfigError, PriceError, ProtocolError
from protocol.options.instrument import parse_instrument
from protocol.options.pricing.case import Case, read_case
from protocol.options.pricing.greeks import Greeks
from protocol.options.pricing.listed import option_of, years_left
from protocol.options.pricing.option import Market
from protocol.options.pricing.value import implied, value
from protocol.units import E8, UnixMs

Answer = dict[str, Any]

DAYS: Final = 365
POINTS: Final = 100
_SHOWN: Final = ("price", "delta", "gamma", "vega", "theta")


def quote(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="As BTC-27DEC26-50000-C.")
    ] = None,
    spot: Annotated[float | None, typer.Option(help="Dollars a bitcoin.")] = None,
    vol: Annotated[float | None, typer.Option(help="Per root year; 0.6 is 60 %.")] = None,
    rate: Annotated[float, typer.Option(help="Continuously compounded; 0.05 is 5 % a year.")] = 0.0,
    carry: Annotated[
        float | None, typer.Option(help="Growth of the forward; rate less yield. [default: rate]")
    ] = None,
    now: Annotated[
        str | None, typer.Option(help="As 2026-09-27T08:00:00Z. [default: the clock]")
    ] = None,
    round_ms: Annotated[
        int, typer.Option(min=1, help="A knock-out is looked at once in such a round.")
    ] = 1000,
    file: Annotated[
        Path | None, typer.Option(help="Cases to price: options.json, or a bare list of cases.")
    ] = None,
    accurate: Annotated[
        bool,
        typer.Option("--accurate/--fast", help="American ones to 5e-7 of the strike, or 1e-5."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, or a list.")] = False,
) -> None:
    """Premium and Greeks of one bitcoin of a listed instrument, in dollars, and in satoshis at that
    spot; per year and per 1.00, and per day and per volatility point where it says so.

    With --file one answer a case, in order; a case that cannot be priced answers with an error, and
    then the exit code is 1.
    """
    if file is not None:
        if name is not None:
            raise ConfigError("quote: give a NAME or a --file, not both")
        answers = [_answer(case, accurate) for case in _cases(file)]
        _show_cases(answers, as_json)
        raise typer.Exit(int(any("error" in answer for answer in answers)))
    if name is None or spot is None or vol is None:
        raise ConfigError("quote: give a NAME with --spot and --vol, or a --file of cases")
    instrument = parse_instrument(name)
    now_ms = SystemClock().now_ms() if now is None else _moment(now)
    option = option_of(instrument, now_ms, round_ms)
    market = Market(spot, rate, rate - (rate if carry is None else carry), vol)
    years = years_left(instrument, now_ms)
    answer = {
        "instrument": instrument.name,
        "spot": spot,
        "vol": vol,
        "rate": rate,
        "carry": market.rate - market.dividend,
        "years": years,
        "barrier_looks": option.barrier.dates if option.barrier else None,
        **_quoted(value(option, market, years, is_accurate=accurate), spot),
    }
    _show(answer, as_json)


def _moment(text: str) -> UnixMs:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"now {text!r}: write it as 2026-09-27T08:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return UnixMs(round(moment.timestamp() * 1000))


def _quoted(greeks: Greeks[float], spot: float) -> Answer:
    """``price_sats`` is the premium, to the nearest satoshi, of one bitcoin of the option when a
    bitcoin costs ``spot``."""
    sats = greeks.price / spot * E8
    if not math.isfinite(sats):
        raise PriceError(f"spot {spot:g}: too small for a premium of {greeks.price:g}")
    return {
        **asdict(greeks),
        "price_sats": round(sats),
        "per_day": {"theta": greeks.theta / DAYS},
        "per_point": {"vega": greeks.vega / POINTS, "rho": greeks.rho / POINTS},
    }


def _cases(file: Path) -> Sequence[Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--file {file}: {error}") from None
    cases = found.get("cases") if isinstance(found, dict) else found
    if not isinstance(cases, list):
        raise ConfigError(f"--file {file}: write a list of cases, or an object with `cases`")
    return cases


def _answer(fields: Any, is_accurate: bool) -> Answer:
    named = {"id": fields["id"]} if isinstance(fields, dict) and "id" in fields else {}
    try:
        return {**named, **_priced(read_case(fields), is_accurate)}
    except ProtocolError as error:
        return {**named, "error": str(error)}


def _priced(case: Case, is_accurate: bool) -> Answer:
    if case.price is not None:
        return {"vol": implied(case.option, case.market, case.years, case.price)}
    greeks = value(case.option, case.market, case.years, is_accurate=is_accurate)
    return _quoted(greeks, case.market.spot)


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer))
        return
    table = Table("", "per year, per 1.00", "", title=answer["instrument"], title_justify="left")
    day, point = answer["per_day"], answer["per_point"]
    beside = {
        "price": f"{answer['price_sats']:,} sats",
        "theta": f"{day['theta']:,.6g} a day",
        "vega": f"{point['vega']:,.6g} a volatility point",
        "rho": f"{point['rho']:,.6g} a point of the rate",
    }
    for name in Greeks.__slots__:
        table.add_row(name, f"{answer[name]:,.8g}", beside.get(name, ""))
    Console().print(table)


def _show_cases(answers: Sequence[Answer], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answers))
        return
    table = Table(Column("id", no_wrap=True), *_SHOWN)
    for number, answer in enumerate(answers, start=1):
        name = str(answer.get("id", number))
        if "error" in answer:
            table.add_row(name, f"error: {answer['error']}")
        elif "vol" in answer:
            table.add_row(name, f"vol {answer['vol']:.5g}")
        else:
            table.add_row(name, *(f"{answer[greek]:.4g}" for greek in _SHOWN))
    Console().print(table)
