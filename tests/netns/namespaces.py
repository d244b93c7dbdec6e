"""Machines for a test: network namespaces on one bridge, with links that can be cut for real.

Everything is in namespaces of its own, the bridge too: nothing of the host's network is touched.
Needs root and iproute2; unix sockets and files are the host's.
"""

import os
import secrets
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

BRIDGE = "bridge0"
NIC = "eth0"


def lacking() -> str:
    """Why there can be no namespaces here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with Namespaces(["probe"]):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        return f"network namespaces: {said.decode().strip()}"


class Namespaces:
    """Hosts by name, each with one link to the bridge; ``with`` makes and removes them."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._prefix = f"ovm-{secrets.token_hex(4)}"
        self._hosts = list(hosts)
        self._made = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._add("net")
            self._net("link", "add", "name", BRIDGE, "type", "bridge")
            self._net("link", "set", "dev", BRIDGE, "up")
            for host in self._hosts:
                self._add(host)
                end = ("peer", "name", NIC, "netns", self.name(host))
                self._net("link", "add", "name", host, "type", "veth", *end)
                self._net("link", "set", "dev", host, "master", BRIDGE, "up")
                self.ip(host, "addr", "add", f"{self.address(host)}/24", "dev", NIC)
                for nic in ("lo", NIC):
                    self.ip(host, "link", "set", "dev", nic, "up")
        except BaseException:
            self._made.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def name(self, host: str) -> str:
        """Of its namespace."""
        return f"{self._prefix}-{host}"

    def address(self, host: str) -> str:
        """On the bridge."""
        return f"10.77.0.{1 + self._hosts.index(host)}"

    def command(self, host: str) -> tuple[str, ...]:
        """What runs a command there, in its place."""
        return ("nsenter", f"--net=/run/netns/{self.name(host)}", "--")

    def ip(self, host: str, *arguments: str) -> None:
        """``ip`` there."""
        run("ip", "-n", self.name(host), *arguments)

    # Faults, and their ends

    def cut(self, host: str) -> None:
        """Unplug a host's cable at the bridge."""
        self._net("link", "set", "dev", host, "down")

    def join(self, host: str) -> None:
        """Plug it in again."""
        self._net("link", "set", "dev", host, "up")

    def mute(self, host: str) -> None:
        """What a host sends to the others is dropped; what they send arrives."""
        for other in self._others(host):
            self.ip(host, "route", "add", "blackhole", self.address(other))

    def unmute(self, host: str) -> None:
        """It is heard again."""
        for other in self._others(host):
            self.ip(host, "route", "del", "blackhole", self.address(other))

    def spoil(self, host: str, *qdisc: str) -> None:
        """Have what reaches a host go through this queue of ``tc``. CalledProcessError if the
        kernel does not have it."""
        run("ip", "netns", "exec", self.name("net"), "tc", *_qdisc("add", host), *qdisc)

    def restore(self, host: str) -> None:
        """Without it again."""
        run("ip", "netns", "exec", self.name("net"), "tc", *_qdisc("del", host))

    def _others(self, host: str) -> list[str]:
        return [other for other in self._hosts if other != host]

    def _net(self, *arguments: str) -> None:
        self.ip("net", *arguments)

    def _add(self, host: str) -> None:
        run("ip", "netns", "add", self.name(host))
        self._made.callback(run, "ip", "netns", "del", self.name(host))


def run(*command: str) -> None:
    """CalledProcessError has what it said."""
    subprocess.run(command, check=True, capture_output=True)


def _qdisc(action: str, host: str) -> tuple[str, ...]:
    return ("qdisc", action, "dev", host, "root")
