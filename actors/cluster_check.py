"""What makes a cluster file one operator's: machines, roles, ports, and closed to everybody else.

Ray's schema lets much of this pass: unknown keys of the provider, a malformed address, no user, a
role that no node offers (whose actor then waits for ever), an open cluster.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

from actors import placement
from actors.cluster_config import ClusterConfig
from actors.cluster_file import ClusterFile, Json, ray_refusals, ray_schema
from actors.cluster_start import Command, commands_in
from protocol.errors import ConfigError

ROLES: Final = tuple(kind.prefix for kind in placement.ROLES)
PROVIDER: Final = ("type", "head_ip", "worker_ips")
PORTS: Final = {
    "port": "GCS: nodes and drivers find the cluster (head)",
    "node-manager-port": "raylet: nodes and drivers",
    "object-manager-port": "objects between nodes",
    "min-worker-port": "workers, the first",
    "max-worker-port": "workers, the last",
}
"""`ray start` options that firewall rules need, and what is there."""
ENVIRONMENT: Final = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
STARTS: Final = {"head": "head_start_ray_commands", "worker": "worker_start_ray_commands"}
_SECRET: Final = re.compile(r"RAY_AUTH_TOKEN=|\b[0-9a-fA-F]{64,}\b")
_SECRET_FILE: Final = re.compile(r"(auth_token|\.key|\.pem)$")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, at which place of the file and on which line (0: of the whole file)."""

    path: Path
    place: str
    line: int
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{where}: {self.place}: {self.text}" if self.place else f"{where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Nodes:
    """What a file that is fine says: addresses, roles by kind of node, ports by option."""

    head: str
    workers: tuple[str, ...]
    roles: dict[str, tuple[str, ...]]
    ports: dict[str, int]


Found = Iterator[tuple[str, str]]


def check(file: ClusterFile) -> list[Problem]:
    """Every problem of a file, in the order of its lines; none if it is fine."""
    content = file.content
    parts = (_unknown_keys, ray_refusals, _provider, _auth, _starts, _secrets)
    rows = dict.fromkeys(row for part in parts for row in part(content))
    problems = [Problem(file.path, place, _line(file, place), text) for place, text in rows]
    return sorted(problems, key=lambda problem: problem.line)


def check_together(files: Sequence[ClusterFile]) -> list[Problem]:
    """What operators must not share, in files that are fine each: a name, a machine."""
    owners: dict[str, Path] = {}
    problems = []
    for file in files:
        nodes = nodes_of(file)
        own = {("cluster_name", file.content["cluster_name"]), ("provider.head_ip", nodes.head)}
        own |= {(f"provider.worker_ips[{i}]", ip) for i, ip in enumerate(nodes.workers)}
        for place, value in sorted(own):
            other = owners.setdefault(value, file.path)
            if other != file.path:
                text = f"{value} is in {other} too: one operator, one cluster"
                problems.append(Problem(file.path, place, _line(file, place), text))
    return problems


def check_roles(config: ClusterConfig, files: Sequence[ClusterFile]) -> list[Problem]:
    """Roles of ``cluster run`` that no node of an operator's cluster files, fine each, offers."""
    offered = {
        role
        for nodes in map(nodes_of, files)
        for kind, roles in nodes.roles.items()
        if kind == "head" or nodes.workers
        for role in roles
    }
    return [
        Problem(
            config.path, f"[roles] {role}", 0, "no node offers it: its actor would wait for ever"
        )
        for role in sorted(config.roles - offered if files else ())
    ]


def nodes_of(file: ClusterFile) -> Nodes:
    """Of a file without problems."""
    provider = file.content["provider"]
    starts = {node: _start(file.content[key]) for node, key in STARTS.items()}
    ports = {name: int(starts["head"].options[name]) for name in PORTS}
    return Nodes(
        head=provider["head_ip"],
        workers=tuple(provider["worker_ips"]),
        roles={node: tuple(_resources(start)) for node, start in starts.items()},
        ports=ports,
    )


def _unknown_keys(content: Json) -> Found:
    schema = ray_schema()["properties"]
    tables = {
        "": (content, tuple(schema)),
        "provider": (content.get("provider"), PROVIDER),
        "auth": (content.get("auth"), tuple(schema["auth"]["properties"])),
        "metadata": (content.get("metadata"), ("roles",)),
    }
    for place, (table, known) in tables.items():
        for key in table if isinstance(table, dict) else ():
            if key not in known:
                near = get_close_matches(str(key), known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                yield f"{place}.{key}".removeprefix("."), f"unknown key; {hint}"


def _provider(content: Json) -> Found:
    provider = content.get("provider")
    if not isinstance(provider, dict):
        return
    if provider.get("type") != "local":
        yield "provider.type", "write local: these machines are your own"
    head, workers = provider.get("head_ip"), provider.get("worker_ips")
    if not isinstance(head, str):
        yield "provider.head_ip", "name the address of the head"
    if not isinstance(workers, list):
        yield "provider.worker_ips", "write a list of addresses, [] if there are none"
        workers = []
    seen: dict[IPv4Address | IPv6Address, str] = {}
    places = [("provider.head_ip", head)] if isinstance(head, str) else []
    places += [(f"provider.worker_ips[{i}]", ip) for i, ip in enumerate(workers)]
    for place, text in places:
        try:
            address = ip_address(text)
        except ValueError:
            yield place, f"{text!r} is no IP address"
            continue
        if (reason := _unfit(address)) is not None:
            yield place, f"{text}: {reason}"
        if address in seen:
            yield place, f"{text} is {seen[address]} too: a machine is one node"
        seen.setdefault(address, place)
    most = content.get("max_workers")
    if most != len(workers):
        yield "max_workers", f"{most}: write {len(workers)}, as many as worker_ips"


def _unfit(address: IPv4Address | IPv6Address) -> str | None:
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return "no machine can be reached there"
    if address.is_global:
        return "a public address; Ray's ports belong into a private network or a VPN"
    return None


def _auth(content: Json) -> Found:
    auth = content.get("auth")
    auth = auth if isinstance(auth, dict) else {}
    user = auth.get("ssh_user")
    if not isinstance(user, str) or not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
        yield "auth.ssh_user", "name the user that runs Ray on the machines"
    elif user == "root":
        yield "auth.ssh_user", "root: make a user of its own; whoever has the token has its rights"
    if not isinstance(auth.get("ssh_private_key"), str):
        yield "auth.ssh_private_key", "name the file of the key; all nodes are reached with it"


def _starts(content: Json) -> Found:
    """The commands of head and workers, and what they say of each other."""
    starts: dict[str, Command] = {}
    for node, key in STARTS.items():
        items = content.get(key)
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            yield key, "write a list of commands, `ray stop` and `ray start ...`"
            continue
        try:
            commands = commands_in(items)
        except ConfigError as error:
            yield f"{key}{str(error).partition(':')[0]}", str(error).partition(": ")[2]
            continue
        found = [command for command in commands if command.verb == "start"]
        if len(found) != 1:
            yield key, f"`ray start` is there {len(found)} times, once is needed"
            continue
        starts[node] = found[0]
        yield from _stops(key, items, commands)
        yield from _closed(key, found[0])
    if starts.keys() == STARTS.keys():
        yield from _joined(starts["head"], starts["worker"])
        yield from _roles(content, starts)


def _stops(key: str, items: Sequence[str], commands: Sequence[Command]) -> Found:
    """`ray stop` ends every Ray of the machine: of the node that starts anew, and before it."""
    start = next(command.item for command in commands if command.verb == "start")
    stops = [command for command in commands if command.verb == "stop"]
    if not stops:
        yield key, "no `ray stop` before `ray start`: a second `ray up` would leave the old one"
    for stop in stops:
        place = f"{key}[{stop.item}]"
        if stop.item >= start:
            yield place, "`ray stop` after `ray start` ends what was started; write it before"
        if len(commands_in([items[stop.item]])) != 1 or stop.words != ("stop",):
            yield place, "`ray stop` stands alone on its line, without options"
    for command in commands:
        if command.program in ("ssh", "pdsh", "ansible"):
            place = f"{key}[{command.item}]"
            yield place, f"{command.program}: a node's commands are run on that node alone"


def _closed(key: str, start: Command) -> Found:
    place, options = f"{key}[{start.item}]", start.options
    for name, value in ENVIRONMENT.items():
        if start.environment.get(name) != value:
            yield place, f"write {name}={value} before `ray start`"
    for name in PORTS:
        if (name != "port" or key == STARTS["head"]) and not options.get(name, "").isdecimal():
            yield place, f"--{name}: fix the port, so that the firewall can name it"
    low, high = (options.get(f"{end}-worker-port", "") for end in ("min", "max"))
    for name in ("port", "node-manager-port", "object-manager-port"):
        text = options.get(name, "")
        if all(map(str.isdecimal, (text, low, high))) and int(low) <= int(text) <= int(high):
            yield place, f"--{name}={text} is one of the workers' ports, {low} to {high}"
    is_hidden = options.get("dashboard-host") in ("127.0.0.1", "localhost")
    if key == STARTS["head"] and not is_hidden and options.get("include-dashboard") != "false":
        yield place, "write --include-dashboard=false, or --dashboard-host=127.0.0.1"
    try:
        _resources(start)
    except ConfigError as error:
        yield place, str(error)


def _joined(head: Command, worker: Command) -> Found:
    key, port = STARTS["head"], head.options.get("port", "")
    if "head" not in head.options:
        yield f"{key}[{head.item}]", "write --head"
    if "autoscaling-config" not in head.options:
        yield f"{key}[{head.item}]", "write --autoscaling-config=~/ray_bootstrap_config.yaml"
    address = worker.options.get("address", "")
    if address != f"$RAY_HEAD_IP:{port}":
        place = f"{STARTS['worker']}[{worker.item}]"
        yield place, f"--address={address}: write $RAY_HEAD_IP:{port}, the head's port"


def _roles(content: Json, starts: dict[str, Command]) -> Found:
    """Every role of the operator has a node, and every resource is a role."""
    metadata = content.get("metadata")
    asked = metadata.get("roles", list(ROLES)) if isinstance(metadata, dict) else list(ROLES)
    if not isinstance(asked, list) or not set(map(str, asked)) <= set(ROLES):
        yield "metadata.roles", f"write a list of {', '.join(ROLES)}"
        return
    provider = content.get("provider")
    has_workers = bool(isinstance(provider, dict) and provider.get("worker_ips"))
    offered: set[str] = set()
    for node, start in starts.items():
        try:
            resources = _resources(start)
        except ConfigError:
            return
        place = f"{STARTS[node]}[{start.item}]"
        for name in resources:
            if name not in asked:
                yield place, f"--resources: {name} is none of this operator's roles"
        offered |= set(resources) if node == "head" or has_workers else set()
    for role in asked:
        if role not in offered:
            yield STARTS["head"], f"no node offers the role {role}: its actor would wait for ever"


def _resources(start: Command) -> dict[str, Any]:
    """Of --resources; ConfigError unless it is JSON of positive numbers."""
    text = start.options.get("resources", "{}")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(
        type(n) in (int, float) and n > 0 for n in found.values()
    ):
        raise ConfigError(
            f"--resources={text}: write JSON of roles and counts, '{{\"prover\": 1}}'"
        )
    return found


def _secrets(content: Any, place: str = "") -> Found:
    """Nothing secret, and no file that is: `ray up` sends file and file_mounts to every node."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _secrets(value, f"{place}.{key}".removeprefix("."))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _secrets(value, f"{place}[{number}]")
    elif isinstance(content, str):
        is_sent = place.startswith("file_mounts") and _SECRET_FILE.search(content)
        if is_sent or _SECRET.search(content):
            yield place, "a token or key: it reaches the nodes out of band, never by this file"


def _start(items: Sequence[str]) -> Command:
    return next(command for command in commands_in(items) if command.verb == "start")


def _line(file: ClusterFile, place: str) -> int:
    """Of the place, or of the nearest one around it that the file has."""
    while place and place not in file.lines:
        place = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", place)
    return file.lines.get(place, 0)
