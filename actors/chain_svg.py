"""The tree of a contract as SVG: a row a step, a bracket to its parent, its state as a colour."""

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from actors.chain_drawing import State, Step

ROW: Final = 58
BOX: Final = 46
INDENT: Final = 30
MARGIN: Final = 24
HEAD: Final = 56
LEGEND: Final = 44
BOX_WIDTH: Final = 720
LETTERS: Final = 104
"""What fits a box in a line of the small font."""

FONT: Final = "font-family='DejaVu Sans, Verdana, Helvetica, Arial, sans-serif'"
INK: Final = "#1b1f24"
LINE: Final = "#8b949e"
COLOURS: Final = {
    State.CONFIRMED: ("#c8ecd0", "#1f7a3d"),
    State.WAITING: ("#d6e6fb", "#1f5fa8"),
    State.POSSIBLE: ("#fff0c2", "#9a6b00"),
    State.LATER: ("#f4f5f7", "#6a737d"),
    State.GONE: ("#f9dcdc", "#b13434"),
}
"""Fill and border."""


def as_svg(title: str, root: Step) -> str:
    """A complete SVG document; dark text on light."""
    rows = list(root.walk())
    deepest = max(depth for depth, _ in rows)
    width = 2 * MARGIN + deepest * INDENT + BOX_WIDTH
    height = HEAD + len(rows) * ROW + LEGEND + MARGIN
    body = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}'"
        f" viewBox='0 0 {width} {height}' {FONT}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
        _text(MARGIN, 34, title, 15, bold=True),
        *_brackets(rows),
    ]
    for number, (depth, step) in enumerate(rows):
        body += _box(depth, HEAD + number * ROW, step)
    body += _legend(HEAD + len(rows) * ROW + 12)
    return "\n".join([*body, "</svg>", ""])


def _brackets(rows: list[tuple[int, Step]]) -> Iterator[str]:
    """From the lower left of each parent to its children."""
    open_at: dict[int, int] = {}
    for number, (depth, _) in enumerate(rows):
        middle = HEAD + number * ROW + BOX // 2
        if depth:
            x = MARGIN + (depth - 1) * INDENT + INDENT // 2
            yield (
                f"<path d='M{x} {open_at[depth - 1]} V{middle} H{MARGIN + depth * INDENT}'"
                f" fill='none' stroke='{LINE}' stroke-width='1.5'/>"
            )
        open_at[depth] = HEAD + number * ROW + BOX


def _box(depth: int, top: int, step: Step) -> Iterator[str]:
    fill, border = COLOURS[step.state]
    left = MARGIN + depth * INDENT
    details = ", ".join((f"{step.sats:,} sats", step.when, *step.notes))
    yield f"<g role='img' aria-label={quoteattr(f'{step.name}: {step.state.value}')}>"
    yield f"<title>{escape(f'{step.name}: {step.state.value}; {details}')}</title>"
    yield (
        f"<rect x='{left}' y='{top}' width='{BOX_WIDTH}' height='{BOX}' rx='6' fill='{fill}'"
        f" stroke='{border}' stroke-width='1.5'/>"
    )
    yield _text(left + 12, top + 19, step.name, 14, bold=True)
    yield _text(left + BOX_WIDTH - 12, top + 19, step.state.value, 12, end=True)
    shown = details if len(details) <= LETTERS else details[: LETTERS - 2] + ".."
    yield _text(left + 12, top + 37, shown, 11)
    yield "</g>"


def _legend(top: int) -> Iterator[str]:
    left = MARGIN
    for state, (fill, border) in COLOURS.items():
        yield (
            f"<rect x='{left}' y='{top}' width='16' height='16' rx='3' fill='{fill}'"
            f" stroke='{border}' stroke-width='1.5'/>"
        )
        yield _text(left + 22, top + 13, state.value, 12)
        left += 40 + 8 * len(state.value)


def _text(x: int, y: int, words: str, size: int, *, bold: bool = False, end: bool = False) -> str:
    style = " font-weight='bold'" * bold + " text-anchor='end'" * end
    return f"<text x='{x}' y='{y}' font-size='{size}' fill='{INK}'{style}>{escape(words)}</text>"
