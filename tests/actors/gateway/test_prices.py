"""Routes of prices."""

import json

import pytest
from typer.testing import CliRunner

from actors.cli import app as command_line
from actors.gateway import models
from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.options.instrument import parse_instrument
from protocol.options.sheet import quote
from protocol.units import E8
from tests.builders.batches import certify_batch
from tests.builders.market import (
    AMERICAN,
    BARRIER,
    CALL,
    PUT,
    TestClock,
    gateway_on,
    next_certificate,
)
from tests.builders.oracles import PRICE, ROUND, T0

BINARY = "BTC-27DEC26-90000-C-B"
SLOW = "BTC-27DEC26-90000-P-DO60000-A"


def problem(response, status, name):
    """The detail of a problem document of this kind."""
    assert response.headers["content-type"] == "application/problem+json"
    found = models.Problem.model_validate_json(response.content)
    assert (response.status_code, found.status) == (status, status), found
    assert found.type == f"urn:oracle-vm:problem:{name}"
    return found.detail


async def test_instruments_are_listed_around_the_index(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.get("/v1/instruments")
        found = models.Instruments.model_validate_json(response.content)
        assert (found.round, found.index_usd) == (ROUND, "83744.00000000")
        names = [row.instrument for row in found.instruments]
        assert len(names) == len(set(names)) > 1000
        row = next(row for row in found.instruments if row.barrier == "up-and-out")
        assert parse_instrument(row.instrument).barrier.level_e8 == int(
            row.barrier_usd.replace(".", "")
        )
        one = await gateway.get("/v1/instruments", expiry=found.expiries[3])
        chosen = models.Instruments.model_validate_json(one.content).instruments
        assert {row.expiry_ms for row in chosen} == {chosen[0].expiry_ms}
        none = await gateway.get("/v1/instruments", expiry="01JAN99")
        assert models.Instruments.model_validate_json(none.content).instruments == []


@pytest.mark.parametrize("name", [CALL, PUT, AMERICAN, BARRIER, BINARY, SLOW])
async def test_a_quote_of_every_type(tmp_path, name):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.get("/v1/quote", instrument=name, quantity_sats=10**7, vol=0.5)
        found = models.Quote.model_validate_json(response.content)
        assert (found.instrument, found.vol, found.quantity_sats) == (name, 0.5, 10**7)
        assert found.collateral_sats == 10**7
        assert 0 < found.premium_sats <= 10**7
        assert found.expiry_ms == parse_instrument(name).expiry_ms


async def test_units_are_those_that_they_say(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.get("/v1/quote", instrument=CALL)
        found = models.Quote.model_validate_json(response.content)
        greeks = quote(parse_instrument(CALL), gateway.market.conditions()).greeks
        assert float(found.price_usd) == pytest.approx(greeks.price, abs=1e-8)
        assert found.price_sats == round(greeks.price / PRICE * E8 * E8)
        assert found.theta_per_day == greeks.theta / 365
        assert found.vega_per_point == greeks.vega / 100
        assert found.rho_per_point == greeks.rho / 100
        assert found.premium_sats == pytest.approx(found.price_sats * 1.01, abs=2)
        assert (found.round, found.at_ms) == (ROUND, T0)


async def test_a_puts_collateral_caps_its_premium(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        premiums = [
            (await gateway.get("/v1/quote", instrument=PUT, collateral_sats=sats)).json()
            for sats in (10**7, 10**8, 10**10)
        ]
        assert 0 < premiums[0]["premium_sats"] < premiums[1]["premium_sats"]
        assert premiums[1]["premium_sats"] < premiums[2]["premium_sats"]


async def test_a_batch_is_answered_in_order(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        names = [CALL, AMERICAN, BARRIER, BINARY, SLOW, PUT] * 20
        names = [name for i, name in enumerate(names) if name != SLOW or i < 24]
        asked = [{"instrument": n, "quantity_sats": 10**6 + i} for i, n in enumerate(names)]
        response = await gateway.client.post("/v1/quotes", json={"quotes": asked})
        found = models.Quotes.model_validate_json(response.content)
        assert [row.instrument for row in found.quotes] == names
        assert [row.quantity_sats for row in found.quotes] == [10**6 + i for i in range(len(names))]
        for row in found.quotes[:6]:
            alone = await gateway.get(
                "/v1/quote", instrument=row.instrument, quantity_sats=row.quantity_sats
            )
            assert alone.json()["premium_sats"] == pytest.approx(row.premium_sats, abs=1)


async def test_a_batch_names_every_unknown_instrument(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        names = [CALL, "BTC-27DEC26-90000-Q", "ETH-27DEC26-90000-C", "BTC-27DEC25-90000-C"]
        asked = {"quotes": [{"instrument": name} for name in names]}
        response = await gateway.client.post("/v1/quotes", json=asked)
        assert "3 of 4" in problem(response, 404, "unknown-instrument")
        errors = response.json()["errors"]
        assert [error["pointer"] for error in errors] == [
            f"#/quotes/{i}/instrument" for i in (1, 2, 3)
        ]
        assert "write C for a call" in errors[0]["detail"]
        assert "options here are on BTC" in errors[1]["detail"]
        assert "expired" in errors[2]["detail"]


async def test_a_batch_has_few_slow_ones(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        asked = {"quotes": [{"instrument": SLOW}] * 5}
        response = await gateway.client.post("/v1/quotes", json=asked)
        assert "at most 4" in problem(response, 422, "malformed-request")


@pytest.mark.parametrize(
    ("params", "status", "name", "says"),
    [
        ({}, 422, "malformed-request", "query/instrument"),
        ({"instrument": "BTC"}, 404, "unknown-instrument", "UNDERLYING-DDMMMYY-STRIKE"),
        ({"instrument": "BTC-31FEB27-1-C"}, 404, "unknown-instrument", "no such day"),
        ({"instrument": "B" * 81}, 422, "malformed-request", "80 characters"),
        ({"instrument": CALL, "quantity_sats": 0}, 422, "malformed-request", "quantity_sats"),
        ({"instrument": CALL, "quantity_sats": "1.5"}, 422, "malformed-request", "integer"),
        ({"instrument": CALL, "vol": "nan"}, 422, "malformed-request", "query/vol"),
        ({"instrument": CALL, "vol": 11}, 422, "malformed-request", "less than or equal to 10"),
    ],
)
async def test_a_wrong_quote_is_a_problem(tmp_path, params, status, name, says):
    async with gateway_on(tmp_path) as gateway:
        assert says in problem(await gateway.get("/v1/quote", **params), status, name)


async def test_without_a_price_there_is_no_quote(tmp_path):
    clock = TestClock()
    async with gateway_on(tmp_path, price=None, clock=clock) as gateway:
        paths = (f"/v1/quote?instrument={CALL}", "/v1/instruments", "/v1/index/BTC", "/readyz")
        for path in paths:
            response = await gateway.client.get(path)
            assert "no certified price" in problem(response, 503, "no-price")
        gateway.market.certified(next_certificate(0))
        assert (await gateway.get("/v1/quote", instrument=CALL)).status_code == 200
        clock.at_ms += 100_000
        response = await gateway.get("/v1/quote", instrument=CALL)
        assert "100 s old" in problem(response, 503, "no-price")
        assert (await gateway.get("/v1/index/BTC")).status_code == 200, "it is shown, not quoted"


# Index and certificates


async def test_the_index_proves_itself(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.get("/v1/index/BTC")
        found = models.Index.model_validate_json(response.content)
        assert (found.price_usd, found.grade, found.round) == ("83744.00000000", "FULL", ROUND)
        message = bytes.fromhex(found.message)
        assert tagged_hash(found.tag, bytes.fromhex(found.signed)) == message
        signed = [source for source in found.sources if source.signature is not None]
        assert len(signed) == found.quorum == 2
        for source in signed:
            assert keys.verify(bytes.fromhex(source.key), message, bytes.fromhex(source.signature))
        assert [source.name for source in found.sources] == ["alpha", "bravo", "charlie"]
        assert all(source.observed for source in found.sources)
        assert (found.vol, found.vol_assumed) == (0.6, True)
        file = tmp_path / "index.json"
        file.write_bytes(response.content)
        verified = CliRunner().invoke(command_line, ["verify", str(file)])
        assert (verified.exit_code, verified.stdout) == (0, "certificate: valid\n")


async def test_an_index_out_of_a_batch_proves_itself(tmp_path):
    from dataclasses import replace

    from protocol.oracle.batch import BatchReport
    from protocol.oracle.feed import Feed
    from protocol.oracle.rows import ReportRows
    from tests.builders.epochs import certificate
    from tests.builders.market import FEED, NETWORK

    feeds = (FEED, Feed("ETH/USD"))
    single = certificate().report
    reports = sorted(
        (replace(single, feed_id=feed.feed_id) for feed in feeds), key=lambda r: r.feed_id
    )
    rows = ReportRows(b"".join(report.encode() for report in reports))
    header = BatchReport(
        config_digest=single.config_digest,
        round=ROUND,
        n=2,
        root=rows.root,
        prev_batch_hash=bytes(32),
    )
    async with gateway_on(tmp_path, price=None, network=replace(NETWORK, feeds=feeds)) as gateway:
        gateway.market.certified(certify_batch(header, rows))
        for asset in ("BTC", "ETH"):
            response = await gateway.get(f"/v1/index/{asset}")
            found = models.Index.model_validate_json(response.content)
            message = bytes.fromhex(found.message)
            assert tagged_hash(found.tag, bytes.fromhex(found.signed)) == message
            assert keys.verify(
                bytes.fromhex(found.sources[0].key),
                message,
                bytes.fromhex(found.sources[0].signature or ""),
            )
            file = tmp_path / "index.json"
            file.write_bytes(response.content)
            verified = CliRunner().invoke(command_line, ["verify", str(file)])
            assert (verified.exit_code, verified.stdout) == (0, "batch: valid\n")
        assert (await gateway.get("/v1/quote", instrument=CALL)).status_code == 200


async def test_an_unknown_asset_is_a_problem(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.get("/v1/index/DOGE")
        assert "BTC/USD" in problem(response, 404, "not-found")


async def test_certificates_newest_first(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        for offset in (3, 1, 2):
            gateway.market.certified(next_certificate(offset))
        response = await gateway.get("/v1/certificates", limit=3)
        found = models.Certificates.model_validate_json(response.content)
        assert [row.round - ROUND for row in found.certificates] == [3, 2, 1]
        rest = (await gateway.get("/v1/certificates", before_round=ROUND + 1)).json()
        assert [row["round"] - ROUND for row in rest["certificates"]] == [0]
        file = tmp_path / "certificate.json"
        row = found.certificates[0]
        file.write_text(json.dumps({"config": found.config, "certificate": row.certificate}))
        assert CliRunner().invoke(command_line, ["verify", str(file)]).exit_code == 0
