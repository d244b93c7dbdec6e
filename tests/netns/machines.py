"""Three operators on machines of their own, with TLS between them."""

import trustme

from tests.builders.network import AGGREGATOR, ORACLES, PLAIN, Network
from tests.netns.namespaces import Namespaces


class Machines:
    """``net`` is the network, ``hosts`` the machines: one for each oracle, alpha's also has the
    aggregator."""

    def __init__(self, net: Network, hosts: Namespaces) -> None:
        self.net = net
        self.hosts = hosts

    def start(self) -> None:
        """Every program on its machine; returns once all hear each other."""
        for name in self.net.names:
            command = (*self.hosts.command(host_of(name)), *PLAIN)
            self.net.start(name, command=command)
        self.net.started()

    def spread(self, ports: list[int]) -> None:
        """Give each node the address of its machine, and a certificate for that."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.net.folder / "ca.pem")
        shared = self.net.folder / "network.toml"
        for name, port in zip((AGGREGATOR, *ORACLES), ports, strict=True):
            address, own = self.hosts.address(host_of(name)), self.net.folder / f"{name}.toml"
            issued = authority.issue_cert(address)
            issued.private_key_and_cert_chain_pem.write_to_path(self.net.folder / f"{name}.pem")
            (self.net.folder / f"{name}.pem").chmod(0o600)
            tls = f'\n[tls]\nca = "ca.pem"\ncertificate = "{name}.pem"\nkey = "{name}.pem"\n'
            text = own.read_text().replace(f"127.0.0.1:{port}", f"{address}:{port}")
            own.write_text(text + tls)
            shared.write_text(
                shared.read_text().replace(f"ws://127.0.0.1:{port}", f"wss://{address}:{port}")
            )


def host_of(name: str) -> str:
    """Which machine a node is on."""
    return ORACLES[0] if name == AGGREGATOR else name
