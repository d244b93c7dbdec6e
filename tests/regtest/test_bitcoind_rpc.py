"""The RPC client against a fake server: what a node says, and all that can go wrong between."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from protocol.errors import ChainError
from regtest.rpc import Rpc, RpcError, bitcoins_of, granted, sats_of
from tests.regtest.fake_bitcoind import COOKIE, Answer, Exchange, FakeBitcoind, fake_bitcoind

Connect = Callable[[Answer], tuple[FakeBitcoind, Rpc]]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """``connect(answer)``: a fake server and a client of it."""
    cookie = tmp_path / ".cookie"
    cookie.write_bytes(COOKIE + b"\n")
    with ExitStack() as stack:

        def both(answer: Answer) -> tuple[FakeBitcoind, Rpc]:
            server = stack.enter_context(fake_bitcoind(answer))
            return server, stack.enter_context(Rpc(server.port, cookie))

        yield both


def test_a_call(connect: Connect) -> None:
    server, rpc = connect(lambda e: e.result([e.message["method"], e.message["params"]]))
    assert rpc.call("getblock", "00ff", 0) == ["getblock", ["00ff", 0]]
    assert rpc.call("getbalance", wallet="a/b c") == ["getbalance", []]
    assert [path for path, _ in server.seen] == ["/", "/wallet/a%2Fb%20c"]
    assert {words for _, words in server.seen} == {"Basic " + base64.b64encode(COOKIE).decode()}


def test_one_connection_serves_many_calls(connect: Connect) -> None:
    connections = set()

    def answer(e: Exchange) -> None:
        connections.add(e.client_address)
        e.result(None)

    _, rpc = connect(answer)
    for _ in range(20):
        assert rpc.call("uptime") is None
    assert len(connections) == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again(connect: Connect) -> None:
    """A node closes what is idle; its answer to the next request is an end of file."""

    def answer(e: Exchange) -> None:
        e.result(e.client_address[1])
        e.close_connection = True  # without a word about it in the headers

    _, rpc = connect(answer)
    assert len({rpc.call("uptime") for _ in range(3)}) == 3


@pytest.mark.parametrize("code", [-5, -8, -26, -28])
def test_a_refusal_has_its_code(connect: Connect, code: int) -> None:
    _, rpc = connect(lambda e: e.error(code, "Loading block index…"))
    with pytest.raises(
        RpcError, match=rf"getblock: Loading block index… \(code {code}\)"
    ) as caught:
        rpc.call("getblock")
    assert (caught.value.code, caught.value.message) == (code, "Loading block index…")
    assert isinstance(caught.value, ChainError)


def test_a_batch_keeps_its_order_and_its_errors(connect: Connect) -> None:
    def answer(e: Exchange) -> None:
        replies = [
            {"result": one["params"][0], "error": None, "id": one["id"]}
            if one["params"][0] != 2
            else {"result": None, "error": {"code": -5, "message": "no"}, "id": one["id"]}
            for one in e.message
        ]
        e.reply(replies[::-1])

    _, rpc = connect(answer)
    results = rpc.batch([("echo", [n]) for n in range(4)])
    assert [results[0], results[1], results[3]] == [0, 1, 3]
    assert isinstance(results[2], RpcError)
    assert granted(results[3]) == 3
    with pytest.raises(RpcError, match="echo: no"):
        granted(results[2])
    assert rpc.batch([]) == []


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"", "refuses the cookie .*another node listens there"),
        (403, b"", "forbids it"),
        (503, b"Work queue depth exceeded", "too busy"),
        (500, b"<html>", r"gave HTTP 500 and no JSON: '<html>'"),
        (200, b"", "no JSON"),
        (200, b"[]", "belongs to no question"),
        (200, b'{"id": 99, "result": 1}', "belongs to no question"),
        (200, b'{"id": 1}', "an answer without a result"),
        (500, b'{"id": 1, "error": "bad"}', "an error without code and message: bad"),
    ],
)
def test_answers_that_are_none(connect: Connect, status: int, body: bytes, message: str) -> None:
    _, rpc = connect(lambda e: e.reply(body, status))
    with pytest.raises(ChainError, match=message) as caught:
        rpc.call("getblockcount")
    assert not isinstance(caught.value, RpcError)


@pytest.mark.parametrize("body", [{}, [1], {"id": 1, "result": []}])
def test_batch_answers_that_are_none(connect: Connect, body: object) -> None:
    _, rpc = connect(lambda e: e.reply(body))
    with pytest.raises(ChainError, match="a batch of 1 calls"):
        rpc.batch([("getblockcount", [])])


def test_a_batch_that_lacks_an_answer(connect: Connect) -> None:
    _, rpc = connect(lambda e: e.reply([{"id": e.message[0]["id"], "result": 1}]))
    with pytest.raises(ChainError, match="belongs to no question"):
        rpc.batch([("getblockcount", []), ("uptime", [])])


def test_deadlines(connect: Connect) -> None:
    """A node that says nothing, and one that dribbles: neither holds a call beyond its time."""
    done = threading.Event()

    def silent(e: Exchange) -> None:
        done.wait(30)

    def dribbling(e: Exchange) -> None:
        e.send_response(200)
        e.send_header("Content-Length", "1000")
        e.end_headers()
        while not done.wait(0.05):
            e.wfile.write(b" ")

    try:
        for answer in (silent, dribbling):
            _, rpc = connect(answer)
            began = time.monotonic()
            with pytest.raises(ChainError, match=r"did not answer getblock in 0.3 s"):
                rpc.call("getblock", timeout_s=0.3)
            assert time.monotonic() - began < 5
    finally:
        done.set()


def test_an_answer_that_ends_early(connect: Connect) -> None:
    def answer(e: Exchange) -> None:
        e.send_response(200)
        e.send_header("Content-Length", "1000")
        e.end_headers()
        e.wfile.write(b'{"id": 1,')
        e.close_connection = True

    _, rpc = connect(answer)
    with pytest.raises(ChainError, match=r"gave HTTP 200 and no JSON|cannot be asked getblock"):
        rpc.call("getblock")


def test_after_an_error_the_next_call_works(connect: Connect) -> None:
    answers = iter([(500, b"<html>"), (401, b"")])

    def answer(e: Exchange) -> None:
        broken = next(answers, None)
        if broken:
            e.reply(broken[1], broken[0])
        else:
            e.result("well")

    _, rpc = connect(answer)
    for _ in range(2):
        with pytest.raises(ChainError):
            rpc.call("uptime")
    assert rpc.call("uptime") == "well"


def test_nobody_there(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    with fake_bitcoind(lambda e: e.result(1)) as server:
        port = server.port
    rpc = Rpc(port, cookie)
    with pytest.raises(ChainError, match=r"no cookie at .*: the node is not running"):
        rpc.call("uptime")
    cookie.write_bytes(COOKIE)
    with pytest.raises(ChainError, match=rf"127.0.0.1 port {port} cannot be asked uptime"):
        rpc.call("uptime")


def test_a_new_cookie_is_read(connect: Connect, tmp_path: Path) -> None:
    """Each start of a node writes another one."""
    server, rpc = connect(lambda e: e.result(None))
    rpc.call("uptime")
    (tmp_path / ".cookie").write_bytes(b"__cookie__:other")
    rpc.close()
    rpc.call("uptime")
    assert server.seen[0][1] != server.seen[1][1]


def test_amounts_are_exact(connect: Connect) -> None:
    _, rpc = connect(lambda e: e.reply(b'{"id": 1, "result": {"value": 20999999.97690001}}'))
    value = rpc.call("gettxout")["value"]
    assert isinstance(value, Decimal)
    assert sats_of(value) == 2_099_999_997_690_001
    assert sats_of(50) == 50 * 10**8
    assert bitcoins_of(2_099_999_997_690_001) == "20999999.97690001"
    assert bitcoins_of(1) == "0.00000001"
