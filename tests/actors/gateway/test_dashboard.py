"""The dashboard in a real browser: what it verifies, what it shows, what a keyboard reaches."""

import asyncio
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.gateway.app import STATIC
from actors.market_desk import Dispute
from actors.pool_desk import PoolDesk
from protocol.options.book import Stage
from tests.builders.browser import BROWSER, WHY_NOT, Page, browser
from tests.builders.market import Market, TestDesk, next_certificate, served
from tests.builders.oracles import PRICE
from tests.builders.sequencing import USDC, batched, running_desk

VECTORS = Path(__file__).parents[2] / "vectors" / "bip340" / "test-vectors.csv"

pytestmark = pytest.mark.skipif(BROWSER is None, reason=WHY_NOT)


async def visited(
    folder: Path,
    visit: Callable[[Page], None],
    desk: TestDesk,
    trade: Callable[[Market], None],
    pool_desk: PoolDesk | None = None,
) -> None:
    """``visit`` has the page, while prices come and ``trade`` is called after each."""
    (folder / "market").mkdir()
    (folder / "profile").mkdir()
    async with served(folder / "market", desk=desk, pool_desk=pool_desk) as (market, address):

        def look() -> None:
            with browser(folder / "profile") as page:
                page.open(f"http://{address}/")
                page.until("document.querySelectorAll('#seals li').length === 3")
                visit(page)
                assert page.value("0") == 0
                assert page.errors == []

        looking = asyncio.get_running_loop().run_in_executor(None, look)
        number = 0
        while not looking.done():
            number += 1
            market.certified(next_certificate(number, PRICE + 10_000_000 * (number % 7)))
            trade(market)
            await asyncio.wait([looking], timeout=0.25)
        await looking


def nothing(_: Market) -> None:
    pass


@pytest.mark.timeout(180)
async def test_it_shows_what_it_verified(tmp_path: Path) -> None:
    rows = [{"name": "FUND", "txid": "ab" * 32, "vsize": 298, "fee": 596, "height": 150}]
    desk = TestDesk()
    desk.rows = rows

    def visit(page: Page) -> None:
        assert page.value("document.querySelectorAll('#seals li.valid').length") == 2
        assert page.value("document.querySelector('#index-facts .badge').textContent") == "holds"
        page.until("document.querySelectorAll('#chain-body tbody tr').length > 8")
        chosen = page.until("document.querySelector('#instrument-name').textContent")
        assert chosen.startswith("BTC-")
        assert page.value("document.querySelectorAll('#payoff-plot path.series').length") == 2
        assert page.value("document.querySelectorAll('#greek-plot path.series').length") == 2
        page.until("!document.getElementById('buy').disabled")
        page.value("document.getElementById('buy').click()")
        page.until("document.getElementById('order-answer').textContent.includes('contract 1')")
        page.until("!!document.querySelector('#contract-list details')")
        page.value("document.querySelector('#contract-list details').open = true")
        shown = page.until("document.querySelector('#contract-list tbody')?.textContent")
        assert "FUND" in shown and "150" in shown
        # A keyboard reaches everything: from the top to the chain, and down its strikes.
        page.value("document.activeElement.blur()")
        page.press("Tab")
        assert "Skip" in page.value("document.activeElement.textContent")
        page.value("document.querySelector('#chain-body button').focus()")
        first = page.value("document.activeElement.dataset.instrument")
        page.press("ArrowDown")
        assert page.value("document.activeElement.dataset.instrument") != first
        page.press("Enter")
        page.until("document.activeElement.getAttribute('aria-pressed') === 'true'")

    await visited(tmp_path, visit, desk, nothing)


@pytest.mark.timeout(180)
async def test_a_dispute_is_a_tree_with_a_clock(tmp_path: Path) -> None:
    desk = TestDesk()

    def visit(page: Page) -> None:
        page.until("!document.getElementById('buy').disabled")
        page.value("document.getElementById('buy').click()")
        page.until("!!document.querySelector('#dispute-list meter')")
        picked = page.value("document.querySelectorAll('#dispute-list i.picked').length")
        assert picked == 3
        assert "4 blocks left" in page.value("document.querySelector('.clock').textContent")

    def dispute(market: Market) -> None:
        for number in market.book.contracts:
            desk.stage[number] = Stage.DISPUTED
            desk.shown[number] = Dispute(
                contract_id="ab" * 32, stage="disputed", height=200, wait="DIGIT", step=None,
                fault=None, leaf=None, winner=None, digits=(3, 0, 2), since=198, deadline=204,
                transactions=(),
            )  # fmt: skip

    await visited(tmp_path, visit, desk, dispute)


