"""The only place that joins Ray: a cluster of this process, or one that an operator's nodes run."""

import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray

from actors import placement
from actors.transport_options import parse_address
from protocol.errors import ConfigError

NAMESPACE: Final = "oracle-vm"
OBJECT_STORE_BYTES: Final = 150 * 2**20
JOIN_S: Final = 30.0
"""How long a cluster may take to let us in."""
KNOCK_S: Final = 1.0
HEAD: Final = "node:__internal_head__"
"""A resource that only the head has."""
WRONG_TOKEN: Final = "InvalidAuthToken"
OTHER_VERSION: Final = "Version mismatch"
POLL_S: Final = 0.05
_TRY: Final = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
"""


@contextmanager
def local_cluster(cpus: int) -> Iterator[None]:
    """A private Ray cluster of this process, with room for ``cpus`` busy actors: silent, closed to
    others, gone at exit."""
    with _silent():
        ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=cpus,
            num_gpus=0,
            resources=dict.fromkeys((kind.prefix for kind in placement.KINDS), 64.0),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield


@contextmanager
def joined_cluster(address: str, token: Path, deadline_s: float = JOIN_S) -> Iterator[None]:
    """The running cluster whose head is at ``address``, with the token in a file; a process joins
    one cluster. Its actors are asked for a resource each: ``look`` says which there are.

    ConfigError if nothing answers there, the token is another one, or Ray or Python differ. Ray
    itself would try for ever: a child process tries first, and is ended at the deadline.
    """
    show_token(token)
    try_cluster(address, deadline_s)
    with _silent():
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield


@dataclass(frozen=True, slots=True)
class Look:
    """The living nodes of the cluster: which one is the head (its id, new with every start), and
    what all of them offer, by resource, whether it is taken or not."""

    head: str
    offers: Mapping[str, float]


def look() -> Look:
    """What there is now. An actor whose resource is not offered is started when it is, which may be
    never: look before. Blocks while the head does not answer."""
    all_nodes: Any = ray.nodes  # untyped in Ray
    nodes = [node for node in all_nodes() if node["Alive"]]
    offers: Counter[str] = Counter()
    for node in nodes:
        offers.update(node["Resources"])
    head = next((node["NodeID"] for node in nodes if HEAD in node["Resources"]), "")
    return Look(head, offers)


def free(resource: str) -> float:
    """What the nodes offer of a resource and nobody has taken, as the head knows it: what has just
    been given back comes a moment later."""
    available: Any = ray.available_resources  # untyped in Ray
    return float(available().get(resource, 0.0))


def show_token(token: Path) -> None:
    """Have Ray use the token in this file, here and in child processes. ConfigError if it cannot
    be read, or others can read it: whoever has it runs code on every node."""
    try:
        mode, is_empty = token.stat().st_mode, not token.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"{token}: the cluster's token cannot be read ({error.strerror})"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{token}: no text; put the token of the cluster's nodes there") from None
    if is_empty:
        raise ConfigError(f"{token}: empty; put the token of the cluster's nodes there")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{token}: others can read the cluster's token; chmod 600 {token}")
    os.environ.pop("RAY_AUTH_TOKEN", None)
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def answers(address: str) -> bool | None:
    """Whether anything listens at ``address``; None if nobody says so: its machine is off, or out
    of reach. ConfigError unless that is HOST:PORT."""
    head = parse_address("address", address)
    try:
        socket.create_connection((head.host, head.port), KNOCK_S).close()
    except ConnectionRefusedError:
        return False
    except (OSError, OverflowError, UnicodeError):  # the last of a name that is none
        return None
    return True


def try_cluster(address: str, deadline_s: float) -> None:
    """Join and leave in a child process; ConfigError as ``joined_cluster``."""
    if not answers(address):
        raise ConfigError(f"{address}: no Ray head listens there; start it, or correct the address")
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            [sys.executable, "-c", _TRY, address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            end = time.monotonic() + deadline_s
            while child.poll() is None and WRONG_TOKEN not in (text := _all_of(said.fileno())):
                if time.monotonic() > end:
                    break
                time.sleep(POLL_S)
        finally:
            child.kill()
            child.wait()
        if child.returncode != 0:
            text = _all_of(said.fileno())
            raise ConfigError(f"{address}: {_refusal(text, deadline_s)}")


def _refusal(said: str, deadline_s: float) -> str:
    """Why the child did not get in, of what Ray said."""
    if WRONG_TOKEN in said:
        return "the cluster has another token; put that of its nodes into the token's file"
    if OTHER_VERSION in said:
        words = " ".join(said[said.index(OTHER_VERSION) :].split())
        return f"every node runs the same Ray and Python. {words[:300]}"
    lines = [line for line in said.splitlines() if line.strip()]
    return f"no cluster within {deadline_s:g} s. {lines[-1][:300] if lines else 'Ray says nothing'}"


def _all_of(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 20, 0).decode(errors="replace")


@contextmanager
def _silent() -> Iterator[None]:
    """Ray announces dead workers on the driver's stdout whatever its log settings; what a program
    prints belongs to its user, so stdout is closed to everybody while the cluster is up."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()
