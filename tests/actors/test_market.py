"""The market: certified prices in, quotes and contracts out."""

import asyncio
import time
from dataclasses import replace

import pytest

import actors.market
from actors.gateway.contracts import accepted
from actors.market import NOTICE_MS, VOL_RANGE, Change
from actors.market_config import Pricing
from actors.market_desk import Dispute
from actors.market_source import NodeState
from protocol.errors import (
    ConfigError,
    EncodingError,
    PriceError,
    QuorumError,
    SignatureError,
    TermsError,
)
from protocol.options.book import Order, Stage
from protocol.options.instrument import parse_instrument
from protocol.options.sheet import quote
from protocol.oracle.certificate import Certificate
from protocol.units import E8, Sats
from tests.builders.epochs import certificate
from tests.builders.histories import chain, store
from tests.builders.market import (
    AMERICAN,
    BARRIER,
    CALL,
    FUND,
    NETWORK,
    RICH,
    TestClock,
    TestDesk,
    next_certificate,
    running_market,
)
from tests.builders.oracles import CONFIG, KEYS, PRICE, ROUND, T0, make_config

DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(actors.market, "LOOK_S", 0.02)


async def until(holds, what=""):
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, f"not in {DEADLINE_S:g} s: {what}"
        await asyncio.sleep(0.005)


def order(name=CALL, most=RICH, quantity=E8):
    return Order(
        instrument=parse_instrument(name),
        quantity_sats=Sats(quantity),
        collateral_sats=Sats(quantity),
        max_premium_sats=Sats(most),
    )


async def open_one(market, desk, name=CALL):
    await market.order("key", b"digest", order(name), accepted)
    await until(lambda: desk.offered == [1], "offered")
    desk.stage[1] = Stage.OPEN
    await until(lambda: market.book.contracts[1].stage is Stage.OPEN, "open")


# Prices


async def test_a_certified_price_is_the_index(tmp_path):
    async with running_market(tmp_path, price=None) as market:
        with pytest.raises(PriceError, match="no certified price"):
            market.conditions()
        heard = []
        market.changed.append(heard.append)
        market.certified(certificate())
        assert market.conditions().index_e8 == PRICE == market.index.report.price_e8
        market.certified(certificate())
        assert heard == [Change.PRICE]
        market.certified(next_certificate(5, PRICE + E8))
        market.certified(next_certificate(2, PRICE - E8))
        assert market.index.report.round == ROUND + 5, "an older one does not go back"
        assert [c.round - ROUND for c in market.certificates] == [0, 5, 2]


@pytest.mark.parametrize(
    "forged",
    [
        certificate(keys=(KEYS[3], KEYS[4]), price=PRICE + 1),
        certificate(make_config(delta_ppm=1)),
        Certificate(certificate(price=PRICE + 1).report, certificate().signatures),
    ],
    ids=["other keys", "another network", "another price"],
)
async def test_a_forged_certificate_changes_nothing(tmp_path, forged):
    async with running_market(tmp_path) as market:
        with pytest.raises((QuorumError, SignatureError), match=r"certificate|unknown"):
            market.certified(forged)
        assert [c.hash for c in market.certificates] == [certificate().hash]


async def test_an_old_price_is_not_quoted(tmp_path):
    clock = TestClock()
    async with running_market(tmp_path, clock=clock) as market:
        clock.at_ms = T0 + 90_000
        market.conditions()
        clock.at_ms += 1
        with pytest.raises(PriceError, match="90 s old, above 90 s"):
            market.conditions()


async def test_volatility_is_assumed_until_enough_prices_are_seen(tmp_path):
    pricing = Pricing(vol=0.7, moves_min=3, half_life_s=3600)
    async with running_market(tmp_path, pricing=pricing) as market:
        for number in (1, 2):
            market.certified(next_certificate(number, PRICE + number % 2 * E8))
            assert (market.vol, market.is_vol_assumed) == (0.7, True)
        market.certified(next_certificate(3, PRICE + E8))
        assert not market.is_vol_assumed
        assert VOL_RANGE[0] <= market.vol <= VOL_RANGE[1]
        assert market.vol == pytest.approx(E8 / PRICE * (365 * 86_400) ** 0.5, rel=1e-3)


async def test_a_history_is_read_before_and_followed(tmp_path):
    certificates = chain(6)
    path = store(tmp_path / "history.sqlite", certificates[:4])
    pricing = Pricing(moves_min=3)
    async with running_market(tmp_path, price=None, history=path, pricing=pricing) as market:
        assert [c.round for c in market.certificates] == [c.round for c in certificates[:4]]
        assert not market.is_vol_assumed
        store(path, certificates[4:])
        await until(lambda: len(market.certificates) == 6, "the new ones")
        assert market.index.report.round == certificates[-1].round


