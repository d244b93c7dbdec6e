"""``oracle-vm cluster ...``: an operator's Ray cluster on machines of its own."""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cluster_check import PORTS, Problem, check_roles, check_together, nodes_of
from actors.cluster_check import check as check_file
from actors.cluster_config import load_cluster_config
from actors.cluster_file import ClusterFile, load_cluster
from actors.cluster_state import ClusterState
from actors.files import is_held
from actors.logs import open_log
from actors.supervision import State
from protocol.errors import ConfigError

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
    are of operators who share nothing; a file of `cluster run` (.toml) among them is of the same
    operator. The exit code says it too."""
    loaded = [load_cluster(path) for path in files if path.suffix != ".toml"]
    configs = [load_cluster_config(path) for path in files if path.suffix == ".toml"]
    problems = [problem for file in loaded for problem in check_file(file)]
    problems = problems or check_together(loaded)
    problems = problems or [p for config in configs for p in check_roles(config, loaded)]
    if as_json:
        print(json.dumps(_record(loaded, problems)))
    elif problems:
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
    else:
        for file in loaded:
            print(_summary(file))
        for config in configs:
            print(f"{config.path}: valid, {', '.join(sorted(config.roles))} at {config.address}")
    raise typer.Exit(1 if problems else 0)


@cluster.command()
def run(
    file: Annotated[Path, typer.Argument(help="TOML: the cluster, and what runs on it.")],
) -> None:
    """Join the operator's running cluster, start the actors of its roles and keep them running,
    until SIGINT or SIGTERM, which ends them; logs on stderr. Killed, it leaves them running and
    finds them when it is started again."""
    from actors.cluster_run import supervise

    config = load_cluster_config(file)
    open_log(level=getattr(logging, config.log.upper()))
    asyncio.run(supervise(config))


@cluster.command()
def status(
    file: Annotated[Path, typer.Argument(help="The file of `cluster run`.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Where the operator's roles stand, as their supervisor says. The exit code is 1 if it does not
    run or has no cluster, or a role is halted or has failed."""
    config = load_cluster_config(file)
    state = ClusterState.read(config.state)
    if state is None:
        raise ConfigError(f"{config.folder}: nothing has run here; `oracle-vm cluster run {file}`")
    is_up = is_held(config.lock)
    if as_json:
        print(json.dumps({"supervised": is_up, **msgspec.to_builtins(state)}))
    else:
        print(_standing(state, is_up))
    is_well = is_up and not state.fault and state.state not in (State.HALTED, State.FAILED)
    raise typer.Exit(0 if is_well else 1)


def _standing(state: ClusterState, is_up: bool) -> str:
    who = f"process {state.pid}" if is_up else "no supervisor runs; what follows is its last word"
    lines = [f"{state.state}: {who}"]
    if state.fault:
        lines.append(f"  {state.fault}")
    for role, one in state.roles.items():
        lines.append(f"{role}: {one.state}" + (f", {one.reason}" if one.reason else ""))
        for name, actor in one.actors.items():
            at = f"process {actor.pid} on {actor.host}" if actor.pid else actor.reason
            lines.append(f"  {name:<16} {actor.phase:<9} restarts {actor.restarts}  {at}")
    return "\n".join(lines)


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
