"""The parts of ``oracle-vm up`` that need no programs: files, processes, restarts, logs, tables."""

import asyncio
import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console

from actors.clock import SystemClock
from actors.feeds.endpoints import LIVE
from actors.keyfile import load_keys
from actors.local import commands, keeper, show, tail
from actors.local.commands import Wanted, _moved
from actors.local.files import create
from actors.local.keeper import last_lines
from actors.local.moment import DAY_MS, EXPIRY_MS, offset_ms
from actors.local.place import Place, Site
from actors.local.process import Process, claim, living
from actors.local.programs import KEEPER, Program, programs_of
from actors.local.state import KeeperState, ProgramState
from actors.local.status import ENDOWED_HEIGHT, clock_of, look
from actors.market_config import load_market
from actors.market_parties import PartyDesk
from actors.miner import COINBASES, endow
from actors.network_files import set_clock
from actors.operator import load_operator
from actors.restarts import BUDGET, FIRST_S, MOST_S, WINDOW_S, Restarts
from protocol.errors import ConfigError, GuardError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as the first `up` leaves it; nothing runs."""
    return made(tmp_path_factory.mktemp("up") / "net")


def made(folder, **options):
    """The only group of a new folder."""
    wanted = {"live": False, "port": None, "block_s": 5} | options
    (place,) = create(folder, **wanted).groups
    return place


def look_at(place):
    return look(Site(place.folder, (place,)))


# Files


def test_every_file_is_one_that_its_program_takes(place):
    assert Place.load(place.folder) == place
    assert [*place.nodes] == ["alpha", "bravo", "charlie", "aggregator"]
    for name in place.nodes:
        operator = load_operator(place.folder / "network" / f"{name}.toml")
        assert load_keys(operator.keys, operator.publics)
    market = load_market(place.folder / "api.toml")
    assert (market.listen.port, market.desk.terms.block_s) == (place.api, 5)
    assert (market.desk.starts, market.desk.folder) == (True, place.contracts)
    assert market.desk.aggregator == place.nodes["aggregator"].control
    assert PartyDesk.open(market.desk, lambda: 0).custody == "desk"


def test_keys_are_their_owners_alone(place):
    keys = [*place.folder.rglob("*.key")]
    assert len(keys) == 4 * 3 + 1 + 2 * 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert len({path.read_bytes() for path in keys}) == len(keys)


def test_simulated_venues_listen_where_the_oracles_look(place):
    operator = load_operator(place.folder / "network" / "alpha.toml")
    ports = sorted(
        int(e.websocket_url.split(":")[2].split("/")[0]) for e in operator.venues.values()
    )
    assert ports == [place.simulators + n for n in range(3)]
    assert str(place.simulators) in programs_of(place)[0].command


def test_live_venues_need_no_program(tmp_path):
    place = made(tmp_path / "net", live=True, port=8123, block_s=600)
    assert load_operator(place.folder / "network" / "bravo.toml").venues == dict(LIVE)
    assert "venues" not in [program.name for program in programs_of(place)]
    assert place.url == "http://127.0.0.1:8123"


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not empty"):
        create(tmp_path, live=True, port=None, block_s=5)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "`oracle-vm up --dir"),
        ('[up]\nvenues = "simulated"\napi = 1\n', "simulators"),
        ('[up]\nvenues = "live"\napi = 0\n', "api"),
        ('[up]\nvenues = "live"\napi = 1\nblocks = 1\n', "blocks"),
    ],
)
def test_a_wrong_folder_says_what_is_wrong(tmp_path, text, says):
    if text is not None:
        (tmp_path / "up.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        Place.load(tmp_path)


def test_who_needs_nobody_starts_first(place):
    names = [program.name for program in programs_of(place)]
    assert names == ["venues", "coordinator", "prover", *place.nodes, "api"]


# Several operators


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder as the first `up --operators 3` leaves it; nothing runs."""
    folder = tmp_path_factory.mktemp("operators") / "net"
    return create(folder, live=False, port=None, block_s=5, apart=True)


