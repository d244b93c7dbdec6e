"""``oracle-vm feeds ...``: what the adapters make of recorded frames."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.feeds.rows import parse_rows
from protocol.errors import EncodingError

feeds = typer.Typer(no_args_is_help=True, help="Exchange feeds.")


@feeds.command()
def parse(
    file: Annotated[Path, typer.Argument(help="JSON rows, one a line (tests/vectors/feeds).")],
) -> None:
    """Parse recorded frames: one JSON object a row with its id, its class and what it says."""
    for answer in _answers(file):
        print(json.dumps(answer))


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
