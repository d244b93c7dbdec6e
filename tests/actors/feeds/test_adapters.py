"""The protocol rules of the adapters: order, status, jumps, clocks, symbols, acknowledgements."""

import json

import pytest

from actors.feeds.adapter import Memory, Question
from actors.feeds.binance import Binance
from actors.feeds.coinbase import AdvancedTrade, Coinbase
from actors.feeds.events import (
    Action,
    Control,
    Drop,
    Error,
    Heartbeat,
    Ignore,
    Quote,
    Reason,
    Reject,
    Trade,
)
from actors.feeds.http_reply import HttpReply
from actors.feeds.kraken import Kraken
from actors.feeds.products import PRODUCTS, adapter_of, symbol_at, symbols_at
from protocol.errors import ConfigError
from protocol.units import E8

NOW = 1_790_358_506_900
AT = "2026-09-25T17:48:26.{:06d}Z"


def book_ticker(update_id, bid="84000.00", ask="84000.01", symbol="BTCUSDT"):
    return json.dumps({"u": update_id, "s": symbol, "b": bid, "B": "1", "a": ask, "A": "1"})


def kraken_ticker(micros, bid, ask, last=None, symbol="BTC/USD"):
    row = f'"bid":{bid},"ask":{ask},"last":{last or ask},"timestamp":"{AT.format(micros)}"'
    return f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{symbol}",{row}}}]}}'


def coinbase_ticker(sequence, bid="84000", ask="84000.01", **other):
    frame = {"type": "ticker", "sequence": sequence, "product_id": "BTC-USD", "price": ask}
    return json.dumps({**frame, "best_bid": bid, "best_ask": ask, **other})


def advanced(number, tickers, channel="ticker"):
    events = [{"type": "update", "tickers": tickers}]
    head = {"channel": channel, "client_id": "", "timestamp": "2026-09-25T17:48:26Z"}
    return json.dumps({**head, "sequence_num": number, "events": events})


def only(events):
    assert len(events) == 1, events
    return events[0]


class TestOrder:
    def test_binance_update_id_never_goes_back(self):
        adapter = Binance(["BTC-USDT", "ETH-USDT"])
        assert isinstance(only(adapter.parse(book_ticker(10), NOW)), Quote)
        assert isinstance(only(adapter.parse(book_ticker(9), NOW)), Drop)
        assert isinstance(only(adapter.parse(book_ticker(10), NOW)), Drop)
        # Ids are compared within one symbol, and the next connection may start lower.
        eth = book_ticker(3, "2700.00", "2700.01", "ETHUSDT")
        assert isinstance(only(adapter.parse(eth, NOW)), Quote)
        assert isinstance(only(adapter.parse(book_ticker(11), NOW)), Quote)
        assert isinstance(only(adapter.renewed().parse(book_ticker(1), NOW)), Quote)

    def test_a_rejected_frame_does_not_move_the_order(self):
        adapter = Binance(["BTC-USDT"])
        assert isinstance(only(adapter.parse(book_ticker(2**63, "2", "1"), NOW)), Reject)
        assert isinstance(only(adapter.parse(book_ticker(5), NOW)), Quote)

    def test_kraken_times_may_repeat_but_content_may_not(self):
        adapter = Kraken(["BTC-USD"])
        assert isinstance(only(adapter.parse(kraken_ticker(7, "84000.1", "84000.2"), NOW)), Quote)
        assert isinstance(only(adapter.parse(kraken_ticker(7, "84000.1", "84000.2"), NOW)), Drop)
        assert isinstance(only(adapter.parse(kraken_ticker(7, "84000.1", "84000.3"), NOW)), Quote)
        assert isinstance(only(adapter.parse(kraken_ticker(6, "84000.1", "84000.3"), NOW)), Drop)

    def test_coinbase_gap_is_normal_and_duplicate_is_not(self):
        adapter = Coinbase(["BTC-USD"])
        kinds = [type(only(adapter.parse(coinbase_ticker(n), NOW))) for n in (5, 5_000, 5_000, 6)]
        assert kinds == [Quote, Quote, Drop, Drop]

    def test_advanced_trade_gap_asks_to_subscribe_again(self):
        adapter = Coinbase(["BTC-USD"])
        ticker = {"product_id": "BTC-USD", "price": "2", "best_bid": "1.9", "best_ask": "2"}
        assert isinstance(only(adapter.parse(advanced(7, [ticker]), NOW)), Quote)
        assert isinstance(only(adapter.parse(advanced(8, [ticker]), NOW)), Quote)
        quote, control = adapter.parse(advanced(10, [ticker]), NOW)
        assert isinstance(quote, Quote)
        assert control == Control(Action.RESUBSCRIBE)
        assert isinstance(only(adapter.parse(advanced(9, [ticker]), NOW)), Drop)

    def test_trades_of_one_moment_need_distinct_ids(self):
        adapter = Binance(["BTC-USDT"])
        trade = {"e": "aggTrade", "s": "BTCUSDT", "p": "84000", "T": NOW, "a": 1}
        kinds = [
            type(only(adapter.parse(json.dumps({**trade, "a": number}), NOW)))
            for number in (1, 2, 2)
        ]
        assert kinds == [Trade, Trade, Drop]


