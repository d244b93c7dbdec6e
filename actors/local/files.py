"""The folder of ``oracle-vm up``: written once, whole or not at all, and read ever after.

    up.toml                    what this folder runs: venues, time between blocks, the API's port
    network/                   oracles and aggregator, as ``oracle-vm network init`` writes them; in
                               network.toml also the offset of a simulated clock
    coordinator.toml           the Bitcoin node and its miner
    prover.toml                who runs the machine for the parties
    holder.toml, writer.toml   the parties, without terms: every order brings its own
    holder/, writer/           their keys
    api.toml                   market, desk and gateway
    pool.toml                  the pool that the gateway keeps
    chain/                     the Bitcoin node's
    logs/, run/                a log and a process file for every program; state.json

With ``--operators`` the same files belong to several:

    up.toml                    names the groups
    world/                     up.toml, network.toml, coordinator.toml, chain/
    operators/NAME/            up.toml, network.toml, oracle.toml, keys/, data/, api.toml (prices)
    operators/alpha/           also aggregator.toml, prover.toml, parties, pool, and the market's
                               api.toml

Every file is one that the program would also take from an operator who runs it alone. Paths in them
are relative: the folder may be moved while it is down.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from actors.chain_commands import FAUCET
from actors.coordinator_config import load_coordinator
from actors.feeds.products import PRODUCTS
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.keyfile import create_key
from actors.local.place import NETWORK, ORACLE, SEED, UP, WORLD, Site
from actors.local.texts import (
    APART,
    SETTINGS,
    TOGETHER,
    Paths,
    api_text,
    coordinator_text,
    party_text,
    pool_text,
    prices_text,
    prover_text,
    up_text,
)
from actors.market_config import load_market
from actors.network import AGGREGATOR_NAME
from actors.network_files import NAMES, Layout, Venues, table, write_network
from actors.ports import free_ports
from actors.prover_config import load_prover
from protocol.bitcoin.address import REGTEST, encode_address
from protocol.bitcoin.taproot import key_path_script
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from protocol.oracle.price import VENUES
from protocol.settlement.terms import Role

TRIES: Final = 50
"""To find three free ports in a row."""


def create(
    folder: Path,
    *,
    live: bool,
    port: int | None,
    block_s: int,
    oracles: int = 3,
    apart: bool = False,
    clock_offset_ms: int = 0,
) -> Site:
    """Write everything into ``folder``, which must be new or empty; ``apart`` gives each oracle to
    an operator of its own. ConfigError, and nothing is left, if it cannot be."""
    settings = dict(SETTINGS)
    if clock_offset_ms:
        settings["clock_offset_ms"] = clock_offset_ms
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder}: not empty and not made by `up`; name another --dir")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be used ({error.strerror})") from None
    try:
        simulators, venues = (None, dict.fromkeys(VENUES, "live")) if live else _simulators()
        layout = Layout(NAMES[:oracles], free_ports(1 + oracles), settings, venues)
        write_network(draft / "network", layout)
        if apart:
            _divide(draft, layout.names, simulators, port, block_s)
        else:
            port = port or free_ports(1)[0]
            _write_world(draft, _write_market(draft, TOGETHER, port, block_s), block_s)
            _write_up(draft, {"api": port, "block_s": block_s} | _venues(simulators))
        Site.load(draft)
        draft.replace(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Site.load(folder)


def _divide(
    folder: Path, names: Sequence[str], simulators: int | None, port: int | None, block_s: int
) -> None:
    """Give each operator its own of ``network/``, the first also what there is only one of."""
    shared, world = folder / "network", folder / WORLD
    owners = [folder / "operators" / name for name in names]
    ports = range(port, port + len(names)) if port else free_ports(len(names))
    for owner, name in zip(owners, names, strict=True):
        (owner / "keys").mkdir(parents=True)
        shutil.copy(shared / NETWORK, owner)
        _move(shared, owner, name, ORACLE)
    _move(shared, owners[0], AGGREGATOR_NAME, AGGREGATOR_NAME)
    world.mkdir()
    (shared / NETWORK).rename(world / NETWORK)
    shutil.rmtree(shared)
    _write_world(world, _write_market(owners[0], APART, ports[0], block_s), block_s)
    _write_up(world, {"name": WORLD, "block_s": block_s} | _venues(simulators))
    for owner, own in zip(owners, ports, strict=True):
        if owner != owners[0]:
            (owner / "api.toml").write_text(prices_text(own, owner.name))
            load_market(owner / "api.toml")
        _write_up(owner, {"name": owner.name, "api": own})
    groups = [str(path.relative_to(folder)) for path in (world, *owners)]
    (folder / UP).write_text(
        "# Each of these folders is one for `oracle-vm up --dir` too: one owner, one keeper.\n"
        + table("[up]", {"groups": groups})
    )


def _move(shared: Path, owner: Path, name: str, program: str) -> None:
    """A node's file and keys."""
    (shared / f"{name}.toml").rename(owner / f"{program}.toml")
    (shared / "keys" / name).rename(owner / "keys" / name)


def _write_market(folder: Path, paths: Paths, port: int, block_s: int) -> list[str]:
    """The parties, their prover, and the gateway with market and pool. Returns the addresses that
    need coins."""
    publics, addresses = {}, []
    for role in Role:
        for purpose in ("identity", "wallet"):
            key = create_key(folder / role.value / f"{purpose}.key")
            publics[role, purpose] = key.public.hex()
        addresses.append(_address(key))
    for role in Role:
        text = party_text(role, publics[role.other, "identity"], paths)
        (folder / f"{role.value}.toml").write_text(text)
    (folder / "prover.toml").write_text(prover_text())
    load_prover(folder / "prover.toml")
    (folder / "pool.toml").write_text(pool_text())
    (folder / "api.toml").write_text(api_text(port, block_s, paths))
    load_market(folder / "api.toml")
    return addresses


def _write_world(folder: Path, addresses: Sequence[str], block_s: int) -> None:
    """The Bitcoin node and its miner."""
    file = folder / "coordinator.toml"
    file.write_text(coordinator_text([*addresses, _address(FAUCET)], block_s))
    load_coordinator(file)
    (folder / "chain").mkdir()


def _write_up(folder: Path, fields: Mapping[str, Any]) -> None:
    """A group's own file, and the folders that its keeper needs."""
    (folder / UP).write_text(up_text(fields))
    for name in ("logs", "run"):
        (folder / name).mkdir()


def _simulators() -> tuple[int, Venues]:
    """The first of three free ports, and what the simulated venues are called there."""
    for port in free_ports(TRIES):
        try:
            with SimulatedExchanges(SEED, products=PRODUCTS, base_port=port) as exchanges:
                urls = exchanges.endpoints.items()
                return port, {
                    venue: {"websocket": at.websocket_url, "rest": str(at.rest_url)}
                    for venue, at in urls
                }
        except (OSError, OverflowError):
            continue
    raise ConfigError("no three free ports in a row: end something that listens on this machine")


def _venues(simulators: int | None) -> dict[str, Any]:
    if simulators is None:
        return {"venues": "live"}
    return {"venues": "simulated", "simulators": simulators}


def _address(key: SecretKey) -> str:
    return encode_address(key_path_script(key.public), REGTEST)
