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

Every file is one that the program would also take from an operator who runs it alone. Paths in them
are relative: the folder may be moved while it is down.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from actors.chain_commands import FAUCET
from actors.config import CHAIN_SOCKET
from actors.coordinator_config import load_coordinator
from actors.feeds.products import PRODUCTS
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.keyfile import create_key
from actors.local.place import NETWORK, SEED, Place
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

SETTINGS: Final[Mapping[str, Any]] = {
    "feeds": ("BTC/USD", "ETH/USD", "ADA/USD"),
    "schedule_ms": 5_000,
    "deviation_bps": 5,
}
"""Options are on bitcoin, the pool trades all three. A price every five seconds, sooner when one
moves: somebody watches."""
MAX_AGE_S: Final = 60
WINDOW_S: Final = 60
"""What a party has for a move of a dispute, on a machine that does everything else too."""
WINDOW_BLOCKS: Final = 6
"""And at least: a move has to confirm."""
CLOSING_S: Final = 60
CLOSING_BLOCKS: Final = 12
"""Orders end so long before expiry: both parties sign, and FUND is in a block before it."""
GRACE_S: Final = 86_400
"""A machine that is off at expiry settles at the first price behind it, for so long."""
POOL_S: Final = 10
"""Between two batches of the pool."""
WORKERS: Final = 2
PROVER_SOCKET: Final = "prover.sock"
TRIES: Final = 50
"""To find three free ports in a row."""


def create(
    folder: Path,
    *,
    live: bool,
    port: int | None,
    block_s: int,
    oracles: int = 3,
    clock_offset_ms: int = 0,
) -> Place:
    """Write everything into ``folder``, which must be new or empty. ConfigError, and nothing is
    left, if it cannot be."""
    settings = dict(SETTINGS)
    if clock_offset_ms:
        settings["clock_offset_ms"] = clock_offset_ms
    names = NAMES[:oracles]
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder}: not empty and not made by `up`; name another --dir")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be used ({error.strerror})") from None
    try:
        simulators, venues = (None, dict.fromkeys(VENUES, "live")) if live else _simulators()
        layout = Layout(names, free_ports(1 + oracles), settings, venues)
        write_network(draft / NETWORK.parent, layout)
        _write(draft, simulators, port or free_ports(1)[0], block_s)
        draft.replace(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Place.load(folder)


def _write(folder: Path, simulators: int | None, port: int, block_s: int) -> None:
    """All the files but the network's; the programs' own loaders have read each."""
    publics, addresses = {}, []
    for role in Role:
        for purpose in ("identity", "wallet"):
            key = create_key(folder / role.value / f"{purpose}.key")
            publics[role, purpose] = key.public.hex()
        addresses.append(_address(key))
    for role in Role:
        (folder / f"{role.value}.toml").write_text(_party(role, publics[role.other, "identity"]))
    addresses.append(_address(FAUCET))
    (folder / "coordinator.toml").write_text(_coordinator(addresses, block_s))
    load_coordinator(folder / "coordinator.toml")
    (folder / "prover.toml").write_text(_prover())
    load_prover(folder / "prover.toml")
    (folder / "pool.toml").write_text(_pool())
    (folder / "api.toml").write_text(_api(port, block_s))
    load_market(folder / "api.toml")
    (folder / "up.toml").write_text(_up(simulators, port, block_s))
    Place.load(folder)
    for name in ("chain", "logs", "run"):
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


def _up(simulators: int | None, port: int, block_s: int) -> str:
    fields: dict[str, Any] = {"venues": "live" if simulators is None else "simulated"}
    fields |= {"api": port, "block_s": block_s}
    if simulators is not None:
        fields["simulators"] = simulators
    return (
        "# What `oracle-vm up` runs here; change it while it is down.\n"
        "#   venues      simulated, or live: the public exchanges\n"
        "#   api         port of dashboard and API, as in api.toml\n"
        "#   block_s     seconds between blocks, as in coordinator.toml and api.toml\n"
        "#   simulators  first of the three ports of the simulated venues, as in network/*.toml\n"
        + table("[up]", fields)
    )


def _party(role: Role, peer: str) -> str:
    name, offers = role.value, role is Role.HOLDER
    party = {"role": name, "folder": name, "chain": f"chain/{CHAIN_SOCKET}"}
    party["prover"] = PROVER_SOCKET
    keys = {purpose: f"{name}/{purpose}.key" for purpose in ("identity", "wallet")}
    tables = (
        f"# The {name} of every contract: each order copies this and adds its terms.",
        table("[party]", party),
        table("[keys]", keys),
        table("[peer]", {"identity_key": peer}),
        table("[oracles]", {"network": "network/network.toml"}),
        table("[close]", {"cooperate": "offer" if offers else "answer"}),
    )
    return "\n".join(tables)


def _coordinator(addresses: Sequence[str], block_s: int) -> str:
    return (
        "# Bitcoin node and miner: `oracle-vm coordinator run --config` takes this file.\n"
        + table("[coordinator]", {"folder": "chain"})
        + "\n# On a new chain the holder, the writer and the faucet get coins first.\n"
        + table("[mining]", {"every_s": block_s, "coinbases": addresses})
    )


def _prover() -> str:
    return (
        "# Runs the machine for the parties: `oracle-vm prover run --config` takes this file.\n"
        + table("[prover]", {"socket": PROVER_SOCKET, "workers": WORKERS})
    )


def _address(key: SecretKey) -> str:
    return encode_address(key_path_script(key.public), REGTEST)


def _pool() -> str:
    symbols = [symbol.partition("/")[0] for symbol in SETTINGS["feeds"]]
    return (
        "# The pool: its tokens and their profile stay what they are once there is a batch.\n"
        + table("[pool]", {"profile": "brief", "tokens": symbols, "every_s": POOL_S})
    )


def _api(port: int, block_s: int) -> str:
    window = max(-(-WINDOW_S // block_s), WINDOW_BLOCKS)
    desk = {
        "holder": "holder.toml",
        "writer": "writer.toml",
        "chain": f"chain/{CHAIN_SOCKET}",
        "aggregator": f"network/data/{AGGREGATOR_NAME}/control.sock",
        "starts": True,
    }
    terms = {
        "block_s": block_s,
        "grace_s": GRACE_S,
        "move_window": window,
        "challenge_window": 2 * window,
        "sweep_delay": 2 * window,
    }
    api = {"listen": f"127.0.0.1:{port}", "folder": "api", "network": "network/network.toml"}
    api["pool"] = "pool.toml"
    tables = (
        "# Market and gateway: `oracle-vm api run --config` takes this file.",
        table("[api]", api),
        table("[certificates]", {"listen": True, "max_age_s": MAX_AGE_S}),
        table("[market]", {"closes_s": max(CLOSING_S, CLOSING_BLOCKS * block_s)}),
        "# The desk starts both parties of an order itself: everything here is one person's.",
        table("[desk]", desk),
        "# Sats and blocks. A move of a dispute has a minute, the rest follows from it.",
        table("[desk.terms]", terms),
    )
    return "\n".join(tables)
