"""A whole network on disk, for one machine: keys, network.toml and a file for each node.

Operators on machines of their own write their files themselves (``oracle keys``, docs/oracle.md).
"""

import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors.keyfile import create_key
from actors.network import AGGREGATOR_NAME, NAME, load_network
from actors.operator import load_operator
from actors.signer_config import PURPOSES
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from protocol.oracle.quorum import thresholds
from protocol.oracle.roster import possession_message, tls_key_message

NAMES: Final = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
"""Of the oracles of a new network."""

SETTINGS: Final[Mapping[str, Any]] = {
    "genesis": "regtest",
    "epoch": 1,
    "interval_ms": 1000,
    "delta_ppm": 5_000,
    "max_move_ppm": 100_000,
    "max_age_ms": 5_000,
    "future_ms": 1_000,
    "min_venues": 2,
    "feeds": ("BTC/USD",),
    "schedule_ms": 30_000,
    "deviation_bps": 20,
    "collect_ms": 50,
    "takeover_ms": 500,
}
"""The [network] table of a new network, but for quorum and faults."""

Venues = Mapping[str, str | Mapping[str, str]]
"""Each venue's "live", or its URLs by field."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The oracles by name, the port of the aggregator and then of each oracle (loopback), what
    differs from ``SETTINGS``, and the only venue of an oracle, one after the other, if wanted."""

    names: Sequence[str]
    ports: Sequence[int]
    settings: Mapping[str, Any]
    venues: Venues
    exchanges: Sequence[str] = ()


def write_network(folder: Path, layout: Layout) -> None:
    """Write everything into ``folder``, which must be new or empty; ConfigError, and nothing is
    left, if it cannot be or makes no sense."""
    _check_names(layout.names)
    with new_folder(folder) as draft:
        tables = [table("[network]", {**SETTINGS, **_quorum(len(layout.names)), **layout.settings})]
        for index, name in enumerate(layout.names):
            port = layout.ports[1 + index]
            held = create_keys(draft / "keys" / name, "oracle")
            tables.append(oracle_entry(name, _url(port), held))
            _write_operator(draft, layout, "oracle", name, port, index)
        held = create_keys(draft / "keys" / AGGREGATOR_NAME, "aggregator")
        tables.append(aggregator_entry(_url(layout.ports[0]), held))
        _write_operator(draft, layout, "aggregator", AGGREGATOR_NAME, layout.ports[0], 0)
        (draft / "network.toml").write_text("\n".join(tables))
        for name in (AGGREGATOR_NAME, *layout.names):
            load_operator(draft / f"{name}.toml")


def set_clock(file: Path, offset_ms: int) -> None:
    """Have all programs of the network in ``file`` add ``offset_ms`` to real time from their next
    start on. ConfigError if they then could not read it; the file is as before then."""
    line, text = f"clock_offset_ms = {offset_ms}", file.read_text()
    changed, found = re.subn(r"(?m)^clock_offset_ms\b.*$", line, text)
    if not found:
        changed = text.replace("[network]\n", f"[network]\n{line}\n", 1)
    draft = file.with_suffix(".new")
    try:
        draft.write_text(changed)
        load_network(draft)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def create_keys(folder: Path, role: str) -> dict[str, SecretKey]:
    """A new key file for each purpose of the role; ConfigError, and nothing is created, if one
    exists."""
    paths = {purpose: folder / key_file(purpose) for purpose in PURPOSES[role]}
    for path in paths.values():
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path} exists: a key is never overwritten; name another folder")
    return {purpose: create_key(path) for purpose, path in paths.items()}


def key_file(purpose: str) -> str:
    """The name of the file with the key for this purpose."""
    return purpose.replace("_", "-") + ".key"


def oracle_entry(
    name: str, url: str, held: Mapping[str, SecretKey], pin: bytes | None = None
) -> str:
    """The ``[[oracle]]`` table of a network file, with proofs of possession; ``pin`` is of its TLS
    key, if that is to be pinned."""
    fields = {"name": name, "url": url}
    for purpose in ("oracle", "identity"):
        fields[f"{purpose}_key"] = held[purpose].public.hex()
        fields[f"{purpose}_proof"] = _proof(purpose, name, held[purpose])
    return table("[[oracle]]", fields | pin_fields(name, held["identity"], pin))


def aggregator_entry(url: str, held: Mapping[str, SecretKey], pin: bytes | None = None) -> str:
    """The ``[aggregator]`` table of a network file; ``pin`` as in ``oracle_entry``."""
    key = held["identity"]
    proof = _proof("identity", AGGREGATOR_NAME, key)
    fields = {"url": url, "identity_key": key.public.hex(), "proof": proof}
    return table("[aggregator]", fields | pin_fields(AGGREGATOR_NAME, key, pin))


def pin_fields(name: str, identity: SecretKey, pin: bytes | None) -> dict[str, str]:
    """What pins an operator's TLS key in its table of a network file; nothing without a pin."""
    if pin is None:
        return {}
    proof = identity.sign(tls_key_message(name, pin), secrets.token_bytes(32))
    return {"tls_key": pin.hex(), "tls_proof": proof.hex()}


def _check_names(names: Sequence[str]) -> None:
    # Before a name becomes a path.
    for name in names:
        if not re.fullmatch(NAME, name) or name == AGGREGATOR_NAME or names.count(name) > 1:
            raise ConfigError(
                f"name {name!r}: write 1 to 32 of a-z, 0-9 and -, not {AGGREGATOR_NAME!r}, each"
                " name once"
            )


def _quorum(oracles: int) -> dict[str, int]:
    faults = (oracles - 1) // 2
    needs = thresholds(oracles, faults)
    return {"quorum": needs.agreement if needs.final else needs.authenticity, "faults": faults}


def _write_operator(
    folder: Path, layout: Layout, role: str, name: str, port: int, index: int
) -> None:
    node = {
        "role": role,
        "name": name,
        "network": "network.toml",
        "folder": f"data/{name}",
        "listen": f"127.0.0.1:{port}",
        "metrics": "127.0.0.1:0",
        "log": "info",
    }
    if role == "oracle" and layout.exchanges:
        node["exchange"] = layout.exchanges[index % len(layout.exchanges)]
    keys = {purpose: f"keys/{name}/{key_file(purpose)}" for purpose in PURPOSES[role]}
    tables = [table("[node]", node), table("[keys]", keys)]
    if role == "oracle":
        live = {venue: urls for venue, urls in layout.venues.items() if isinstance(urls, str)}
        tables.append(table("[venues]", live))
        for venue, urls in layout.venues.items():
            if not isinstance(urls, str):
                tables.append(table(f"[venues.{_value(venue)}]", urls))
    (folder / f"{name}.toml").write_text("\n".join(tables))


def table(head: str, fields: Mapping[str, Any]) -> str:
    """A table of a TOML file, its head with brackets; texts, numbers, truths and lists of them."""
    return "\n".join([head, *(f"{key} = {_value(value)}" for key, value in fields.items()), ""])


def _value(value: object) -> str:
    """JSON's numbers, texts and lists of them are TOML's."""
    return json.dumps(value)


def _url(port: int) -> str:
    return f"ws://127.0.0.1:{port}"


def _proof(purpose: str, name: str, key: SecretKey) -> str:
    message = possession_message(purpose, name, key.public)
    return key.sign(message, secrets.token_bytes(32)).hex()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``folder`` in the end, or is removed after an error."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder}: not empty; name a new folder")
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be used ({error.strerror})") from None
    try:
        yield draft
        draft.replace(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(draft), str(folder))) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
