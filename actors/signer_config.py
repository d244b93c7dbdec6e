"""The file of ``oracle-vm signer run`` (TOML): where it serves, its folder, and key files.

    [signer]   socket, folder (of the sign guards: the node's own, so that nothing moves), log
    [keys]     as in the operator's file, which has none then

A purpose has one file, or a list of files: an oracle whose key was rotated needs the keys of all
epochs that contracts still refer to.

Paths are relative to the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from actors.network import Table, decode
from protocol.errors import ConfigError

Text = Annotated[str, Meta(min_length=1)]
Texts = Text | Annotated[list[Text], Meta(min_length=1, max_length=16)]

PURPOSES: Final[Mapping[str, tuple[str, ...]]] = {
    "oracle": ("identity", "oracle", "dlc", "nonce_seed"),
    "aggregator": ("identity",),
}
"""The keys of each role. One file a purpose: a leak or a mistake with one says nothing of the rest.
``dlc`` and ``nonce_seed`` are for attestations of discreet log contracts."""


class _Signer(Table, frozen=True):
    socket: Text
    folder: Text
    log: Literal["debug", "info", "warning", "error"] = "info"


class Keys(Table, frozen=True):
    """The table of key files."""

    identity: Texts
    oracle: Texts | None = None
    dlc: Text | None = None
    nonce_seed: Text | None = None


class _File(Table, frozen=True):
    signer: _Signer
    keys: Keys


@dataclass(frozen=True, slots=True)
class SignerConfig:
    """A signer; ``keys`` are paths by purpose, the second of one purpose is ``purpose[1]``."""

    socket: Path
    folder: Path
    log: str
    keys: Mapping[str, Path]


def load_signer(path: Path) -> SignerConfig:
    """The signer in ``path``; ConfigError names file and field and what it should be."""
    file, place = decode(path, _File), path.parent
    role = "aggregator" if file.keys.oracle is None else "oracle"
    try:
        keys = key_paths(file.keys, role, place)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    signer = file.signer
    return SignerConfig(place / signer.socket, place / signer.folder, signer.log, keys)


def key_file(keys: Mapping[str, Path], purpose: str, signer: Path | None) -> Path:
    """The file of a key, of a node's own ``keys`` or of the signer in the file ``signer``.
    ConfigError if it is in neither."""
    found = keys if signer is None else load_signer(signer).keys
    if purpose not in found:
        raise ConfigError(f"[keys] {purpose}: not in the node's file; add --signer SIGNER_FILE")
    return found[purpose]


def key_paths(table: Keys, role: str, folder: Path) -> dict[str, Path]:
    """The files of a [keys] table by purpose. ConfigError if the role misses one or has no use for
    it, or if two are the same file."""
    paths: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for purpose in PURPOSES["oracle"]:
        value = getattr(table, purpose)
        if (value is None) == (purpose in PURPOSES[role]):
            what = "name its file" if value is None else f"an {role} has no such key, remove it"
            raise ConfigError(f"[keys] {purpose}: {what}")
        for index, text in enumerate([value] if isinstance(value, str) else value or ()):
            name = f"{purpose}[{index}]" if index else purpose
            paths[name] = folder / text
            other = owners.setdefault(paths[name].resolve(), name)
            if other != name:
                raise ConfigError(f"[keys] {name}: the same file as {other}; one file a purpose")
    return paths
