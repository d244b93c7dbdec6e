"""Every row of tests/vectors/feeds: its class and every expected field."""

import json
from functools import cache
from pathlib import Path

import pytest

from actors.feeds.events import Reason
from actors.feeds.rows import parse_rows

VECTORS = Path(__file__).parents[2] / "vectors" / "feeds"
ROWS = {
    row["id"]: row
    for venue in ("binance", "coinbase", "kraken")
    for row in map(json.loads, (VECTORS / f"{venue}.jsonl").read_text("utf-8").splitlines())
}

# The one action that a row states as a rule instead of a word.
ACTIONS = {
    "if last_trade_id advanced by >0 and no ticker seen for >2 s: mark ticker channel stalled": (
        "stalled"
    )
}

# The rows say in prose why a frame is refused; this is which of our reasons that is.
REASONS = {
    Reason.FRAME: """binance-bare-nan-literal binance-dup-keys binance-array binance-truncated
        binance-trailing-garbage binance-empty-frame binance-bom binance-binary-invalid-utf8
        binance-huge-frame binance-deep-nesting coinbase-truncated coinbase-array coinbase-string
        kraken-inf-literal kraken-v1-ticker""",
    Reason.FIELD: """binance-bid-inf binance-bid-neg-zero binance-bid-empty binance-bid-space
        binance-bid-exp binance-bid-fullwidth binance-bid-arabic-indic binance-bid-trailing
        binance-bid-plus binance-bid-bare-dot binance-bid-long binance-bid-huge coinbase-bad-time
        coinbase-negative coinbase-nan kraken-overflow-literal kraken-negative kraken-null-bid""",
    Reason.SYMBOL: """binance-wrong-symbol-quote binance-wrong-symbol-stable
        binance-homoglyph-symbol binance-nonascii-symbol coinbase-wrong-product
        kraken-alias-xbt-in-payload kraken-rest-ticker-wrong""",
    Reason.BOOK: "binance-crossed binance-empty-side binance-both-zero kraken-zero",
    Reason.SIZE: "binance-zero-qty",
    Reason.STATUS: "kraken-quote-during-maintenance",
    Reason.STALE: "binance-trade-stale coinbase-stale-time kraken-stale-ts",
    Reason.FUTURE: "kraken-future-ts",
    Reason.JUMP: "binance-far",
    Reason.LAST: "coinbase-last-far-from-mid",
    Reason.REDIRECT: "binance-rest-redirect",
}
REASON_OF = {row_id: reason for reason, ids in REASONS.items() for row_id in ids.split()}


@cache
def parsed():
    return {result["id"]: result for result in parse_rows(ROWS.values())}


def test_all_rows_are_here():
    assert len(ROWS) == 61 + 32 + 45


@pytest.mark.parametrize("row_id", ROWS)
def test_row(row_id):
    expected = dict(ROWS[row_id]["expect"])
    expected.pop("reason", None)
    if "action" in expected:
        expected["action"] = ACTIONS.get(expected["action"], expected["action"])
    result = parsed()[row_id]
    known = {key: result.get(key) for key in expected}
    assert known == expected, result
    if expected["class"] == "reject":
        assert result["reason"] == REASON_OF[row_id]
