"""Write the known answers of docs/spec: ``python -m tests.spec [--bodies DIR]``.

With ``--bodies`` also every template's bytes, a file each by its SHA-256: what an implementation
needs that is to share contracts with this one.
"""

import sys
from pathlib import Path

from tests.spec import opened
from tests.spec.leaves import WIDTHS, bodies, templates
from tests.spec.vectors import FOLDER, LAYERS, text


def main(words: list[str]) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, answers in LAYERS.items():
        written = text(answers())
        (FOLDER / f"{name}.json").write_text(written)
        print(f"{FOLDER / name}.json: {len(written):,} bytes")
    if words[:1] == ["--bodies"]:
        folder = Path(words[1])
        folder.mkdir(parents=True, exist_ok=True)
        every = [*opened.templates(), *(one for width in WIDTHS for one in templates(width))]
        for digest, body in bodies(every).items():
            (folder / digest).write_bytes(body)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
