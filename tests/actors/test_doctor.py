"""The doctor: every fault is found, says what to do, and nothing is changed by looking."""

import json
import shutil
import socket
import time
from hashlib import sha256

import pytest
from typer.testing import CliRunner

from actors import doctor_files, doctor_machine, doctor_running
from actors.cli import app
from actors.doctor import State
from actors.history import History
from actors.journal import Journal, SignGuard, mark_restored
from actors.keyfile import load_key
from actors.local.files import create
from actors.network_files import SETTINGS, Layout, pin_fields, write_network
from actors.operator import load_operator
from actors.ports import free_ports
from actors.transport_tls import create_certificate
from protocol.oracle.messages import AGGREGATOR
from tests.builders.network import leaks, secrets_in

VENUES = dict.fromkeys(("binance", "coinbase", "kraken"), "live")


@pytest.fixture
def node(tmp_path):
    """The file of an oracle that has signed, and does not run."""
    folder = tmp_path / "net"
    write_network(folder, Layout(("alpha", "bravo", "charlie"), free_ports(4), SETTINGS, VENUES))
    operator = load_operator(folder / "alpha.toml")
    operator.folder.mkdir(parents=True)
    SignGuard.open(operator.folder / "guard.journal", operator.publics["oracle"]).close()
    Journal.open(operator.folder / "evidence.journal")[0].close()
    History.open(operator.folder / "history.sqlite", operator.network.config).close()
    return folder / "alpha.toml"


def found(node, name):
    """What the checks of this name find."""
    return [f for f in doctor_files.files(load_operator(node)) if f.name == name]


