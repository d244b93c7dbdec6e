"""``oracle-vm up`` as a person uses it: everything starts, options are ordered, funded on chain,
exercised, and settled at what the real oracles certify; what is killed comes back, what was down at
expiry settles after it, and in the end nothing is left."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path

import pytest

from actors.config import CHAIN_SOCKET, open_chain
from actors.keyfile import load_key
from actors.local.place import Place, Site
from actors.local.process import Process, living
from actors.local.programs import KEEPER, programs_of
from actors.local.status import look
from actors.market_config import load_market
from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import parse_hash
from protocol.options.instrument import OptionKind, parse_instrument
from protocol.units import E8
from tests.builders.network import until

QUANTITY = 10**8


def oracle_vm(folder, *arguments, code=0):
    where = () if folder is None else ("--dir", str(folder))
    command = [sys.executable, "-m", "actors.cli", *arguments, *where]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert run.returncode == code, f"{arguments}: {run.stdout}{run.stderr}"
    return run.stdout


def ask(place, path, body=None):
    """The gateway's answer; None while there is none."""
    gateway = HTTPConnection("127.0.0.1", place.api, timeout=30)
    key = str(abs(hash((path, str(body)))))
    headers = {"content-type": "application/json", "idempotency-key": key}
    try:
        text = None if body is None else json.dumps(body)
        gateway.request("GET" if body is None else "POST", path, text, headers)
        reply = gateway.getresponse()
        assert reply.status < 300, reply.read()
        return json.loads(reply.read())
    except OSError:
        return None
    finally:
        gateway.close()


def order(place, tail, expiry, index):
    """The number of a contract on an option 1,000 dollars in the money, however it is called."""
    away = 1000 if tail[0] == "P" else -1000
    name = f"BTC-{expiry}-{round(float(index['price_usd']), -3) + away:.0f}-{tail}"
    quote = ask(place, f"/v1/quote?instrument={name}&quantity_sats={QUANTITY}")
    wanted = {
        "instrument": name,
        "quantity_sats": QUANTITY,
        "max_premium_sats": 2 * quote["premium_sats"],
    }
    return ask(place, "/v1/contracts", wanted)["id"]


def stage(place, number):
    shown = ask(place, f"/v1/contracts/{number}") or {}
    return shown.get("stage")


