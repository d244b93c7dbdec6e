"""The choice of a chain backend: what a node is and where."""

from pathlib import Path
from typing import Final

from protocol.bitcoin.address import MAINNET, REGTEST, SIGNET, Network
from protocol.errors import ConfigError
from regtest.chain import Chain
from regtest.remote import RemoteChain, serves
from regtest.served import ChainServer
from regtest.wallet import Wallet

__all__ = [
    "BACKENDS",
    "Chain",
    "ChainServer",
    "Wallet",
    "chain_network",
    "open_chain",
    "open_folder",
    "serves",
]

NETWORKS: Final = {network.name: network for network in (REGTEST, SIGNET)}
BACKENDS: Final = ("kernel", "bitcoind", "socket", "rpc")
CHAIN_SOCKET: Final = "chain.sock"
CHAIN_NODE: Final = "node"
"""In a folder of `oracle-vm chain serve`."""


def chain_network(name: str) -> Network:
    """The network of that name; ConfigError for mainnet, and for one that does not exist."""
    if name == MAINNET.name:
        raise ConfigError(
            "network: mainnet is refused, this program has not earned real coins; use regtest, or"
            " signet with a node of yours"
        )
    if name not in NETWORKS:
        raise ConfigError(f"network {name!r}: choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]


def open_chain(
    path: Path,
    backend: str = "kernel",
    *,
    network: str = REGTEST.name,
    rpc_url: str = "",
    since_height: int = 0,
) -> Chain:
    """A Bitcoin node, by what it is and where:

        kernel    Bitcoin Core's consensus in this process, its blocks in the folder ``path``
        bitcoind  a bitcoind as a child process (``BITCOIND``, PATH, or the fetched one), likewise
        socket    served by `oracle-vm chain serve` on the socket ``path``
        rpc       a node of the user's own at ``rpc_url``; ``path`` is its cookie file. Its chain is
                  read from ``since_height`` on, which must lie below the contract's FUND

    Signet is served by ``rpc`` (or a socket in front of it) only. ConfigError names what is wrong,
    ChainError if the node does not open or is of another network.
    """
    chosen = chain_network(network)
    if backend not in BACKENDS:
        raise ConfigError(f"backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if bool(rpc_url) != (backend == "rpc"):
        raise ConfigError('rpc_url: backend "rpc" needs it and no other takes it')
    if backend == "socket":
        return RemoteChain(path, network=chosen.name)
    if backend == "rpc":
        from regtest.external import ExternalChain

        return ExternalChain(rpc_url, path, chosen, since_height=since_height)
    if chosen is not REGTEST:
        raise ConfigError(
            f"network {network}: backend {backend} is regtest only; run a node of your own and"
            ' name it with backend "rpc", rpc_url and its cookie'
        )
    return _kernel(path) if backend == "kernel" else _bitcoind(path)


def open_folder(folder: Path) -> Chain:
    """The chain of a folder of `oracle-vm chain serve`: what serves it now, else the node in it,
    opened here. ConfigError if there is none."""
    socket, node = folder / CHAIN_SOCKET, folder / CHAIN_NODE
    if serves(socket):
        return RemoteChain(socket)
    if (node / "chainstate").exists():
        return _kernel(node)
    if (node / "regtest").exists():
        return _bitcoind(node)
    raise ConfigError(
        f"{folder}: no chain there; start one with `oracle-vm chain serve --dir {folder}`"
    )


# Who asks a served chain need not wait until the engines are imported.


def _kernel(datadir: Path) -> Chain:
    from regtest.kernel import KernelChain

    return KernelChain(datadir)


def _bitcoind(datadir: Path) -> Chain:
    from regtest.bitcoind import BitcoindChain

    return BitcoindChain(datadir)
