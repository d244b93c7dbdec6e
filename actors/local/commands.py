"""``oracle-vm up``, ``status``, ``logs``, ``down``, ``faucet`` and ``mine``: one machine, whole."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live

from actors.chain_commands import FAUCET
from actors.chain_commands import faucet as pay
from actors.chain_commands import mine as mine_blocks
from actors.config import CHAIN_SOCKET, Wallet, chain_network, open_chain
from actors.keyfile import load_key
from actors.local import show, tail
from actors.local.keeper import STOP_S, end, keep, last_lines
from actors.local.miner import endow, mine_until, scripts_of
from actors.local.place import BLOCK_S, Place
from actors.local.process import claim, living
from actors.local.programs import KEEPER
from actors.local.state import KeeperState
from actors.local.status import get, look
from actors.party_commands import RoleName
from actors.terminal import Announcer
from protocol.bitcoin.address import encode_address
from protocol.errors import ConfigError

DEFAULT: Final = Path(".oracle-vm")
DOWN_S: Final = 10 * STOP_S
WATCH_S: Final = 1.0
POLL_S: Final = 0.1

DirOption = Annotated[Path, typer.Option("--dir", help="The folder of `oracle-vm up`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def up(
    folder: DirOption = DEFAULT,
    live: Annotated[
        bool, typer.Option("--live", help="The public exchanges; a new folder only.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Of API and dashboard; a new folder only.")
    ] = None,
    block_s: Annotated[
        int | None, typer.Option("--block-s", min=1, max=3600, help="Between blocks; likewise.")
    ] = None,
    foreground: Annotated[bool, typer.Option(help="Stay; Ctrl-C ends everything.")] = False,
) -> None:
    """Start everything on this machine and print where it is: venues, oracles, aggregator, Bitcoin
    node, miner, market and gateway. Keys and files are made the first time."""
    place = _place(folder, live, port, block_s)
    if living(place.process(KEEPER)) is not None:
        if (phase := look(place)["phase"]) != "up":
            raise ConfigError(
                f"{folder}: is {phase} already; see `oracle-vm status --dir {folder}`"
            )
        print("already up")
    elif foreground:
        keep(place, lambda: _welcome(place))
        return
    else:
        _start_keeper(place)
    _welcome(place)


def status(
    folder: DirOption = DEFAULT,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What runs, and where price, chain and contracts stand. Exit code 1 unless everything runs."""
    place = Place.load(folder)
    console = Console(width=None if sys.stdout.isatty() else 100)
    found = look(place)
    with suppress(KeyboardInterrupt):
        if as_json:
            print(json.dumps(found), flush=True)
            while watch:
                time.sleep(WATCH_S)
                print(json.dumps(found := look(place)), flush=True)
        elif watch:
            with Live(show.table(found), console=console, auto_refresh=False) as screen:
                while True:
                    time.sleep(WATCH_S)
                    screen.update(show.table(found := look(place)), refresh=True)
        else:
            console.print(show.table(found))
    if found["phase"] != "up" or any(row["state"] != "running" for row in found["programs"]):
        raise typer.Exit(1)


def logs(
    name: Annotated[
        str | None, typer.Argument(help="One program alone; CONTRACT/ROLE for a party.")
    ] = None,
    folder: DirOption = DEFAULT,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, help="The last so many of each.")] = 10,
) -> None:
    """The programs' logs as one, by time, readable."""
    place = Place.load(folder)
    chosen = tail.logs_of(place, name)
    for log in chosen:
        log.skip(lines)
    for line in tail.merged(chosen):
        print(line)
    if follow:
        with suppress(KeyboardInterrupt):
            for line in tail.follow(place, name, chosen):
                print(line, flush=True)


def down(folder: DirOption = DEFAULT) -> None:
    """End everything that `up` has started, the last first; SIGKILL for what does not end."""
    place = Place.load(folder)
    was = look(place)["phase"]
    keeper = living(place.process(KEEPER))
    if keeper is not None:
        keeper.end(DOWN_S)
    lock = claim(place.process(KEEPER))  # nobody starts anything meanwhile
    end(place)  # what a keeper that was killed has left
    os.close(lock)
    print("nothing was running" if was == "down" else "down")