class TestJumps:
    def test_a_far_price_waits_for_a_second_one(self):
        adapter = Binance(["BTC-USDT"])
        far = ("8400.00", "8400.01")
        assert isinstance(only(adapter.parse(book_ticker(1), NOW)), Quote)
        assert only(adapter.parse(book_ticker(2, *far), NOW)).reason is Reason.JUMP
        assert only(adapter.parse(book_ticker(3, *far), NOW + 999)).reason is Reason.JUMP
        assert isinstance(only(adapter.parse(book_ticker(4, *far), NOW + 1000)), Quote)
        assert isinstance(only(adapter.parse(book_ticker(5, *far), NOW + 1001)), Quote)

    def test_a_print_that_comes_back_confirms_nothing(self):
        adapter = Binance(["BTC-USDT"])
        adapter.parse(book_ticker(1), NOW)
        for step, price in enumerate(("840000.00", "84000.00", "840000.00")):
            event = only(
                adapter.parse(book_ticker(2 + step, price, "840000.01"), NOW + 2000 * step)
                if price != "84000.00"
                else adapter.parse(book_ticker(2 + step), NOW + 2000 * step)
            )
            assert isinstance(event, Quote) == (price == "84000.00")

    def test_half_and_double_are_no_jump(self):
        adapter = Binance(["BTC-USDT"], Memory({"BTC-USDT": 84_000 * E8}))
        assert isinstance(only(adapter.parse(book_ticker(1, "41999.99", "42000.01"), NOW)), Quote)
        assert isinstance(only(adapter.parse(book_ticker(2, "83999.99", "84000.01"), NOW)), Quote)

    def test_the_last_good_price_outlives_the_connection(self):
        adapter = Binance(["BTC-USDT"])
        adapter.parse(book_ticker(1), NOW)
        event = only(adapter.renewed().parse(book_ticker(1, "8400.00", "8400.01"), NOW))
        assert event.reason is Reason.JUMP

    def test_a_far_trade_is_refused_too(self):
        adapter = Binance(["BTC-USDT"])
        adapter.parse(book_ticker(1), NOW)
        trade = {"e": "aggTrade", "s": "BTCUSDT", "p": "840000", "T": NOW, "a": 1}
        assert only(adapter.parse(json.dumps(trade), NOW)).reason is Reason.JUMP


