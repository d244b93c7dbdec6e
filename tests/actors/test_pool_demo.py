"""A day of a pool: the same for the same seed, to the unit, and on a chain."""

import json

import pytest
from typer.testing import CliRunner

from actors.pool_commands import pool
from actors.pool_demo import PoolDemo
from actors.pool_demo_market import ASSETS, BEGIN_S, SigningOracles, walk
from actors.pool_demo_plot import DayPoint, TokenPoint, draw
from protocol.errors import ConfigError


def day(folder, seed=1, steps=8, **changes):
    folder.mkdir()
    return PoolDemo(folder, seed, steps, lambda _: None, **{"chain": False, **changes})


def test_a_day_adds_up_and_is_the_same_again(tmp_path):
    reports = [day(tmp_path / name).run(None) for name in ("one", "two")]
    first, second = reports
    assert first.ok and first.is_conserved
    assert first.root == second.root
    assert first.accepted.total() > 80
    assert first.accepted["fill_order"] > 0
    assert {share.name for share in first.providers} == {"alice", "bert", "clara"}
    won = sum(trades.gain for trades in first.traders)
    lost = sum(share.gain for share in first.providers)
    assert abs(won + lost) < first.fees
    assert day(tmp_path / "other", seed=2).run(None).root != first.root


def test_a_day_has_everything_in_it(tmp_path):
    run = day(tmp_path / "day", steps=24)
    report = run.run(tmp_path / "day.svg")
    kinds = {"liquidate", "close_at_cap", "fill_order", "create_order", "cancel_order"}
    assert kinds | {"increase", "decrease", "add_liquidity", "remove_liquidity"} <= {
        *report.accepted
    }
    assert report.accepted.total() > 300
    assert any(point.liquidations for point in run.points)
    signs = {row.funding_ppm > 0 for point in run.points for row in point.tokens.values()}
    assert signs == {True, False}
    picture = (tmp_path / "day.svg").read_text()
    assert picture.startswith("<?xml") and "One pool, three assets" not in picture[:100]
    story = "\n".join(report.story())
    assert "to the unit" in story and "IS NOT" not in story


def test_the_guest_agrees_with_every_batch(tmp_path):
    report = day(tmp_path / "day", steps=2, proves=True).run(None)
    assert [seq for seq, _, _ in report.proved] == [1, 2, 3]
    assert all(steps > 1_000_000 for _, steps, _ in report.proved)


@pytest.mark.timeout(300)
def test_a_day_on_bitcoin(tmp_path):
    report = day(tmp_path / "day", steps=2, chain=True).run(None)
    assert report.ok and report.chain is not None
    assert report.chain.transactions["ADVANCE"] == 3
    assert report.chain.transactions["DEPOSIT"] >= 3
    assert report.chain.root == report.root
    assert report.chain.is_conserved
    assert report.chain.vault_sats > report.chain.cushion_sats
    assert len(report.proved) == 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lying_sequencer_loses_in_blocks(tmp_path):
    report = day(tmp_path / "day", steps=2, chain=True, lie="wrong-input").run(None)
    assert report.ok
    assert "convicted it" in report.lie


def test_the_command_prints_one_object(tmp_path):
    place = tmp_path / "day"
    options = ["demo", "--no-chain", "--steps", "3", "--dir", str(place), "--json"]
    answer = CliRunner().invoke(pool, options)
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["ok"] and found["conserved"] and found["chain"] is None
    assert found["plot"] == str(place / "day.png")
    assert (place / "day.png").read_bytes().startswith(b"\x89PNG")
    inflow, outflow, owed = (
        int(found[name].replace(".", "")) for name in ("inflow_usd", "outflow_usd", "owed_usd")
    )
    assert inflow - outflow == owed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--lie", "wrong-input", "--no-chain"], "leave --no-chain out"),
        (["--lie", "nothing"], "a sequencer's lies are"),
    ],
)
def test_what_makes_no_sense_is_said(options, said):
    answer = CliRunner().invoke(pool, ["demo", *options])
    assert isinstance(answer.exception, ConfigError)
    assert said in str(answer.exception)


def test_prices_are_the_seeds_and_certificates_hold():
    rows = [*walk(7, 48)]
    assert rows == [*walk(7, 48)]
    assert rows != [*walk(8, 48)]
    symbols = [asset.symbol for asset in ASSETS]
    assert all([*row] == symbols and min(row.values()) > 0 for row in rows)
    oracles = SigningOracles(7)
    first = oracles.certify(BEGIN_S, rows[0])
    second = oracles.certify(BEGIN_S + 60, rows[1])
    for certificate in (first, second):
        certificate.check(oracles.config)
    assert second.previous_hash == first.hash


def test_a_picture_is_png_or_svg(tmp_path):
    point = DayPoint(0, 5, 1, {"BTC": TokenPoint(5, 0, 0, 0, 0)}, 0)
    with pytest.raises(ConfigError, match=r"ends in \.png or \.svg"):
        draw(tmp_path / "day.jpg", "", "", [point])
