"""``oracle-vm up``, ``status``, ``logs``, ``down``, ``faucet`` and ``mine``: one machine, whole."""

import json
import signal
import sys
import time
from collections.abc import Sequence
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
from actors.local import keepers, show, tail
from actors.local.moment import offset_ms
from actors.local.place import BLOCK_S, UP, WORLD, Place, Site
from actors.local.process import living
from actors.local.programs import KEEPER
from actors.local.status import failed_in, get, look, phase_of
from actors.network import AGGREGATOR_NAME
from actors.network_files import set_clock
from actors.party_commands import RoleName
from actors.terminal import Announcer
from protocol.bitcoin.address import encode_address
from protocol.errors import ConfigError

DEFAULT: Final = Path(".oracle-vm")
WATCH_S: Final = 1.0
WAIT_S: Final = 3600.0
WIDTH: Final = 130
ORACLES: Final = 3
READING_MS: Final = 60_000
"""What a person may take to order what `up` proposes."""

DirOption = Annotated[Path, typer.Option("--dir", help="The folder of `oracle-vm up`.")]
OperatorOption = Annotated[
    str | None, typer.Option(help="One group alone, of a folder made with --operators.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def up(
    folder: DirOption = DEFAULT,
    live: Annotated[
        bool, typer.Option("--live", help="The public exchanges; a new folder only.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_500, help="Of API and dashboard; a new folder only.")
    ] = None,
    block_s: Annotated[
        int | None, typer.Option("--block-s", min=1, max=3600, help="Between blocks; likewise.")
    ] = None,
    oracles: Annotated[
        int | None,
        typer.Option(min=3, max=8, help="How many; a new folder only. Of 4 one may be down."),
    ] = None,
    operators: Annotated[
        int | None,
        typer.Option(
            min=3, max=8, help="As --oracles, each of an owner of its own; a new folder only."
        ),
    ] = None,
    operator: OperatorOption = None,
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
    site = _site(folder, Wanted(live, port, block_s, oracles, operators), clock, before_expiry)
    if operator is not None:
        site = Site.load(folder, operator)
    for group in site.groups:
        if (phase := phase_of(group)) not in ("up", "down", "unkept"):
            raise ConfigError(
                f"{group.folder}: is {phase} already; see `oracle-vm status --dir {folder}`"
            )
        if failed := failed_in(group):
            raise ConfigError(
                f"{group.folder}: {', '.join(failed)} failed, the rest runs; `oracle-vm down --dir"
                f" {group.folder}`, then `oracle-vm up --dir {group.folder}`"
            )
    with Announcer() as announce:
        announce(f"start everything in {folder}")
        started = keepers.start(site)
    if not started:
        print("already up")
    _welcome(site)
    if foreground:
        _stay(started)


def status(
    folder: DirOption = DEFAULT,
    operator: OperatorOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What runs, and where price, chain and contracts stand. Exit code 1 unless everything runs and
    every node is well."""
    site = Site.load(folder, operator)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    found = look(site)
    with suppress(KeyboardInterrupt):
        if as_json:
            print(json.dumps(found), flush=True)
            while watch:
                time.sleep(WATCH_S)
                print(json.dumps(found := look(site)), flush=True)
        elif watch:
            with Live(show.table(found), console=console, auto_refresh=False) as screen:
                while True:
                    time.sleep(WATCH_S)
                    screen.update(show.table(found := look(site)), refresh=True)
        else:
            console.print(show.table(found))
    is_well = all(row["state"] == "running" and not row.get("health") for row in found["programs"])
    if found["phase"] != "up" or not is_well:
        raise typer.Exit(1)


def logs(
    name: Annotated[
        str | None,
        typer.Argument(help="PROGRAM, CONTRACT/ROLE for a party; OPERATOR, or OPERATOR/PROGRAM."),
    ] = None,
    folder: DirOption = DEFAULT,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, help="The last so many of each.")] = 10,
) -> None:
    """The programs' logs as one, by time, readable."""
    site = Site.load(folder)
    chosen = tail.logs_of(site, name)
    for log in chosen:
        log.skip(lines)
    for line in tail.merged(chosen):
        print(line)
    if follow:
        with suppress(KeyboardInterrupt):
            for line in tail.follow(site, name, chosen):
                print(line, flush=True)


def down(folder: DirOption = DEFAULT, operator: OperatorOption = None) -> None:
    """End everything that `up` has started, the last first; SIGKILL for what does not end."""
    site = Site.load(folder, operator)
    was_down = all(phase_of(group) == "down" for group in site.groups)
    keepers.stop(site.groups)
    print("nothing was running" if was_down else "down")


def faucet(
    address: Annotated[str | None, typer.Argument(help="On regtest.")] = None,
    role: Annotated[RoleName | None, typer.Option(help="The holder's or writer's wallet.")] = None,
    sats: Annotated[int, typer.Option(min=330)] = 100_000_000,
    folder: DirOption = DEFAULT,
) -> None:
    """Pay regtest coins to ADDRESS, or to a party's wallet, and mine a block with them."""
    site, own = Site.load(folder), _chain(folder)
    if (address is None) == (role is None):
        raise ConfigError("ADDRESS or --role: say who gets the coins, once")
    if role is not None:
        owner = site.gateways[0].folder
        with open_chain(own / CHAIN_SOCKET, "socket") as chain:
            wallet = Wallet(chain, load_key(owner / role.value / "wallet.key"))
            address = encode_address(wallet.script(), chain_network("regtest"))
    pay(str(address), sats, folder=own)


def mine(
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=10_000)] = 1,
    folder: DirOption = DEFAULT,
) -> None:
    """Mine N blocks now; the first holds the mempool."""
    mine_blocks(count, folder=_chain(folder))


def _chain(folder: Path) -> Path:
    chain = Site.load(folder).chain
    if chain is None:
        raise ConfigError(f"{folder}: no Bitcoin node here; --dir is the folder of all operators")
    return chain


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks of a new folder, and expects of one that is there."""

    live: bool
    port: int | None
    block_s: int | None
    oracles: int | None
    operators: int | None

    def require(self, site: Site) -> None:
        """ConfigError if the folder was made otherwise."""
        first = site.groups[0]
        owners = [group for group in site.groups if group.name not in ("", WORLD)]
        names = [n for group in site.groups for n in group.nodes if n != AGGREGATOR_NAME]
        other = {
            "--live": self.live and site.simulators is not None,
            "--port": self.port not in (None, site.gateways[0].api if site.gateways else None),
            "--block-s": self.block_s not in (None, first.block_s),
            "--oracles": self.oracles not in (None, len(names)),
            "--operators": self.operators not in (None, len(owners)),
        }
        for option in (option for option, differs in other.items() if differs):
            raise ConfigError(
                f"{option}: {site.folder} was made otherwise, and stays so; name a new --dir"
            )


def _site(folder: Path, wanted: Wanted, clock: str | None, before_expiry_min: float | None) -> Site:
    """The folder, made if there is none, with its clock where it is to stand."""
    is_new = not (folder / UP).exists()
    now = SystemClock() if is_new else Site.load(folder).groups[0].clock
    moved_ms = offset_ms(clock, before_expiry_min, now)
    if is_new:
        from actors.local.files import create  # takes the market, which is compiled

        if wanted.live and moved_ms is not None:
            raise ConfigError("--live: the exchanges have real time, there is no other clock")
        if wanted.oracles and wanted.operators:
            raise ConfigError("--oracles or --operators: an operator has one oracle, say it once")
        return create(
            folder,
            live=wanted.live,
            port=wanted.port,
            block_s=wanted.block_s or BLOCK_S,
            oracles=wanted.operators or wanted.oracles or ORACLES,
            apart=wanted.operators is not None,
            clock_offset_ms=moved_ms or 0,
        )
    site = Site.load(folder)
    wanted.require(site)
    return site if moved_ms is None else _moved(site, moved_ms)


def _moved(site: Site, moved_ms: int) -> Site:
    """The folder with its clock moved on. ConfigError while it runs, or for a time that was."""
    if site.simulators is None:
        raise ConfigError(
            f"--clock: {site.folder} has no simulated venues; exchanges, and other operators, have"
            " real time"
        )
    if any(phase_of(group) != "down" for group in site.groups):
        raise ConfigError(f"--clock: {site.folder} runs; `oracle-vm down` first")
    first = site.groups[0]
    if moved_ms < first.clock_offset_ms:
        now = show.utc(first.clock.now_ms())
        raise ConfigError(
            f"--clock: it is {now} there, and never earlier again: oracles do not sign twice for a"
            " round; name a later time or a new --dir"
        )
    for group in site.groups:
        set_clock(group.network, moved_ms)
    return Site.load(site.folder)


def _stay(started: Sequence[Place]) -> None:
    """Until SIGINT or SIGTERM, or until all of it has ended; then end it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            for group in started:
                keeper = living(group.process(KEEPER))
                while keeper is not None and not keeper.wait(WAIT_S):
                    pass
    finally:
        keepers.stop(started)


def _welcome(site: Site) -> None:
    """What runs, where, and what to try."""
    found: dict[str, Any] = look(site)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(show.table(found))
    if not site.gateways:
        return
    print("\n".join(show.places(found)))
    option = "" if site.folder == DEFAULT.absolute() else f"--dir {site.folder}"
    market = site.gateways[0]
    print("\nTry:")
    for line in show.next_steps(str(market.url), _quote(market), option):
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