class TestBooks:
    @pytest.mark.parametrize(
        ("bid", "ask"),
        [
            ("84000.01", "84000.00"),
            ("84000.00", "84000.00"),
            ("0.00", "1.00"),
            ("1.00", "0.00"),
            ("0.000000001", "84000.00"),
        ],
    )
    def test_crossed_locked_and_one_sided(self, bid, ask):
        assert only(Binance(["BTC-USDT"]).parse(book_ticker(1, bid, ask), NOW)) == Reject(
            Reason.BOOK, only(Binance(["BTC-USDT"]).parse(book_ticker(1, bid, ask), NOW)).detail
        )

    @pytest.mark.parametrize("missing", ["u", "b", "a", "s"])
    def test_a_book_ticker_has_all_its_fields(self, missing):
        frame = json.loads(book_ticker(1))
        del frame[missing]
        assert isinstance(only(Binance(["BTC-USDT"]).parse(json.dumps(frame), NOW)), Reject)

    def test_a_stream_carries_its_own_symbol(self):
        frame = {"stream": "ethusdt@bookTicker", "data": json.loads(book_ticker(1))}
        adapter = Binance(["BTC-USDT", "ETH-USDT"])
        assert only(adapter.parse(json.dumps(frame), NOW)).reason is Reason.SYMBOL

    def test_one_bad_item_does_not_spoil_the_others(self):
        good = {"product_id": "BTC-USD", "price": "2", "best_bid": "1.9", "best_ask": "2"}
        bad = {**good, "best_bid": "x"}
        events = Coinbase(["BTC-USD"]).parse(advanced(1, [bad, good, "?"]), NOW)
        assert [type(event) for event in events] == [Reject, Quote, Reject]


class TestKraken:
    def test_only_a_change_of_last_is_a_trade(self):
        adapter = Kraken(["BTC-USD"])
        frames = [("84000.3", 1), ("84000.3", 2), ("84000.4", 3), ("84000.4", 4)]
        quotes = [
            only(adapter.parse(kraken_ticker(micros, "84000.1", "84000.2", last), NOW))
            for last, micros in frames
        ]
        assert [quote.last_is_new for quote in quotes] == [False, False, True, False]

    def test_closed_until_online_again(self):
        adapter = Kraken(["BTC-USD", "USDT-USD"])

        def status(system):
            frame = {"channel": "status", "type": "update", "data": [{"system": system}]}
            return only(adapter.parse(json.dumps(frame), NOW))

        assert status("post_only").symbols == ("BTC-USD", "USDT-USD")
        ticker = kraken_ticker(1, "84000.1", "84000.2")
        assert only(adapter.parse(ticker, NOW)).reason is Reason.STATUS
        assert status("online").status == "online"
        assert isinstance(only(adapter.parse(ticker, NOW)), Quote)
        assert isinstance(status("gone fishing"), Reject)

    def test_pong_measures_the_clock(self):
        adapter = Kraken(["BTC-USD"])
        ping = json.loads(adapter.ping(NOW))
        pong = {"method": "pong", "req_id": ping["req_id"], "time_in": AT.format(500_000)}
        # The venue's 26.500 is the middle of our 23.000 and 23.400: it is 3300 ms ahead.
        event = only(adapter.parse(json.dumps(pong), NOW))
        assert event.action is Action.ALIVE
        ping = json.loads(adapter.ping(NOW - 3_900))
        adapter.parse(json.dumps({**pong, "req_id": ping["req_id"]}), NOW - 3_500)
        assert adapter.memory.clock.offset_ms == 3_300, "the newest contradicts the old"
        adapter.parse(json.dumps({**pong, "req_id": 7}), NOW)
        assert adapter.memory.clock.offset_ms == 3_300, "nobody asked"
        assert adapter.renewed().memory.clock.offset_ms == 3_300

    @pytest.mark.parametrize(
        ("error", "action"),
        [
            ("Currency pair not supported XBT/USD", Action.CONFIG_FAULT),
            ("Exceeded msg rate", Action.BACKOFF),
            ("Already subscribed", Action.TREAT_AS_ACK),
            ("Something new", Action.RETRY),
        ],
    )
    def test_refusals(self, error, action):
        frame = {"error": error, "method": "subscribe", "success": False}
        event = only(Kraken(["BTC-USD"]).parse(json.dumps(frame), NOW))
        assert isinstance(event, Error)
        assert event.action is action

    def test_an_ack_says_so(self):
        frame = {"method": "subscribe", "result": {}}
        assert isinstance(only(Kraken(["BTC-USD"]).parse(json.dumps(frame), NOW)), Reject)


