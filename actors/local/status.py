"""Where everything stands: process files, the keepers' word, and what the programs answer."""

import asyncio
import http.client
import json
import os
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from actors.config import CHAIN_SOCKET, open_chain, serves
from actors.local.node_status import node_fault, node_status
from actors.local.place import COORDINATOR, Place, Site
from actors.local.process import living
from actors.local.programs import KEEPER, programs_of
from actors.local.state import KeeperState
from actors.miner import endowed_height
from actors.network import load_network
from protocol.errors import ChainError, ConfigError

ASK_S: Final = 20.0
POLL_S: Final = 0.5
ENDOWED_HEIGHT: Final = endowed_height(3)
"""Where holder, writer and faucet have coins that may be spent."""

Answer = dict[str, Any]


def look(site: Site) -> Answer:
    """One plain object, the same as ``status --json``: nothing in it is older than the call.

    A group's ``phase`` is its keeper's (starting, up, failed, stopping); ``unkept`` if that was
    killed and programs live on, ``down`` if nothing lives. The site's is that of all its groups,
    or ``incomplete``.
    """
    groups = [_group(group) for group in site.groups]
    phases = {group["phase"] for group in groups}
    found: Answer = {
        "folder": str(site.folder),
        "phase": phases.pop() if len(phases) == 1 else "incomplete",
        "url": site.gateways[0].url if site.gateways else None,
        "clock": clock_of(site.groups[0]),
        "groups": [{k: v for k, v in group.items() if k != "programs"} for group in groups],
        "programs": [row for group in groups for row in group["programs"]],
    }
    height = None if site.chain is None else height_of(site.chain)
    return found | _market(site) | {"height": height}


def phase_of(place: Place) -> str:
    """Of one group, as ``look`` says it."""
    if living(place.process(KEEPER)) is not None:
        said = KeeperState.read(place.state)
        return "starting" if said is None else said.phase
    alive = any(living(program.process) for program in programs_of(place))
    return "unkept" if alive else "down"


def failed_in(place: Place) -> list[str]:
    """The programs that the keeper of a group has given up; none if no keeper lives."""
    said = KeeperState.read(place.state) if living(place.process(KEEPER)) is not None else None
    return [] if said is None else [n for n, own in said.programs.items() if own.state == "failed"]


def clock_of(place: Place) -> Answer:
    """Which clock everything there runs on, what it shows, and how far it is ahead of real time."""
    clock = place.clock
    return {"name": clock.name, "now_ms": clock.now_ms(), "offset_ms": place.clock_offset_ms}


def get(place: Place, path: str) -> tuple[int, bytes]:
    """Status and body of a page of a place's gateway; (0, b"") if it does not answer."""
    assert place.api is not None
    with closing(http.client.HTTPConnection("127.0.0.1", place.api, timeout=ASK_S)) as gateway:
        try:
            gateway.request("GET", path)
            reply = gateway.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            return 0, b""


def height_of(chain: Path) -> int | None:
    """Of the chain in a node's folder; None if that does not answer."""
    socket = chain / CHAIN_SOCKET
    if not serves(socket):
        return None
    with closing(open_chain(socket, "socket")) as node, suppress(ChainError):
        return node.height
    return None


async def until_ready(place: Place, deadline_s: float) -> None:
    """Returns once the group does what it is for; ConfigError if that takes longer."""
    end = time.monotonic() + deadline_s
    while lacks := await asyncio.to_thread(lacking, place):
        if time.monotonic() > end:
            raise ConfigError(
                f"not ready within {deadline_s:g} s ({lacks}); `oracle-vm logs` shows why"
            )
        await asyncio.sleep(POLL_S)


def lacking(place: Place) -> str:
    """What a group does not do yet: coins may be spent, prices are quoted, its nodes are well.
    Empty if it does it all."""
    if place.runs(COORDINATOR) and (height_of(place.chain) or 0) < ENDOWED_HEIGHT:
        return f"the chain has not reached block {ENDOWED_HEIGHT}"
    if place.api is not None:
        code, body = get(place, "/readyz")
        if code != 200:
            return body.decode(errors="replace") or "the gateway does not answer"
    for name, node in place.nodes.items():
        if fault := node_fault(node):
            return f"{place.full(name)}: {fault}"
    return ""


def _group(place: Place) -> Answer:
    said, keeper = KeeperState.read(place.state), living(place.process(KEEPER))
    phase = phase_of(place)
    network = load_network(place.network)
    rows = []
    for program in programs_of(place):
        row = _program(place, program.name, said, keeper is not None)
        if program.name in place.nodes:
            row |= node_status(place.nodes[program.name], network)
        rows.append(row)
    return {
        "name": place.name,
        "folder": str(place.folder),
        "phase": phase,
        "fault": "" if said is None or phase == "down" else said.fault,
        "keeper": None if keeper is None else keeper.pid,
        "pgid": None if keeper is None else _pgid(keeper.pid),
        "url": place.url,
        "programs": rows,
    }


def _program(place: Place, name: str, said: KeeperState | None, is_kept: bool) -> Answer:
    process = living(place.process(name))
    own = None if said is None else said.programs.get(name)
    state = "stopped" if process is None else "running"
    if is_kept and own is not None and (process is not None or own.state != "running"):
        state = own.state  # a keeper may not have seen yet that it ended
    return {
        "name": place.full(name),
        "operator": place.name,
        "state": state,
        "pid": None if process is None else process.pid,
        "pgid": None if process is None else _pgid(process.pid),
        "version": None if process is None else process.version,
        "uptime_s": None if process is None else round(process.age_s),
        "restarts": 0 if own is None else own.restarts,
        "fault": own.fault if own is not None and state in ("restarting", "failed") else "",
    }


def _pgid(pid: int) -> int | None:
    """The process group of a process; None once it has ended."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _market(site: Site) -> Answer:
    """The newest price of any gateway, and the contracts of the first, which has the market."""
    found: Answer = {"round": None, "price_usd": None, "contracts": {}, "disputes": 0}
    indexes = (get(gateway, "/v1/index/BTC") for gateway in site.gateways)
    prices = [json.loads(body) for code, body in indexes if code == 200]
    if prices:
        newest = max(prices, key=lambda price: price["round"])
        found |= {"round": newest["round"], "price_usd": newest["price_usd"]}
    code, body = get(site.gateways[0], "/v1/contracts") if site.gateways else (0, b"")
    if code == 200:
        stages = Counter(row["stage"] for row in json.loads(body)["contracts"])
        found |= {"contracts": dict(stages), "disputes": stages["disputed"]}
    return found
