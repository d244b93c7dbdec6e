"""The timeline of a chaos run: who was attacked when, and how long certificates took meanwhile."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.chaos.plan import Event
from actors.network import AGGREGATOR_NAME

if TYPE_CHECKING:
    from actors.chaos.run import Outcome

WIDTH_IN: Final = 11.0
INK, QUIET, BAD = "#1a1a1a", "#8a8a8a", "#c0392b"
SHORT_S: Final = 0.25
"""A fault without a length is drawn so long."""


def draw_timeline(outcome: "Outcome", path: Path) -> None:
    """A row for everybody, a bar for each fault; below, the time between certificates."""
    from matplotlib.figure import Figure  # takes a second

    rows = _rows(outcome)
    figure: Any = Figure(figsize=(WIDTH_IN, 2.6 + 0.42 * len(rows)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(len(rows), 3))
    _draw_faults(above, outcome, rows)
    _draw_gaps(below, outcome)
    for violation in outcome.ledger.violations:
        for axes in (above, below):
            axes.axvline(violation.at_s, color=BAD, linewidth=1.2)
    verdict = f"{outcome.violations} violations" if outcome.violations else "no violation"
    title = f"{outcome.plan.name}, seed {outcome.plan.seed}: {verdict}"
    above.set_title(title, loc="left", color=BAD if outcome.violations else INK)
    figure.savefig(path, dpi=120)


def _rows(outcome: "Outcome") -> list[str]:
    """Everybody, and what else was attacked."""
    named = [*outcome.plan.oracles, AGGREGATOR_NAME]
    others = {i.event.victim for i in outcome.injections} - set(named)
    return [*named, *sorted(others)]


def _draw_faults(axes: Any, outcome: "Outcome", rows: list[str]) -> None:
    kinds = sorted({i.event.kind for i in outcome.injections})
    from matplotlib import colormaps

    colours = dict(zip(kinds, colormaps["tab20"].colors, strict=False))  # type: ignore[attr-defined]
    for injection in outcome.injections:
        event = injection.event
        end_s = outcome.seconds if injection.ended_s is None or event.is_for_good else 0.0
        end_s = end_s or injection.ended_s or 0.0
        width_s = max(end_s - injection.began_s, SHORT_S)
        at = rows.index(event.victim)
        axes.barh(at, width_s, left=injection.began_s, height=0.62, color=colours[event.kind])
        axes.text(injection.began_s, at - 0.36, _label(event), fontsize=6.5, color=INK)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.75)
    axes.grid(axis="x", color="#e6e6e6")
    axes.set_axisbelow(True)


def _draw_gaps(axes: Any, outcome: "Outcome") -> None:
    pace = outcome.pace
    at = [when for when, _ in pace.gaps]
    axes.vlines(at, 0, [gap for _, gap in pace.gaps], color=INK, linewidth=0.8)
    bound_s = pace.bound_s(-2.0, -1.0)
    axes.axhline(bound_s, color=QUIET, linestyle="--", linewidth=0.8)
    axes.text(0, bound_s, f"bound {bound_s:.1f} s", fontsize=7, color=QUIET, va="bottom")
    axes.set_ylabel("s since the\nlast certificate")
    axes.set_xlabel("seconds")
    axes.set_xlim(0, max(outcome.seconds, outcome.plan.seconds))
    axes.set_ylim(0, max(bound_s, pace.longest_s) * 1.2)


def _label(event: Event) -> str:
    fault = event.fault
    extra = getattr(fault, "how", "") or getattr(fault, "peer", None) or ""
    return f"{event.kind} {extra}".strip()
