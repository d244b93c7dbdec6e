"""docs/oracle.md says what the calculator says."""

import re
from pathlib import Path

from protocol.oracle.quorum import thresholds

PAGE = (Path(__file__).parents[3] / "docs" / "oracle.md").read_text(encoding="utf-8")
COLUMNS = ("n", "f", "2f + 1", "f + 1", "⌊(n + f)/2⌋ + 1", "n − f", "final")


def rows() -> list[tuple[str, ...]]:
    """Head and rows of the page's table that begins with n."""
    lines = [line for line in PAGE.splitlines() if re.match(r"\| (n|\d+) \|", line)]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def computed() -> list[tuple[str, ...]]:
    table = []
    for n in range(3, 16):
        for f in sorted({(n - 1) // 3, (n - 1) // 2} - {0}):
            t = thresholds(n, f)
            numbers = (n, f, t.median_observations, t.authenticity, t.agreement, t.live_quorum)
            table.append((*map(str, numbers), "yes" if t.final else "no"))
    return table


def test_the_table_is_the_calculators() -> None:
    head, *body = rows()
    assert head == COLUMNS
    assert body == computed()


def test_what_the_page_says_about_two_of_three() -> None:
    t = thresholds(3, 1)
    assert (t.median_observations, t.authenticity, t.agreement) == (3, 2, 3)
    assert not t.final
    for n, f, q in ((4, 1, 3), (7, 2, 5)):
        assert thresholds(n, f).final
        assert thresholds(n, f).agreement == q
        assert f"n = {n}, q = {q}" in PAGE
