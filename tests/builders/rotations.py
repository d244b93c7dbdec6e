"""From one epoch to the next: the network file that follows, and what operators do with it."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from actors.cli import app
from actors.keyfile import create_key
from actors.network_files import create_keys, oracle_entry, table


def next_network(
    folder: Path,
    file: str = "network.toml",
    joins: Mapping[str, str] | None = None,
    leaves: str = "",
    renewed: str = "",
    **settings: Any,
) -> Path:
    """``next.toml`` in ``folder``, from the network of ``file``: ``joins`` are URLs by name (keys
    are made, and a file that runs the newcomer), ``leaves`` and ``renewed`` (a new oracle key) are
    names, ``settings`` of [network]."""
    tables = tomllib.loads((folder / file).read_text())
    network, oracles = tables["network"], tables["oracle"]
    network |= {"epoch": network["epoch"] + 1} | settings
    entries = []
    for oracle in oracles:
        if oracle["name"] == renewed:
            entries.append(_renewed(folder, oracle))
        elif oracle["name"] != leaves:
            entries.append(table("[[oracle]]", oracle))
    for name, url in (joins or {}).items():
        entries.append(oracle_entry(name, url, create_keys(folder / "keys" / name, "oracle")))
        _write_newcomer(folder, oracles[0]["name"], name, url)
    path = folder / f"next-{network['epoch']}.toml"
    path.write_text(
        "\n".join(
            [table("[network]", network), *entries, table("[aggregator]", tables["aggregator"])]
        )
    )
    return path


def _renewed(folder: Path, oracle: dict[str, Any]) -> str:
    """The same operator with a new oracle key; its file names both."""
    name = oracle["name"]
    key = create_key(folder / "keys" / name / "oracle-2.key")
    held = create_keys(folder / "keys" / f"{name}-2", "oracle") | {"oracle": key}
    entry = tomllib.loads(oracle_entry(name, oracle["url"], held))["oracle"][0]
    kept = {field: value for field, value in entry.items() if field.startswith("oracle_")}
    file = folder / f"{name}.toml"
    one = f'oracle = "keys/{name}/oracle.key"'
    assert one in file.read_text()
    both = f'oracle = ["keys/{name}/oracle.key", "keys/{name}/oracle-2.key"]'
    file.write_text(file.read_text().replace(one, both))
    return table("[[oracle]]", oracle | kept)


def _write_newcomer(folder: Path, like: str, name: str, url: str) -> None:
    text = (folder / f"{like}.toml").read_text()
    lines = [
        f'listen = "{url.removeprefix("ws://")}"' if line.startswith("listen") else line
        for line in text.replace(like, name).splitlines()
    ]
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")


def cli(*arguments: object) -> str:
    """What a command prints; raises what it ends with."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def drafted(folder: Path, following: Path, round_id: int) -> Path:
    """The rotation from what ``folder`` has to the network of ``following``."""
    path = folder / f"{following.stem}-{round_id}.rot"
    where = ("--network", folder / "network.toml", "--round", round_id, "-o", path)
    cli("network", "rotate", "draft", following, *where)
    return path


def signed(folder: Path, draft: Path, name: str) -> Path:
    """The signature of an operator, by its running node."""
    path = draft.with_suffix(f".{name}")
    config = folder / f"{name}.toml"
    path.write_text(cli("oracle", "rotate", "sign", draft, "--config", config))
    return path


def installed(folder: Path, draft: Path, signatures: Sequence[Path]) -> Path:
    """The rotation with its signatures, in place."""
    path = draft.with_suffix(".signed")
    where = ("--network", folder / "network.toml")
    cli("network", "rotate", "combine", draft, *signatures, "-o", path, *where)
    cli("network", "rotate", "install", path, *where)
    return path


def rotated(folder: Path, following: Path, round_id: int, signers: Sequence[str]) -> int:
    """All of it; returns the round."""
    draft = drafted(folder, following, round_id)
    installed(folder, draft, [signed(folder, draft, name) for name in signers])
    return round_id
