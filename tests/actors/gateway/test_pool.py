"""The pool over HTTP and the stream: what it shows, what it takes, and what it says no to."""

import asyncio
import json
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from websockets.asyncio.client import connect

from actors.gateway import pool_models as models
from actors.pool_views import usd
from protocol.pool.operation import CreateOrder, Decrease, Liquidate, SignedOperation
from protocol.pool.order import OrderKind
from protocol.units import E8
from tests.builders.market import gateway_on, served
from tests.builders.sequencing import (
    ANY_PRICE,
    BTC,
    ETH,
    USDC,
    Venue,
    batched,
    key_of,
    running_desk,
)

PATIENCE_S = 20.0


class Trader:
    """Sends operations to a gateway."""

    def __init__(self, gateway, desk, venue: Venue) -> None:
        self.gateway = gateway
        self.desk = desk
        self.venue = venue
        self.sent = 0

    async def send(self, body: bytes, key: str | None = None, status: int = 202):
        self.sent += 1
        asked = {"operation": body.hex()}
        reply = await self.gateway.command("/v1/pool/operations", key or f"key-{self.sent}", asked)
        assert reply.status_code == status, reply.text
        return reply.json()

    async def get(self, path: str, status: int = 200, **params):
        reply = await self.gateway.get(path, **params)
        assert reply.status_code == status, reply.text
        return reply.json()

    async def batch(self, **usd: float) -> None:
        await batched(self.desk, self.venue, **usd)


@asynccontextmanager
async def trading(folder):
    async with (
        running_desk(folder / "pool") as (desk, venue),
        gateway_on(folder, pool_desk=desk) as gateway,
    ):
        yield Trader(gateway, desk, venue)


def owner(name: str) -> str:
    return key_of(name).public.hex()


async def test_the_state_is_the_one_that_people_read(tmp_path):
    async with trading(tmp_path) as trader:
        await trader.batch()
        await trader.send(trader.venue.add("lp", 100_000))
        await trader.send(trader.venue.increase("bob", 1_000))
        await trader.batch()
        found = await trader.get("/v1/pool")
        assert [*found] == ["stablecoin", "total_liquidity", "glp_supply", "tokens"]
        assert found["total_liquidity"] == "100030.00"
        assert found["tokens"]["BTC"] == {
            "reserved": "1000.00",
            "utilization": "1.0%",
            "open_interest_long": "10000.00",
            "open_interest_short": "0.00",
            "funding_rate_long": "0.0004",
            "funding_rate_short": "-0.0004",
        }
        models.PoolState.model_validate(found)


async def test_details_are_exact(tmp_path):
    async with trading(tmp_path) as trader:
        models.PoolDetails.model_validate(before := await trader.get("/v1/pool/details"))
        assert before["seq"] == before["positions"] == 0
        assert before["tokens"]["ETH"]["price_min_usd"] is None
        assert before["glp_price_usd"] is None
        await trader.send(trader.venue.add("lp", 100_000))
        await trader.send(trader.venue.increase("bob", 1_000))
        assert (await trader.get("/v1/pool/details"))["pending"] == 2
        await trader.batch()
        found = await trader.get("/v1/pool/details")
        models.PoolDetails.model_validate(found)
        pool = trader.venue.sequencer.pool
        assert found["state_root"] == pool.root().hex()
        assert found["pool_id"] == pool.pool_id.hex()
        assert found["pending"] == 0
        # bought at the upper price, valued at the lower one: 2 bps each way
        assert Decimal(found["trader_pnl_usd"]) == Decimal("-3.999201")
        assert Decimal(found["aum_usd"]) == Decimal("100033.999201")
        assert found["tokens"]["BTC"]["utilization_bps"] == 99


async def test_an_operation_from_hand_to_result(tmp_path):
    async with trading(tmp_path) as trader:
        body = trader.venue.add("lp", 100_000)
        sent = await trader.send(body, "first")
        models.Submitted.model_validate(sent)
        assert (sent["kind"], sent["owner"], sent["place"]) == ("add_liquidity", owner("lp"), 1)
        assert await trader.send(body, "first") == sent
        assert await trader.send(body, "other") == sent
        path = f"/v1/pool/operations/{sent['id']}"
        pending = await trader.get(path)
        models.Operation.model_validate(pending)
        assert pending == sent | {
            "status": "pending", "batch": None, "code": None, "inflow_usd": None,
            "outflow_usd": None, "fee_usd": None,
        }  # fmt: skip
        await trader.batch()
        done = await trader.get(path)
        models.Operation.model_validate(done)
        assert (done["status"], done["batch"], done["inflow_usd"]) == (
            "accepted", 1, "100000.000000",
        )  # fmt: skip
        assert await trader.send(body, "first") == sent
        refused = await trader.send(trader.venue.increase("bob", 99_000))
        await trader.batch()
        found = await trader.get(f"/v1/pool/operations/{refused['id']}")
        assert (found["status"], found["code"]) == ("rejected", "UTILIZATION")
        await trader.get(f"/v1/pool/operations/{'00' * 32}", 404)


