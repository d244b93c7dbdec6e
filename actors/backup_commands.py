"""``oracle-vm backup ...``: a node's journals, history and keys in one file, and back again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from actors.backup import Manifest, create_backup
from actors.backup_restore import check_backup, restore_backup
from actors.sealed_seed import read_passphrase
from protocol.errors import ConfigError

backup = typer.Typer(no_args_is_help=True, help="Backups of an oracle or an aggregator.")

Archive = Annotated[Path, typer.Argument(metavar="TAR", help="A file of `backup create`.")]
Passphrase = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Its first line opens the keys."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@backup.command()
def create(
    out: Annotated[Path, typer.Argument(metavar="TAR", help="A new file.")],
    config: Annotated[Path, typer.Option(help="The node's TOML file.")],
    signer: Annotated[
        Path | None, typer.Option(help="The file of `signer run`, if the node has one.")
    ] = None,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="The keys too, under the passphrase.")
    ] = False,
    passphrase_file: Passphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Back a node up, while it runs or not."""
    if with_keys != (passphrase_file is not None):
        raise ConfigError("--with-keys and --passphrase-file: give both or none")
    _show(out, create_backup(config, out, _passphrase(passphrase_file), signer), as_json)


@backup.command()
def check(
    archive: Archive, passphrase_file: Passphrase = None, as_json: JsonOption = False
) -> None:
    """Check that a backup can be restored, and say what is in it."""
    _show(archive, check_backup(archive, _passphrase(passphrase_file)), as_json)


@backup.command()
def restore(
    archive: Archive,
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="New or empty.")],
    passphrase_file: Passphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a node back. What it may have signed since the backup it does not sign again."""
    passphrase = _passphrase(passphrase_file)
    manifest = restore_backup(archive, into, passphrase)
    _show(into, manifest, as_json)
    if as_json:
        return
    if not manifest.keys or passphrase is None:
        print(f"keys: not restored; copy them to {into}/keys/{manifest.name}, mode 600")
    print(f"oracle-vm doctor --config {into / manifest.node}")
    print(f"oracle-vm {manifest.role} run --config {into / manifest.node}")


def _passphrase(file: Path | None) -> str | None:
    return None if file is None else read_passphrase(file)


def _show(path: Path, manifest: Manifest, as_json: bool) -> None:
    fields = asdict(manifest)
    if as_json:
        print(json.dumps(fields | {"path": str(path)}))
        return
    count, size = len(manifest.files), sum(size for _, size in manifest.files.values())
    print(f"{path}: {manifest.role} {manifest.name}, {count} files, {size} bytes")
    print(f"configuration {manifest.configuration} epoch {manifest.epoch}")
    print(f"newest round {manifest.round}")
    for name, seq in manifest.guards.items():
        print(f"{name} ends at {seq}")
    print(f"keys {'sealed' if manifest.keys else 'not in it'}")
