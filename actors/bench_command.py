"""``oracle-vm bench NAME``: the benchmarks of a checkout, run as a child process.

They live with the tests, which are not installed, and which nothing here imports.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from protocol.errors import ConfigError

CHECKOUT = Path(__file__).parents[1]


def bench(
    name: Annotated[str, typer.Argument(help="A benchmark, `vm` for one; `all` for every one.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure on this machine, side by side with peers; JSON goes to tests/bench/out too."""
    folder = CHECKOUT / "tests" / "bench"
    known = sorted(file.stem for file in folder.glob("[a-z]*.py"))
    if not known:
        raise ConfigError(
            "bench: the benchmarks are part of a source checkout, not of an installation: clone"
            " the repository and run `oracle-vm bench` there"
        )
    if name != "all" and name not in known:
        raise ConfigError(f"bench: no benchmark `{name}`; choose one of all, {', '.join(known)}")
    module = "tests.bench" if name == "all" else f"tests.bench.{name}"
    command = [sys.executable, "-m", module, *(["--json"] if as_json else [])]
    search = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    child = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": search}, check=False
    )
    raise typer.Exit(child.returncode)
