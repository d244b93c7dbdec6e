"""``oracle-vm network rotate ...`` and ``oracle rotate sign``: from one epoch to the next.

draft      NEXT.toml, a whole network file of the next epoch -> a rotation that nobody has signed
sign       each operator, by its running node and so behind its sign guard
combine    rotation and signatures -> a file that proves itself
install    that file beside network.toml, where running nodes see it
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from actors.control import call
from actors.epochs import (
    FOLDER,
    SUFFIX,
    Networks,
    RotationFile,
    load_networks,
    load_rotation,
    require_alike,
)
from actors.files import write_whole
from actors.network import AGGREGATOR_NAME, Network, decode, load_network
from actors.network_files import table
from actors.operator import is_operator, load_operator
from protocol.crypto import keys
from protocol.errors import ConfigError, QuorumError, SignatureError
from protocol.oracle.evidence import of_certificates
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.rotation import Rotation

SIGN_S: Final = 10.0
_LIMITS: Final = ("quorum", "faults", "delta_ppm", "max_move_ppm", "max_age_ms", "future_ms")

rotate = typer.Typer(no_args_is_help=True, help="Join, leave, new keys, new limits.")
oracle_rotate = typer.Typer(no_args_is_help=True, help="This operator's part in a rotation.")

NetworkOption = Annotated[
    Path,
    typer.Option("--network", "--config", help="network.toml, or a node's file that names it."),
]
File = Annotated[Path, typer.Argument(metavar="ROT", help="The rotation's file.")]
Out = Annotated[Path, typer.Option("-o", "--output", help="The file to write; a new one.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@rotate.command()
def draft(
    following: Annotated[
        Path, typer.Argument(metavar="NEXT.toml", help="The network file of the next epoch.")
    ],
    output: Out,
    network: NetworkOption = Path("network.toml"),
    at: Annotated[
        datetime | None,
        typer.Option(
            help="When it begins, UTC.", formats=["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ"]
        ),
    ] = None,
    round_id: Annotated[
        int | None, typer.Option("--round", min=0, help="Or the first round of the epoch.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write down which network follows, and from when on. Prints what changes and the digest that
    every operator compares before it signs."""
    networks, new = _networks(network), load_network(following)
    old = networks.newest
    if (at is None) == (round_id is None):
        raise ConfigError("--at TIME or --round N: say when it begins, by one of them")
    if at is not None:
        unix_ms = int(at.replace(tzinfo=UTC).timestamp() * 1000)
        round_id = -(-unix_ms // old.config.interval_ms)
    rotation = Rotation(old.config.digest, new.roster, round_id or 0, new.config)
    networks.epochs.require_next(rotation)
    require_alike(old, new)
    now = old.config.round_at(networks.clock.now_ms())
    if rotation.round <= now:
        raise QuorumError(f"round {rotation.round} has begun: name one after {now}")
    head = table("[rotation]", {"old": rotation.old_digest.hex(), "round": rotation.round})
    text = following.read_text().partition("\n[rotation]")[0].rstrip()
    _write_new(output, f"{text}\n\n{head}")
    _print_rotation(networks, load_rotation(output), as_json)


@rotate.command()
def show(file: File, network: NetworkOption = Path("network.toml"), as_json: Json = False) -> None:
    """What a rotation changes, and who has signed it."""
    _print_rotation(_networks(network), load_rotation(file), as_json)


@rotate.command()
def combine(
    file: File,
    signatures: Annotated[
        list[Path], typer.Argument(metavar="SIG...", help="What `oracle rotate sign` has printed.")
    ],
    output: Out,
    network: NetworkOption = Path("network.toml"),
) -> None:
    """Put the operators' signatures into the rotation, which then proves itself."""
    networks, found = _networks(network), load_rotation(file)
    old, text = networks.of(found.rotation.old_digest), file.read_text()
    signed = dict(found.signatures)
    for path in signatures:
        signed |= {n: bytes.fromhex(s) for n, s in decode(path, dict[str, str]).items()}
    for name, signature in signed.items():
        _check_signature(old, found.rotation, name, signature)
    found = RotationFile(file, found.network, found.rotation, signed)
    networks.add(found)
    body = text.partition("\n[rotation.signatures]")[0].rstrip()
    hexes = {name: signature.hex() for name, signature in sorted(signed.items())}
    _write_new(output, f"{body}\n\n{table('[rotation.signatures]', hexes)}")
    print(f"{output}: rotation {found.rotation.hash.hex()}, signed by {', '.join(hexes)}")


@rotate.command()
def install(file: File, network: NetworkOption = Path("network.toml")) -> None:
    """Put a signed rotation beside network.toml. A running node sees it within a second and enters
    the epoch in its round; one that was down enters it when it starts."""
    networks, found = _networks(network), load_rotation(file)
    place = networks.path.parent / FOLDER / f"{found.network.config.epoch}{SUFFIX}"
    _require_only(networks, found, place)
    added = networks.add(found)
    if added is networks:
        print(f"{place}: installed already")
        return
    place.parent.mkdir(exist_ok=True)
    _replace(place, file.read_bytes())
    new = added.newest.config
    print(f"{place}: epoch {new.epoch} begins in {_when(new.interval_ms, found.rotation.round)}")
    print(f"configuration {new.digest.hex()}")


@oracle_rotate.command()
def sign(
    file: File,
    config: Annotated[Path, typer.Option(help="This oracle's TOML file; it is running.")],
) -> None:
    """Sign a rotation, once an epoch, ever. Prints the signature, for `network rotate combine`."""
    operator, found = load_operator(config), load_rotation(file)
    old = operator.networks.of(found.rotation.old_digest)
    require_alike(old, found.network)
    path, data = operator.folder / "control.sock", found.rotation.encode().hex()
    signature = asyncio.run(call(path, "sign_rotation", SIGN_S, rotation=data))
    print(f"# of rotation {found.rotation.hash.hex()}")
    print(f'{operator.name} = "{signature}"')


def changes(old: Network, new: Network) -> Iterator[str]:
    """What differs, one line each."""
    for word, names in (
        ("joins", [name for name in new.names if name not in old.names]),
        ("leaves", [name for name in old.names if name not in new.names]),
    ):
        yield from (f"{word}: {name}" for name in names)
    for name, index in ((n, new.names.index(n)) for n in new.names if n in old.names):
        before = old.names.index(name)
        if new.config.oracles[index] != old.config.oracles[before]:
            yield f"new oracle key: {name} {new.config.oracles[index].hex()}"
        if new.peers[index].identity != old.peers[before].identity:
            yield f"new identity key: {name} {new.peers[index].identity.hex()}"
    if new.peers[AGGREGATOR].identity != old.peers[AGGREGATOR].identity:
        yield f"new identity key: {AGGREGATOR_NAME} {new.peers[AGGREGATOR].identity.hex()}"
    if new.feeds != old.feeds:
        yield f"feeds: {', '.join(f.symbol for f in new.feeds)}"
    for name, one, other in (
        *((n, getattr(old.config, n), getattr(new.config, n)) for n in (*_LIMITS, "min_venues")),
        *(
            (f.name, getattr(old.schedule, f.name), getattr(new.schedule, f.name))
            for f in fields(old.schedule)
        ),
    ):
        if one != other:
            yield f"{name}: {one} -> {other}"


def _print_rotation(networks: Networks, found: RotationFile, as_json: bool) -> None:
    rotation, new = found.rotation, found.network
    old = networks.of(rotation.old_digest)
    for name, signature in found.signatures.items():
        _check_signature(old, rotation, name, signature)
    record: dict[str, Any] = {
        "epoch": new.config.epoch,
        "round": rotation.round,
        "begins_ms": new.config.starts_ms(rotation.round),
        "rotation": rotation.hash.hex(),
        "configuration": new.config.digest.hex(),
        "old": rotation.old_digest.hex(),
        "changes": [*changes(old, new)],
        "signed": sorted(found.signatures),
        "needed": old.config.quorum,
        "oracles": list(old.names),
        "stranded": stranded(networks, new),
    }
    if as_json:
        print(json.dumps(record))
        return
    when = _when(new.config.interval_ms, rotation.round)
    print(f"epoch {old.config.epoch} -> {new.config.epoch} in {when}")
    print(f"configuration {record['configuration']}")
    print(f"rotation {record['rotation']}")
    print("\n".join(record["changes"]) or "nothing changes")
    signed = ", ".join(record["signed"]) or "nobody"
    print(f"signed by {signed}; {old.config.quorum} of {', '.join(old.names)} are needed")
    for epoch in record["stranded"]:
        print(f"WARNING: too few oracles of epoch {epoch} stay: its contracts end as refunds")


def stranded(networks: Networks, new: Network) -> list[int]:
    """The epochs of which fewer than a quorum are still in ``new``: nobody can settle what was
    agreed under them."""
    return [
        network.config.epoch
        for network in networks.all
        if len(set(network.names) & set(new.names)) < network.config.quorum
    ]


def _networks(path: Path) -> Networks:
    return load_operator(path).networks if is_operator(path) else load_networks(path)


def _check_signature(old: Network, rotation: Rotation, name: str, signature: bytes) -> None:
    if name not in old.names:
        raise ConfigError(
            f"signature of {name}: not an oracle of epoch {old.config.epoch}:"
            f" {', '.join(old.names)}"
        )
    if not keys.verify(old.config.oracles[old.names.index(name)], rotation.hash, signature):
        raise SignatureError(
            f"signature of {name}: does not verify; have it sign this very file (rotation"
            f" {rotation.hash.hex()})"
        )


def _require_only(networks: Networks, found: RotationFile, place: Path) -> None:
    """QuorumError if another rotation of the same epoch is installed; who signed both is named in
    evidence files beside it, which `verify` takes."""
    for known in networks.epochs.rotations:
        if known.rotation.old_digest != found.rotation.old_digest or (
            known.rotation == found.rotation
        ):
            continue
        old = networks.of(found.rotation.old_digest)
        proofs = of_certificates(old.config, known, found.certificate(old))
        liars = []
        for proof in proofs:
            liars.append(old.names[proof.check(old.config)])
            record = {"config": old.config.encode().hex(), "evidence": proof.encode().hex()}
            _replace(place.with_name(f"{liars[-1]}.evidence"), json.dumps(record).encode())
        raise QuorumError(
            f"{found.path}: another rotation to epoch {found.network.config.epoch} is installed,"
            f" the first counts; signed both: {', '.join(liars)} (evidence in {place.parent})"
        )


def _when(interval_ms: int, round_id: int) -> str:
    at = datetime.fromtimestamp(round_id * interval_ms / 1000, UTC)
    return f"round {round_id} ({at.isoformat(timespec='seconds')})"


def _replace(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data, 0o644)  # nothing in it is secret
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists: name a new file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
