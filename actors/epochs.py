"""The network of each epoch: network.toml, and ``rotations/*.rot`` beside it.

A rotation file is the network.toml of the next epoch with one table more, so it is read, checked
and edited (URLs) like one:

    [rotation]              old (digest of the configuration that hands over), round
    [rotation.signatures]   NAME = BIP340 signature, by the old oracles' names

network.toml is what an operator pins. The rest proves itself by the signatures of a quorum of the
epoch before, so it does not matter from whom a file comes.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from actors.clock import Clock
from actors.network import (
    Name,
    Network,
    NetworkFile,
    PublicHex,
    SignatureHex,
    Table,
    decode,
    load_network,
    network_of,
)
from protocol.errors import ConfigError, ProtocolError, QuorumError
from protocol.oracle.epochs import Epochs
from protocol.oracle.feed import Feed
from protocol.oracle.rotation import Rotation, RotationCertificate

FOLDER: Final = "rotations"
"""Beside network.toml."""
SUFFIX: Final = ".rot"


class _Rotation(Table, frozen=True):
    old: PublicHex
    round: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    signatures: dict[Name, SignatureHex] = msgspec.field(default_factory=dict)


class _RotationFile(NetworkFile, frozen=True, kw_only=True):
    rotation: _Rotation


@dataclass(frozen=True, slots=True)
class RotationFile:
    """The next network, and who of the old one has signed for it (by name)."""

    path: Path
    network: Network
    rotation: Rotation
    signatures: Mapping[str, bytes]

    def certificate(self, old: Network) -> RotationCertificate:
        """The first quorum of these signatures by the oracles of ``old``. ConfigError names a
        signer that is none of them, or says how many are missing."""
        quorum = old.config.quorum
        strangers = ", ".join(sorted(self.signatures.keys() - set(old.names)))
        if strangers:
            raise ConfigError(
                f"{self.path}: [rotation.signatures] {strangers}: not an oracle of epoch"
                f" {old.config.epoch}, remove it"
            )
        signed = [(i, self.signatures[n]) for i, n in enumerate(old.names) if n in self.signatures]
        if len(signed) < quorum:
            raise ConfigError(
                f"{self.path}: {len(signed)} of {quorum} signatures; `oracle rotate sign` makes"
                " one, `network rotate combine` puts them in"
            )
        return RotationCertificate(self.rotation, tuple(signed[:quorum]))


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of all epochs that are known, oldest first, and the proof that each follows the
    one before. ``path`` is the file of the first."""

    path: Path
    all: tuple[Network, ...]
    epochs: Epochs = field(repr=False)

    @property
    def newest(self) -> Network:
        """The last one, active or about to be."""
        return self.all[-1]

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Whatever an epoch has priced."""
        return tuple(dict.fromkeys(feed for network in self.all for feed in network.feeds))

    @property
    def clock(self) -> Clock:
        """What the programs of all epochs read the time from."""
        return self.all[0].clock

    def of(self, digest: bytes) -> Network:
        """The network with this configuration; QuorumError if it is unknown."""
        config = self.epochs.of(digest)
        return self.all[self.epochs.configs.index(config)]

    def since(self, network: Network) -> tuple[Network, ...]:
        """That network and those of the epochs after it, oldest first."""
        return self.all[self.epochs.configs.index(network.config) :]

    def before(self, network: Network) -> tuple[Network, ...]:
        """Those of the epochs before, oldest first."""
        return self.all[: self.epochs.configs.index(network.config)]

    def at(self, round_id: int) -> Network:
        """The network that settles a round."""
        return self.of(self.epochs.at(round_id).digest)

    def now(self) -> Network:
        """The one that settles the round of this moment."""
        return self.at(self.newest.config.round_at(self.clock.now_ms()))

    def epoch(self, number: int) -> Network:
        """The network of this epoch; ConfigError if it is unknown."""
        for network in self.all:
            if network.config.epoch == number:
                return network
        known = ", ".join(str(network.config.epoch) for network in self.all)
        raise ConfigError(f"epoch {number}: known are {known}; install the rotations in between")

    def begins(self, network: Network) -> int:
        """The first round of its epoch, 0 for the first one."""
        place = self.epochs.configs.index(network.config)
        return self.epochs.rotations[place - 1].rotation.round if place else 0

    def ends(self, network: Network) -> int | None:
        """The first round of the epoch after it, None while it is the newest."""
        rotations = self.epochs.rotations[self.epochs.configs.index(network.config) :]
        return rotations[0].rotation.round if rotations else None

    def require_later(self, known: "Networks") -> None:
        """QuorumError if one of the rotations that were ``known`` is missing or another one: the
        first that was accepted counts."""
        mine = {certificate.rotation for certificate in self.epochs.rotations}
        for rotation in (certificate.rotation for certificate in known.epochs.rotations):
            if rotation not in mine:
                raise QuorumError(
                    f"{self.path.parent / FOLDER}: rotation {rotation.hash.hex()} to epoch"
                    f" {rotation.new.epoch} was installed and counts; put it back"
                )

    def add(self, file: RotationFile) -> "Networks":
        """With one rotation more. ConfigError or QuorumError or SignatureError say what is wrong
        with it: not a successor, too few signatures, another one of the same epoch."""
        rotation = file.rotation
        old = self.of(rotation.old_digest)
        require_alike(old, file.network)
        epochs = self.epochs.add(file.certificate(old))
        if epochs is self.epochs:
            return self
        # One clock for all programs, whichever epoch they are in.
        network = replace(file.network, clock_offset_ms=self.all[0].clock_offset_ms)
        return Networks(self.path, (*self.all, network), epochs)


def alone(network: Network) -> Networks:
    """A network that has never rotated."""
    return Networks(Path(), (network,), Epochs(network.config))


def load_networks(path: Path) -> Networks:
    """The network in ``path`` and those that the rotations beside it lead to. ConfigError names the
    file that is wrong and says why."""
    first = load_network(path)
    networks = Networks(path, (first,), Epochs(first.config))
    files = [load_rotation(file) for file in sorted((path.parent / FOLDER).glob(f"*{SUFFIX}"))]
    for file in sorted(files, key=lambda file: file.network.config.epoch):
        if file.network.config.epoch <= first.config.epoch:
            continue  # what is pinned needs no proof
        try:
            networks = networks.add(file)
        except ProtocolError as error:
            raise ConfigError(f"{file.path}: {error}") from None
    return networks


def load_rotation(path: Path) -> RotationFile:
    """The rotation in ``path``, signed or not; ConfigError names file, table and field."""
    tables = decode(path, _RotationFile)
    network, table = network_of(path, tables), tables.rotation
    return RotationFile(
        path,
        network,
        Rotation(bytes.fromhex(table.old), network.roster, table.round, network.config),
        {name: bytes.fromhex(signature) for name, signature in table.signatures.items()},
    )


def require_alike(old: Network, new: Network) -> None:
    """ConfigError if the chain of certificates could not go on: a feed is dropped, or the network
    goes from one feed to several, whose certificates are of another kind."""
    dropped = [feed.symbol for feed in old.feeds if feed not in new.feeds]
    if dropped:
        raise ConfigError(f"[network] feeds: {', '.join(dropped)} is missing; a feed stays")
    if (len(old.feeds) == 1) != (len(new.feeds) == 1):
        raise ConfigError("[network] feeds: one feed stays one, several stay several")


Installed = tuple[tuple[str, int], ...]
"""Names and times of rotation files; ``Installed()`` before the first look."""


def installed(path: Path) -> Installed:
    """What changes when a rotation is put beside the network file ``path``."""
    found = []
    for file in sorted((path.parent / FOLDER).glob(f"*{SUFFIX}")):
        with suppress(FileNotFoundError):  # removed meanwhile
            found.append((file.name, file.stat().st_mtime_ns))
    return tuple(found)


def epochs_json(networks: Networks) -> list[dict[str, Any]]:
    """Each epoch as plain values, oldest first; ``round`` is its first."""
    return [
        {
            "epoch": network.config.epoch,
            "round": networks.begins(network),
            "configuration": network.config.digest.hex(),
            "oracles": list(network.names),
            "quorum": network.config.quorum,
        }
        for network in networks.all
    ]
