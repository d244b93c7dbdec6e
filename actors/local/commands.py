"""``oracle-vm up``, ``status``, ``logs``, ``down``, ``faucet`` and ``mine``: one machine, whole."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live

from actors.chain_commands import faucet as pay
from actors.chain_commands import mine as mine_blocks
from actors.clock import SystemClock
from actors.config import CHAIN_SOCKET, Wallet, chain_network, open_chain
from actors.keyfile import load_key
from actors.local import show, tail
from actors.local.keeper import STOP_S, end, keep, last_lines
from actors.local.moment import offset_ms
from actors.local.place import BLOCK_S, Place
from actors.local.process import claim, living
from actors.local.programs import KEEPER
from actors.local.state import KeeperState
from actors.local.status import get, look
from actors.network_files import set_clock
from actors.party_commands import RoleName
from actors.terminal import Announcer
from protocol.bitcoin.address import encode_address
from protocol.errors import ConfigError

DEFAULT: Final = Path(".oracle-vm")
DOWN_S: Final = 10 * STOP_S
WATCH_S: Final = 1.0
POLL_S: Final = 0.1
ORACLES: Final = 3
READING_MS: Final = 60_000
"""What a person may take to order what `up` proposes."""

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
    oracles: Annotated[
        int | None,
        typer.Option(min=3, max=8, help="How many; a new folder only. Of 4 one may be down."),
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option(help="A simulated clock for all: now it is TIME, as 2026-12-27T06:55:00Z."),
    ] = None,
    before_expiry: Annotated[
        float | None,
        typer.Option(min=0, help="The same, so many minutes before the next 08:00 UTC."),
    ] = None,
    foreground: Annotated[bool, typer.Option(help="Stay; Ctrl-C ends everything.")] = False,
) -> None:
    """Start everything on this machine and print where it is: venues, Bitcoin node and miner,
    prover, oracles, aggregator, market and gateway. Keys and files are made the first time."""
    new = Wanted(live=live, port=port, block_s=block_s, oracles=oracles)
    place = _place(folder, new, clock, before_expiry)
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
) -> None:
    """Mine N blocks now; the first holds the mempool."""
    mine_blocks(count, folder=Place.load(folder).chain)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks of a new folder, and expects of one that is there."""

    live: bool
    port: int | None
    block_s: int | None
    oracles: int | None

    def require(self, place: Place) -> None:
        """ConfigError if the folder was made otherwise."""
        other = {
            "--live": self.live and place.simulators is not None,
            "--port": self.port not in (None, place.api),
            "--block-s": self.block_s not in (None, place.block_s),
            "--oracles": self.oracles not in (None, len(place.oracles)),
        }
        for option in (option for option, differs in other.items() if differs):
            raise ConfigError(
                f"{option}: {place.folder} was made otherwise, and stays so; name a new --dir"
            )


def _place(
    folder: Path, wanted: Wanted, clock: str | None, before_expiry_min: float | None
) -> Place:
    """The folder, made if there is none, with its clock where it is to stand."""
    is_new = not (folder / "up.toml").exists()
    now = SystemClock() if is_new else Place.load(folder).clock
    moved_ms = offset_ms(clock, before_expiry_min, now)
    if is_new:
        from actors.local.files import create  # takes the market, which is compiled

        if wanted.live and moved_ms is not None:
            raise ConfigError("--live: the exchanges have real time, there is no other clock")
        return create(
            folder,
            live=wanted.live,
            port=wanted.port,
            block_s=wanted.block_s or BLOCK_S,
            oracles=wanted.oracles or ORACLES,
            clock_offset_ms=moved_ms or 0,
        )
    place = Place.load(folder)
    wanted.require(place)
    return place if moved_ms is None else _moved(place, moved_ms)


def _moved(place: Place, moved_ms: int) -> Place:
    """The folder with its clock moved on. ConfigError while it runs, or for a time that was."""
    if place.simulators is None:
        raise ConfigError(f"--clock: {place.folder} hears live exchanges, they have real time")
    if look(place)["phase"] != "down":
        raise ConfigError(f"--clock: {place.folder} runs; `oracle-vm down` first")
    if moved_ms < place.clock_offset_ms:
        now = show.utc(place.clock.now_ms())
        raise ConfigError(
            f"--clock: it is {now} there, and never earlier again: oracles do not sign twice for a"
            " round; name a later time or a new --dir"
        )
    set_clock(place.network, moved_ms)
    return Place.load(place.folder)


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
    """Of a call at the money: the first expiry for which it can be ordered in peace. None if the
    gateway gives none."""
    code, body = get(place, "/v1/instruments")
    if code != 200:
        return None
    listed = json.loads(body)
    strike = round(float(listed["index_usd"]), -3)
    for expiry in listed["expiries"][:2]:
        code, body = get(place, f"/v1/quote?instrument=BTC-{expiry}-{strike:.0f}-C")
        if code == 200 and json.loads(body)["orders_until_ms"] - place.clock.now_ms() > READING_MS:
            return dict(json.loads(body))
    return None
