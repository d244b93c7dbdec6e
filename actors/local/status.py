"""Where everything stands: process files, the keeper's word, and what the programs answer."""

import asyncio
import http.client
import json
import time
from collections import Counter
from contextlib import closing, suppress
from typing import Any, Final

from actors.config import CHAIN_SOCKET, open_chain, serves
from actors.control import call
from actors.local.place import Place
from actors.local.process import living
from actors.local.programs import KEEPER, programs_of
from actors.local.state import KeeperState
from actors.miner import endowed_height
from actors.network import AGGREGATOR_NAME
from protocol.errors import ChainError, ConfigError, ProtocolError

ASK_S: Final = 20.0
POLL_S: Final = 0.2
ENDOWED_HEIGHT: Final = endowed_height(3)
"""Where holder, writer and faucet have coins that may be spent."""

Answer = dict[str, Any]


def look(place: Place) -> Answer:
    """One plain object, the same as ``status --json``: nothing in it is older than the call.

    ``phase`` is the keeper's (starting, up, failed, stopping); ``unkept`` if it was killed and
    programs live on, ``down`` if nothing lives.
    """
    keeper, said = living(place.process(KEEPER)), KeeperState.read(place.state)
    rows = [
        _program(place, program.name, said, keeper is not None) for program in programs_of(place)
    ]
    alive = any(row["pid"] for row in rows)
    phase = "unkept" if alive else "down"
    if keeper is not None:
        phase = "starting" if said is None else said.phase
    found: Answer = {
        "folder": str(place.folder),
        "phase": phase,
        "fault": "" if said is None or phase == "down" else said.fault,
        "keeper": None if keeper is None else keeper.pid,
        "url": place.url,
        "clock": clock_of(place),
        "programs": rows,
    }
    return found | _market(place) | {"height": height_of(place)}


def clock_of(place: Place) -> Answer:
    """Which clock everything there runs on, what it shows, and how far it is ahead of real time."""
    clock = place.clock
    return {"name": clock.name, "now_ms": clock.now_ms(), "offset_ms": place.clock_offset_ms}


def get(place: Place, path: str) -> tuple[int, bytes]:
    """Status and body of a page of the gateway; (0, b"") if it does not answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", place.api, timeout=ASK_S)) as gateway:
        try:
            gateway.request("GET", path)
            reply = gateway.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            return 0, b""


def height_of(place: Place) -> int | None:
    """Of the chain; None if its node does not answer."""
    socket = place.chain / CHAIN_SOCKET
    if not serves(socket):
        return None
    with closing(open_chain(socket, "socket")) as chain, suppress(ChainError):
        return chain.height
    return None


async def until_ready(place: Place, deadline_s: float) -> None:
    """Returns once prices are quoted and coins may be spent; ConfigError if that takes longer."""
    end = time.monotonic() + deadline_s
    while not await asyncio.to_thread(_is_ready, place):
        if time.monotonic() > end:
            _, body = get(place, "/readyz")
            said = body.decode(errors="replace") or "the gateway does not answer"
            raise ConfigError(
                f"not ready within {deadline_s:g} s ({said}); `oracle-vm logs` shows why"
            )
        await asyncio.sleep(POLL_S)


def _is_ready(place: Place) -> bool:
    return get(place, "/readyz")[0] == 200 and (height_of(place) or 0) >= ENDOWED_HEIGHT


def _program(place: Place, name: str, said: KeeperState | None, is_kept: bool) -> Answer:
    process = living(place.process(name))
    own = None if said is None else said.programs.get(name)
    state = "stopped" if process is None else "running"
    if is_kept and own is not None:
        state = own.state
    row: Answer = {
        "name": name,
        "state": state,
        "pid": None if process is None else process.pid,
        "uptime_s": None if process is None else round(process.age_s),
        "restarts": 0 if own is None else own.restarts,
        "fault": own.fault if own is not None and state in ("restarting", "failed") else "",
    }
    if name in (*place.oracles, AGGREGATOR_NAME):
        row |= {"round": None, "metrics": None}
        with suppress(ProtocolError):  # it does not answer yet, or any more
            status = asyncio.run(call(place.node(name), "status", ASK_S))
            metrics = f"http://127.0.0.1:{status['metrics']}/metrics"
            row |= {"round": status["round"], "metrics": metrics}
    return row


def _market(place: Place) -> Answer:
    index, book = get(place, "/v1/index/BTC"), get(place, "/v1/contracts")
    found: Answer = {"round": None, "price_usd": None, "contracts": {}, "disputes": 0}
    if index[0] == 200:
        fields = json.loads(index[1])
        found |= {"round": fields["round"], "price_usd": fields["price_usd"]}
    if book[0] == 200:
        stages = Counter(row["stage"] for row in json.loads(book[1])["contracts"])
        found |= {"contracts": dict(stages), "disputes": stages["disputed"]}
    return found