async def test_a_history_that_is_not_there_yet_is_waited_for(tmp_path):
    path = tmp_path / "history.sqlite"
    async with running_market(tmp_path, price=None, history=path) as market:
        assert not market.certificates
        store(path, chain(2))
        await until(lambda: len(market.certificates) == 2, "it is there")


async def test_a_sheet_has_every_listed_option_of_an_expiry(tmp_path):
    async with running_market(tmp_path) as market:
        day = next(iter(market.listed))
        sheet = market.sheet(day)
        assert [row.instrument for row in sheet] == list(market.listed[day])
        assert market.sheet(day) is sheet
        assert sheet[0].greeks == quote(sheet[0].instrument, market.conditions()).greeks
        market.certified(next_certificate(1, PRICE + E8))
        assert market.sheet(day)[0].greeks.price != sheet[0].greeks.price


# Contracts


async def test_an_order_is_sold_kept_and_handed_to_the_parties(tmp_path):
    desk = TestDesk()
    async with running_market(tmp_path, desk=desk) as market:
        answer = await market.order("key", b"digest", order(), accepted)
        assert await market.order("key", b"digest", order(), accepted) == answer
        (contract,) = market.book.contracts.values()
        conditions = market.conditions()
        quoted = quote(contract.instrument, conditions)
        assert contract.premium_sats == market.premium(quoted, Sats(E8), Sats(E8), conditions)
        assert (contract.round, contract.index_e8) == (ROUND, PRICE)
        await open_one(market, desk)
        assert desk.offered == [1]
    async with running_market(tmp_path, desk=desk) as market:
        assert market.book.contracts[1].stage is Stage.OPEN
        assert await market.order("key", b"digest", order(), accepted) == answer
        assert len(market.book.contracts) == 1


async def test_what_is_not_sold(tmp_path):
    async with running_market(tmp_path, desk=TestDesk()) as market:
        with pytest.raises(TermsError, match="max_premium_sats 5: it costs"):
            await market.order("key", b"digest", order(most=5), accepted)
        await market.order("key", b"digest", order(), accepted)  # a refusal spends no key
        with pytest.raises(EncodingError, match="another command"):
            await market.order("key", b"other", order(), accepted)
    async with running_market(tmp_path / "alone") as market:
        with pytest.raises(ConfigError, match="no \\[desk\\]"):
            await market.order("key", b"digest", order(), accepted)


async def test_many_orders_with_one_key_at_once_are_one(tmp_path):
    async with running_market(tmp_path, desk=TestDesk()) as market:
        orders = (market.order("key", b"digest", order(), accepted) for _ in range(20))
        answers = await asyncio.gather(*orders)
        assert len(set(answers)) == 1
        assert len(market.book.contracts) == 1


async def test_an_order_goes_on_when_its_client_leaves(tmp_path):
    async with running_market(tmp_path, desk=TestDesk()) as market:
        asked = asyncio.create_task(market.order("key", b"digest", order(), accepted))
        await asyncio.sleep(0)
        asked.cancel()
        await until(lambda: 1 in market.book.contracts, "sold all the same")


async def test_a_contract_waits_for_the_one_before_it(tmp_path):
    desk = TestDesk()
    async with running_market(tmp_path, desk=desk) as market:
        for key in ("a", "b"):
            await market.order(key, key.encode(), order(), accepted)
        await until(lambda: desk.offered == [1], "the first")
        await until(lambda: market.book.contracts[1].contract_id != "", "followed")
        assert desk.offered == [1]
        desk.stage[1] = Stage.OPEN
        await until(lambda: desk.offered == [1, 2], "the second")


async def test_a_desk_that_cannot_is_asked_again(tmp_path):
    desk = TestDesk()
    desk.fault = "the node does not answer"
    async with running_market(tmp_path, desk=desk) as market:
        await market.order("key", b"digest", order(), accepted)
        await until(lambda: market.book.contracts[1].fault == desk.fault, "it says why")
        desk.fault = None
        await until(lambda: market.book.contracts[1].stage is Stage.OFFERED, "offered")
        await until(lambda: market.book.contracts[1].fault == "", "and forgotten")


async def test_an_american_option_is_exercised_noticed_and_settled(tmp_path):
    desk, clock = TestDesk(), TestClock()
    async with running_market(tmp_path, desk=desk, clock=clock) as market:
        await open_one(market, desk, AMERICAN)
        answer = await market.exercise("e", b"e", 1, None, accepted)
        assert await market.exercise("e", b"e", 1, None, accepted) == answer
        chosen = market.book.contracts[1].exercise_round
        assert chosen == ROUND + 121
        await until(lambda: desk.exercised == [(1, chosen)], "the notice")
        with pytest.raises(TermsError, match="once is for good"):
            await market.exercise("f", b"f", 1, chosen + 1, accepted)
        clock.at_ms += NOTICE_MS
        await until(lambda: desk.exercised == 2 * [(1, chosen)], "whoever was away hears it now")
        clock.at_ms = CONFIG.starts_ms(chosen)
        market.certified(next_certificate(120))
        await until(lambda: not market._stirred.is_set(), "looked")
        assert (desk.settled, len(desk.exercised)) == ([], 2)
        market.certified(next_certificate(121))
        await until(lambda: desk.settled == [1], "settled")
        desk.stage[1] = Stage.CLOSED
        await until(lambda: market.book.contracts[1].stage is Stage.CLOSED, "closed")
        assert desk.left == [1]
        over = market.book.contracts[1]
        desk.rows = ()
        assert await market.transactions(over) == [FUND], "though no party runs any more"
    async with running_market(tmp_path) as market:
        assert market.book.contracts[1] == over