class TestCoinbase:
    def test_heartbeat_proves_missed_trades(self):
        adapter = Coinbase(["BTC-USD"])
        adapter.parse(coinbase_ticker(1, trade_id=10), NOW)

        def heartbeat(last_trade_id, at_ms):
            frame = {"type": "heartbeat", "product_id": "BTC-USD", "time": AT.format(0)}
            event = only(
                adapter.parse(json.dumps({**frame, "last_trade_id": last_trade_id}), at_ms)
            )
            assert isinstance(event, Heartbeat)
            return event.action

        assert heartbeat(10, NOW + 60_000) is None
        assert heartbeat(11, NOW + 2_000) is None
        assert heartbeat(11, NOW + 2_001) is Action.STALLED

    def test_a_product_by_rest_says_whether_it_trades(self):
        body = {"id": "BTC-USD", "quote_currency": "USD", "status": "online"}
        for flag, status in (
            ("post_only", "not-trading"),
            ("cancel_only", "not-trading"),
            ("trading_disabled", "not-trading"),
            ("auction_mode", "auction"),
            ("limit_only", "online"),
        ):
            adapter = Coinbase(["BTC-USD"])
            event = only(adapter.parse_reply(HttpReply(200, json.dumps(body | {flag: True})), NOW))
            assert (event.action, event.status) == (Action.VENUE_STATUS, status)
            # What REST says closes the stream, and the connections to come.
            after = only(adapter.renewed().parse(coinbase_ticker(1), NOW))
            assert isinstance(after, Quote) == (status == "online")

    def test_status_and_auction_close_one_product(self):
        adapter = Coinbase(["BTC-USD"])
        auction = {"type": "auction", "product_id": "BTC-USD", "auction_state": "collection"}
        adapter.parse(json.dumps(auction), NOW)
        assert only(adapter.parse(coinbase_ticker(1), NOW)).reason is Reason.STATUS
        adapter.parse(json.dumps({**auction, "auction_state": "complete"}), NOW)
        assert isinstance(only(adapter.parse(coinbase_ticker(1), NOW)), Quote)
        products = [{"id": "BTC-EUR", "status": "delisted"}, {"id": "BTC-USD", "status": "offline"}]
        status = json.dumps({"type": "status", "products": products})
        assert only(adapter.parse(status, NOW)).symbols == ("BTC-USD",)
        assert only(adapter.parse(coinbase_ticker(2), NOW)).reason is Reason.STATUS

    @pytest.mark.parametrize(
        ("frame", "action"),
        [
            ({"message": "Failed to subscribe", "reason": "x"}, Action.CONFIG_FAULT),
            ({"message": "ErrSlowRead"}, Action.TOO_SLOW),
            ({"message": "rate limit exceeded"}, Action.BACKOFF),
        ],
    )
    def test_refusals(self, frame, action):
        event = only(Coinbase(["BTC-USD"]).parse(json.dumps({"type": "error", **frame}), NOW))
        assert event.action is action

    def test_rest_time_is_of_the_trade_not_of_the_book(self):
        body = {"ask": "84000.01", "bid": "84000", "price": "84000.01", "size": "1"}
        for time, is_new in (
            ("2026-09-25T17:48:26.016274911Z", True),
            ("2026-09-25T16:00:00Z", False),
        ):
            reply = HttpReply(200, json.dumps({**body, "time": time}))
            quote = only(Coinbase(["BTC-USD"]).parse_reply(reply, NOW))
            assert isinstance(quote, Quote)
            assert quote.last_is_new is is_new
            assert quote.venue_ts_ms == (1_790_358_506_016 if is_new else None)


