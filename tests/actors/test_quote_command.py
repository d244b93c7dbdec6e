"""``oracle-vm quote``: one instrument, a file of cases, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from protocol.errors import ConfigError, EncodingError, PriceError

NOW = "2026-10-15T08:00:00Z"  # 73 days, a fifth of a year, before expiry
NAME = "BTC-27DEC26-50000-C"
OPTIONS = Path(__file__).parents[1] / "vectors" / "options.json"
GREEKS = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho")


def run(*arguments):
    return CliRunner().invoke(app, ["quote", *map(str, arguments)])


def quoted(name, *more):
    done = run(name, "--spot", 60000, "--vol", 0.6, "--now", NOW, *more, "--json")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_a_quote_says_every_greek_and_its_unit():
    found = quoted(NAME, "--rate", 0.05, "--carry", 0.02)
    assert found["instrument"] == NAME
    assert found["years"] == pytest.approx(0.2)
    assert found["price_sats"] == round(found["price"] / 60_000 * 1e8)
    assert found["per_day"] == {"theta": found["theta"] / 365}
    assert found["per_point"] == {"vega": found["vega"] / 100, "rho": found["rho"] / 100}
    judged = {  # by QuantLib 1.44
        "price": 12231.00651894,
        "delta": 0.79155501,
        "gamma": 17.4750575e-6,
        "vega": 7549.22484136,
        "theta": -11662.15295379,
        "rho": 7052.45887315,
        "dividend_rho": -9498.66017693,
    }
    for greek, number in judged.items():
        assert found[greek] == pytest.approx(number, rel=1e-7), greek


def test_carry_is_the_rate_less_the_yield():
    case = {"type": "call", "spot": 60000, "strike": 50000, "t": 0.2, "vol": 0.6}
    found = quoted(NAME, "--rate", 0.05, "--carry", 0.02)
    from_file = answers_of([case | {"r": 0.05, "q": 0.03}])[0]
    assert found["price"] == pytest.approx(from_file["price"], rel=1e-12)
    plain = quoted(NAME, "--rate", 0.05)
    assert plain["carry"] == 0.05
    assert plain["price"] == pytest.approx(answers_of([case | {"r": 0.05}])[0]["price"], rel=1e-12)


def test_each_type_of_instrument():
    plain = quoted("BTC-27DEC26-60000-P")["price"]
    assert quoted("BTC-27DEC26-60000-P", "--now", "2026-12-27T08:00:00+00:00")["price"] == 0
    american = quoted("BTC-27DEC26-60000-P-A", "--rate", 0.1)["price"]
    assert american > quoted("BTC-27DEC26-60000-P", "--rate", 0.1)["price"]
    knocked = quoted("BTC-27DEC26-60000-P-DO40000")
    assert knocked["barrier_looks"] == 73 * 86_400
    seldom = quoted("BTC-27DEC26-60000-P-DO40000", "--round-ms", 86_400_000)
    assert 0 < knocked["price"] < seldom["price"] < plain
    assert seldom["barrier_looks"] == 73
    binary = quoted("BTC-27DEC26-60000-C-B")  # pays one bitcoin
    assert 0 < binary["price_sats"] < 10**8


def test_a_table_for_a_person():
    done = run(NAME, "--spot", 60000, "--vol", 0.6, "--now", NOW)
    assert NAME in done.stdout
    assert "sats" in done.stdout
    for greek in GREEKS:
        assert greek in done.stdout


def answers_of(cases, *more, code=0):
    file = answers_of.folder / "cases.json"
    file.write_text(json.dumps(cases))
    done = run("--file", file, "--json", *more)
    assert done.exit_code == code, done.exception
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    answers_of.folder = tmp_path


@pytest.mark.parametrize("wrap", [lambda cases: cases, lambda cases: {"cases": cases}])
def test_the_vectors_are_taken_as_they_are(wrap):
    cases = json.loads(OPTIONS.read_text())["cases"]
    answers = answers_of(wrap(cases))
    assert [answer["id"] for answer in answers] == [case["id"] for case in cases]
    for answer, case in zip(answers, cases, strict=True):
        for name, number in case["expected"].items():
            assert abs(answer[name] - number) <= case["tolerance"][name], case["id"]


def test_a_bad_case_answers_in_its_place_and_the_exit_code_is_1():
    good = {"type": "put", "spot": 100, "strike": 95, "t": 0.5, "vol": 0.2}
    bad = [{"id": 7, **good, "spot": -1}, 3, {"id": "x", **good, "spot": 1e-300, "strike": 1e30}]
    answers = answers_of([good, *bad, good], code=1)
    assert "spot" in answers[1]["error"]
    assert answers[1]["id"] == 7
    assert "object" in answers[2]["error"]
    assert "spot" in answers[3]["error"]
    assert answers[0] == answers[4]


def test_fast_and_accurate():
    case = {"type": "put", "style": "american", "spot": 100, "strike": 110, "t": 1, "r": 0.1}
    case |= {"vol": 0.3}
    fast, accurate = (answers_of([case], flag)[0]["price"] for flag in ("--fast", "--accurate"))
    assert 0 < abs(fast - accurate) < 1e-5 * 110
    assert answers_of([case])[0]["price"] == accurate


def test_a_table_of_cases():
    done = run("--file", OPTIONS)
    assert done.exit_code == 0
    assert "vanilla-001" in done.stdout
    bad = answers_of.folder / "bad.json"
    bad.write_text('[{"id": "odd"}]')
    done = run("--file", bad)
    assert done.exit_code == 1
    assert "error: type" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ((), ConfigError, "--file"),
        ((NAME, "--spot", 60000), ConfigError, "--vol"),
        ((NAME, "--file", OPTIONS), ConfigError, "not both"),
        (("--file", "/nowhere.json"), ConfigError, "nowhere"),
        (("--file", __file__), ConfigError, "test_quote_command"),
        (("BTC-27DEC26", "--spot", 1, "--vol", 1), EncodingError, "instrument"),
        ((NAME, "--spot", 1, "--vol", 1, "--now", "soon"), ConfigError, "now"),
        ((NAME, "--spot", 1, "--vol", 1, "--now", "2027-01-01"), PriceError, "expired"),
        ((NAME, "--spot", 1, "--vol", -1, "--now", NOW), PriceError, "vol"),
    ],
)
def test_what_is_refused(arguments, error, word):
    done = run(*arguments)
    assert done.exit_code == 1
    assert isinstance(done.exception, error)
    assert word in str(done.exception)


def test_oracles_and_parties_do_not_load_the_formulas():
    program = """
import sys
import actors.aggregator, actors.oracle, actors.party, protocol.options.payoff
import protocol.options.surface, protocol.options.volatility
print(sorted({name for name in sys.modules if name.startswith("protocol.options.pricing")}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