async def test_what_is_no_operation_is_a_problem(tmp_path):
    async with trading(tmp_path) as trader:
        venue = trader.venue
        body = venue.add("lp", 100_000)
        await trader.send(body, "used")
        flipped = body[:-1] + bytes([body[-1] ^ 1])
        due = SignedOperation(Liquidate(owner=key_of("lp").public, token=BTC, side=0)).encode()
        venue.nonces["eve"] = 64
        for sent, key, status, name, said in (
            (venue.add("lp", 1), "used", 422, "key-reused", "choose a new one"),
            (b"no operation", None, 422, "malformed-request", "operation"),
            (body + b"\0", None, 422, "malformed-request", "too many"),
            (due, None, 409, "refused", "done by the sequencer"),
            (venue.add("eve", 5), None, 409, "refused", "the owner's next one is 0"),
        ):
            problem = await trader.send(sent, key, status)
            assert problem["type"] == f"urn:oracle-vm:problem:{name}"
            assert said in problem["detail"]
        venue.nonces["ann"] = 0
        other = venue.add("ann", 5)
        problem = await trader.send(other[:-1] + bytes([other[-1] ^ 1]), None, 409)
        assert "not its owner's for this pool" in problem["detail"]
        # the same operation under a signature that is not verified any more changes nothing
        assert (await trader.send(flipped))["place"] == 1
        assert trader.desk.pending == 1


async def test_positions_as_a_trader_sees_them(tmp_path):
    async with trading(tmp_path) as trader:
        await trader.send(trader.venue.add("lp", 100_000))
        await trader.send(trader.venue.increase("bob", 1_000))
        await trader.send(trader.venue.increase("eve", 500, token=ETH, side=1, size=2_500 * USDC))
        await trader.batch()
        await trader.batch(BTC=40_400)
        found = (await trader.get("/v1/positions"))["positions"]
        models.Positions.model_validate({"positions": found})
        assert {row["owner"] for row in found} == {owner("bob"), owner("eve")}
        (bob,) = (await trader.get("/v1/positions", owner=owner("bob")))["positions"]
        assert (bob["token"], bob["side"], bob["size_usd"]) == ("BTC", "long", "10000.000000")
        assert 95 < Decimal(bob["pnl_usd"]) < 100
        assert Decimal(bob["funding_owed_usd"]) > 0
        assert bob["leverage_bps"] == 100_000 + 1 or bob["leverage_bps"] >= 100_000
        assert 36_000 < Decimal(bob["liquidation_price_usd"]) < 37_000
        (eve,) = (await trader.get("/v1/positions", owner=owner("eve")))["positions"]
        assert eve["side"] == "short"
        assert Decimal(eve["liquidation_price_usd"]) > 2_900
        assert (await trader.get("/v1/positions", limit=1))["positions"][0] in found
        assert (await trader.get("/v1/positions", owner="ab" * 32))["positions"] == []
        await trader.get("/v1/positions", 422, owner="nobody")


async def test_orders_wait_with_their_escrow(tmp_path):
    async with trading(tmp_path) as trader:
        await trader.send(trader.venue.add("lp", 100_000))
        order = trader.venue.signed(
            "bob", CreateOrder, token=ETH, side=0, order_kind=int(OrderKind.LIMIT),
            deposit=515 * USDC, size=5_000 * USDC, trigger_price=2_400 * E8,
            acceptable_price=ANY_PRICE[0],
        )  # fmt: skip
        await trader.send(order)
        await trader.batch()
        (found,) = (await trader.get("/v1/orders", owner=owner("bob")))["orders"]
        models.Orders.model_validate({"orders": [found]})
        assert (found["kind"], found["action"], found["seq"]) == ("limit", "increase", 1)
        assert (found["escrow_usd"], found["trigger_price_usd"]) == ("515.000000", "2400.00")
        await trader.batch(ETH=2_390)
        assert (await trader.get("/v1/orders"))["orders"] == []
        assert len((await trader.get("/v1/positions", owner=owner("bob")))["positions"]) == 1


