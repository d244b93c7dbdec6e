"""One simulated day of rounds, contracts and disputes; memory, descriptors and tasks stay flat.

python -m tests.soak [--hours 24] [--out docs/soak.md]      make soak

Exit code 1 unless everything that the report is about holds.
"""

import sys

from tests.soak import virtual  # isort: skip  # before what binds names of its clock

import argparse
import logging
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from actors.logs import open_log
from protocol.units import UnixMs
from tests.soak.day import live
from tests.soak.diary import Day, Story
from tests.soak.plan import draw
from tests.soak.report import write
from tests.soak.world import CLOSING_BLOCKS, running

EXPIRY: Final = datetime(2026, 11, 22, 8, tzinfo=UTC)
"""Of listed options; a third of the run is before it."""
PAGE: Final = Path("docs/soak.md")
SPARE_BLOCKS: Final = 2
"""A European contract is ordered so long before the last moment."""


def main() -> int:
    """Live through the day and report."""
    options = _options()
    span_s = options.hours * 3600
    start_ms = UnixMs(int(EXPIRY.timestamp() * 1000 - span_s * 1000 / 3))
    last_european_s = span_s / 3 - (CLOSING_BLOCKS + SPARE_BLOCKS) * options.block_s
    plans = draw(options.seed, span_s, options.order_s, last_european_s)
    day = Day(options.seed, options.hours, options.block_s, start_ms, [Story(p) for p in plans])
    with TemporaryDirectory(prefix="soak-") as place:
        folder = Path(place)
        handler = open_log(folder / "soak.log", logging.WARNING)
        try:
            virtual.run(lambda: _whole(day, folder, options.sample_s), start_ms)
            day.errors += _errors(folder / "soak.log")
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()
    command = " ".join(["python -m tests.soak", *sys.argv[1:]])
    ok = write(day, command, options.out)
    print(f"{options.out}: {'all of it holds' if ok else 'NOT all of it holds'}")
    return 0 if ok else 1


async def _whole(day: Day, folder: Path, sample_s: float) -> None:
    plans = [story.plan for story in day.stories]
    async with running(folder, day.seed, plans, day.block_s) as world:
        await live(world, day, sample_s, _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _errors(file: Path) -> list[str]:
    """Lines of the log at ERROR and above."""
    lines = file.read_text().splitlines()
    return [line[:300] for line in lines if '"level":"ERROR"' in line or '"CRITICAL"' in line]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of orders, in virtual time")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page; its plot lies beside it")
    parser.add_argument("--seed", type=int, default=1, help="of prices and orders")
    parser.add_argument("--block-s", type=int, default=600, help="between two blocks")
    parser.add_argument("--order-s", type=float, default=2700.0, help="between two orders")
    parser.add_argument("--sample-s", type=float, default=300.0, help="between two samples")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
