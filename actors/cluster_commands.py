"""``oracle-vm cluster ...``: an operator's Ray cluster on machines of its own."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from actors.cluster_check import PORTS, Problem, check_together, nodes_of
from actors.cluster_check import check as check_file
from actors.cluster_file import ClusterFile, load_cluster

cluster = typer.Typer(no_args_is_help=True, help="An operator's machines, one Ray cluster.")


@cluster.callback()
def _cluster() -> None:
    """An operator's machines, one Ray cluster."""


@cluster.command()
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Of one operator, or of several.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check cluster files without a machine: Ray's schema and what `ray up` does first; unknown
    keys, user, addresses, roles that no node offers, ports, the token, `ray stop`. Several files
    are of operators who share nothing. The exit code says it too."""
    loaded = [load_cluster(path) for path in files]
    problems = [problem for file in loaded for problem in check_file(file)]
    problems = problems or check_together(loaded)
    if as_json:
        print(json.dumps(_record(loaded, problems)))
    elif problems:
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
    else:
        for file in loaded:
            print(_summary(file))
    raise typer.Exit(1 if problems else 0)


def _record(files: list[ClusterFile], problems: list[Problem]) -> dict[str, object]:
    rows = [
        {"file": str(p.path), "line": p.line, "place": p.place, "problem": p.text} for p in problems
    ]
    clusters = []
    for file in () if problems else files:
        nodes = nodes_of(file)
        clusters.append(
            {
                "file": str(file.path),
                "name": file.content["cluster_name"],
                "head": nodes.head,
                "workers": nodes.workers,
                "roles": nodes.roles,
                "ports": nodes.ports,
            }
        )
    return {"valid": not problems, "problems": rows, "clusters": clusters}


def _summary(file: ClusterFile) -> str:
    nodes = nodes_of(file)
    lines = [
        f"{file.path}: valid, {file.content['cluster_name']}",
        f"  head     {nodes.head}: {', '.join(nodes.roles['head'])}",
        *(f"  worker   {ip}: {', '.join(nodes.roles['worker'])}" for ip in nodes.workers),
        *(f"  {port:<8} {PORTS[name]}" for name, port in nodes.ports.items()),
    ]
    return "\n".join(lines)
