"""The day of a pool as one picture: value and GLP price on top, then a column for each token.

Series come as integers (usd6 is 10^-6 USDC) and are drawn as they are, without smoothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from protocol.errors import ConfigError

PAPER: Final = "#f6f4ef"
CARD: Final = "#fffefb"
INK: Final = "#1d1f24"
QUIET: Final = "#656a73"
LINE: Final = "#dedad0"
ACCENT: Final = "#b4500e"
LONG: Final = "#1c7449"
SHORT: Final = "#b3261e"
BLUE: Final = "#2a5f9e"

USD6: Final = 1_000_000
PPM_PERCENT: Final = 10_000
SUFFIXES: Final = (".png", ".svg")

_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "axes.facecolor": CARD,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "ytick.major.size": 0.0,
    "figure.facecolor": PAPER,
    "svg.hashsalt": "oracle-vm",
}


@dataclass(frozen=True, slots=True)
class TokenPoint:
    """A token after a batch: price, open interest by side, what longs pay per 8 h in ppm (negative:
    they receive), and what its traders have won from the pool so far, realised and open."""

    price_e8: int
    long_usd6: int
    short_usd6: int
    funding_ppm: int
    pnl_usd6: int


@dataclass(frozen=True, slots=True)
class DayPoint:
    """The pool after a batch; ``value_usd6`` is its AUM, ``glp_price_usd6`` that of one GLP."""

    time_s: int
    value_usd6: int
    glp_price_usd6: int
    tokens: Mapping[str, TokenPoint]
    liquidations: int


def draw(path: Path, title: str, subtitle: str, points: Sequence[DayPoint]) -> None:
    """Write the picture; ConfigError if ``path`` is neither a PNG nor an SVG."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--plot: {path}: name a file that ends in {' or '.join(SUFFIXES)}")
    with matplotlib.rc_context(_STYLE):
        figure = _figure(title, subtitle, points)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(path, dpi=144, metadata=metadata)
        except OSError as error:
            raise ConfigError(f"--plot: {path}: {error.strerror}") from None


def _figure(title: str, subtitle: str, points: Sequence[DayPoint]) -> Figure:
    symbols = list(points[0].tokens)
    columns = 2 * len(symbols)
    figure = Figure(figsize=(13.0, 12.4))
    grid = figure.add_gridspec(
        5, columns, left=0.065, right=0.975, top=0.885, bottom=0.045,
        height_ratios=(1.25, 1, 1, 1, 1), hspace=0.5, wspace=0.75,
    )  # fmt: skip
    figure.text(0.035, 0.962, title, fontsize=19, fontweight="bold")
    figure.text(0.035, 0.937, subtitle, fontsize=10, color=QUIET)
    hours = [(point.time_s - points[0].time_s) / 3600 for point in points]
    half = columns // 2
    _value(figure.add_subplot(grid[0, :half]), hours, points)
    _share(figure.add_subplot(grid[0, half:]), hours, points)
    for place, symbol in enumerate(symbols):
        rows = [point.tokens[symbol] for point in points]
        for line, paint in enumerate((_price, _interest, _funding, _pnl), 1):
            axes = figure.add_subplot(grid[line, 2 * place : 2 * place + 2])
            paint(axes, hours, symbol, rows)
    return figure


def _value(axes: Axes, hours: Sequence[float], points: Sequence[DayPoint]) -> None:
    values = [point.value_usd6 / USD6 for point in points]
    _line(axes, hours, values, ACCENT)
    axes.fill_between(hours, min(values), values, color=ACCENT, alpha=0.08, linewidth=0)
    fatal = [index for index, point in enumerate(points) if point.liquidations]
    if fatal:
        at, up = [hours[index] for index in fatal], [values[index] for index in fatal]
        axes.scatter(at, up, s=26, color=CARD, edgecolor=SHORT, linewidth=1.2, zorder=3)
    _head(axes, "Pool value", "USDC; rings: liquidations" if fatal else "USDC")


def _share(axes: Axes, hours: Sequence[float], points: Sequence[DayPoint]) -> None:
    values = [point.glp_price_usd6 / USD6 for point in points]
    _line(axes, hours, values, BLUE)
    axes.fill_between(hours, min(values), values, color=BLUE, alpha=0.08, linewidth=0)
    _head(axes, "GLP price", "USDC for one share", "{:,.4f}")


def _price(axes: Axes, hours: Sequence[float], symbol: str, rows: Sequence[TokenPoint]) -> None:
    values = [row.price_e8 / 1e8 for row in rows]
    _line(axes, hours, values, INK)
    digits = 0 if values[-1] >= 1000 else 2 if values[-1] >= 10 else 4
    _head(axes, f"{symbol} price", "certified, dollars", f"{{:,.{digits}f}}")


def _interest(axes: Axes, hours: Sequence[float], symbol: str, rows: Sequence[TokenPoint]) -> None:
    longs = [row.long_usd6 / USD6 for row in rows]
    shorts = [-row.short_usd6 / USD6 for row in rows]
    for values, color in ((longs, LONG), (shorts, SHORT)):
        axes.fill_between(hours, values, step="post", color=color, alpha=0.18, linewidth=0)
        axes.step(hours, values, where="post", color=color, linewidth=1.3)
    axes.axhline(0, color=QUIET, linewidth=0.7)
    axes.text(0.01, 0.93, "long", transform=axes.transAxes, color=LONG, fontsize=8, va="top")
    axes.text(0.01, 0.07, "short", transform=axes.transAxes, color=SHORT, fontsize=8)
    _head(axes, f"{symbol} open interest", "USDC", "{:,.0f}")


def _funding(axes: Axes, hours: Sequence[float], symbol: str, rows: Sequence[TokenPoint]) -> None:
    values = [row.funding_ppm / PPM_PERCENT for row in rows]
    axes.fill_between(hours, values, step="post", color=BLUE, alpha=0.12, linewidth=0)
    axes.step(hours, values, where="post", color=BLUE, linewidth=1.4)
    axes.axhline(0, color=QUIET, linewidth=0.7)
    _head(axes, f"{symbol} funding", "% per 8 h; above zero longs pay", "{:.3f}")


def _pnl(axes: Axes, hours: Sequence[float], symbol: str, rows: Sequence[TokenPoint]) -> None:
    values = [row.pnl_usd6 / USD6 for row in rows]
    wins = [max(value, 0.0) for value in values]
    losses = [min(value, 0.0) for value in values]
    axes.fill_between(hours, wins, color=LONG, alpha=0.16, linewidth=0)
    axes.fill_between(hours, losses, color=SHORT, alpha=0.16, linewidth=0)
    _line(axes, hours, values, INK)
    axes.axhline(0, color=QUIET, linewidth=0.7)
    _head(axes, f"{symbol} traders' PnL", "USDC, realised and open", "{:,.0f}")


def _line(axes: Axes, hours: Sequence[float], values: Sequence[float], color: str) -> None:
    axes.plot(hours, values, color=color, linewidth=1.6, solid_joinstyle="round")
    axes.scatter(hours[-1:], values[-1:], s=20, color=color, zorder=4)


def _head(axes: Axes, title: str, unit: str, number: str = "{:,.0f}") -> None:
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=8)
    axes.set_title(unit, loc="right", fontsize=8, color=QUIET, pad=8)
    axes.margins(x=0.01, y=0.14)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number.format(value)))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda hour, _: f"{hour:.0f} h"))
