"""``oracle-vm feeds``: parse, live, record, replay, simulate; against the simulated venues."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.feeds.simulated import SimulatedExchanges
from protocol.errors import ConfigError, EncodingError, PriceError
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed

ENOUGH = ("--seconds", 60, "--quotes", 6)
FIXTURES = Path(__file__).parents[1] / "vectors" / "feeds"


def parse(file):
    return CliRunner().invoke(app, ["feeds", "parse", str(file)])


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
def test_every_row_is_answered_with_its_class(venue):
    file = FIXTURES / f"{venue}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    answers = [json.loads(line) for line in parse(file).stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows]
    assert [answer["class"] for answer in answers] == [row["expect"]["class"] for row in rows]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("{", ":2: not a row"),
        ("7", ":2: not a row"),
        ("[]", ":2: not a row"),
        ("{}", ":2: the row has no 'venue'"),
        ('{"venue": "nasdaq", "id": "x"}', "no venue 'nasdaq'"),
        ('{"venue": "kraken", "id": "x", "transport": "ws"}', "the row has no 'raw_gen'"),
        ("[" * 100_000, ":2: not a row"),
    ],
)
def test_a_line_that_is_no_row_is_named_and_those_before_it_count(tmp_path, line, names):
    file = tmp_path / "rows.jsonl"
    first = (FIXTURES / "kraken.jsonl").read_text().splitlines()[0]
    file.write_text(f"{first}\n{line}\n")
    result = parse(file)
    assert result.exit_code == 1
    assert isinstance(result.exception, EncodingError)
    assert names in str(result.exception)
    assert len(result.stdout.splitlines()) == 1


def test_a_missing_file_is_named(tmp_path):
    assert "cannot be read" in str(parse(tmp_path / "none").exception)


def invoke(*arguments):
    return CliRunner().invoke(app, ["feeds", *map(str, arguments)])


def options(exchanges):
    """--endpoint for each simulated venue."""
    for venue, endpoint in exchanges.endpoints.items():
        yield "--endpoint"
        yield f"{venue}={endpoint.websocket_url},{endpoint.rest_url}"


@pytest.fixture(scope="module")
def exchanges():
    with SimulatedExchanges(seed=4, tick_ms=10) as running:
        yield running


@pytest.fixture(scope="module")
def recorded(exchanges, tmp_path_factory):
    """What `feeds record` printed, and the file."""
    file = tmp_path_factory.mktemp("recorded") / "frames.jsonl"
    result = invoke("record", file, "--seconds", 60, "--quotes", 120, "--json", *options(exchanges))
    assert result.exit_code == 0, result.output
    return result, file


def test_live_summary_counts_what_came(recorded):
    summary = json.loads(recorded[0].stdout)
    assert set(summary["venues"]) == {"binance", "coinbase", "kraken"}
    for figures in summary["venues"].values():
        assert figures["quotes"] > 20
        assert figures["messages"] >= figures["quotes"]
        assert figures["messages_per_s"] == pytest.approx(
            figures["messages"] / summary["seconds"], abs=0.1
        )
        assert 0 <= figures["age_ms"] < 1_000
        assert figures["connects"] == 1
        assert not figures["rejects"]
    assert 80_000 * 10**8 < summary["prices_e8"]["BTC-USD"] < 90_000 * 10**8
    assert summary["unknown"] == {}


def test_live_shows_a_line_a_second_and_frames_that_no_adapter_knows(exchanges):
    def wait_for_clients(some):
        deadline = time.monotonic() + 20
        while bool(exchanges.coinbase._clients) is not some and time.monotonic() < deadline:
            time.sleep(0.01)  # of a poll with a deadline

    def misbehave():
        wait_for_clients(some=True)
        exchanges.call(exchanges.coinbase.say, '{"type":"rfq_matches_v2","x":"é"}')
        exchanges.call(exchanges.coinbase.say, "<html>\x1b[31m")

    wait_for_clients(some=False)  # those of an earlier test may still be leaving
    speaker = threading.Thread(target=misbehave)
    speaker.start()
    result = invoke(
        "live", "--venue", "coinbase", "--seconds", 60, "--quotes", 160, "--product", "BTC-USD",
        *options(exchanges),
    )  # fmt: skip
    speaker.join()
    assert result.exit_code == 0, result.output
    assert "BTC-USD 8" in result.stdout
    assert "| coinbase 8" in result.stdout
    assert "messages coinbase" in result.stdout
    assert "binance" not in result.stdout
    assert "not known: coinbase: ignore 'rfq_matches_v2': " in result.stdout
    assert "not known: coinbase: reject not JSON" in result.stdout
    assert "\x1b" not in result.stdout


def test_live_on_one_venue_still_hears_the_rate(exchanges):
    result = invoke("live", "--venue", "binance", *ENOUGH, "--json", *options(exchanges))
    summary = json.loads(result.stdout)
    assert set(summary["venues"]) == {"binance", "coinbase", "kraken"}
    assert summary["prices_e8"]["BTC-USD"]


def test_live_by_advanced_trade(exchanges):
    result = invoke(
        "live", "--venue", "coinbase", "--advanced-trade", *ENOUGH, "--json",
        *options(exchanges),
    )  # fmt: skip
    summary = json.loads(result.stdout)
    assert summary["venues"]["coinbase"]["quotes"] > 5
    assert summary["unknown"] == {}


def test_live_without_an_answer_fails():
    result = invoke("live", "--seconds", 0.2, "--json", "--endpoint", "kraken=ws://127.0.0.1:9")
    assert isinstance(result.exception, PriceError)
    assert "no venue answered (kraken: " in str(result.exception)
    assert json.loads(result.stdout)["prices_e8"] == {"BTC-USD": None}


def test_a_clock_offset_that_is_not_known_is_said_to_be_unknown():
    result = invoke("live", "--seconds", 0.2, "--endpoint", "kraken=ws://127.0.0.1:9")
    assert "0 connections, clock offset unknown; last fault: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--endpoint", "nasdaq=wss://x"), "no venue 'nasdaq'"),
        (("--endpoint", "kraken=http://x"), "websocket_url"),
        (("--endpoint", "kraken"), "websocket_url"),
        (("--endpoint", "kraken=wss://x,ftp://y"), "rest_url"),
        (("--endpoint", "kraken=wss://x", "--venue", "binance"), "binance has no endpoint"),
        (("--product", "DOGE-USD", "--endpoint", "kraken=wss://x"), "no product 'DOGE-USD'"),
        (("--record", "/dev/null/x"), "--record"),
    ],
)
def test_a_wrong_option_is_named(arguments, names):
    result = invoke("live", "--seconds", 0.2, *arguments)
    assert isinstance(result.exception, ConfigError)
    assert names in str(result.exception)


def test_a_recording_is_never_overwritten(recorded):
    before = recorded[1].read_bytes()
    result = invoke("record", recorded[1], "--endpoint", "kraken=ws://127.0.0.1:9")
    assert isinstance(result.exception, ConfigError)
    assert "name a new file" in str(result.exception)
    assert recorded[1].read_bytes() == before


def test_replay_prints_the_same_certificates_twice_and_they_are_valid(recorded, tmp_path):
    file = recorded[1]
    first = invoke("replay", file, "--interval-ms", 250, "--json", "--out", tmp_path / "out.json")
    assert first.exit_code == 0, first.output
    assert first.stdout == invoke("replay", file, "--interval-ms", 250, "--json").stdout
    result = json.loads(first.stdout)
    assert result == json.loads((tmp_path / "out.json").read_text())
    config = OracleConfig.decode(bytes.fromhex(result["config"]))
    assert len(result["certificates"]) >= 3
    for record in result["certificates"]:
        certificate = Certificate.decode(bytes.fromhex(record["certificate"]))
        certificate.check(config, Feed("BTC/USD").feed_id)
        assert (certificate.report.round, certificate.report.price_e8) == (
            record["round"],
            record["price_e8"],
        )
    text = invoke("replay", file, "--interval-ms", 250).stdout.splitlines()
    assert [line.split()[-1] for line in text] == [
        record["certificate"] for record in result["certificates"]
    ]


def test_a_replayed_price_is_the_one_that_was_live(recorded):
    """The board of the replay is the board of the recording: the last price is the summary's."""
    summary = json.loads(recorded[0].stdout)
    result = json.loads(invoke("replay", recorded[1], "--interval-ms", 50, "--json").stdout)
    last_e8 = result["certificates"][-1]["price_e8"]
    live_e8 = summary["prices_e8"]["BTC-USD"]
    assert abs(last_e8 - live_e8) * 2_000 < live_e8