def snapshot(folder):
    return {
        path: (sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_node_that_is_down_and_whole(node):
    before = snapshot(node.parent)
    states = {f.name: f.state for f in doctor_files.files(load_operator(node))}
    assert set(states.values()) == {State.OK}
    assert doctor_files.address(load_operator(node)).state is State.OK
    assert not doctor_files.is_running(load_operator(node))
    assert snapshot(node.parent) == before


def test_a_node_that_was_never_started(node):
    shutil.rmtree(node.parent / "data")
    states = {f.name: f.state for f in doctor_files.files(load_operator(node))}
    assert states.pop("modes") is State.WARN
    assert set(states.values()) == {State.OK}
    assert not (node.parent / "data").exists()


def open_key(operator):
    operator.keys["oracle"].chmod(0o644)


def others_key(operator):
    others = operator.keys["oracle"].parents[1] / "bravo"
    shutil.copy(others / "oracle.key", operator.keys["oracle"])


def damage(name):
    def change(operator):
        path = operator.folder / name
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)

    return change


def lose_guard(operator):
    (operator.folder / "guard.journal").unlink()


def open_folder(operator):
    operator.folder.chmod(0o777)


def another_database(operator):
    (operator.folder / "history.sqlite").write_bytes(b"not a database at all" * 100)


@pytest.mark.parametrize(
    ("name", "change", "remedy"),
    [
        ("keys", open_key, "chmod 600"),
        ("keys", others_key, "name the file of that key"),
        ("sign guard", damage("guard.journal"), "damaged"),
        ("sign guard", lose_guard, "oracle-vm backup restore"),
        ("modes", open_folder, "chmod go-w"),
        ("history", another_database, "not a history file"),
    ],
)
def test_a_fault_of_the_files(node, name, change, remedy):
    change(load_operator(node))
    [finding] = found(node, name)
    assert finding.state is State.FAIL
    assert remedy in finding.remedy


def test_a_restored_guard(node):
    mark_restored(load_operator(node).folder / "guard.journal")
    [finding] = found(node, "sign guard")
    assert finding.state is State.WARN
    assert "f + 1 peers" in finding.remedy


def test_an_address_that_is_anothers(node):
    operator = load_operator(node)
    with socket.create_server((operator.listen.host, operator.listen.port)):
        finding = doctor_files.address(operator)
    assert finding.state is State.FAIL
    assert "another program's" in finding.detail


@pytest.fixture
def pinned(node):
    """A node with a self-signed certificate, its key in the roster."""
    folder, operator = node.parent / "tls", load_operator(node)
    pin = create_certificate(folder, "127.0.0.1").pin
    fields = pin_fields("alpha", load_key(operator.keys["identity"]), pin)
    network = node.parent / "network.toml"
    url = operator.roster[0].url
    lines = "\n".join(f'{name} = "{value}"' for name, value in fields.items())
    text = network.read_text().replace(
        f'url = "{url}"', f'url = "{url.replace("ws", "wss")}"\n{lines}'
    )
    network.write_text(text)
    node.write_text(
        node.read_text() + '\n[tls]\ncertificate = "tls/tls.pem"\nkey = "tls/tls-key.pem"\n'
    )
    return node


def test_a_pinned_tls_key(pinned, tmp_path, monkeypatch):
    [finding] = found(pinned, "tls")
    assert finding.state is State.OK
    assert "127.0.0.1, until 20" in finding.detail
    assert "pinned" in finding.detail
    with monkeypatch.context() as later:
        later.setattr(doctor_files.time, "time", lambda: time.time_ns() / 1e9 + 3650 * 86_400)
        assert found(pinned, "tls")[0].state is State.WARN
    create_certificate(tmp_path / "other", "127.0.0.1")
    for name in ("tls.pem", "tls-key.pem"):
        shutil.copy(tmp_path / "other" / name, pinned.parent / "tls" / name)
    [finding] = found(pinned, "tls")
    assert finding.state is State.FAIL
    assert "the roster pins" in finding.remedy


def test_the_machine(tmp_path, monkeypatch):
    findings = {f.name: f for f in doctor_machine.machine(tmp_path)}
    assert findings["python"].state is findings["packages"].state is State.OK
    token = tmp_path / "token"
    token.write_text("secret-of-the-cluster")
    token.chmod(0o644)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    findings = {f.name: f for f in doctor_machine.machine(tmp_path)}
    assert findings["ray token"].state is State.FAIL
    assert not any("secret-of" in f"{f.detail}{f.remedy}" for f in findings.values())
    monkeypatch.setattr(doctor_machine, "DISK_FAIL", 1 << 60)
    monkeypatch.setattr(doctor_machine, "MEMORY_FAIL", 1 << 60)
    findings = {f.name: f for f in doctor_machine.machine(tmp_path)}
    assert findings["disk"].state is findings["memory"].state is State.FAIL
    assert findings["disk"].remedy.startswith("make room")


STATUS = {
    "connected": [1, 2, AGGREGATOR],
    "faults": {},
    "round": 100,
    "refused": {"guard": 2, "stale": 0},
    "signer": {"pid": 1, "fault": None, "reconnects": 0},
    "venues": {"binance": True, "coinbase": True, "kraken": True},
    "waits": None,
    "floor": -1,
}
METRICS = {
    ("cert_age_seconds", ""): 2.0,
    ("clock_offset_ms", 'venue="kraken"'): -20.0,
    ("clock_offset_ms", 'venue="coinbase"'): 30.0,
}


def running(node, monkeypatch, status, metrics):
    async def call(path, method, deadline_s):
        return STATUS | {"pid": 1, "metrics": 1} | status

    monkeypatch.setattr(doctor_running, "call", call)
    monkeypatch.setattr(doctor_running, "_metrics", lambda *_: METRICS | metrics)
    return {f.name: f for f in doctor_running.running(load_operator(node))}


def test_a_node_that_runs_well(node, monkeypatch):
    findings = running(node, monkeypatch, {}, {})
    assert {f.state for f in findings.values()} == {State.OK}
    assert findings["refused"].detail == "2 guard"


@pytest.mark.parametrize(
    ("name", "state", "status", "metrics", "says"),
    [
        (
            "peers",
            "fail",
            {"connected": [255], "faults": {"bravo": "x", "charlie": None}},
            {},
            "fire",
        ),
        ("peers", "warn", {"faults": {"bravo": "the clocks differ by 9 ms"}}, {}, "NTP"),
        ("price", "fail", {}, {("cert_age_seconds", ""): 1e6}, "quorum"),
        ("price", "fail", {"round": None}, {}, "quorum"),
        ("refused", "warn", {"refused": {"equivocation": 1}}, {}, "a liar"),
        ("signer", "fail", {"signer": {"fault": "gone"}}, {}, "signer run"),
        ("venues", "fail", {"venues": {"binance": True, "coinbase": False}}, {}, "network first"),
        ("venues", "warn", {"venues": STATUS["venues"] | {"kraken": False}}, {}, "status page"),
        ("venue clocks", "fail", {}, {k: 3e3 for k in METRICS if "clock" in k[0]}, "chronyc"),
        ("signing", "fail", {"waits": "1 of 2 needed"}, {}, "up and connected"),
        ("signing", "warn", {"floor": 200}, {}, "behind round 200"),
    ],
)
def test_a_fault_of_a_node_that_runs(node, monkeypatch, name, state, status, metrics, says):
    finding = running(node, monkeypatch, status, metrics)[name]
    assert finding.state == state
    assert says in finding.remedy


def test_the_command(node, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(node.parent / "none"))
    shown = CliRunner().invoke(app, ["doctor", "--config", str(node)])
    assert shown.exit_code == 1
    assert "it does not run" in shown.output
    said = CliRunner().invoke(app, ["doctor", "--config", str(node), "--json"])
    answer = json.loads(said.stdout)
    assert answer["counts"]["fail"] == 1
    assert [c["name"] for c in answer["checks"] if c["state"] == "fail"] == ["answers"]
    assert all(c["remedy"] for c in answer["checks"] if c["state"] != "ok")
    assert leaks(secrets_in(node.parent), {"shown": (shown.output + said.output).encode()}) == []
    broken = node.with_name("broken.toml")
    broken.write_text("[node]\n")
    shown = CliRunner().invoke(app, ["doctor", "--config", str(broken)])
    assert shown.exit_code == 1
    assert "fail broken" in shown.output


def test_every_program_of_a_folder_of_up(tmp_path):
    site = create(tmp_path / "up", live=False, port=None, block_s=5)
    before = snapshot(site.folder)
    said = CliRunner().invoke(app, ["doctor", "--dir", str(site.folder), "--json"])
    assert said.exit_code == 1
    checks = json.loads(said.stdout)["checks"]
    programs = [check["of"] for check in checks if check["name"] == "program"]
    assert {"venues", "coordinator", "prover", "alpha", "aggregator", "api"} <= set(programs)
    assert {c["of"] for c in checks if c["name"] == "keys" and c["state"] == "ok"} == {
        *site.groups[0].nodes
    }
    assert snapshot(site.folder) == before
