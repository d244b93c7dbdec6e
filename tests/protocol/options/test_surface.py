"""Volatility surfaces: what lies between the points, and which arbitrage is refused."""

import math

import pytest

from protocol.errors import EncodingError, PriceError
from protocol.options.surface import Surface, read_surface
from protocol.options.volatility import YEAR_MS

START = 1_789_000_000_000
FIELDS = {
    "as_of_ms": START,
    "expiries_ms": [START + YEAR_MS // 12, START + YEAR_MS // 4, START + YEAR_MS],
    "forwards": [60_000, 60_300, 61_200.5],
    "strikes": [40_000, 50_000, 60_000, 75_000, 100_000],
    "vols": [
        [0.80, 0.68, 0.62, 0.66, 0.78],
        [0.74, 0.66, 0.61, 0.63, 0.70],
        [0.70, 0.65, 0.62, 0.62, 0.65],
    ],
}


@pytest.fixture
def surface() -> Surface:
    return read_surface(FIELDS)


def test_the_points_are_met(surface):
    for i, expiry_ms in enumerate(FIELDS["expiries_ms"]):
        for j, strike in enumerate(FIELDS["strikes"]):
            assert math.isclose(surface.vol(strike, expiry_ms), FIELDS["vols"][i][j])


def test_between_strikes_total_variance_is_linear_in_their_logarithm(surface):
    middle = math.sqrt(50_000 * 60_000)
    expected = math.sqrt((0.66**2 + 0.61**2) / 2)
    assert math.isclose(surface.vol(middle, FIELDS["expiries_ms"][1]), expected)


def test_between_expiries_it_is_linear_in_time_at_the_same_moneyness(surface):
    first, second = FIELDS["expiries_ms"][:2]
    share = 0.25
    expiry_ms = round(first + share * (second - first))
    forward = 60_000 * (60_300 / 60_000) ** share
    found = surface.vol(forward, expiry_ms) ** 2 * (expiry_ms - START)
    ends = [
        surface.vol(forward, expiry) ** 2 * (expiry - START)
        for forward, expiry in ((60_000, first), (60_300, second))
    ]
    assert math.isclose(found, ends[0] + share * (ends[1] - ends[0]), rel_tol=1e-6)


def test_outside_the_volatility_stays_level(surface):
    first, _, last = FIELDS["expiries_ms"]
    assert surface.vol(1_000, first) == surface.vol(40_000, first)
    assert math.isclose(surface.vol(1e6, last), 0.65)
    assert math.isclose(surface.vol(60_000, START + 1), 0.62)
    assert math.isclose(surface.vol(61_200.5, last + YEAR_MS), surface.vol(61_200.5, last))


def test_a_request_out_of_range_is_refused(surface):
    with pytest.raises(PriceError, match="strike"):
        surface.vol(0.0, START + 1)
    with pytest.raises(PriceError, match="expiry_ms"):
        surface.vol(60_000.0, START)


def test_a_calendar_spread_that_pays_is_refused():
    vols = [[0.9] * 5, [0.5] * 5, [0.5] * 5]
    with pytest.raises(PriceError, match=r"calendar arbitrage.*falls from 0.0675 to 0.0625"):
        read_surface(FIELDS | {"vols": vols})


@pytest.mark.parametrize("bump", [2.0, 0.2])
def test_a_butterfly_that_pays_is_refused(bump):
    vols = [row.copy() for row in FIELDS["vols"]]
    vols[0][2] *= bump
    with pytest.raises(PriceError, match=r"butterfly arbitrage.*strike"):
        read_surface(FIELDS | {"vols": vols})


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("as_of_ms", "today", EncodingError),
        ("expiries_ms", [1.5], EncodingError),
        ("expiries_ms", [START] * 3, PriceError),
        ("forwards", [60_000], PriceError),
        ("forwards", [60_000, -1, 60_000], PriceError),
        ("strikes", [50_000, 40_000, 60_000, 75_000, 100_000], PriceError),
        ("strikes", 50_000, EncodingError),
        ("strikes", [10**400] * 5, EncodingError),
        ("vols", [[0.6] * 5] * 2, PriceError),
        ("vols", [[0.6] * 5, [0.6] * 5, [True] * 5], EncodingError),
        ("vols", [[0.6] * 5, [0.6] * 5, [math.nan] * 5], PriceError),
        ("vols", None, EncodingError),
    ],
)
def test_a_wrong_field_is_named(field, value, error):
    with pytest.raises(error, match=field):
        read_surface(FIELDS | {field: value})


@pytest.mark.parametrize("fields", [None, [], {}, FIELDS | {"more": 1}])
def test_the_fields_are_exactly_these(fields):
    with pytest.raises(EncodingError, match="as_of_ms, expiries_ms"):
        read_surface(fields)


def test_an_empty_surface_is_refused():
    empty = {"expiries_ms": [], "forwards": [], "vols": []}
    with pytest.raises(PriceError, match="an expiry and a strike"):
        read_surface(FIELDS | empty)