async def test_an_american_option_is_sold_while_enough_oracles_can_settle_it(tmp_path):
    async with running_market(tmp_path, desk=TestDesk()) as market:
        market.nodes += [NodeState(name, "", b"", connected=True) for name in NETWORK.names]
        american = replace(order(), instrument=parse_instrument(AMERICAN))
        await market.order("a", b"a", american, accepted)
        market.nodes[2].connected = False
        with pytest.raises(TermsError, match="3 of 3 oracles, and charlie cannot be heard"):
            await market.order("b", b"b", american, accepted)
        await market.order("c", b"c", order(), accepted)
        del market.nodes[2]  # it has left the network; new contracts are still of its epoch
        with pytest.raises(TermsError, match="3 of 3 oracles, and charlie cannot be heard"):
            await market.order("d", b"d", american, accepted)


async def test_what_ended_a_contract_is_waited_for(tmp_path):
    desk = TestDesk()
    async with running_market(tmp_path, desk=desk) as market:
        await open_one(market, desk)
        desk.rows, desk.stage[1] = (), Stage.CLOSED
        await until(lambda: not market._stirred.is_set(), "looked")
        assert desk.left == []
        desk.rows = (FUND,)
        await until(lambda: desk.left == [1], "over")


async def test_orders_end_before_expiry_as_the_file_says(tmp_path):
    expiry_ms = parse_instrument(CALL).expiry_ms
    pricing = Pricing(closes_s=60)
    clock = TestClock(expiry_ms - 60_000)
    async with running_market(tmp_path, desk=TestDesk(), clock=clock, pricing=pricing) as market:
        market.certified(next_certificate(expiry_ms // 1000 - 61 - ROUND))
        await market.order("a", b"a", order(), accepted)
        clock.at_ms += 1
        with pytest.raises(TermsError, match="orders end 1 minutes before expiry"):
            await market.order("b", b"b", order(), accepted)


async def test_a_european_option_is_settled_at_its_expiry(tmp_path):
    desk = TestDesk()
    async with running_market(tmp_path, desk=desk) as market:
        await open_one(market, desk)
        expiry = parse_instrument(CALL).expiry_ms // 1000
        market.certified(next_certificate(expiry - ROUND, 2 * PRICE))
        await until(lambda: desk.settled == [1], "settled")
        margin = market.margin(market.book.contracts[1])
        assert (margin.mark_sats, margin.most_sats) == (0, E8)
        assert margin.intrinsic_sats == E8 * (2 * PRICE - 90_000 * E8) // (2 * PRICE)


async def test_a_touched_barrier_is_seen_and_kept(tmp_path):
    desk = TestDesk()
    async with running_market(tmp_path, desk=desk) as market:
        await open_one(market, desk, BARRIER)
        assert market.margin(market.book.contracts[1]).mark_sats > 0
        market.certified(next_certificate(3, 120_000 * E8))
        market.certified(next_certificate(4))
        await until(lambda: market.book.contracts[1].knocked_round == ROUND + 3, "out")
        assert market.margin(market.book.contracts[1]).mark_sats == 0
    async with running_market(tmp_path, desk=desk) as market:
        assert market.book.contracts[1].knocked_round == ROUND + 3


async def test_a_dispute_is_shown(tmp_path):
    desk = TestDesk()
    async with running_market(tmp_path, desk=desk) as market:
        await open_one(market, desk)
        contract = market.book.contracts[1]
        assert await market.dispute(contract) is None
        desk.stage[1] = Stage.DISPUTED
        desk.shown[1] = Dispute(
            contract_id="ab", stage="disputed", height=7, wait="holder", step=3,
            fault=None, leaf=None, winner=None, transactions=(),
        )  # fmt: skip
        await until(lambda: market.disputes == desk.shown, "seen")
        assert await market.dispute(contract) == desk.shown[1]


async def test_a_disk_that_fails_sells_nothing(tmp_path):
    async with running_market(tmp_path, desk=TestDesk()) as market:
        market._store._db.execute("PRAGMA query_only = ON")
        with pytest.raises(ValueError, match="readonly"):
            await market.order("key", b"digest", order(), accepted)
        assert market.book.contracts == {}
