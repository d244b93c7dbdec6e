"""Pricing on one core, side by side with QuantLib and py_vollib.

python -m tests.bench.options [--json]      oracle-vm bench options --json

A peer that is not installed gives null, and so does every ratio to it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from protocol.options.pricing import batch, kernels
from protocol.options.pricing.american import ACCURATE
from protocol.options.pricing.implied import implied_vol
from protocol.options.pricing.quadrature import Floats
from tests.bench._option_peers import LEVEL, Terms, py_vollib, quantlib, rate
from tests.bench._report import finish, hardware, say

ROWS = 1_000_000
AMERICAN_ROWS = 20_000
SCALAR_CALLS = 100_000

METHODS = {
    "unit": "options a second of the thread's CPU time, the best of several runs, in one process",
    "terms": "calls and puts, strike 30,000 to 90,000, spot 60,000, 4 days to a year, volatility"
    " 30 % to 90 %, rate 3 %, yield 1 %; every peer prices the same",
    "scalar": "one Python call a quote, price and six Greeks. QuantLib: the spot of a live option"
    " changes, then NPV, delta, gamma, vega, theta, rho. py_vollib: one call for the price and each"
    " of its five Greeks",
    "batch": f"price and six Greeks of {ROWS} rows of arrays; the peers have no batch, their rate"
    " is that of a loop",
    "barrier": f"down-and-out at {LEVEL:.0f}, always watched; price and six Greeks, QuantLib's the"
    " price alone",
    "american": "price, delta, gamma and theta, the fast scheme; QuantLib's price by its fast"
    " scheme. `american_error`: the largest distance from the accurate scheme, over the strike",
    "american_accurate": "the same by the accurate scheme; QuantLib by its accurate scheme",
    "american_greeks": "price and six Greeks, the fast scheme",
    "implied": "from prices, rows whose vega is above 1; QuantLib by blackFormulaImpliedStdDev, the"
    " premium 1 above the payoff; py_vollib within a standard deviation of the money",
    "start_seconds": "a new process that imports the package and prices one of everything; cold:"
    " with an empty cache on disk, wall time",
}


def ours() -> dict[str, float]:
    """Rates by name, and ``american_error``."""
    terms, some = Terms(ROWS), Terms(AMERICAN_ROWS)
    say("ours")
    price = batch.vanilla(terms.sign, terms.strike, *terms.market)
    told = price.vega > 1.0
    asked = [column[told] for column in (terms.sign, price.price, terms.strike, *terms.market[:4])]
    fast = batch.american(some.sign, some.strike, *some.market, is_price_alone=True).price
    slow = batch.american(
        some.sign, some.strike, *some.market, schemes=ACCURATE, is_price_alone=True
    ).price

    def american(**settings: Any) -> Callable[[], object]:
        return lambda: batch.american(some.sign, some.strike, *some.market, **settings)

    return {
        "scalar": _scalar(),
        "batch": rate(ROWS, lambda: batch.vanilla(terms.sign, terms.strike, *terms.market)),
        "barrier": rate(
            ROWS, lambda: batch.knock_out(terms.sign, terms.strike, -1, LEVEL, *terms.market)
        ),
        "american": rate(AMERICAN_ROWS, american(is_price_alone=True)),
        "american_accurate": rate(
            AMERICAN_ROWS, american(schemes=ACCURATE, is_price_alone=True), 1
        ),
        "american_greeks": rate(AMERICAN_ROWS, american(), 1),
        "implied_batch": rate(int(told.sum()), lambda: batch.implied_vol(*asked)),
        "implied": _scalar_implied(asked),
        "american_error": float(np.max(np.abs(fast - slow) / some.strike)),
    }


def _scalar() -> float:
    price = kernels.european
    spots = [60_000.0 + n for n in range(SCALAR_CALLS)]

    def work() -> None:
        for spot in spots:
            price(1.0, 1.0, -50_000.0, 50_000.0, spot, 0.5, 0.03, 0.01, 0.6)

    return rate(SCALAR_CALLS, work)


def _scalar_implied(asked: list[Floats]) -> float:
    rows = list(zip(*(column[:SCALAR_CALLS].tolist() for column in asked), strict=True))

    def work() -> None:
        for row in rows:
            implied_vol(*row)

    return rate(len(rows), work)


def start_seconds() -> dict[str, float]:
    """Of a process that prices one of everything, with an empty cache and with a full one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}

        def once(program: str) -> float:
            begin = perf_counter()
            subprocess.run([sys.executable, "-c", program], env=environment, check=True, cwd=ROOT)
            return perf_counter() - begin

        say("start with an empty cache")
        return {"cold": once(EVERYTHING), "warm": once(EVERYTHING), "import": once(IMPORT)}


ROOT = Path(__file__).parents[2]
IMPORT = "from protocol.options.pricing import batch, value"
EVERYTHING = """
from protocol.options.instrument import OptionKind
from protocol.options.pricing import batch
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option, Payoff
from protocol.options.pricing.value import implied, value

call, market, terms = OptionKind.CALL, Market(100.0, 0.03, 0.01, 0.5), (100.0, 1.0, 0.03, 0.01, 0.5)
out, dated = (Barrier(BarrierKind.UP_AND_OUT, 150.0, dates=dates) for dates in (None, 5))
inside = Barrier(BarrierKind.UP_AND_IN, 150.0, rebate=1.0)
for option in (
    Option(call, 100.0),
    Option(call, 110.0, Payoff.TOUCH),
    Option(call, 100.0, barrier=out),
    Option(call, 100.0, barrier=dated),
    Option(call, 100.0, barrier=inside),
    Option(call, 100.0, is_american=True),
    Option(call, 100.0, is_american=True, barrier=out),
):
    value(option, market, 1.0)
implied(Option(call, 100.0), market, 1.0, 20.0)
batch.vanilla(1, 100.0, *terms)
batch.knock_out(1, 100.0, 1, 150.0, *terms)
batch.american(1, 100.0, *terms)
batch.implied_vol(1, 20.0, 100.0, *terms[:4])
"""


def measure() -> dict[str, Any]:
    result: dict[str, Any] = {"hardware": hardware()}
    found, peers = ours(), {"quantlib": quantlib(), "py_vollib": py_vollib()}
    for name, figure in found.items():
        if name == "american_error":
            continue
        rates: dict[str, float | None] = {"ours": figure}
        for peer, theirs in peers.items():
            rates[peer] = theirs.get(name)
            rates[f"over_{peer}"] = figure / theirs[name] if name in theirs else None
        result[f"{name}_per_second"] = rates
    result["american_error"] = found["american_error"]
    result["start_seconds"] = start_seconds()
    return result | {"methods": METHODS}


if __name__ == "__main__":
    finish("options", measure)