def faucet(
    address: Annotated[str | None, typer.Argument(help="On regtest.")] = None,
    role: Annotated[RoleName | None, typer.Option(help="The holder's or writer's wallet.")] = None,
    sats: Annotated[int, typer.Option(min=330)] = 100_000_000,
    folder: DirOption = DEFAULT,
) -> None:
    """Pay regtest coins to ADDRESS, or to a party's wallet, and mine a block with them."""
    place = Place.load(folder)
    if (address is None) == (role is None):
        raise ConfigError("ADDRESS or --role: say who gets the coins, once")
    if role is not None:
        with open_chain(place.chain / CHAIN_SOCKET, "socket") as chain:
            wallet = Wallet(chain, load_key(place.folder / role.value / "wallet.key"))
            address = encode_address(wallet.script(), chain_network("regtest"))
    pay(str(address), sats, folder=place.chain)


def mine(
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=10_000)] = 1,
    folder: DirOption = DEFAULT,
    every: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Instead, until ended: coins for both parties, then a block every SECONDS.",
        ),
    ] = None,
) -> None:
    """Mine N blocks; the first holds the mempool."""
    place = Place.load(folder)
    if every is None:
        mine_blocks(count, folder=place.chain)
        return
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with open_chain(place.chain / CHAIN_SOCKET, "socket") as chain:
        endow(chain, scripts_of(place, FAUCET, chain))
        mine_until(stopping, chain, every)


def _place(folder: Path, live: bool, port: int | None, block_s: int | None) -> Place:
    """The folder, made if there is none. ConfigError if it was made otherwise than is asked."""
    if not (folder / "up.toml").exists():
        from actors.local.files import create  # takes the market, which is compiled

        return create(folder, live=live, port=port, block_s=block_s or BLOCK_S)
    place = Place.load(folder)
    other = {
        "--live": live and place.simulators is not None,
        "--port": port not in (None, place.api),
        "--block-s": block_s not in (None, place.block_s),
    }
    for option in (option for option, differs in other.items() if differs):
        raise ConfigError(
            f"{option}: {folder} was made otherwise; name a new --dir, or see {folder / 'up.toml'}"
        )
    return place


def _start_keeper(place: Place) -> None:
    """Start it in the background and wait until everything works; ConfigError with its reason."""
    place.state.unlink(missing_ok=True)
    command = [sys.executable, "-m", "actors.local.keeper", str(place.folder)]
    with place.log(KEEPER).open("ab") as output, Announcer() as announce:
        announce(f"start everything in {place.folder}")
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
        try:
            while (said := KeeperState.read(place.state)) is None or said.phase != "up":
                if keeper.poll() is not None:
                    lines = "\n".join(last_lines(place.log(KEEPER), 3))
                    raise ConfigError(said.fault if said and said.fault else lines)
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            keeper.terminate()
            raise


def _welcome(place: Place) -> None:
    """What runs, where, and what to try."""
    found: dict[str, Any] = look(place)
    Console(width=None if sys.stdout.isatty() else 100).print(show.table(found))
    print("\n".join(show.places(found)))
    option = "" if place.folder == DEFAULT.absolute() else f"--dir {place.folder}"
    print("\nTry:")
    for line in show.next_steps(place.url, _quote(place), option):
        print(f"  {line}")


def _quote(place: Place) -> dict[str, Any] | None:
    """Of a call at the money that expires soon; None if the gateway gives none."""
    code, body = get(place, "/v1/instruments")
    if code == 200:
        listed = json.loads(body)
        strike = round(float(listed["index_usd"]), -3)
        expiry = listed["expiries"][:2][-1]  # the first may be too near to be funded
        code, body = get(place, f"/v1/quote?instrument=BTC-{expiry}-{strike:.0f}-C")
    return dict(json.loads(body)) if code == 200 else None
