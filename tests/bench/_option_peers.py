"""What pricing is measured on, and the peers beside it, each imported if it is installed."""

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from protocol.options.pricing.quadrature import Floats
from tests.bench._report import best, cpu_seconds, say

PEER_ROWS: Final = 2_000
SLOW_ROWS: Final = 200
REPEATS: Final = 5
LEVEL: Final = 25_000.0

Rates = dict[str, float]


class Terms:
    """The columns that all prices are made of."""

    def __init__(self, rows: int) -> None:
        rng = np.random.default_rng(1)
        self.sign: Floats = rng.choice([-1.0, 1.0], rows)
        self.strike: Floats = rng.uniform(30_000, 90_000, rows)
        self.spot: Floats = np.full(rows, 60_000.0)
        self.days = rng.integers(4, 365, rows)
        self.years: Floats = self.days / 365
        self.rate: Floats = np.full(rows, 0.03)
        self.dividend: Floats = np.full(rows, 0.01)
        self.vol: Floats = rng.uniform(0.3, 0.9, rows)

    @property
    def market(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        return self.spot, self.years, self.rate, self.dividend, self.vol


def rate(rows: int, work: Callable[[], object], repeats: int = REPEATS) -> float:
    work()
    return rows / best(repeats, lambda: cpu_seconds(work))


class _QuantLib:
    """Live options of QuantLib on one process, whose spot and volatility are set before a price."""

    def __init__(self, ql: Any) -> None:
        self.ql, self.terms = ql, Terms(PEER_ROWS)
        today = ql.Date(1, 1, 2027)
        ql.Settings.instance().evaluationDate = today
        days = ql.Actual365Fixed()
        self.spot, self.vol = ql.SimpleQuote(60_000.0), ql.SimpleQuote(0.6)
        curves = [
            ql.YieldTermStructureHandle(ql.FlatForward(today, rate, days)) for rate in (0.01, 0.03)
        ]
        surface = ql.BlackConstantVol(today, ql.NullCalendar(), ql.QuoteHandle(self.vol), days)
        self.process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(self.spot), *curves, ql.BlackVolTermStructureHandle(surface)
        )
        self.today = today
        self.ends = [today + int(days) for days in self.terms.days]
        self.payoffs = [
            ql.PlainVanillaPayoff(ql.Option.Call if sign > 0 else ql.Option.Put, strike)
            for sign, strike in zip(
                self.terms.sign.tolist(), self.terms.strike.tolist(), strict=True
            )
        ]

    def scalar(self) -> float:
        ql = self.ql
        option = ql.VanillaOption(self.payoffs[0], ql.EuropeanExercise(self.ends[0]))
        option.setPricingEngine(ql.AnalyticEuropeanEngine(self.process))
        figures = ("NPV", "delta", "gamma", "vega", "theta", "rho")
        reads = [getattr(option, name) for name in figures]

        def work() -> None:
            for n in range(PEER_ROWS):
                self.spot.setValue(60_000.0 + n)
                for read in reads:
                    read()

        found = rate(PEER_ROWS, work)
        self.spot.setValue(60_000.0)
        return found

    def barrier(self) -> float:
        ql = self.ql
        options = [
            ql.BarrierOption(ql.Barrier.DownOut, LEVEL, 0.0, payoff, ql.EuropeanExercise(end))
            for payoff, end in zip(self.payoffs, self.ends, strict=True)
        ]
        return self._priced(options, ql.AnalyticBarrierEngine(self.process))

    def american(self, scheme: Any, rows: int) -> float:
        ql = self.ql
        options = [
            ql.VanillaOption(payoff, ql.AmericanExercise(self.today, end))
            for payoff, end in zip(self.payoffs[:rows], self.ends, strict=False)
        ]
        return self._priced(options, ql.QdFpAmericanEngine(self.process, scheme))

    def _priced(self, options: list[Any], engine: Any) -> float:
        for option in options:
            option.setPricingEngine(engine)
        vols = self.terms.vol.tolist()

        def work() -> None:
            for option, vol in zip(options, vols, strict=False):
                self.vol.setValue(vol)
                option.NPV()

        return rate(len(options), work)

    def implied(self) -> float:
        asked = []
        columns = (self.terms.strike, self.terms.years, self.terms.vol)
        rows = zip(self.payoffs, *(column.tolist() for column in columns), strict=True)
        for payoff, strike, years, vol in rows:
            forward, discount = 60_000.0 * np.exp(0.02 * years), np.exp(-0.03 * years)
            terms = (payoff.optionType(), strike, float(forward))
            price = self.ql.blackFormula(*terms, vol * years**0.5, float(discount))
            if price - payoff(forward) * discount > 1.0:
                asked.append((*terms, price, float(discount)))

        def work() -> None:
            for row in asked:
                self.ql.blackFormulaImpliedStdDev(*row)

        return rate(len(asked), work)


def quantlib() -> Rates:
    """Its rates by name; none if it is not installed."""
    try:
        import QuantLib
    except ImportError:
        return {}
    say("QuantLib")
    peer, rule = _QuantLib(QuantLib), QuantLib.QdFpAmericanEngine
    scalar, implied = peer.scalar(), peer.implied()
    return {
        "scalar": scalar,
        "batch": scalar,
        "barrier": peer.barrier(),
        "american": peer.american(rule.fastScheme(), PEER_ROWS),
        "american_accurate": peer.american(rule.accurateScheme(), SLOW_ROWS),
        "implied": implied,
        "implied_batch": implied,
    }


def py_vollib() -> Rates:
    """Likewise, of what it has."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it announces that it is to be renamed
            from py_vollib.black_scholes_merton import black_scholes_merton
            from py_vollib.black_scholes_merton.greeks import analytical
            from py_vollib.black_scholes_merton.implied_volatility import implied_volatility
    except ImportError:
        return {}
    say("py_vollib")
    terms = Terms(PEER_ROWS)
    flags = ["c" if sign > 0 else "p" for sign in terms.sign]
    columns = (terms.spot, terms.strike, terms.years, terms.rate, terms.vol, terms.dividend)
    rows = list(zip(flags, *(column.tolist() for column in columns), strict=True))
    names = ("delta", "gamma", "vega", "theta", "rho")
    functions = (black_scholes_merton, *(getattr(analytical, name) for name in names))

    def quotes() -> None:
        for row in rows[:SLOW_ROWS]:
            for function in functions:
                function(*row)

    asked = [
        (black_scholes_merton(*row), row[1], row[2], row[3], row[4], row[6], row[0])
        for row in rows
        if abs(row[1] / row[2] - 1) < row[5] * row[3] ** 0.5
    ]

    def implied() -> None:
        for row in asked:
            implied_volatility(*row)

    scalar, back = rate(SLOW_ROWS, quotes), rate(len(asked), implied)
    return {"scalar": scalar, "batch": scalar, "implied": back, "implied_batch": back}
