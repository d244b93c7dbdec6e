"""``oracle-vm doctor``: what is wrong here, and what to do."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from actors.doctor import Finding, State, fail, ok
from actors.doctor_machine import machine
from protocol.errors import ConfigError

Whose = tuple[str, Finding]
"""The machine's, or a node's or program's by name."""


def doctor(
    config: Annotated[
        Path | None, typer.Option(help="The file of an oracle or aggregator of this machine.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="A folder of `oracle-vm up`: all its programs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What is wrong with this machine, with one node, or with everything that `up` has started.
    Nothing is changed. Exit code 1 if a check fails."""
    if config is not None and folder is not None:
        raise ConfigError("--config, --dir: name one of them")
    place = folder or (config.parent if config else Path())
    found = [("machine", finding) for finding in machine(place)]
    if not as_json:
        _print(found)
    for whose in _nodes(config, folder):
        found.append(whose)
        if not as_json:
            _print([whose])
    counts = {state: sum(f.state is state for _, f in found) for state in State}
    if as_json:
        checks = [{"of": of} | asdict(finding) for of, finding in found]
        print(json.dumps({"counts": counts, "checks": checks}))
    else:
        print(", ".join(f"{count} {state}" for state, count in counts.items()))
    if counts[State.FAIL]:
        raise typer.Exit(1)


def _nodes(config: Path | None, folder: Path | None) -> Iterator[Whose]:
    if config is not None:
        yield from _node(config.stem, config)
    if folder is not None:
        from actors.local.place import Site  # takes the market, which is compiled
        from actors.local.status import look

        site = Site.load(folder)
        for row in look(site)["programs"]:
            yield row["name"], _program(row)
        for group in site.groups:
            for node in group.nodes.values():
                yield from _node(group.full(node.name), node.config)


def _program(row: dict[str, str]) -> Finding:
    if row["state"] == "running":
        return ok("program", f"process {row['pid']}, {row['restarts']} restarts")
    detail = f"{row['state']} {row['fault']}".strip()
    return fail("program", detail, f"`oracle-vm logs {row['name']}`; `oracle-vm up` starts it")


def _node(name: str, config: Path) -> Iterator[Whose]:
    from actors.doctor_files import address, files, is_running
    from actors.doctor_running import running
    from actors.operator import load_operator

    try:
        operator = load_operator(config)
    except ConfigError as error:
        yield name, fail("file", str(config), str(error))
        return
    yield from ((name, finding) for finding in files(operator))
    if is_running(operator):
        yield from ((name, finding) for finding in running(operator))
    else:
        yield name, address(operator)
        remedy = f"`systemctl start oracle-vm-{operator.role}`, or `oracle-vm {operator.role} run`"
        yield name, fail("answers", "it does not run", remedy)


def _print(found: list[Whose]) -> None:
    for of, finding in found:
        print(f"{finding.state:<5}{of:<11} {finding.name:<14} {finding.detail}")
        if finding.remedy:
            print(f"{'':<17}-> {finding.remedy}")