def test_each_operator_has_what_is_its_own_and_a_program_takes(site):
    assert Site.load(site.folder) == site
    found = {group.name: [p.name for p in programs_of(group)] for group in site.groups}
    assert found == {
        "world": ["venues", "coordinator"],
        "alpha": ["prover", "oracle", "aggregator", "api"],
        "bravo": ["oracle", "api"],
        "charlie": ["oracle", "api"],
    }
    assert len({group.network.read_bytes() for group in site.groups}) == 1
    for group in site.groups[1:]:
        for program, node in group.nodes.items():
            operator = load_operator(group.folder / f"{program}.toml")
            assert operator.name == node.name == (group.name if program == "oracle" else program)
            assert operator.folder == node.folder
            assert all(path.is_relative_to(group.folder) for path in operator.keys.values())
        market = load_market(group.folder / "api.toml")
        assert market.listen.port == group.api
        assert (market.desk is None) == (group.name != "alpha")
    desk = load_market(site.groups[1].folder / "api.toml").desk
    assert desk.chain.resolve() == site.chain / "chain.sock"
    assert desk.aggregator == site.groups[1].nodes["aggregator"].control
    secrets = [path.read_bytes() for path in site.folder.rglob("*.key")]
    assert len(set(secrets)) == len(secrets) == 4 * 3 + 1 + 2 * 2


def test_a_group_alone_is_a_folder_too(site):
    alone = Site.load(site.folder / "operators" / "bravo")
    assert alone == Site(alone.folder, Site.load(site.folder, "bravo").groups)
    assert (alone.chain, alone.simulators, len(alone.gateways)) == (None, None, 1)
    with pytest.raises(ConfigError, match="--operator zulu: choose world, alpha, bravo, charlie"):
        Site.load(site.folder, "zulu")
    with pytest.raises(ConfigError, match="exchanges, and other operators, have real time"):
        _moved(alone, 1)


def test_a_folder_of_one_group_has_no_operators(place):
    with pytest.raises(ConfigError, match=r"--operator alpha: .* has none"):
        Site.load(place.folder, "alpha")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("api = ", "port = "), "port"),
        (('name = "bravo"', 'groups = ["a"]'), "groups: a group has none"),
        (("api = ", "block_s = 5 # "), "api: missing"),
    ],
)
def test_a_wrong_group_says_what_is_wrong(tmp_path, change, says):
    site = create(tmp_path / "net", live=True, port=None, block_s=5, apart=True)
    file = site.groups[2].folder / "up.toml"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(ConfigError, match=f"operators/bravo/up.toml.*{says}"):
        Site.load(site.folder)


def test_the_clock_of_all_is_one(tmp_path):
    site = create(tmp_path / "net", live=False, port=7000, block_s=5, apart=True)
    assert [group.api for group in site.gateways] == [7000, 7001, 7002]
    moved = _moved(site, 10**6)
    assert {group.clock_offset_ms for group in moved.groups} == {10**6}
    assert len({group.network.read_bytes() for group in moved.groups}) == 1


def test_what_a_folder_was_made_with_stays(site, place):
    Wanted(False, None, None, 3, 3).require(site)
    Wanted(False, place.api, 5, 3, None).require(Site.load(place.folder))
    for wanted, option in (
        (Wanted(True, None, None, None, None), "--live"),
        (Wanted(False, 1, None, None, None), "--port"),
        (Wanted(False, None, 6, None, None), "--block-s"),
        (Wanted(False, None, None, 4, None), "--oracles"),
        (Wanted(False, None, None, None, 4), "--operators"),
    ):
        with pytest.raises(ConfigError, match=f"{option}: .* was made otherwise"):
            wanted.require(site)
    with pytest.raises(ConfigError, match="--operators"):
        Wanted(False, None, None, None, 3).require(Site.load(place.folder))


def test_who_is_missing_is_named(site):
    lock = claim(site.groups[2].process("oracle"))
    try:
        found = look(site)
    finally:
        os.close(lock)
        site.groups[2].process("oracle").unlink()
    assert found["phase"] == "incomplete"
    assert {row["name"]: row["phase"] for row in found["groups"]} == {
        "world": "down",
        "alpha": "down",
        "bravo": "unkept",
        "charlie": "down",
    }
    network = load_operator(site.groups[2].folder / "oracle.toml").network
    (row,) = [row for row in found["programs"] if row["name"] == "bravo/oracle"]
    assert (row["pid"], row["pgid"]) == (os.getpid(), os.getpgid(0))
    assert row["oracle_key"] == network.config.oracles[1].hex()
    assert row["identity_key"] == network.peers[1].identity.hex()
    assert (row["health"], row["signed"], row["peers"]) == ("it does not answer", 0, 3)
    text = shown(found)
    assert "bravo is unkept; missing: bravo/api" in text
    assert f"{row['oracle_key'][:8]}..{row['oracle_key'][-4:]}" in text
    json.dumps(found)


