"""Markets that are killed between any two lines: a process of its own that the tests start.

python market_child.py FOLDER STEP

For every STEP-th line of ``actors/market.py`` and ``market_store.py`` that an order runs through: a
forked process takes the order and is gone by SIGKILL at that line, as in a power cut; another one
opens the same folder and is told the same order again. A JSON line says what both have answered and
what is there in the end. The last one is of an order that ran to its end.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from itertools import count
from pathlib import Path

import actors.market
import actors.market_store
import actors.sqlite_file
from actors.gateway.contracts import accepted
from protocol.options.book import Contract, Order, Stage
from protocol.options.instrument import parse_instrument
from protocol.options.sheet import Conditions, Flat, quote
from protocol.units import PriceE8, Round, Sats, UnixMs
from tests.builders.crash import Crash
from tests.builders.market import CALL, QUANTITY, RICH, TestDesk, running_market
from tests.builders.oracles import PRICE, T0

WATCHED = {actors.market.__file__, actors.market_store.__file__, actors.sqlite_file.__file__}
ORDER = Order(
    instrument=parse_instrument(CALL),
    quantity_sats=Sats(QUANTITY),
    collateral_sats=Sats(QUANTITY),
    max_premium_sats=Sats(RICH),
)


class LoggingDesk(TestDesk):
    """Writes down what it was handed."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.log = log

    async def offer(self, contract: Contract) -> None:
        with self.log.open("a") as file:
            file.write(f"{contract.id}\n")


async def order(folder: Path, line: int, told: Path) -> None:
    """Order with one key, wait until the parties have it; the answer goes to ``told`` at once."""
    async with running_market(folder, desk=LoggingDesk(folder / "offered")) as market:
        if line:
            crash = Crash(line, WATCHED)
            threading.settrace(crash)
            sys.settrace(crash)
        answer = await market.order("key", b"digest", ORDER, accepted)
        draft = told.with_suffix(".draft")
        draft.write_bytes(answer.body)
        draft.replace(told)  # a client has the whole answer or none
        while {contract.stage for contract in market.book.contracts.values()} != {Stage.OFFERED}:
            await asyncio.sleep(0.001)
        sys.settrace(None)


def forked(folder: Path, line: int, name: str) -> tuple[bool, str | None]:
    """Whether the process was killed, and what it has told."""
    told = folder / name
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(order(folder, line, told))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.waitstatus_to_exitcode(status) == 0, "the child has failed"
    return killed, told.read_text() if told.exists() else None


def main(folder: Path, step: int) -> None:
    quote(ORDER.instrument, Conditions(Round(1), PriceE8(PRICE), UnixMs(T0), Flat(0.6)))
    for line in count(1, step):
        place = folder / str(line)
        place.mkdir()
        killed, first = forked(place, line, "first")
        _, second = forked(place, 0, "second")
        store = actors.market_store.MarketStore.open(place / "market.sqlite")
        contracts = [[c.id, c.stage.value] for c in store.book().contracts.values()]
        store.close()
        offered = (place / "offered").read_text().split()
        found = {"killed": killed, "first": first, "second": second}
        print(json.dumps(found | {"contracts": contracts, "offered": offered}), flush=True)
        if not killed:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
