"""``oracle-vm up`` as a person uses it: everything starts, an option is ordered and funded on the
chain, what is killed comes back, and in the end nothing is left."""

import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from actors.local.place import Place
from actors.local.process import Process, living
from actors.local.programs import KEEPER, programs_of
from actors.local.status import look
from tests.builders.network import until

QUANTITY = 10**8


def oracle_vm(folder, *arguments, code=0):
    command = [sys.executable, "-m", "actors.cli", *arguments, "--dir", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert run.returncode == code, f"{arguments}: {run.stdout}{run.stderr}"
    return run.stdout


def ask(place, path, body=None):
    """The gateway's answer; None while there is none."""
    gateway = HTTPConnection("127.0.0.1", place.api, timeout=30)
    headers = {"content-type": "application/json", "idempotency-key": "first"}
    try:
        gateway.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        reply = gateway.getresponse()
        assert reply.status < 300, reply.read()
        return json.loads(reply.read())
    except OSError:
        return None
    finally:
        gateway.close()


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


@pytest.mark.timeout(600)
def test_everything_on_one_machine(folder):
    printed = oracle_vm(folder, "up", "--block-s", "1")
    place = Place.load(folder)
    for said in (f"{place.url}/openapi.json", "alpha", "/v1/contracts -H", "oracle-vm down"):
        assert said in printed
    assert "already up" in oracle_vm(folder, "up")

    found = json.loads(oracle_vm(folder, "status", "--json"))
    assert (found["phase"], {row["restarts"] for row in found["programs"]}) == ("up", {0})
    index = ask(place, "/v1/index/BTC")
    assert index["grade"] in ("FULL", "DEGRADED")
    expiry = ask(place, "/v1/instruments")["expiries"][1]
    name = f"BTC-{expiry}-{round(float(index['price_usd']), -3):.0f}-C"
    quote = ask(place, f"/v1/quote?instrument={name}&quantity_sats={QUANTITY}")
    order = {
        "instrument": name,
        "quantity_sats": QUANTITY,
        "max_premium_sats": 2 * quote["premium_sats"],
    }
    number = ask(place, "/v1/contracts", order)["id"]

    # An oracle and the API die while the parties sign.
    killed = {name: row(found, name)["pid"] for name in ("alpha", "api")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    def is_back():
        rows = {name: row(look(place), name) for name in killed}
        return all(
            row["pid"] not in (None, killed[name]) and row["restarts"] == 1
            for name, row in rows.items()
        )

    until(is_back, "both are started again", 120)
    before = ask(place, "/v1/index/BTC") or index
    until(
        lambda: ((row(look(place), "alpha")["round"]) or 0) > before["round"],
        "alpha certifies again",
        120,
    )

    def transactions():
        shown = ask(place, f"/v1/contracts/{number}") or {}
        return shown.get("stage") == "open" and shown["transactions"]

    (fund,) = until(transactions, "the option is funded", 240)
    assert (fund["name"], fund["height"] > 0) == ("FUND", True)
    assert look(place)["contracts"] == {"open": 1}
    assert "alpha" in oracle_vm(folder, "logs", "-n", "3")
    assert "certified round=" in oracle_vm(folder, "logs", "alpha")

    # The keeper dies: everything else goes on, and the next `up` takes it over.
    keeper = living(place.process(KEEPER))
    keeper.send(signal.SIGKILL)
    assert keeper.wait(20)
    found = look(place)
    assert found["phase"] == "unkept"
    assert "takes them over" in oracle_vm(folder, "status", code=1)
    before = {row["name"]: row["pid"] for row in found["programs"]}
    oracle_vm(folder, "up")
    assert {row["name"]: row["pid"] for row in look(place)["programs"]} == before

    assert oracle_vm(folder, "down").strip() == "down"
    assert processes_below(folder) == set()
    assert not any(living(program.process) for program in programs_of(place))
    assert look(place)["phase"] == "down"
