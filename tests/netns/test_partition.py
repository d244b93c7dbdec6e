"""A network that is cut in two for real: the side with a quorum goes on, the other certifies
nothing, and afterwards all have the same history."""

import subprocess
from contextlib import closing
from itertools import pairwise

import pytest

from actors.history import History
from tests.builders.local import evidence
from tests.builders.network import AGGREGATOR, ORACLES, until
from tests.netns.machines import Machines, host_of

pytestmark = pytest.mark.timeout(600)

SETTLED = 3
"""Rounds after which nothing of before is on its way."""
ROUNDS = 10
SLACK_S = 10
"""What a busy machine may add to the schedule and to taking over."""
LATE_S = 120.0


def rounds(machines: Machines, name: str) -> set[int]:
    """What a node has stored."""
    with closing(History.read(machines.net.data(name) / "history.sqlite")) as history:
        return {found for (found,) in history.db.execute("SELECT round FROM certificate")}


def require_others_go_on(machines: Machines, lost: str) -> None:
    """In time; and who is on the machine that is lost certifies nothing."""
    gone = [name for name in machines.net.names if host_of(name) == lost]
    stay = [name for name in ORACLES if name != lost]
    before = max(rounds(machines, stay[0]))

    def until_after(count: int) -> None:
        def is_after() -> bool:
            return all(len([r for r in rounds(machines, n) if r > before]) >= count for n in stay)

        until(is_after, f"{stay} go on without {lost}", LATE_S)

    until_after(SETTLED)
    held = {name: rounds(machines, name) for name in gone}
    until_after(SETTLED + ROUNDS)
    assert {name: rounds(machines, name) for name in gone} == held
    schedule_s = machines.net.agreed.schedule.schedule_ms // 1000
    for name in stay:
        found = sorted(r for r in rounds(machines, name) if r >= before)
        assert max(b - a for a, b in pairwise(found)) <= schedule_s + SLACK_S, f"{name}: {found}"


def require_healed(machines: Machines) -> None:
    """All have what anybody has, nothing contradicts, and nobody has signed two things."""
    certified = set().union(*(rounds(machines, name) for name in machines.net.names))
    for name in machines.net.names:
        until(lambda name=name: certified <= rounds(machines, name), f"{name} has it all", LATE_S)
    newest = max(certified)
    until(
        lambda: all(newest < max(rounds(machines, name)) for name in machines.net.names),
        "all go on",
        LATE_S,
    )
    machines.net.audit()
    for name in machines.net.names:
        assert evidence(machines.net.data(name) / "evidence.journal") == []


def test_operators_speak_tls_to_each_other(machines):
    urls = {peer.url for peer in machines.net.agreed.peers.values()}
    assert all(url.startswith("wss://10.77.0.") for url in urls)
    require_healed(machines)


@pytest.mark.parametrize("lost", ["alpha", "charlie"])
def test_a_machine_is_cut_off(machines, lost):
    """Alpha's with the aggregator: the others certify among themselves; or charlie's."""
    machines.hosts.cut(lost)
    try:
        require_others_go_on(machines, lost)
    finally:
        machines.hosts.join(lost)
    require_healed(machines)


def test_two_cables_are_cut(machines):
    """Nobody has a quorum; then everybody again."""
    for lost in ORACLES[1:]:
        machines.hosts.cut(lost)
    try:
        connected = lambda: machines.net.status(AGGREGATOR)["connected"]  # noqa: E731
        until(lambda: connected() == [0], "the aggregator hears alpha alone", LATE_S)
        held = {name: rounds(machines, name) for name in machines.net.names}
        now_ms = machines.net.agreed.clock.now_ms
        end_ms = now_ms() + ROUNDS * machines.net.agreed.schedule.schedule_ms
        until(lambda: now_ms() > end_ms, "ten rounds are over", LATE_S)
        assert {name: rounds(machines, name) for name in machines.net.names} == held
    finally:
        for lost in ORACLES[1:]:
            machines.hosts.join(lost)
    require_healed(machines)


def test_a_machine_hears_but_is_not_heard(machines):
    machines.hosts.mute("bravo")
    try:
        require_others_go_on(machines, "bravo")
    finally:
        machines.hosts.unmute("bravo")
    require_healed(machines)


@pytest.mark.parametrize(
    "qdisc",
    [
        ("tbf", "rate", "12kbit", "burst", "2kb", "limit", "3kb"),
        ("netem", "delay", "40ms", "10ms", "loss", "25%"),
    ],
    ids=["a narrow link drops what is too much", "a far link loses a quarter"],
)
def test_what_reaches_a_machine_is_lost_in_part(machines, qdisc):
    """One way, so the link is worse than it looks from the other side."""
    try:
        machines.hosts.spoil("charlie", *qdisc)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"tc {qdisc[0]}: {error.stderr.decode().strip()}")
    try:
        before = max(rounds(machines, "alpha"))
        until(
            lambda: all(max(rounds(machines, n)) > before + ROUNDS for n in ("alpha", "bravo")),
            "the others go on",
            LATE_S,
        )
    finally:
        machines.hosts.restore("charlie")
    require_healed(machines)
