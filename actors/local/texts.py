"""The texts of a folder's files: what `files` writes of parties, prover, pool, gateway and node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from actors.config import CHAIN_SOCKET
from actors.local.place import WORLD
from actors.network import AGGREGATOR_NAME
from actors.network_files import table
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
UP_HEAD: Final = """\
# What `oracle-vm up` runs here; change it while it is down.
#   name        whose group of programs it is, if there are several
#   venues      simulated, or live: the public exchanges
#   api         port of dashboard and API, as in api.toml
#   block_s     seconds between blocks, as in coordinator.toml and api.toml
#   simulators  first of the three ports of the simulated venues, as in the oracles' files
"""


@dataclass(frozen=True, slots=True)
class Paths:
    """What a group's files call network file, node socket and data of nodes."""

    network: str
    chain: str
    data: str


TOGETHER: Final = Paths("network/network.toml", f"chain/{CHAIN_SOCKET}", "network/data")
APART: Final = Paths("network.toml", f"../../{WORLD}/chain/{CHAIN_SOCKET}", "data")


def up_text(fields: Mapping[str, Any]) -> str:
    """A group's own file."""
    return UP_HEAD + table("[up]", fields)


def party_text(role: Role, peer: str, paths: Paths) -> str:
    """A party without terms; ``peer`` is the other one's identity key in hex."""
    name, offers = role.value, role is Role.HOLDER
    party = {"role": name, "folder": name, "chain": paths.chain}
    party["prover"] = PROVER_SOCKET
    keys = {purpose: f"{name}/{purpose}.key" for purpose in ("identity", "wallet")}
    tables = (
        f"# The {name} of every contract: each order copies this and adds its terms.",
        table("[party]", party),
        table("[keys]", keys),
        table("[peer]", {"identity_key": peer}),
        table("[oracles]", {"network": paths.network}),
        table("[close]", {"cooperate": "offer" if offers else "answer"}),
    )
    return "\n".join(tables)


def coordinator_text(addresses: Sequence[str], block_s: int) -> str:
    """The Bitcoin node and its miner."""
    return (
        "# Bitcoin node and miner: `oracle-vm coordinator run --config` takes this file.\n"
        + table("[coordinator]", {"folder": "chain"})
        + "\n# On a new chain the holder, the writer and the faucet get coins first.\n"
        + table("[mining]", {"every_s": block_s, "coinbases": addresses})
    )


def prover_text() -> str:
    """The parties' prover."""
    return (
        "# Runs the machine for the parties: `oracle-vm prover run --config` takes this file.\n"
        + table("[prover]", {"socket": PROVER_SOCKET, "workers": WORKERS})
    )


def pool_text() -> str:
    """The pool beside the market."""
    symbols = [symbol.partition("/")[0] for symbol in SETTINGS["feeds"]]
    return (
        "# The pool: its tokens and their profile stay what they are once there is a batch.\n"
        + table("[pool]", {"profile": "brief", "tokens": symbols, "every_s": POOL_S})
    )


def prices_text(port: int, name: str) -> str:
    """A gateway of an operator that shows what its own oracle has stored."""
    history = f"{APART.data}/{name}/history.sqlite"
    api = {"listen": f"127.0.0.1:{port}", "folder": "api", "network": APART.network}
    tables = (
        "# Prices and certificates: `oracle-vm api run --config` takes this file.",
        table("[api]", api),
        table("[certificates]", {"listen": False, "history": history, "max_age_s": MAX_AGE_S}),
    )
    return "\n".join(tables)


def api_text(port: int, block_s: int, paths: Paths) -> str:
    """The gateway with market and desk."""
    window = max(-(-WINDOW_S // block_s), WINDOW_BLOCKS)
    desk = {
        "holder": "holder.toml",
        "writer": "writer.toml",
        "chain": paths.chain,
        "aggregator": f"{paths.data}/{AGGREGATOR_NAME}/control.sock",
        "starts": True,
    }
    terms = {
        "block_s": block_s,
        "grace_s": GRACE_S,
        "move_window": window,
        "challenge_window": 2 * window,
        "sweep_delay": 2 * window,
    }
    api = {"listen": f"127.0.0.1:{port}", "folder": "api", "network": paths.network}
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
