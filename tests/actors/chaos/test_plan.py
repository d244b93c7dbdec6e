"""Plans: what they refuse, and what a seed makes of what they leave open."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.chaos import kinds
from actors.chaos.faults import INJECT
from actors.chaos.plan import load_plan, weakened
from protocol.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
ISSUED = {
    "sigkill",
    "sigstop",
    "node-removal",
    "head-loss",
    "worker-loss",
    "partition",
    "delay",
    "drop",
    "clock-step",
    "disk-full",
    "corrupt-frame",
    "lying-oracle",
    "lying-prover",
}
RANDOM = """
seconds = 300
[[random]]
kinds = ["sigkill", "sigstop", "partition", "clock-step", "delay", "drop", "corrupt-frame"]
count = 12
"""


@pytest.fixture
def plan(tmp_path):
    def load(text, seed=None):
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return load_plan(path, seed)

    return load


def test_every_kind_is_injected_somehow():
    assert kinds.KINDS.keys() == ISSUED
    assert INJECT.keys() == set(kinds.KINDS.values())


def test_the_day_has_every_kind_and_never_attacks_more_oracles_at_once_than_it_bears():
    day = load_plan(EXAMPLES / "chaos-day.toml")
    assert {event.kind for event in day.events} == ISSUED
    assert day.liars("price") and day.liars("twice")
    for event in day.events:
        attacked = {
            other.victim
            for other in day.events
            if other.fault.weakens and other.at_s <= event.at_s <= other.end_s
        }
        assert len(attacked & {*day.oracles}) <= day.faults


def test_what_is_written_is_what_happens_in_order(plan):
    made = plan(
        """
        seconds = 30
        [[fault]]
        kind = "partition"
        victim = "bravo"
        peer = "alpha"
        ways = "in"
        at_s = 9
        for_s = 4
        [[fault]]
        kind = "sigkill"
        victim = "aggregator"
        at_s = 2.5
        """
    )
    assert [(e.number, e.kind, e.victim, e.at_s, e.end_s) for e in made.events] == [
        (0, "sigkill", "aggregator", 2.5, 2.5),
        (1, "partition", "bravo", 9, 13),
    ]
    assert made.name == "plan"
    assert (made.oracles, made.faults) == (("alpha", "bravo", "charlie"), 1)


def test_a_seed_makes_the_same_of_it_and_another_something_else(plan):
    one, same, other = plan(RANDOM), plan(RANDOM, seed=1), plan(RANDOM, seed=2)
    assert one == same
    assert one.events != other.events
    assert len(one.events) == 12


@settings(max_examples=20)
@given(st.integers(0, 2**63 - 1))
def test_what_is_drawn_never_weakens_more_than_f_oracles(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "drawn.toml"
    path.write_text(RANDOM)
    made = load_plan(path, seed)
    for event in made.events:
        assert event.at_s >= 0 and event.end_s <= made.seconds
        at_s = event.end_s + event.fault.settle_s
        assert len(weakened(made.events, made.oracles, event.at_s, event.at_s)) <= made.faults
        assert len(weakened(made.events, made.oracles, at_s, at_s)) <= made.faults


FAULT = "seconds = 20\n[[fault]]\n"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "missing required field `seconds`"),
        ("seconds = 0", "`$.seconds`"),
        ("seconds = 9\nspeed = 2", "unknown field `speed`"),
        ("seconds = 9\n[ground]\noracles = 2", r"`$.ground.oracles`"),
        ("seconds = 9\n[ground]\nkind = 'cloud'", r"`$.ground.kind`"),
        (FAULT + 'kind = "flood"', "'flood' - at `$.fault[0].kind`"),
        (FAULT + 'kind = "sigkill"\ndelay_ms = 3', "unknown field `delay_ms` - at `$.fault[0]`"),
        (FAULT + 'kind = "delay"\ndelay_ms = 0', "`$.fault[0].delay_ms`"),
        (
            FAULT + 'kind = "sigkill"\nvictim = "hotel"',
            "[[fault]] 0 (sigkill) victim: 'hotel': choose from alpha, bravo, charlie, aggregator",
        ),
        (FAULT + 'kind = "disk-full"\nvictim = "aggregator"', "choose from alpha, bravo, charlie"),
        (
            FAULT + 'kind = "partition"\nvictim = "alpha"\npeer = "alpha"',
            "peer: 'alpha': choose from bravo, charlie, aggregator",
        ),
        (FAULT + 'kind = "sigstop"\nvictim = "alpha"\nat_s = 19', "it ends after 21 s"),
        (FAULT + 'kind = "sigstop"\nfor_s = 16', "20 seconds leave no time"),
        (FAULT + 'kind = "head-loss"', '[[fault]] 0 (head-loss) kind: needs [ground] kind = "clus'),
        (FAULT + 'kind = "lying-prover"', "kind: needs [ground] provers"),
        ("seconds = 9\n[[random]]\nkinds = ['x']", "[[random]] 0 kinds: 'x': choose from sigkill"),
        (
            FAULT + 'kind = "lying-oracle"\nhow = "twice"\nvictim = "alpha"\nat_s = 1\n'
            '[[fault]]\nkind = "disk-full"\nvictim = "bravo"',
            "no moment is left at which at most 1 oracles are faulty",
        ),
        (
            FAULT + 'kind = "lying-oracle"\nvictim = "alpha"\nat_s = 1\n[[fault]]\n'
            'kind = "lying-oracle"\nvictim = "bravo"\nat_s = 9',
            "alpha and bravo lie: more than 1 of 3 can make any price",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_table_and_field(plan, text, wrong):
    with pytest.raises(ConfigError) as refused:
        plan(text)
    assert "plan.toml: " in str(refused.value)
    assert wrong in str(refused.value)


def test_on_a_cluster_the_last_oracle_is_no_process(plan):
    made = plan(
        """
        seconds = 60
        [ground]
        kind = "cluster"
        provers = 1
        [[fault]]
        kind = "node-removal"
        [[fault]]
        kind = "sigkill"
        [[fault]]
        kind = "worker-loss"
        """
    )
    assert made.on_cluster == "charlie"
    victims = {event.kind: event.victim for event in made.events}
    assert victims["node-removal"] == "charlie"
    assert victims["sigkill"] != "charlie"
    assert victims["worker-loss"] == "prover"
