"""The comparison that the benchmark runs a million times: a few thousand, and that it can fail."""

import pytest

from protocol.oracle import quorum
from tests.bench._differential import differential


def test_the_rules_agree_with_a_second_model() -> None:
    result = differential(3_000, seed=7)
    assert (result["cases"], result["mismatches"]) == (3_000, 0)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("median", lambda values: sum(values) // len(values)),
        ("median", lambda values: sorted(values)[len(values) // 2]),
        ("half_range", lambda values: (max(values) - min(values)) // 2),
        ("within", lambda a, b, ppm: abs(a - b) * 10**6 <= ppm * max(a, b)),
        ("within", lambda a, b, ppm: abs(a - b) * 10**6 < ppm * min(a, b)),
    ],
)
def test_a_wrong_rule_is_noticed(name: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, name, wrong)
    assert differential(2_000, seed=7)["mismatches"] > 0
