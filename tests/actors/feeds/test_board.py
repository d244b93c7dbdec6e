"""The board: newest wins, and every quote keeps the frames behind it."""

import pytest

from actors.feeds.board import Arrival, QuoteBoard
from actors.feeds.events import NOT_TRADING, ONLINE, Action, Control, Quote, Trade
from protocol.errors import PriceError
from protocol.oracle.price import evidence_root
from protocol.units import E8

NOW = 1_790_358_506_900
MID = 84_000 * E8


def arrival(frame, now_ms=NOW, monotonic_ns=1):
    return Arrival(frame, now_ms, monotonic_ns)


def quote(symbol="BTC-USD", mid=MID, **fields):
    return Quote(symbol, mid - mid // 10**5, mid + mid // 10**5, **fields)


def filled():
    board = QuoteBoard()
    board.apply("kraken", [quote("USDT-USD", E8)], arrival(b"usdt", monotonic_ns=9))
    board.apply("kraken", [quote()], arrival(b"kraken", monotonic_ns=8))
    board.apply("binance", [quote("BTC-USDT")], arrival(b"binance", monotonic_ns=5))
    board.apply("coinbase", [quote()], arrival(b"coinbase", monotonic_ns=7))
    return board


def test_price_and_its_evidence():
    snapshot = filled().snapshot("BTC-USD")
    price = snapshot.price(NOW, 3)
    assert price.price_e8 == MID
    assert snapshot.frames(price) == (b"binance", b"coinbase", b"kraken", b"usdt")
    assert snapshot.first_received_ns(price) == 5
    assert len(evidence_root(snapshot.frames(price))) == 32


def test_newest_wins_and_a_snapshot_stays():
    board = filled()
    before = board.snapshot("BTC-USD")
    board.apply("kraken", [quote(mid=MID + E8)], arrival(b"newer", NOW + 1))
    assert before.pair["kraken"].book.frame == b"kraken"
    held = board.get("kraken", "BTC-USD")
    assert held.book.frame == b"newer"
    assert held.quote.received_ms == NOW + 1


def test_stale_venues_give_no_price():
    with pytest.raises(PriceError):
        filled().snapshot("BTC-USD").price(NOW + 2_001, 2)


def test_last_keeps_its_own_time_and_frame():
    board = QuoteBoard()
    board.apply("kraken", [quote(last_e8=MID)], arrival(b"1", NOW))
    held = board.get("kraken", "BTC-USD")
    assert (held.quote.last_e8, held.quote.last_received_ms) == (MID, None)
    board.apply("kraken", [quote(last_e8=MID + 5, last_is_new=True)], arrival(b"2", NOW + 10))
    board.apply("kraken", [quote(last_e8=MID + 5)], arrival(b"3", NOW + 20))
    held = board.get("kraken", "BTC-USD")
    assert (held.quote.last_e8, held.quote.last_received_ms) == (MID + 5, NOW + 10)
    assert (held.book.frame, held.last.frame) == (b"3", b"2")


def test_a_trade_moves_only_the_last():
    board = filled()
    board.apply("binance", [Trade("BTC-USDT", MID + 7)], arrival(b"trade", NOW + 30))
    held = board.get("binance", "BTC-USDT")
    assert (held.quote.received_ms, held.quote.last_received_ms) == (NOW, NOW + 30)
    assert (held.book.frame, held.last.frame) == (b"binance", b"trade")


def test_a_trade_alone_is_a_price_flagged_as_last():
    board = QuoteBoard()
    board.apply("coinbase", [Trade("BTC-USD", MID)], arrival(b"trade"))
    snapshot = board.snapshot("BTC-USD")
    price = snapshot.price(NOW, 1)
    assert price.samples[0].last
    assert snapshot.frames(price) == (b"trade",)


def test_a_closed_market_needs_a_new_quote():
    board = filled()
    status = Control(Action.VENUE_STATUS, NOT_TRADING, ("BTC-USD", "USDT-USD"))
    board.apply("kraken", [status], arrival(b"closed"))
    assert not board.get("kraken", "BTC-USD").quote.tradeable
    board.apply("kraken", [Control(Action.VENUE_STATUS, ONLINE, ("BTC-USD",))], arrival(b"open"))
    assert not board.get("kraken", "BTC-USD").quote.tradeable
    board.apply("kraken", [quote()], arrival(b"fresh"))
    assert board.get("kraken", "BTC-USD").quote.tradeable
    assert board.get("coinbase", "BTC-USD").quote.tradeable
