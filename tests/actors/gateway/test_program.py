"""``oracle-vm api run`` as an operator starts it: against a network of plain processes, killed and
started again."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from websockets.asyncio.client import connect

from actors.contract_setting import Ending, Setting
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.ports import free_ports
from actors.verify_command import judge
from tests.builders.market import QUANTITY, RICH
from tests.builders.network import AGGREGATOR, network, until

QUICK = {"interval_ms": 500, "schedule_ms": 500, "takeover_ms": 400}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Three oracles and an aggregator that price BTC/USD twice a second."""
    folder = tmp_path_factory.mktemp("api") / "net"
    with SimulatedExchanges(7, tick_ms=50) as exchanges, network(folder, exchanges, **QUICK) as net:
        net.start()
        net.started()
        yield net


class Api:
    """The process and its port."""

    def __init__(self, file, port):
        self.file = file
        self.port = port
        self.child = None

    def start(self):
        with self.file.with_suffix(".log").open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "actors.cli", "api", "run", "--config", str(self.file)],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def ask(self, path, body=None, key=None):
        """Status and JSON; (0, None) while nobody answers."""
        headers = {"content-type": "application/json"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urlopen(request, timeout=20) as reply:
                return reply.status, json.loads(reply.read())
        except HTTPError as error:
            return error.code, json.loads(error.read())
        except (URLError, OSError):
            return 0, None

    def ready(self):
        until(lambda: self.ask("/readyz")[0] == 200, f"ready: {self.log()}")

    def log(self):
        return self.file.with_suffix(".log").read_text()[-2000:]

    def end(self, number):
        self.child.send_signal(number)
        return self.child.wait(20)


@contextmanager
def api(net, tmp_path, tables=""):
    (port,) = free_ports(1)
    file = tmp_path / "api.toml"
    file.write_text(
        f'[api]\nlisten = "127.0.0.1:{port}"\nfolder = "data"\n'
        f'network = "{net.folder / "network.toml"}"\n{tables}'
    )
    made = Api(file, port)
    made.start()
    try:
        yield made
    finally:
        if made.child.poll() is None:
            made.end(signal.SIGKILL)


def test_it_listens_to_the_network(net, tmp_path):
    with api(net, tmp_path) as running:
        running.ready()
        _, index = running.ask("/v1/index/BTC")
        verdict = judge(json.dumps(index).encode(), net.agreed.config)
        assert (verdict.reason, verdict.details["price"]) == (None, index["price_usd"])

        def all_heard():
            nodes = running.ask("/v1/nodes")[1]["nodes"]
            return all(node["connected"] and node["round"] for node in nodes) and nodes

        nodes = until(all_heard, "every node is heard")
        assert [node["name"] for node in nodes] == [AGGREGATOR, "alpha", "bravo", "charlie"]
        before = index["round"]
        until(lambda: running.ask("/v1/index/BTC")[1]["round"] > before + 2, "prices go on")
        expiry = running.ask("/v1/instruments")[1]["expiries"][-1]
        strike = round(float(index["price_usd"]), -3)
        status, quote = running.ask(f"/v1/quote?instrument=BTC-{expiry}-{strike:.0f}-C")
        assert (status, quote["premium_sats"] > 0) == (200, True)
        assert asyncio.run(hear(running.port)) > before
        assert running.end(signal.SIGTERM) == 0


async def hear(port):
    """The round of the second notification of the stream."""
    async with connect(f"ws://127.0.0.1:{port}/v1/stream") as socket:
        request = {"id": 1, "method": "public/subscribe", "params": {"channels": ["index.BTC"]}}
        await socket.send(json.dumps(request))
        for _ in range(3):
            message = json.loads(await asyncio.wait_for(socket.recv(), 20))
        return message["params"]["data"]["patch"]["round"]


@pytest.mark.slow
def test_it_outlives_the_aggregator(net, tmp_path):
    with api(net, tmp_path) as running:
        running.ready()
        net.kill(AGGREGATOR)
        try:
            before = running.ask("/v1/index/BTC")[1]["round"]
            until(
                lambda: running.ask("/v1/index/BTC")[1]["round"] > before + 3, "the oracles go on"
            )
            fault = running.ask("/v1/nodes")[1]["nodes"][0]
            assert (fault["connected"], bool(fault["fault"])) == (False, True)
        finally:
            net.start(AGGREGATOR)
            net.started(AGGREGATOR)


@pytest.mark.slow
def test_a_history_alone_is_enough(net, tmp_path):
    history = net.data("alpha") / "history.sqlite"
    tables = f'[certificates]\nlisten = false\nhistory = "{history}"\n'
    with api(net, tmp_path, tables) as running:
        running.ready()
        assert len(running.ask("/v1/certificates?limit=3")[1]["certificates"]) == 3
        before = running.ask("/v1/index/BTC")[1]["round"]
        until(lambda: running.ask("/v1/index/BTC")[1]["round"] > before, "it is followed")
        assert running.ask("/v1/nodes")[1] == {"nodes": []}


def test_an_order_survives_sigkill(net, tmp_path):
    setting = Setting.create(tmp_path / "parties", Ending.COOPERATIVE)
    tables = "[desk]\n"
    for name in ("holder", "writer"):
        file = setting.folder / f"{name}.toml"
        file.write_text(file.read_text().split("[terms]")[0])
        tables += f'{name} = "{file}"\n'
    with api(net, tmp_path, tables + 'chain = "no.sock"\n') as running:
        running.ready()
        expiry = running.ask("/v1/instruments")[1]["expiries"][-1]
        order = {
            "instrument": f"BTC-{expiry}-90000-C",
            "quantity_sats": QUANTITY,
            "max_premium_sats": RICH,
        }
        status, ordered = running.ask("/v1/contracts", order, "k1")
        assert (status, ordered["stage"]) == (202, "ordered")
        running.end(signal.SIGKILL)
        running.start()
        running.ready()
        assert running.ask("/v1/contracts", order, "k1") == (202, ordered)
        status, found = running.ask("/v1/contracts")
        assert [row["id"] for row in found["contracts"]] == [1]
        assert found["custody"] == "owners"

        def fault():
            return running.ask("/v1/contracts/1")[1].get("fault")

        assert "no.sock" in until(fault, "it says that there is no node")
