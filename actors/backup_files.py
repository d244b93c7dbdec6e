"""What of a node goes into a backup, and where each file is in it.

A backup has one layout wherever a node's files are: NODE.toml, network.toml, rotations/, tls/,
data/NAME/, keys/NAME/, and signer.toml for a signer of its own. The files with paths in them are
rewritten to it, so a backup that is unpacked anywhere runs there.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors.dlc_store import LEDGER
from actors.epochs import FOLDER as ROTATIONS
from actors.epochs import SUFFIX
from actors.operator import Operator, load_operator
from actors.signer_config import load_signer
from protocol.errors import ConfigError

HISTORY: Final = "history.sqlite"
EVIDENCE: Final = "evidence.journal"
DLC: Final = "dlc"
SIGNER: Final = "signer.toml"
_TLS: Final = {"certificate": "tls/tls.pem", "ca": "tls/ca.pem", "key": "tls/key.pem"}

Field = tuple[str, str]
"""Table and name of a field that holds a path."""


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """A node's files by their names in a backup: ``texts`` are rewritten, ``plain`` copied as they
    are, ``secrets`` hold keys. ``guards`` is the folder of the sign guards."""

    operator: Operator
    texts: Mapping[str, str]
    plain: Mapping[str, Path]
    secrets: Mapping[str, Path]
    guards: Path

    @property
    def data(self) -> str:
        """The node's folder in a backup."""
        return f"data/{self.operator.name}"


def node_files(file: Path, signer: Path | None = None) -> NodeFiles:
    """The files of the node in ``file``; ``signer`` is the file of its signer, if that is a program
    of its own. ConfigError if one cannot be read."""
    operator = load_operator(file)
    if (operator.signer is None) != (signer is None):
        what = "name the file of its signer (--signer)" if signer is None else "it has no signer"
        raise ConfigError(f"{file}: {what}: keys and sign guard are there")
    texts = {file.name: _node_text(file, operator)}
    keys, guards = operator.keys, operator.folder
    if signer is not None:
        config = load_signer(signer)
        keys, guards = config.keys, config.folder
        wanted = {
            ("signer", "socket"): "signer.sock",
            ("signer", "folder"): f"data/{operator.name}",
        }
        texts[SIGNER] = _rewritten(signer, wanted, operator.name)
    plain = dict(_plain(operator))
    secrets = {f"keys/{operator.name}/{_key_file(name)}": path for name, path in keys.items()}
    if operator.tls is not None:
        given = (operator.tls.cert, operator.tls.ca, operator.tls.key)
        tls = {name: path for name, path in zip(_TLS.values(), given, strict=True) if path}
        secrets |= {name: tls.pop(name) for name in list(tls) if name == _TLS["key"]}
        plain |= tls
    return NodeFiles(operator, texts, plain, secrets, guards)


def _plain(operator: Operator) -> Iterator[tuple[str, Path]]:
    network = operator.networks.path
    yield "network.toml", network
    for rotation in sorted((network.parent / ROTATIONS).glob(f"*{SUFFIX}")):
        yield f"{ROTATIONS}/{rotation.name}", rotation
    for path in sorted((operator.folder / DLC / "public").glob("*.json")):
        yield f"data/{operator.name}/{DLC}/public/{path.name}", path


def journals_of(files: NodeFiles) -> Iterator[tuple[str, Path]]:
    """The journals of a node that are there, but for its sign guards."""
    for name in (EVIDENCE, f"{DLC}/{LEDGER}"):
        path = files.operator.folder / name
        if path.exists():
            yield f"{files.data}/{name}", path


def _node_text(file: Path, operator: Operator) -> str:
    wanted = {("node", "folder"): f"data/{operator.name}", ("node", "network"): "network.toml"}
    wanted[("signer", "socket")] = "signer.sock"
    wanted |= {("tls", name): path for name, path in _TLS.items()}
    return _rewritten(file, wanted, operator.name)


def _rewritten(file: Path, wanted: dict[Field, str], name: str) -> str:
    """The text of a file with these paths, those that it has, and keys/NAME/ for its [keys].
    ConfigError if its paths are not written ``name = "path"``, a line each."""
    text = file.read_text()
    tables = tomllib.loads(text)
    expected: dict[str, Any] = tomllib.loads(text)
    changes = {
        (table, field): {old: new}
        for (table, field), new in wanted.items()
        if (old := tables.get(table, {}).get(field)) is not None
    }
    for purpose, value in tables.get("keys", {}).items():
        paths = [value] if isinstance(value, str) else value
        changes["keys", purpose] = {
            old: f"keys/{name}/{_key_file(f'{purpose}[{index}]' if index else purpose)}"
            for index, old in enumerate(paths)
        }
    for (table, field), renamed in changes.items():
        text = _replaced(text, table, field, renamed)
        was = expected[table][field]
        listed = isinstance(was, list)
        expected[table][field] = [renamed[old] for old in was] if listed else renamed[was]
    if tomllib.loads(text) != expected:
        raise ConfigError(f'{file}: write each path on a line of its own, as folder = "data"')
    return text


def _replaced(text: str, table: str, field: str, renamed: Mapping[str, str]) -> str:
    """A TOML text with other texts in one field, a text or a list of them, all at once: a new name
    of one may be the old one of another."""

    def rename(quoted: re.Match[str]) -> str:
        return f'"{renamed.get(quoted[1], quoted[1])}"'

    begin = rf"^\[{table}\](?:(?!^\[).)*?^{field}\s*=\s*"
    value = r"\[[^\]]*\]|\"[^\"\n]*\"|'[^'\n]*'"
    return re.sub(
        rf"(?ms)({begin})({value})",
        lambda found: found[1] + re.sub(r"[\"']([^\"'\n]*)[\"']", rename, found[2]),
        text,
        count=1,
    )


def _key_file(purpose: str) -> str:
    return purpose.replace("_", "-").replace("[", "-").replace("]", "") + ".key"
