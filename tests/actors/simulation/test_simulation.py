"""The oracle network under seeded faults: the invariants hold, and each of them can fail."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from actors.simulate_command import sim
from actors.simulation.broken import Defence
from actors.simulation.campaign import Campaign, run
from actors.simulation.invariants import Invariant
from actors.simulation.scenario import DURATION_MS, FAULTS_END_MS, Event, Fault, Scenario, draw
from actors.simulation.world import World
from protocol.oracle.proposal import Proposal

app = typer.Typer()
app.command()(sim)


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return run(4, range(300))


def calm(**changes: Any) -> Scenario:
    return replace(Scenario(0, 0, 3, 1, 2, (), {}, None), **changes)


# 300 schedules


@pytest.mark.timeout(600)
def test_no_invariant_is_violated_in_300_schedules(campaign: Campaign) -> None:
    assert campaign.violations == []
    assert campaign.schedules == 300


@pytest.mark.timeout(600)
def test_every_invariant_is_checked_and_every_fault_occurs(campaign: Campaign) -> None:
    assert set(campaign.checked) == set(Invariant)
    assert set(campaign.faults) == set(Fault)
    assert min(campaign.faults.values()) >= 5
    assert 20 < campaign.batches < 150
    assert campaign.grades["FULL"] > 1_000 and campaign.grades["DEGRADED"] > 100


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_no_invariant_is_violated_in_ten_thousand_schedules() -> None:
    assert run(5, range(10_000)).violations == []


# They bite


@pytest.mark.parametrize(
    ("defence", "broken"),
    [
        (Defence.SIGN_GUARD, {Invariant.SIGNED_ONCE, Invariant.HONEST_NOT_CONVICTED}),
        (Defence.MEDIAN, {Invariant.FULL_IN_RANGE}),
        (Defence.RECOMPUTE, {Invariant.FULL_IN_RANGE}),
    ],
)
def test_without_a_defence_invariants_are_violated(
    defence: Defence, broken: set[Invariant]
) -> None:
    violations = run(4, range(40), defence).violations
    assert broken <= {violation.invariant for violation in violations}
    number = violations[0].schedule
    assert run(4, range(number, number + 1)).violations == [], "and the defence is back"


def test_a_violation_is_found_again_from_its_seed_and_number() -> None:
    first, *_ = run(4, range(10), Defence.SIGN_GUARD).violations
    again = run(4, range(first.schedule, first.schedule + 1), Defence.SIGN_GUARD).violations
    assert again[0] == first


# Deterministic


def test_one_seed_gives_one_run() -> None:
    first, second = (run(9, range(8)).to_json() for _ in range(2))
    assert first == second
    assert run(10, range(8)).to_json() != first


def test_schedules_differ_and_heal() -> None:
    scenarios = [draw(1, number) for number in range(200)]
    assert len({(s.events, tuple(s.traitors.items()), s.aggregator) for s in scenarios}) > 150
    for scenario in scenarios:
        assert len(scenario.traitors) <= scenario.faults
        assert all(0 <= e.start_ms < e.end_ms <= FAULTS_END_MS for e in scenario.events)
        assert not {e.victim for e in scenario.events} & set(scenario.traitors) or (
            len(scenario.kinds) > 1
        )


# What a schedule does


def test_a_calm_network_certifies_on_schedule() -> None:
    world = World(calm())
    invariants = world.run()
    assert not invariants.violations
    rounds = sorted(c.round for c in invariants.certified.values())
    assert len(rounds) >= DURATION_MS // world.schedule.schedule_ms
    assert {c.report.grade.name for c in invariants.certified.values()} == {"FULL"}


@pytest.mark.parametrize("n", [4, 5, 7])
def test_a_traitor_with_two_observations_is_convicted(n: int) -> None:
    world = World(calm(oracles=n, quorum=n // 2 + 1, traitors={1: Fault.TWO_OBSERVATIONS}))
    assert not world.run().violations
    for address in (0, 2, 255):
        assert list(world.processes[address].member.node.inbox.convicted) == [1]


def test_two_certificates_of_one_round_convict_only_the_traitor() -> None:
    traitors = {2: Fault.TWO_REPORTS}
    for number in range(5):
        world = World(calm(number=number, traitors=traitors, aggregator=Fault.COLLUDER))
        invariants = world.run()
        assert not invariants.violations
        rounds = Counter(c.round for c in invariants.certified.values())
        if max(rounds.values()) > 1:
            assert invariants.checked[Invariant.DOUBLE_SIGNER_CONVICTED]
            assert list(world.processes[0].member.node.inbox.convicted) == [2]
            return
    pytest.fail("the colluders never managed to certify a round twice")


@pytest.mark.parametrize(
    "fault",
    [Fault.FORGER, Fault.SILENT, Fault.BURNER, Fault.DROPPER, Fault.DOUBLE],
)
def test_a_bad_aggregator_only_delays(fault: Fault) -> None:
    world = World(calm(aggregator=fault))
    invariants = world.run()
    assert not invariants.violations
    assert invariants.checked[Invariant.LIVE_WITH_ONE_FAULT] >= 3 * DURATION_MS // 3_600


@pytest.mark.parametrize("feeds", [1, 3])
@pytest.mark.parametrize("amount", range(0, 30, 3))
def test_a_crash_at_any_point(amount: int, feeds: int) -> None:
    """Before and after every write and every message."""
    event = Event(Fault.CRASH, 1_900, FAULTS_END_MS, 0, amount)
    world = World(calm(number=amount, events=(event,), feeds=feeds))
    assert not world.run().violations


def test_several_feeds_are_certified_in_batches() -> None:
    world = World(calm(feeds=3, traitors={1: Fault.LIAR}))
    invariants = world.run()
    assert not invariants.violations
    newest = max(invariants.certified.values(), key=lambda c: c.round)
    assert newest.prices.keys() == set(world.feeds)
    assert invariants.checked[Invariant.FULL_IN_RANGE] >= 3 * len(invariants.certified)


@pytest.mark.parametrize(
    "fault", [Fault.SPLIT, Fault.ISLANDS, Fault.ONE_WAY, Fault.FLAPPING, Fault.DROPS]
)
def test_a_partition_heals(fault: Fault) -> None:
    world = World(calm(events=(Event(fault, 900, 7_900, 1, 300_000),)))
    invariants = world.run()
    assert not invariants.violations
    assert invariants.checked[Invariant.HISTORY_COMPLETE] == 3
    assert invariants.checked[Invariant.CHAINS_AGREE] == 1


# The command


def test_the_command_prints_json() -> None:
    result = CliRunner().invoke(app, ["--schedules", "4", "--seed", "3", "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["schedules"], report["seed"], report["violations"]) == (4, 3, [])
    assert report["signatures"] == "BIP340"
    assert sum(report["grades"].values()) >= report["certificates"] > 20
    assert set(report["invariants"]) == {i.value for i in Invariant}
    assert set(report["faults"]) == {f.value for f in Fault}


def test_the_command_reports_a_violation_and_replays_it() -> None:
    arguments = ["--seed", "4", "--break", "sign-guard"]
    result = CliRunner().invoke(app, ["--schedules", "20", *arguments, "--json"])
    assert result.exit_code == 1
    first, *_ = json.loads(result.stdout)["violations"]
    assert first["invariant"] in {i.value for i in Invariant}
    assert first["seed"] == 4
    again = CliRunner().invoke(app, [*arguments, "--schedule", str(first["schedule"])])
    assert again.exit_code == 1
    assert first["detail"] in again.stdout
    assert Proposal.__name__ in again.stdout, "with a trace of the messages"


def test_the_command_speaks_to_people() -> None:
    result = CliRunner().invoke(app, ["--schedules", "2"])
    assert result.exit_code == 0
    assert "0 violations" in result.stdout
    for bad in (["--break", "nothing"], ["--schedules", "0"], ["--schedule", "-1"]):
        assert CliRunner().invoke(app, bad).exit_code == 2