def test_a_recording_cut_short_is_replayed_with_a_warning(recorded, tmp_path):
    whole = invoke("replay", recorded[1], "--json")
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(recorded[1].read_bytes()[:-20])
    result = invoke("replay", cut, "--json")
    assert result.exit_code == 0
    assert "the last line is cut short" in result.stderr
    assert json.loads(result.stdout)["certificates"] == json.loads(whole.stdout)["certificates"]


def test_replay_names_what_is_no_recording(tmp_path):
    file = tmp_path / "r"
    file.write_text("{}\n")
    assert isinstance(invoke("replay", file).exception, EncodingError)


def test_simulate_serves_fixed_ports_until_it_is_told_to_stop():
    for _ in range(10):
        command = [sys.executable, "-c", SIMULATE, "--port", str(free_port())]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = [process.stdout.readline() for _ in range(4)]
        if lines[3]:
            break
        process.communicate()  # somebody else has taken one of the ports
    try:
        venues = tomllib.loads("".join(lines))["venues"]
        assert list(venues) == ["binance", "coinbase", "kraken"]
        given = [f"--endpoint={v}={u['websocket']},{u['rest']}" for v, u in venues.items()]
        summary = json.loads(invoke("live", *ENOUGH, "--json", *given).stdout)
        assert summary["prices_e8"]["BTC-USD"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


SIMULATE = """
import sys
from actors.feed_commands import feeds
feeds(["simulate", *sys.argv[1:]])
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(probe.getsockname()[1], 65_533)


def test_simulate_names_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = min(taken.getsockname()[1], 65_533)
        result = subprocess.run(
            [sys.executable, "-c", SIMULATE, "--port", str(port)], capture_output=True, text=True
        )
    assert result.returncode != 0
    assert "must be free" in result.stderr