async def test_an_account_as_provider_and_as_trader(tmp_path):
    async with trading(tmp_path) as trader:
        venue = trader.venue
        await trader.send(venue.add("lp", 100_000))
        await trader.batch()
        await trader.send(venue.increase("bob", 1_000))
        await trader.batch()
        lp = await trader.get(f"/v1/pool/accounts/{owner('lp')}")
        models.Account.model_validate(lp)
        assert (lp["added_usd"], lp["next_nonce"]) == ("100000.000000", 1)
        assert abs(Decimal(lp["fees_earned_usd"]) - 30) < Decimal("0.001")
        assert lp["share_bps"] == 9_999  # but for the dead shares
        assert Decimal(lp["glp_value_usd"]) > 100_030
        everything = venue.signed(
            "bob", Decrease, token=BTC, side=0, size=10_000 * USDC, acceptable_price=0
        )
        await trader.send(everything)
        await trader.batch(BTC=40_400)
        bob = await trader.get(f"/v1/pool/accounts/{owner('bob')}")
        models.Account.model_validate(bob)
        assert (bob["paid_in_usd"], bob["positions"]) == ("1030.000000", 0)
        assert Decimal("1060") < Decimal(bob["paid_out_usd"]) < Decimal("1070")
        stranger = await trader.get(f"/v1/pool/accounts/{'ab' * 32}")
        models.Account.model_validate(stranger)
        assert (stranger["next_nonce"], stranger["glp"]) == (0, "0.000000")


async def test_batches_link_root_to_root(tmp_path):
    async with trading(tmp_path) as trader:
        assert (await trader.get("/v1/pool/batches"))["batches"] == []
        await trader.send(trader.venue.add("lp", 100_000))
        for _ in range(4):
            await trader.batch()
        found = (await trader.get("/v1/pool/batches", limit=3))["batches"]
        models.Batches.model_validate({"batches": found})
        assert [row["seq"] for row in found] == [4, 3, 2]
        assert [row["old_root"] for row in found[:2]] == [row["new_root"] for row in found[1:]]
        assert found[0]["new_root"] == trader.venue.sequencer.pool.root().hex()
        (first,) = (await trader.get("/v1/pool/batches", before=2))["batches"]
        assert (first["seq"], first["accepted"], first["transactions"]) == (1, 1, [])
        txid = {"name": "ADVANCE", "txid": "ab" * 32, "height": 9}
        trader.venue.sequencer.store.anchor(4, json.dumps(txid).encode())
        (newest,) = (await trader.get("/v1/pool/batches", limit=1))["batches"]
        assert newest["transactions"] == [txid]


async def test_without_a_pool_it_says_so(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        for path in ("/v1/pool", "/v1/pool/details", "/v1/positions", "/v1/orders"):
            reply = await gateway.get(path)
            assert (reply.status_code, reply.json()["title"]) == (503, "No pool")


async def test_the_stream_tells_of_every_batch(tmp_path):
    async with (
        running_desk(tmp_path / "pool") as (desk, venue),
        served(tmp_path, pool_desk=desk) as (_, address),
        connect(f"ws://{address}/v1/stream") as socket,
    ):

        async def heard():
            return json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))

        params = {"channels": ["pool", "pool.details"]}
        request = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params}
        await socket.send(json.dumps(request))
        assert (await heard())["result"] == params["channels"]
        snapshots = {
            (m := await heard())["params"]["channel"]: m["params"]["data"] for _ in range(2)
        }
        assert snapshots["pool"]["data"] == desk.state
        assert snapshots["pool.details"]["data"] == desk.details
        venue.sequencer.submit(venue.add("lp", 100_000))
        desk.certified(venue.certificate())
        seen = {}
        while seen.get("pool", {}).get("total_liquidity") != "100000.00":
            params = (await heard())["params"]
            assert params["data"]["type"] == "change"
            seen[params["channel"]] = params["data"]["patch"]
        assert usd(venue.sequencer.pool.vault.glp_supply) == "100000.000000"


@pytest.mark.parametrize("name", ["pool.nothing", "pools"])
async def test_other_channels_are_refused(tmp_path, name):
    async with (
        running_desk(tmp_path / "pool") as (desk, _),
        served(tmp_path, pool_desk=desk) as (_, address),
        connect(f"ws://{address}/v1/stream") as socket,
    ):
        params = {"channels": [name]}
        await socket.send(json.dumps({"id": 1, "method": "public/subscribe", "params": params}))
        answer = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        assert "pool.details" in answer["error"]["message"]
