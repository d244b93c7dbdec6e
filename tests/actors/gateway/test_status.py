"""The process itself: health, metrics, hosts, limits, documents, the dashboard's files."""

import httpx
import pytest

from actors.gateway import models
from actors.gateway.app import POLICY, create_app
from actors.gateway.guard import BODY_MAX
from actors.market_source import NodeState
from tests.actors.gateway.test_prices import problem
from tests.actors.test_metrics import parse
from tests.builders.market import CALL, gateway_on
from tests.builders.oracles import KEYS


async def test_health_and_readiness(tmp_path):
    async with gateway_on(tmp_path, price=None) as gateway:
        assert (await gateway.get("/healthz")).json() == {"status": "ok"}
        problem(await gateway.get("/readyz"), 503, "no-price")


async def test_what_time_it_is_here(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        found = models.Status.model_validate_json((await gateway.get("/v1/status")).content)
        assert (found.clock, found.clock_offset_ms) == (gateway.market.clock.name, 0)
        assert found.now_ms == gateway.market.now_ms()
        assert (found.oracles, found.quorum, found.custody) == (3, 2, "desk")


async def test_nodes_as_they_are_heard(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        gateway.market.nodes.append(NodeState("alpha", "ws://127.0.0.1:1", KEYS[0].public))
        response = await gateway.get("/v1/nodes")
        (node,) = models.Nodes.model_validate_json(response.content).nodes
        assert (node.name, node.connected, node.round) == ("alpha", False, None)
        assert node.key == KEYS[0].public.hex()


async def test_metrics_count_requests_by_route(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        for _ in range(3):
            await gateway.get("/v1/quote", instrument=CALL)
        await gateway.get("/v1/quote", instrument="x")
        await gateway.get("/v1/contracts/5")
        await gateway.get("/nowhere")
        response = await gateway.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples, _ = parse(response.text)

        def requests(route, status):
            labels = frozenset({("route", route), ("status", str(status))})
            return samples["api_requests_total", labels]

        assert requests("/v1/quote", 200) == 3
        assert requests("/v1/quote", 404) == 1
        assert requests("/v1/contracts/{id}", 404) == 1
        assert requests("other", 404) == 1
        assert samples["api_certificates_total", frozenset()] == 1
        assert samples["api_price_age_seconds", frozenset()] == 0.5


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8480"},
        {"Host": ""},
        {"Host": "["},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_other_sites_are_refused(tmp_path, headers):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.client.get("/healthz", headers=headers)
        assert "`hosts`" in problem(response, 421, "wrong-host")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8480"},
        {"Host": "[::1]:8480"},
        {"Host": "Options.Example"},
        {"Host": "127.0.0.1:8480", "Origin": "http://127.0.0.1:8480"},
    ],
)
async def test_this_machine_and_named_hosts_are_served(tmp_path, headers):
    async with gateway_on(tmp_path, hosts=("options.example",)) as gateway:
        assert (await gateway.client.get("/healthz", headers=headers)).status_code == 200


async def test_long_bodies_are_refused_whatever_they_say(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        body = b" " * (BODY_MAX + 1)
        response = await gateway.client.post("/v1/quotes", content=body)
        problem(response, 413, "too-large")
        sent = 0

        async def endless():
            nonlocal sent
            while sent < 10 * BODY_MAX:
                sent += 1 << 16
                yield b" " * (1 << 16)

        response = await gateway.client.post("/v1/quotes", content=endless())
        problem(response, 413, "too-large")
        assert sent <= BODY_MAX + (1 << 17), "the rest is not read"


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("DELETE", "/v1/quote", "GET"), ("PUT", "/v1/quotes", "POST")]
)
async def test_other_methods_are_problems(tmp_path, method, path, allowed):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.client.request(method, path)
        assert "Allow" in problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == allowed


async def test_a_fault_of_ours_is_a_problem_too(tmp_path, monkeypatch, caplog):
    async with gateway_on(tmp_path) as gateway:

        def broken():
            raise RuntimeError("secret detail")

        monkeypatch.setattr(gateway.market, "conditions", broken)
        transport = httpx.ASGITransport(gateway.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            response = await client.get("/readyz")
        assert "its log has it" in problem(response, 500, "fault")
        assert "secret" not in response.text
        assert "secret detail" in caplog.text


async def test_every_route_documents_what_it_answers(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        schema = (await gateway.get("/openapi.json")).json()
        problem_schema = schema["components"]["schemas"]["Problem"]
        assert {"type", "title", "status", "detail"} <= problem_schema["properties"].keys()
        operations = [
            (path, method, operation)
            for path, methods in schema["paths"].items()
            for method, operation in methods.items()
        ]
        assert len(operations) == 26
        for path, method, operation in operations:
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
            assert operation["responses"], (path, method)
            if method == "post" and path != "/v1/quotes":
                names = [parameter["name"] for parameter in operation["parameters"]]
                assert "Idempotency-Key" in names


async def test_the_dashboard_runs_nothing_but_itself(tmp_path):
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<!doctype html><title>options</title>")
    (static / "app.js").write_text("export {}")
    async with gateway_on(tmp_path) as gateway:
        app = create_app(gateway.market, static)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            page = await client.get("/")
            assert page.headers["content-type"].startswith("text/html")
            assert page.headers["content-security-policy"] == POLICY
            assert "unsafe" not in POLICY
            script = await client.get("/app.js")
            assert script.headers["content-type"].startswith("text/javascript")
            assert script.headers["x-content-type-options"] == "nosniff"
            problem(await client.get("/../market.sqlite"), 404, "not-found")
            problem(await client.get("/%2e%2e/market.sqlite"), 404, "not-found")
            assert (await client.get("/healthz")).status_code == 200