def test_logs_of_one_operator(site):
    def names(name):
        return [log.name for log in tail.logs_of(site, name)]

    assert names("bravo") == ["bravo/up", "bravo/oracle", "bravo/api"]
    assert names("alpha/oracle") == ["alpha/oracle"]
    with pytest.raises(ConfigError, match="oracle: no such program; choose world/up, world/venues"):
        names("oracle")


# The clock


def test_one_clock_for_everything_and_it_never_goes_back(tmp_path):
    real_ms = SystemClock().now_ms()
    ahead_ms = offset_ms("2036-12-27T06:55:00Z", None, SystemClock())
    place = made(tmp_path / "net", oracles=4, clock_offset_ms=ahead_ms)
    site = Site.load(place.folder)
    assert [*place.nodes] == ["alpha", "bravo", "charlie", "delta", "aggregator"]
    said = clock_of(place)
    assert (said["name"], said["offset_ms"]) == ("simulated-clock", ahead_ms)
    assert 0 <= said["now_ms"] - (real_ms + ahead_ms) < 60_000
    market = load_market(place.folder / "api.toml")
    for network in (
        load_operator(place.folder / "network" / "delta.toml").network,
        market.network,
    ):
        assert network.clock == place.clock
    assert programs_of(place)[0].command[-2:] == ("--network", str(place.network))
    assert "2036-12-27" in shown(look_at(place))
    with pytest.raises(ConfigError, match="never earlier again"):
        _moved(site, ahead_ms - 1)
    assert _moved(site, ahead_ms + 1).groups[0].clock_offset_ms == ahead_ms + 1
    set_clock(place.network, 0)
    assert Place.load(place.folder).clock.name == "system-clock"


def test_a_clock_is_set_before_an_expiry(place):
    clock = SystemClock()
    for minutes in (0.0, 5.0, 1440.0):
        now_ms = clock.now_ms() + offset_ms(None, minutes, clock)
        left_ms = (EXPIRY_MS - now_ms) % DAY_MS
        assert abs(left_ms - minutes * 60_000 % DAY_MS) < 1000
        assert now_ms >= clock.now_ms() - 1000
    assert offset_ms(None, None, clock) is None
    with pytest.raises(ConfigError, match="once"):
        offset_ms("2036-12-27T06:55:00Z", 1.0, clock)
    with pytest.raises(ConfigError, match="write a time, as"):
        offset_ms("tomorrow", None, clock)
    for minutes in (float("inf"), float("nan"), -1.0, 1e9):
        with pytest.raises(ConfigError, match=r"--before-expiry .*: 0 to 525600 minutes"):
            offset_ms(None, minutes, clock)


def test_live_venues_have_real_time(tmp_path):
    place = made(tmp_path / "net", live=True)
    with pytest.raises(ConfigError, match="real time"):
        _moved(Site.load(place.folder), 1)
    set_clock(place.network, 1)
    with pytest.raises(ConfigError, match="live venues have real time"):
        Place.load(place.folder)


# Processes

