"""The report of a soak in Markdown, with its plot beside it."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.soak.diary import Day, Story
from tests.soak.judge import SHORTEST_H, WARM, checks, growth, verdicts
from tests.soak.plot import draw
from tests.soak.trend import Verdict


def write(day: Day, command: str, out: Path) -> bool:
    """``out`` and the plot beside it; whether all that was to be shown was shown."""
    plot = out.with_suffix(".svg")
    draw(day.samples, day.hours, WARM * day.hours, plot)
    text, ok = page(day, command, plot.name)
    out.write_text(text)
    return ok


def page(day: Day, command: str, plot: str) -> tuple[str, bool]:
    """The page, and whether everything is as it should be."""
    found, lines = checks(day), verdicts(day.samples, day.hours)
    ok = all(check.ok for check in found) and all(line.is_flat for line in lines)
    start = datetime.fromtimestamp(day.start_ms / 1000, UTC)
    parts = [
        "# A simulated day",
        "",
        f"`{command}` wrote this page. {'All of it holds.' if ok else 'NOT all of it holds.'}",
        "",
        f"{day.hours:g} hours from {start:%Y-%m-%d %H:%M} UTC in virtual time, and what the last"
        f" contract took beyond ({day.end_h:.1f} in all), in {day.real_s / 60:.1f} minutes of real"
        f" time, {day.cpu_s / 60:.1f} of them of a core. {_INTRO}",
        "",
        "| what | |",
        "|---|---|",
        *(f"| {check.name} | {check.said} |" for check in found),
        "",
        f"![memory, descriptors, contracts and disk over the hours]({plot})",
        "",
        "## Nothing grows but what is stored",
        "",
        *(_growth(day, lines) or [f"A run of less than {SHORTEST_H:g} hours does not show it."]),
        "",
        "| on disk | bytes | |",
        "|---|---|---|",
        *(f"| {row.kind} | {row.size:,} | {row.per} |" for row in growth(day)),
        "",
        "## Contracts",
        "",
        "| how it was meant to end | how many | how they ended |",
        "|---|---|---|",
        *_ends(day.stories),
        "",
    ]
    return "\n".join(parts), ok


_INTRO = (
    "Oracles, aggregator, market and both parties of each contract are the real programs: real"
    " keys and signatures, sign guards, journals and histories on disk, sockets, blocks of the"
    " embedded node. They share one process, their signers too, and one event loop whose clock"
    " leaps to the next timer when nothing is left to do (`tests/soak/virtual.py`). Venues are"
    " simulated; pings, and looks at what does not change by itself, come less often than in"
    " production, and a party that waits for blocks is woken by the miner."
)


def _growth(day: Day, lines: list[Verdict]) -> list[str]:
    if not lines:
        return []
    return [
        f"A straight line through the samples ({len(day.samples)} in all) after a warm-up of"
        f" {WARM * day.hours:g} hours, with the contracts alive at each held constant"
        " (`tests/soak/trend.py`). It is a leak if the slope less three standard errors is above"
        " the bound, and flat if not, and three standard errors are within the bound.",
        "",
        "| | at rest | a contract adds | an hour adds | +- | bound | |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {v.name} {v.unit} | {v.line.level:,.1f} | {v.line.each:,.1f} | {v.line.slope:,.3f}"
            f" | {v.line.error:,.3f} | {v.bound:,g} | {v.word} |"
            for v in lines
        ),
    ]


def _ends(stories: list[Story]) -> list[str]:
    kinds = Counter(story.plan.end for story in stories)
    rows = []
    for kind, count in kinds.items():
        ends = Counter(story.outcome or "not at all" for story in stories if story.plan.end is kind)
        told = ", ".join(f"{n} x `{end}`" for end, n in sorted(ends.items()))
        rows.append(f"| {kind} | {count} | {told} |")
    return rows