class TestBinance:
    def test_shutdown_asks_to_reconnect(self):
        for frame in (
            {"e": "serverShutdown", "E": NOW},
            {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": NOW}},
        ):
            event = only(Binance(["BTC-USDT"]).parse(json.dumps(frame), NOW))
            assert event == Control(Action.RECONNECT)

    def test_partial_depth_and_unknown_frames(self):
        adapter = Binance(["BTC-USDT"])
        depth = {"lastUpdateId": 1, "bids": [], "asks": []}
        assert isinstance(only(adapter.parse(json.dumps(depth), NOW)), Ignore)
        assert only(adapter.parse('{"hello":1}', NOW)).reason is Reason.FRAME


class TestReplies:
    @pytest.mark.parametrize(
        ("status", "body", "headers", "action", "wait_s"),
        [
            (429, "{}", {"Retry-After": "27"}, Action.BACKOFF, 27),
            (418, "{}", {"retry-after": "360"}, Action.STOP_UNTIL, 360),
            (451, '{"code":0,"msg":"restricted"}', {}, Action.STOP_UNTIL, None),
            (429, "{}", {"Retry-After": "٣"}, Action.BACKOFF, None),
            (429, "{}", {"Retry-After": "9" * 30}, Action.BACKOFF, None),
            (429, "{}", {"Retry-After": "-1"}, Action.BACKOFF, None),
            (403, "<html>blocked</html>", {}, Action.BACKOFF, None),
            (502, "<html>bad gateway</html>", {}, Action.RETRY, None),
            (504, '{"code":-1007,"msg":"Timeout"}', {}, Action.RETRY, None),
            (418, '{"code":-1121,"msg":"x"}', {}, Action.STOP_UNTIL, None),
        ],
    )
    def test_http_errors(self, status, body, headers, action, wait_s):
        event = only(Binance(["BTC-USDT"]).parse_reply(HttpReply(status, body, headers), NOW))
        assert isinstance(event, Error)
        assert (event.action, event.retry_after_s) == (action, wait_s)

    @pytest.mark.parametrize(
        ("value", "at"),
        [
            ("Fri, 25 Sep 2026 18:48:26 GMT", 1_790_362_106),
            ("Friday, 25-Sep-26 18:48:26 GMT", 1_790_362_106),
            ("25 Sep 2026", None),
            ("Fri, 31 Feb 2026 18:48:26 GMT", None),
            ("9" * 5000, None),
            ("tomorrow", None),
            ("", None),
        ],
    )
    def test_retry_after_may_be_a_date(self, value, at):
        reply = HttpReply(418, "{}", {"retry-after": value})
        event = only(Binance(["BTC-USDT"]).parse_reply(reply, NOW))
        assert (event.retry_after_s, event.until_unix) == (None, at)

    @pytest.mark.parametrize(
        "adapter", [Binance(["BTC-USDT"]), Coinbase(["BTC-USD"]), Kraken(["BTC-USD"])]
    )
    def test_html_candles_and_nulls_with_status_200(self, adapter):
        for body in ("<html>log in</html>", "", "null", "[[1,2,3,4,5,6]]", b"\xff", "{" * 99):
            events = adapter.parse_reply(HttpReply(200, body), NOW)
            assert events
            assert all(isinstance(event, Reject) for event in events)


class TestAcknowledgements:
    """A partial acknowledgement names what is subscribed."""

    def test_binance_confirms_the_request(self):
        ack = only(Binance(["BTC-USDT", "ETH-USDT"]).parse('{"result":null,"id":1}', NOW))
        assert ack.symbols == ("BTC-USDT", "ETH-USDT")

    def test_coinbase_lists_the_products(self):
        channels = [
            {"name": "heartbeat", "product_ids": ["ETH-USD", "BTC-USD"]},
            {"name": "ticker", "product_ids": ["ETH-USD", ["BTC-USD"]]},
        ]
        frame = json.dumps({"type": "subscriptions", "channels": channels})
        assert only(Coinbase(["BTC-USD", "ETH-USD"]).parse(frame, NOW)).symbols == ("ETH-USD",)

    def test_advanced_trade_lists_the_products(self):
        subscriptions = [{"subscriptions": {"ticker": ["BTC-USD"], "heartbeats": ["heartbeats"]}}]
        head = {"channel": "subscriptions", "timestamp": "2026-09-25T17:48:26Z", "sequence_num": 1}
        frame = json.dumps({**head, "events": subscriptions})
        assert only(AdvancedTrade(["BTC-USD", "ETH-USD"]).parse(frame, NOW)).symbols == ("BTC-USD",)

    def test_kraken_confirms_each_symbol(self):
        frame = {"method": "subscribe", "success": True, "result": {"symbol": "ETH/USD"}}
        ack = only(Kraken(["BTC-USD", "ETH-USD"]).parse(json.dumps(frame), NOW))
        assert ack.symbols == ("ETH-USD",)


class TestQuestions:
    def test_binance(self):
        adapter = Binance(["BTC-USDT", "ETH-USDT"])
        path = "/api/v3/ticker/bookTicker?symbols=%5B%22BTCUSDT%22,%22ETHUSDT%22%5D"
        assert adapter.quote_questions(adapter.symbols) == [Question(path)]
        assert adapter.routine_questions() == [Question("/api/v3/time")]

    def test_coinbase(self):
        question = Question("/products/ETH-USD/ticker", "ETH-USD")
        assert Coinbase(["BTC-USD", "ETH-USD"]).quote_questions(["ETH-USD"]) == [question]
        paths = [question.path for question in Coinbase(["BTC-USD"]).routine_questions()]
        assert paths == ["/time", "/products/BTC-USD"]

    def test_advanced_trade(self):
        path = "/api/v3/brokerage/market/product_book?product_id=BTC-USD&limit=1"
        adapter = AdvancedTrade(["BTC-USD"])
        assert adapter.quote_questions(["BTC-USD"]) == [Question(path, "BTC-USD")]
        assert adapter.routine_questions() == []

    def test_kraken_asks_for_its_status_too(self):
        adapter = Kraken(["BTC-USD", "ADA-USD"])
        first, *_, last = adapter.quote_questions(adapter.symbols)
        assert (first.path, last.path) == (
            "/0/public/Ticker?pair=XBTUSD,ADAUSD",
            "/0/public/SystemStatus",
        )


def test_advanced_trade_subscribes_to_its_heartbeats():
    channels = [json.loads(text)["channel"] for text in AdvancedTrade(["BTC-USD"]).subscriptions()]
    assert channels == ["ticker", "heartbeats"]
    with pytest.raises(ConfigError, match="only coinbase"):
        adapter_of("kraken", "advanced-trade")
    assert adapter_of("coinbase", "advanced-trade") is AdvancedTrade


def test_single_venue_mode_subscribes_elsewhere_only_to_the_rate():
    assert symbols_at("binance", ["BTC-USD"], ["binance"]) == ("BTC-USDT",)
    assert symbols_at("kraken", ["BTC-USD"], ["binance"]) == ("USDT-USD",)
    assert symbols_at("kraken", ["BTC-USD"], ["kraken"]) == ("BTC-USD",)
    assert symbols_at("coinbase", ["BTC-USD"], ["kraken"]) == ()


def test_products_and_symbols():
    assert symbol_at("binance", "BTC-USD") == "BTC-USDT"
    assert symbols_at("binance", PRODUCTS) == ("BTC-USDT", "ETH-USDT", "ADA-USDT", "SOL-USDT")
    assert symbols_at("kraken", ["SOL-USD"]) == ("SOL-USD", "USDT-USD")
    for venue, adapter in (("binance", Binance), ("coinbase", Coinbase), ("kraken", Kraken)):
        assert adapter(symbols_at(venue, PRODUCTS)).subscriptions()
    with pytest.raises(ConfigError, match="choose from"):
        symbol_at("bitfinex", "BTC-USD")
    with pytest.raises(ConfigError, match="choose from"):
        symbol_at("kraken", "DOGE-USD")
    with pytest.raises(ConfigError, match="no feed BTC-USD; choose from BTC-USDT"):
        Binance(["BTC-USD"])
    with pytest.raises(ConfigError, match="empty list"):
        Kraken([])
