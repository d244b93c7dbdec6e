"""`pool submit`: what a line on the command line means, and what it refuses to guess."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from actors.pool_submit import operation_of, submit
from protocol.errors import ConfigError
from protocol.pool.operation import AddLiquidity, CancelOrder, Decrease, Increase
from protocol.units import U64_MAX

HEAD = {"owner": bytes([2]) * 32, "nonce": 3, "deadline": 99}
TOKENS = {"BTC": 1, "ETH": 2}


def test_an_amount_is_micro_usdc_and_a_price_a_mantissa():
    said = {"token": "ETH", "side": "short", "size": "2500", "deposit": "507.5"}
    found = operation_of("increase", said | {"acceptable_price": "2499.5"}, TOKENS, **HEAD)
    assert found == Increase(
        **HEAD,
        token=2,
        side=1,
        size=2_500_000_000,
        deposit=507_500_000,
        acceptable_price=249_950_000_000,
    )


@pytest.mark.parametrize(
    ("kind", "side", "accepted"),
    [
        ("increase", "long", U64_MAX),
        ("increase", "short", 0),
        ("decrease", "long", 0),
        ("decrease", "short", U64_MAX),
    ],
)
def test_without_a_price_any_is_accepted(kind, side, accepted):
    said = {"token": "BTC", "side": side, "size": "1"}
    said |= {"deposit": "1"} if kind == "increase" else {}
    found = operation_of(kind, said, TOKENS, **HEAD)
    assert isinstance(found, Increase | Decrease)
    assert found.acceptable_price == accepted


def test_shares_and_order_numbers():
    found = operation_of("add_liquidity", {"amount": "0.000001"}, TOKENS, **HEAD)
    assert found == AddLiquidity(**HEAD, amount=1)
    found = operation_of("cancel_order", {"order_nonce": "7"}, TOKENS, **HEAD)
    assert found == CancelOrder(**HEAD, order_nonce=7)


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("liquidate", {}, "give one of add_liquidity"),
        ("add_liquidity", {}, "give amount"),
        ("add_liquidity", {"amount": "1", "size": "1"}, "no field size"),
        ("add_liquidity", {"amount": "1e3"}, "no decimal number"),
        ("add_liquidity", {"amount": "-1"}, "no decimal number"),
        ("add_liquidity", {"amount": "٣"}, "no decimal number"),
        ("add_liquidity", {"amount": "1.0000001"}, "more than 6 decimals"),
        ("add_liquidity", {"amount": "9" * 12}, "amount"),
        ("increase", {"token": "SOL", "side": "long"}, "token: give one of BTC, ETH"),
        ("increase", {"token": "BTC", "side": "up"}, "side: give one of long, short"),
        ("cancel_order", {"order_nonce": "1.5"}, "more than 0 decimals"),
    ],
)
def test_what_is_not_clear_is_refused(kind, said, message):
    with pytest.raises(ConfigError, match=message):
        operation_of(kind, said, TOKENS, **HEAD)


@pytest.fixture
def liar():
    """Says the same to whoever asks: set ``says``."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            code, body = self.server.says
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ((200, b"[]"), "no answer of a pool"),
        ((200, b"{"), "no answer of a pool"),
        ((200, b'{"pool_id": "00", "time_ms": 1, "tokens": {}}'), "no answer of a pool"),
        ((200, b'{"time_ms": 1, "tokens": {}}'), "pool_id"),
        ((503, b'{"detail": "no batch yet"}'), "no batch yet"),
        ((500, b"\xff"), "/v1/pool/details"),
    ],
)
def test_an_answer_that_is_none_signs_nothing(liar, tmp_path, says, message):
    liar.says = says
    url = f"http://127.0.0.1:{liar.server_port}"
    with pytest.raises(ConfigError, match=message):
        submit("add_liquidity", ["amount=1"], tmp_path / "key", url)


@pytest.mark.parametrize("url", ["file:///etc", "127.0.0.1:1", "http://127.0.0.1:1", "http://["])
def test_where_no_api_is(url, tmp_path):
    with pytest.raises(ConfigError, match=r"--api|no pool answers"):
        submit("add_liquidity", ["amount=1"], tmp_path / "key", url)