def require_settled(place, number):
    """The contract is closed on the chain, and paid what the certified price says."""
    shown = ask(place, f"/v1/contracts/{number}")
    assert (shown["stage"], shown["outcome"], shown["fault"]) == ("closed", "CLOSE", "")
    instrument = parse_instrument(shown["instrument"])
    price_e8 = int(Decimal(shown["settlement"]["price_usd"]) * E8)
    gain_e8 = price_e8 - instrument.strike_e8
    if instrument.kind is OptionKind.PUT:
        gain_e8 = -gain_e8
    payoff, unit = QUANTITY * max(gain_e8, 0) // price_e8, QUANTITY // 65_535
    assert payoff > 0, "an option out of the money shows little"
    assert shown["settlement"]["payout_sats"] == payoff // unit * unit
    fund, close = shown["transactions"]
    assert (fund["name"], close["name"]) == ("FUND", "CLOSE")
    holder = key_path_script(load_key(place.folder / "holder" / "wallet.key").public)
    with open_chain(place.chain / CHAIN_SOCKET, "socket") as chain:
        seen = chain.tx(parse_hash(close["txid"]))
    (paid,) = [out.nValue for out in seen.tx.vout if out.scriptPubKey == holder]
    bond = load_market(place.folder / "api.toml").desk.terms.bond_sats
    # With half of what FUND holds for fees and CLOSE did not take: less than a unit.
    assert 0 <= paid - (payoff // unit * unit + bond) < unit
    assert close["txid"] in oracle_vm(place.folder / "chain", "chain")


def look_at(place):
    return look(Site(place.folder, (place,)))


def row(found, name):
    return next(row for row in found["programs"] if row["name"] == name)


def processes_below(folder):
    """Pids of every process whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes() and Process.of(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return set(found) - {os.getpid()}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "net"
    yield place
    for pid in processes_below(place):
        os.kill(pid, signal.SIGKILL)


def an_oracle_and_the_api_die(place):
    """Both are started again, the pool and the oracle go on."""
    pool = ask(place, "/v1/pool/details")
    killed = {name: row(look_at(place), name)["pid"] for name in ("alpha", "api")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    def is_back():
        rows = {name: row(look_at(place), name) for name in killed}
        return all(
            row["pid"] not in (None, killed[name]) and row["restarts"] == 1
            for name, row in rows.items()
        )

    until(is_back, "both are started again", 180)
    until(
        lambda: (ask(place, "/v1/pool/details") or pool)["seq"] > pool["seq"],
        "the pool goes on",
        180,
    )
    before = until(lambda: ask(place, "/v1/index/BTC"), "a price", 180)
    until(
        lambda: ((row(look_at(place), "alpha")["round"]) or 0) > before["round"],
        "alpha certifies again",
        180,
    )


def the_keeper_dies(folder, place):
    """Everything else goes on, and the next `up` takes it over."""
    keeper = living(place.process(KEEPER))
    keeper.send(signal.SIGKILL)
    assert keeper.wait(20)
    found = look_at(place)
    assert found["phase"] == "unkept"
    assert "takes them over" in oracle_vm(folder, "status", code=1)
    before = {row["name"]: row["pid"] for row in found["programs"]}
    oracle_vm(folder, "up")
    assert {row["name"]: row["pid"] for row in look_at(place)["programs"]} == before


@pytest.mark.timeout(900)
def test_everything_on_one_machine(folder):
    printed = oracle_vm(folder, "up", "--block-s", "1", "--before-expiry", "30")
    place = Place.load(folder)
    for said in (
        f"{place.url}/openapi.json",
        "simulated-clock: ",
        "alpha",
        "/v1/contracts -H",
        "oracle-vm down",
    ):
        assert said in printed
    assert "already up" in oracle_vm(folder, "up")

    found = json.loads(oracle_vm(folder, "status", "--json"))
    assert (found["phase"], {row["restarts"] for row in found["programs"]}) == ("up", {0})
    status = ask(place, "/v1/status")
    assert (status["clock"], status["clock_offset_ms"]) == (
        "simulated-clock",
        place.clock_offset_ms,
    )
    index = ask(place, "/v1/index/BTC")
    assert index["grade"] in ("FULL", "DEGRADED")
    expiry = ask(place, "/v1/instruments")["expiries"][0]
    number = order(place, "C", expiry, index)

    pool = ask(place, "/v1/pool/details")
    assert {*pool["tokens"]} == {"BTC", "ETH", "ADA"}

    key = ("--key", str(folder / "lp.key"), "--api", place.url)
    added = oracle_vm(None, "pool", "submit", "add_liquidity", "amount=1000", *key)
    assert json.loads(added)["status"] == "accepted"
    assert ask(place, "/v1/pool")["total_liquidity"] == "1000.00"

    an_oracle_and_the_api_die(place)  # while the parties sign

    def transactions():
        shown = ask(place, f"/v1/contracts/{number}") or {}
        return shown.get("stage") == "open" and shown["transactions"]

    (fund,) = until(transactions, "the option is funded", 240)
    assert (fund["name"], fund["height"] > 0) == ("FUND", True)
    assert look_at(place)["contracts"] == {"open": 1}
    assert "alpha" in oracle_vm(folder, "logs", "-n", "3")
    assert "certified round=" in oracle_vm(folder, "logs", "alpha")

    the_keeper_dies(folder, place)

    # All of it is down at expiry: the first price behind it settles.
    expiry_ms = ask(place, f"/v1/contracts/{number}")["expiry_ms"]
    assert oracle_vm(folder, "down").strip() == "down"
    assert processes_below(folder) == set()
    assert look_at(place)["phase"] == "down"
    later = datetime.fromtimestamp(expiry_ms // 1000 + 60, UTC).isoformat()
    oracle_vm(folder, "up", "--clock", later)
    until(lambda: stage(place, number) == "closed", "the contract settles", 180)
    require_settled(place, number)

    assert oracle_vm(folder, "down").strip() == "down"
    assert processes_below(folder) == set()
    assert not any(living(program.process) for program in programs_of(place))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_exercise_and_expiry_while_things_die(folder):
    """A call, a put that is knocked out nowhere near, and an American put that is exercised: each
    settles at its own certified price, whoever is killed meanwhile."""
    oracle_vm(folder, "up", "--block-s", "1", "--before-expiry", "7", "--oracles", "4")
    place = Place.load(folder)
    index = ask(place, "/v1/index/BTC")
    expiry = ask(place, "/v1/instruments")["expiries"][0]
    put, american, barrier = (
        order(place, tail, expiry, index) for tail in ("P", "P-A", "C-UO120000")
    )
    numbers = (put, american, barrier)

    def are_open():
        return all(stage(place, number) == "open" for number in numbers)

    until(are_open, "all are funded", 240)
    exercised = ask(place, f"/v1/contracts/{american}/exercise", {})
    victims = [f"contracts/{put}/holder.toml", f"contracts/{american}/writer.toml", "api.toml"]
    for victim in victims:
        for pid in processes_below(f"{folder}/api/{victim}" if "/" in victim else folder / victim):
            os.kill(pid, signal.SIGKILL)
    until(lambda: stage(place, american) == "closed", "the exercise settles", 300)
    require_settled(place, american)
    shown = ask(place, f"/v1/contracts/{american}")
    assert shown["settlement"]["round"] >= exercised["exercise_round"]
    assert stage(place, put) == "open"

    # The aggregator is away at expiry: oracles certify without it, contracts wait for it.
    expiry_ms = shown["expiry_ms"]
    until(lambda: expiry_ms - place.clock.now_ms() < 5_000, "expiry is near", 480)
    away = living(place.process("aggregator"))
    away.send(signal.SIGSTOP)
    try:
        said = until(
            lambda: (ask(place, f"/v1/contracts/{put}") or {}).get("fault"), "it says why", 60
        )
        assert "aggregator/control.sock" in said
    finally:
        away.send(signal.SIGCONT)
    for number in (put, barrier):
        until(lambda number=number: stage(place, number) == "closed", "it settles", 120)
        require_settled(place, number)
    oracle_vm(folder, "down")
    assert processes_below(folder) == set()