HOLD = "import sys; from pathlib import Path; from actors.local.process import claim\n" + (
    "fd = claim(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path):
    """A process that has claimed tmp_path/p.json."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "p.json")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_a_process_file_names_who_lives_and_only_one(holder, tmp_path):
    found = living(tmp_path / "p.json")
    assert found.pid == holder.pid
    assert 0 <= found.age_s < 600
    with pytest.raises(GuardError, match="in use by another process"):
        claim(tmp_path / "p.json")
    found.end(20)
    assert holder.wait(20) == -signal.SIGTERM
    assert living(tmp_path / "p.json") is None
    os.close(claim(tmp_path / "p.json"))


def test_a_stranger_with_the_same_pid_is_not_touched(holder):
    real = Process.of(holder.pid)
    for other in (
        Process(real.pid, real.ticks + 1, real.boot),
        Process(real.pid, real.ticks, "another boot"),
    ):
        assert not other.lives
        assert other.open() is None
        other.end(20)
    assert holder.poll() is None
    assert real.lives


def test_the_dead_are_gone_before_they_are_buried(holder):
    process = Process.of(holder.pid)
    process.send(signal.SIGKILL)
    assert process.wait(20)
    assert not process.lives


@pytest.mark.parametrize("text", [None, "", "{", '{"pid": 1}', "[]"])
def test_a_file_that_says_nothing(tmp_path, text):
    if text is not None:
        (tmp_path / "p.json").write_text(text)
    assert living(tmp_path / "p.json") is None


# Restarts


def test_restarts_come_later_each_time_and_end():
    restarts, delays = Restarts(), []
    while (delay_s := restarts.delay_s(10.0)) is not None:
        delays.append(delay_s)
        restarts = restarts.another(10.0)
    assert delays == [min(FIRST_S * 2**n, MOST_S) for n in range(BUDGET)]
    assert restarts.total == BUDGET
    later = 10.0 + WINDOW_S
    assert restarts.delay_s(later) == FIRST_S
    assert restarts.another(later).total == BUDGET + 1


# The keeper, over programs that are light


@pytest.fixture
def light(tmp_path, monkeypatch):
    """A folder whose programs are the venues and what ``last`` says; ready at once, or never."""

    def make(last=(), is_ready=True):
        place = made(tmp_path / "net")
        programs = [programs_of(place)[0], *last(place)] if last else [programs_of(place)[0]]
        monkeypatch.setattr(keeper, "programs_of", lambda _: programs)

        async def ready(*_):
            await asyncio.sleep(0 if is_ready else 600)

        monkeypatch.setattr(keeper, "until_ready", ready)
        return place

    return make


async def eventually(holds):
    async with asyncio.timeout(60):
        while not (answer := holds()):
            await asyncio.sleep(0.02)
    return answer


def no_oracle(place):
    config = str(place.folder / "nowhere.toml")
    command = ("oracle", "run", "--config", config)
    return [Program("alpha", command, place.process("alpha"), place.log("alpha"))]


async def test_a_half_failed_start_names_the_program_and_ends_the_others(light):
    place = light(no_oracle, is_ready=False)
    kept = keeper.Keeper(place)
    with pytest.raises(ConfigError, match=r"alpha has ended \(exit code 1\).*\n.*nowhere.toml"):
        await kept.start(60)
    await kept.stop()
    assert living(place.process("venues")) is None
    said = KeeperState.read(place.state)
    assert (said.phase, "nowhere.toml" in said.fault) == ("failed", True)


async def test_what_is_killed_is_started_again_and_taken_over_by_the_next_keeper(light):
    place = light()
    kept, file = keeper.Keeper(place), place.process("venues")
    await kept.start(60)
    first = await eventually(lambda: living(file))
    first.send(signal.SIGKILL)
    second = await eventually(lambda: (p := living(file)) and p != first and p)
    assert KeeperState.read(place.state).programs["venues"].restarts == 1
    for task in kept._keeping:  # as if that keeper were killed
        task.cancel()
    heir = keeper.Keeper(place)
    await heir.start(60)
    await eventually(lambda: heir.state.programs["venues"].state == "running")
    assert living(file) == second
    await heir.stop()
    assert living(file) is None
    assert kept._children["venues"].wait(20) is not None


async def test_a_full_disk_keeps_no_program_from_running_or_ending(light, monkeypatch):
    place = light()
    kept = keeper.Keeper(place)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(KeeperState, "write", full)
    await kept.start(60)
    assert await eventually(lambda: living(place.process("venues")))
    await kept.stop()
    assert living(place.process("venues")) is None


# What is shown


def test_the_keepers_word_survives_the_disk(tmp_path):
    state = KeeperState("failed", {"alpha": ProgramState("failed", 5, "no disk")}, "alpha: no disk")
    assert KeeperState.read(tmp_path / "state.json") is None
    state.write(tmp_path / "state.json")
    assert KeeperState.read(tmp_path / "state.json") == state
    (tmp_path / "state.json").write_text('{"phase": "dancing"}')
    assert KeeperState.read(tmp_path / "state.json") is None


def shown(found):
    console = Console(width=300)
    with console.capture() as capture:
        console.print(show.table(found))
    return capture.get()


def test_a_place_where_nothing_runs_is_down(place):
    found = look_at(place)
    assert (found["phase"], found["height"], found["price_usd"]) == ("down", None, None)
    assert {row["state"] for row in found["programs"]} == {"stopped"}
    assert "is down: `oracle-vm up` starts everything" in shown(found)
    json.dumps(found)


def test_programs_without_a_keeper_are_seen(place):
    lock = claim(place.process("alpha"))
    try:
        found = look_at(place)
        assert found["phase"] == "unkept"
        assert "`oracle-vm up` takes them over" in shown(found)
        running = {"alpha": ProgramState("running", 2), "bravo": ProgramState("running")}
        KeeperState("up", running | {"api": ProgramState("failed", 5, "no")}).write(place.state)
        lock_of_keeper = claim(place.process(KEEPER))
        rows = {row["name"]: row for row in look_at(place)["programs"]}
        alpha = rows["alpha"]
        assert (alpha["pid"], alpha["restarts"], alpha["round"]) == (os.getpid(), 2, None)
        assert [rows[n]["state"] for n in ("alpha", "bravo", "api")] == [
            "running",
            "stopped",
            "failed",
        ]
        with pytest.raises(ConfigError, match="api failed, the rest runs; `oracle-vm down --dir"):
            commands.up(place.folder)
        os.close(lock_of_keeper)
        place.process(KEEPER).unlink()
    finally:
        os.close(lock)
        place.process("alpha").unlink()
        place.state.unlink(missing_ok=True)


def test_a_node_that_is_not_well_is_seen_and_counts(place, monkeypatch, capsys):
    found = look_at(place) | {"phase": "up"}
    nodes = [row for row in found["programs"] if "health" in row]
    for row in found["programs"]:
        row["state"] = "running"
    for row in nodes:
        row["health"] = ""
    monkeypatch.setattr(commands, "look", lambda _: found)
    commands.status(place.folder)
    nodes[0]["health"] = "no price for 9 s"
    with pytest.raises(typer.Exit) as exit_code:
        commands.status(place.folder)
    assert exit_code.value.exit_code == 1
    assert "no price for 9 s" in shown(found)
    before, after = capsys.readouterr().out.split("health")[1:]
    assert "no price" in after and "no price" not in before


def test_what_to_try_can_be_pasted():
    quote = {"instrument": "BTC-27DEC26-90000-C", "quantity_sats": 10**8, "premium_sats": 5_000}
    lines = [*show.next_steps("http://127.0.0.1:1", quote, "--dir x")]
    body = next(line for line in lines if "-d '" in line).split("-d '")[1].rstrip("'")
    assert json.loads(body)["max_premium_sats"] == 6_000
    assert "oracle-vm status --watch --dir x" in lines


def test_logs_are_merged_by_time_and_readable(place):
    early = {"time": "2026-01-01T00:00:01.000Z", "level": "INFO", "event": "started"}
    late = early | {"time": "2026-01-01T00:00:02.500Z", "event": "certified", "round": 7}
    place.log("alpha").write_text(json.dumps(late) + "\n")
    bad = {"level": "ERROR", "event": "stops", "errors": ["OSError: no disk"]}
    place.log("bravo").write_text(f"{json.dumps(early)}\n{json.dumps(early | bad)}\nplain\n{{half")
    logs = tail.logs_of(Site.load(place.folder), None)
    assert tail.merged(logs) == [
        "00:00:01.000  bravo        started",
        "00:00:01.000  bravo        ERROR stops ! OSError: no disk",
        "00:00:01.000  bravo        plain",
        "00:00:02.500  alpha        certified round=7",
    ]
    assert tail.merged(logs) == []
    with place.log("bravo").open("a") as log:
        log.write(" a line}\n")
    assert tail.merged(logs) == ["-             bravo        {half a line}"]
    assert last_lines(place.log("bravo"), 1) == ["{half a line}"]
    assert last_lines(Path("nowhere"), 1) == []


def test_a_log_of_nobody(place):
    with pytest.raises(ConfigError, match="zulu: no such program; choose up, venues, coordinator"):
        tail.logs_of(Site.load(place.folder), "zulu")


def test_only_the_last_lines(tmp_path):
    (tmp_path / "a.log").write_text("one\ntwo\nthree\n")
    for lines, said in ((0, []), (1, ["three"]), (9, ["one", "two", "three"])):
        log = tail.Log("a", tmp_path / "a.log")
        log.skip(lines)
        assert [line.split()[-1] for _, line in log.read()] == said


# Coins


class CountedChain:
    """As far as the miner needs a chain; dies when it has so many blocks."""

    def __init__(self):
        self.blocks = []
        self.most = 10**6

    @property
    def height(self):
        return len(self.blocks)

    def mine(self, count, to=b""):
        for _ in range(count):
            if self.height == self.most:
                raise ConnectionError
            self.blocks.append(to)


@pytest.mark.parametrize("dies_at", [0, 1, COINBASES, 3 * COINBASES, 50, ENDOWED_HEIGHT])
def test_everybody_gets_the_same_coins_whenever_the_miner_dies(dies_at):
    chain, scripts = CountedChain(), [b"holder", b"writer", b"faucet"]
    chain.most = dies_at
    try:
        endow(chain, scripts)
    except ConnectionError:
        chain.most = 10**6
        endow(chain, scripts)
    assert chain.height == ENDOWED_HEIGHT
    assert [chain.blocks.count(script) for script in scripts] == [COINBASES] * 3
    endow(chain, scripts)
    assert chain.height == ENDOWED_HEIGHT
