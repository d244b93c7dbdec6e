"""Routes of contracts."""

import asyncio

import pytest

import actors.market
from actors.gateway import models
from actors.market_desk import Dispute
from protocol.options.book import Stage
from tests.actors.gateway.test_prices import problem
from tests.actors.test_market import until
from tests.builders.market import AMERICAN, CALL, PUT, QUANTITY, TestDesk, gateway_on
from tests.builders.oracles import ROUND

ROW = {"name": "FUND", "txid": "ab" * 32, "vsize": 200, "fee": 400, "height": 103}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(actors.market, "LOOK_S", 0.02)


async def test_an_order_is_accepted_and_shown(tmp_path):
    desk = TestDesk()
    async with gateway_on(tmp_path, desk=desk) as gateway:
        response = await gateway.order("k1")
        assert response.status_code == 202
        ordered = models.Contract.model_validate_json(response.content)
        assert (ordered.id, ordered.instrument, ordered.stage) == (1, CALL, "ordered")
        quoted = (await gateway.get("/v1/quote", instrument=CALL)).json()
        assert ordered.premium_sats == quoted["premium_sats"]
        desk.stage[1], desk.rows = Stage.OPEN, [ROW]
        await until(lambda: gateway.market.book.contracts[1].stage is Stage.OPEN)
        shown = models.Contracts.model_validate_json((await gateway.get("/v1/contracts")).content)
        assert shown.custody == "desk"
        assert [row.stage for row in shown.contracts] == ["open"]
        assert shown.contracts[0].margin == shown.margin
        assert shown.margin.collateral_sats == QUANTITY
        one = models.Detailed.model_validate_json((await gateway.get("/v1/contracts/1")).content)
        assert one.transactions == [models.Transaction(**ROW)]
        assert one.contract_id == f"{1:064x}"


async def test_the_same_command_is_answered_alike_and_done_once(tmp_path):
    desk = TestDesk()
    async with gateway_on(tmp_path, desk=desk) as gateway:
        answers = await asyncio.gather(*(gateway.order("same") for _ in range(10)))
        assert {answer.content for answer in answers} == {answers[0].content}
        await until(lambda: gateway.market.book.contracts[1].stage is not Stage.ORDERED)
    async with gateway_on(tmp_path, desk=desk) as gateway:
        again = await gateway.order("same")
        assert (again.status_code, again.content) == (202, answers[0].content)
        assert len(gateway.market.book.contracts) == 1
        reused = await gateway.order("same", quantity_sats=QUANTITY + 1)
        assert "choose a new one" in problem(reused, 422, "key-reused")
        assert (await gateway.order("other")).json()["id"] == 2


@pytest.mark.parametrize(
    ("changes", "status", "name", "says"),
    [
        ({"max_premium_sats": 5}, 409, "refused", "it costs"),
        ({"quantity_sats": 100_000}, 409, "refused", "below 255000"),
        ({"collateral_sats": 2 * QUANTITY}, 409, "refused", "never pays more"),
        ({"instrument": "BTC-27DEC26-1-X"}, 404, "unknown-instrument", "kind 'X'"),
        ({"instrument": "BTC-25SEP26-90000-C"}, 409, "refused", "orders end"),
        ({"quantity_sats": "100000000"}, 422, "malformed-request", "#/quantity_sats"),
        ({"quantity_sats": 1e8}, 422, "malformed-request", "#/quantity_sats"),
        ({"colour": "red"}, 422, "malformed-request", "#/colour"),
    ],
)
async def test_what_cannot_be_ordered(tmp_path, changes, status, name, says):
    async with gateway_on(tmp_path) as gateway:
        assert says in problem(await gateway.order("k", **changes), status, name)
        assert gateway.market.book.contracts == {}


@pytest.mark.parametrize("key", [None, "", "a b", "é".encode(), "k" * 65])
async def test_a_command_needs_a_key(tmp_path, key):
    async with gateway_on(tmp_path) as gateway:
        body = {"instrument": CALL, "quantity_sats": QUANTITY, "max_premium_sats": 10**8}
        headers = {} if key is None else {"Idempotency-Key": key}
        response = await gateway.client.post("/v1/contracts", json=body, headers=headers)
        assert "header/Idempotency-Key" in problem(response, 422, "malformed-request")


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"\xff", b"[" * 100_000, b"nul"])
async def test_a_body_that_is_no_order(tmp_path, body):
    async with gateway_on(tmp_path) as gateway:
        headers = {"Idempotency-Key": "k", "content-type": "application/json"}
        response = await gateway.client.post("/v1/contracts", content=body, headers=headers)
        problem(response, 422, "malformed-request")


async def test_without_a_desk_nothing_is_sold(tmp_path):
    async with gateway_on(tmp_path, desk=None) as gateway:
        assert "[desk]" in problem(await gateway.order("k"), 503, "no-desk")
        assert (await gateway.get("/v1/contracts")).json()["custody"] is None


async def test_an_american_option_is_exercised_once(tmp_path):
    desk = TestDesk()
    async with gateway_on(tmp_path, desk=desk) as gateway:
        await gateway.order("k", instrument=AMERICAN)
        early = await gateway.command("/v1/contracts/1/exercise", "e", {})
        assert "only an open one" in problem(early, 409, "refused")
        desk.stage[1] = Stage.OPEN
        await until(lambda: gateway.market.book.contracts[1].stage is Stage.OPEN)
        late = await gateway.command("/v1/contracts/1/exercise", "e", {"round": ROUND})
        assert "a minute ahead" in problem(late, 409, "refused")
        chosen = await gateway.command("/v1/contracts/1/exercise", "e", {"round": ROUND + 500})
        assert chosen.status_code == 202
        assert chosen.json()["exercise_round"] == ROUND + 500
        again = await gateway.command("/v1/contracts/1/exercise", "e", {"round": ROUND + 500})
        assert again.content == chosen.content
        other = await gateway.command("/v1/contracts/1/exercise", "f", {"round": ROUND + 501})
        assert "once is for good" in problem(other, 409, "refused")
        await until(lambda: desk.exercised == [(1, ROUND + 500)])


async def test_unknown_contracts(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        for path in ("/v1/contracts/7", "/v1/disputes/7"):
            assert "contract 7" in problem(await gateway.get(path), 404, "not-found")
        response = await gateway.command("/v1/contracts/7/exercise", "k", {})
        assert "contract 7" in problem(response, 404, "not-found")
        problem(await gateway.get("/v1/contracts/x"), 422, "malformed-request")


async def test_a_dispute_is_shown(tmp_path):
    desk = TestDesk()
    async with gateway_on(tmp_path, desk=desk) as gateway:
        await gateway.order("k", instrument=PUT)
        assert "nobody has claimed" in problem(
            await gateway.get("/v1/disputes/1"), 404, "not-found"
        )
        desk.shown[1] = Dispute(
            contract_id="ab" * 32, stage="disputed", height=140, wait="holder", step=None,
            fault="STEP", leaf="sub", winner=None, transactions=[ROW], digits=(3, 0),
        )  # fmt: skip
        found = models.Dispute.model_validate_json((await gateway.get("/v1/disputes/1")).content)
        assert (found.id, found.wait, found.fault, found.leaf) == (1, "holder", "STEP", "sub")
        assert found.digits == [3, 0]
        assert found.transactions[0].txid == "ab" * 32