@pytest.mark.timeout(180)
async def test_the_pool_is_shown_and_reached_by_keyboard(tmp_path: Path) -> None:
    def visit(page: Page) -> None:
        page.until("!document.getElementById('pool').hidden")
        rows = "[...document.querySelectorAll('#pool-tokens tbody tr')].map((row) => row.innerText)"
        page.until("document.querySelectorAll('#pool-tokens tbody tr').length === 3")
        btc, eth, ada = page.value(rows)
        assert "longs pay" in btc and "$10,000" in btc
        assert "shorts pay" in eth and "$2,500" in eth
        assert "nobody pays" in ada
        meter = "document.querySelector('#pool-tokens .meter').getAttribute('aria-label')"
        assert "at most 80 %" in page.value(meter)
        assert page.value("document.querySelectorAll('#pool-composition .part').length") == 4
        page.until("document.querySelectorAll('#pool-batches details').length >= 2")
        page.until("!!document.querySelector('#pool-plot path.series')")
        page.value("document.querySelector('#pool-batches summary').focus()")
        page.press("Enter")
        page.until("document.querySelector('#pool-batches details').open")
        shown = page.value("document.querySelector('#pool-batches details').innerText")
        assert "To root" in shown and "Payments" in shown
        page.value("document.getElementById('pool-tokens').focus()")
        assert page.value("document.activeElement.id") == "pool-tokens"

    async with running_desk(tmp_path / "pool") as (pool_desk, venue):
        venue.sequencer.submit(venue.add("lp", 100_000))
        venue.sequencer.submit(venue.increase("bob", 1_000))
        short = venue.increase("eve", 500, token=2, side=1, size=2_500 * USDC)
        venue.sequencer.submit(short)
        await batched(pool_desk, venue)
        await batched(pool_desk, venue, BTC=40_200)
        await visited(tmp_path, visit, TestDesk(), nothing, pool_desk)


@pytest.mark.timeout(180)
async def test_the_page_verifies_as_bip340_says(tmp_path: Path) -> None:
    with VECTORS.open() as file:
        cases = [[r["public key"], r["message"], r["signature"]] for r in csv.DictReader(file)]
    with VECTORS.open() as file:
        expected = [row["verification result"] == "TRUE" for row in csv.DictReader(file)]
    assert len(cases) == 19

    def visit(page: Page) -> None:
        script = f"""(async () => {{
            const s = await import('/js/schnorr.js'), b = await import('/js/bytes.js');
            return {json.dumps(cases)}.map((row) => s.verify(...row.map(b.fromHex)));
        }})()"""
        assert page.value(script) == expected

    await visited(tmp_path, visit, TestDesk(), nothing)


@pytest.mark.timeout(180)
async def test_the_page_believes_no_server(tmp_path: Path) -> None:
    """Every changed byte of a certificate is noticed: in the report, or as a false signature."""
    data = next_certificate(1).encode()

    def visit(page: Page) -> None:
        config = "(await (await fetch('/v1/index/BTC')).json()).config"
        script = f"""(async () => {{
            const c = await import('/js/certificate.js'), b = await import('/js/bytes.js');
            const config = c.decodeConfig(b.fromHex({config}));
            const holds = (data) => {{
                try {{ return c.checkCertificate(c.decodeCertificate(data), config).holds; }}
                catch (error) {{ return false; }}
            }};
            const data = b.fromHex({json.dumps(data.hex())});
            const flipped = [];
            for (let at = 0; at < data.length; at += 7) {{
                const other = data.slice();
                other[at] ^= 1;
                flipped.push(holds(other));
            }}
            const fewer = holds(data.slice(0, -65));
            return [holds(data), flipped.some((one) => one), flipped.length, fewer];
        }})()"""
        assert page.value(script) == [True, False, (len(data) + 6) // 7, False]

    await visited(tmp_path, visit, TestDesk(), nothing)


def test_nothing_comes_from_elsewhere() -> None:
    """No build step, no CDN: every reference is to a file beside the page."""
    for path in [*STATIC.rglob("*.html"), *STATIC.rglob("*.js"), *STATIC.rglob("*.css")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text.replace('"https:"', ""), path
