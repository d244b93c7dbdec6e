"""Members that have missed certificates, or hold others than their peers."""

from dataclasses import replace

import pytest

from protocol.oracle.certificate import Certificate
from protocol.oracle.messages import (
    AGGREGATOR,
    HISTORY_LIMIT,
    HistoryAnswer,
    HistoryRequest,
)
from protocol.oracle.proposal import Reason
from protocol.oracle.schedule import Schedule
from tests.builders import members
from tests.builders.members import Members
from tests.builders.oracles import (
    AUX,
    KEYS,
    ROUND,
    T0,
    certify,
    observed,
    proposal_of,
)

FAST = Schedule(interval_ms=1_000, schedule_ms=1_000)


def test_an_oracle_that_was_away_fetches_what_it_missed() -> None:
    network = Members(schedule=FAST)
    network.run(2_500)
    network.dead = {1}
    network.run(HISTORY_LIMIT * 2_000 + 10_000)
    network.dead = set()
    network.start(1)
    network.run(3_000)
    assert sorted(network.rounds(1)) == network.rounds(0)
    asked = [m for a, _, m in network.said if a == 1 and isinstance(m, HistoryRequest)]
    assert len(asked) == 3, "two full pages and the rest"


@pytest.mark.parametrize("link_ms", [200, 260, 400])
def test_it_catches_up_over_a_link_slower_than_patience(
    link_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Members()
    network.run(2_000)
    network.dead = {1}
    network.run(95_000)
    network.dead = set()
    monkeypatch.setattr(members, "LINK_MS", link_ms)
    network.start(1)
    network.run(60_000)
    assert sorted(set(network.rounds(1)))[:4] == network.rounds(0)[:4]


def test_a_silent_peer_is_followed_by_the_next() -> None:
    network = Members(schedule=FAST)
    network.run(500)
    network.dead = {1}
    network.run(5_000)
    network.dead = set()
    network.start(1)
    network.drop = lambda sender, _, m: sender == AGGREGATOR and isinstance(m, HistoryAnswer)
    network.run(3_000)
    assert sorted(network.rounds(1)) == network.rounds(0)
    asked = [to for a, to, m in network.said if a == 1 and isinstance(m, HistoryRequest)]
    assert asked == [AGGREGATOR, 0]


def test_what_lies_behind_a_fork_is_fetched() -> None:
    """Its head was certified, told to it alone, and is on nobody else's chain."""
    network = Members(schedule=FAST)
    network.drop = lambda _, to, m: to == 1
    network.run(500)
    first = network.stored[0][0]
    seen = [observed(i, round=ROUND + 1, seq=9, obs_time=T0 + 1_000) for i in (0, 2)]
    lost = certify(proposal_of(*seen, config=network.config).report, (0, 2))
    network.tell(2, 1, lost)
    network.drop = lambda _, to, m: to == 1 and not isinstance(m, HistoryAnswer)
    network.run(2_000)
    assert network.rounds(0) == [0, 1, 2]
    network.tell(0, 1, network.stored[0][2])
    network.run(1_200)
    assert first in network.stored[1]


def test_history_that_nobody_has_is_not_asked_for_for_ever() -> None:
    network = Members(schedule=FAST)
    network.run(500)
    network.dead = {1}
    network.run(5_000)
    network.dead = set()
    network.start(1)
    network.drop = lambda _, to, m: isinstance(m, HistoryRequest)
    network.run(60_000)
    asked = [to for a, to, m in network.said if a == 1 and isinstance(m, HistoryRequest)]
    assert 3 < len(asked) <= 8 * 3 + 1
    assert sorted(set(asked)) == [0, 2, AGGREGATOR]


def test_a_hole_in_the_history_on_disk_is_filled() -> None:
    network = Members(schedule=FAST)
    network.run(4_500)
    lost = network.stored[0].pop(2)
    behind = network.stored[0][2]
    network.start(0)
    for send in network.members[0].repair(behind, behind.round - 2, network.now_ms):
        network._carry_out(0, [send])
    network.run(100)
    assert lost in network.stored[0]


def test_what_nobody_asked_for_and_what_is_forged_is_not_stored() -> None:
    network = Members(schedule=FAST)
    network.run(500)
    real = network.stored[0][0]
    unasked = HistoryAnswer((real.encode(),))
    assert network.tell(1, 0, unasked) == []
    assert network.node(0).inbox.refused[Reason.FLOOD] == 1
    network.dead = {1}
    network.run(4_000)
    network.dead = {0, 2, AGGREGATOR}
    network.start(1)
    head = network.stored[0][-1]
    network.tell(2, 1, head)
    forged = replace(network.stored[0][2], signatures=real.signatures).encode()
    outside = replace(head, report=replace(head.report, round=head.round + 9)).encode()
    before = len(network.stored[1])
    for answer in ((forged,), (outside,), (b"no certificate",)):
        network.tell(2, 1, HistoryAnswer(answer))
    assert len(network.stored[1]) == before
    assert network.node(1).inbox.refused[Reason.SIGNATURE] == 2
    network.tell(2, 1, HistoryAnswer(tuple(c.encode() for c in network.stored[0])))
    assert len(network.stored[1]) == before, "the first of the answer is not in the gap"
    network.tell(2, 1, HistoryAnswer(tuple(c.encode() for c in network.stored[0][1:])))
    assert sorted(network.rounds(1)) == network.rounds(0)


def test_an_aggregator_with_a_stale_disk_catches_up() -> None:
    network = Members(schedule=FAST)
    network.run(6_500)
    del network.stored[AGGREGATOR][2:]
    network.start(AGGREGATOR)
    network.run(4_000)
    assert sorted(network.rounds(AGGREGATOR)) == network.rounds(0)


# Conflicts


def test_a_conflicting_certificate_of_an_earlier_round_convicts() -> None:
    """{0, F} certified the old round here; the certificate of {1, F} turns up rounds later."""
    network = Members(schedule=FAST)
    network.run(3_500)
    old = network.stored[0][1]
    other = replace(old.report, time=old.report.time + 1)
    (double, _), *_ = old.signatures
    rest = next(i for i in range(3) if i not in old.signers)
    signers = sorted((double, rest))
    conflict = Certificate(other, tuple((i, KEYS[i].sign(other.hash, AUX)) for i in signers))
    network.tell(AGGREGATOR, rest, conflict)
    assert list(network.node(rest).inbox.convicted) == [double]
    assert network.node(rest).last == network.stored[0][-1], "the head stays"
    network.run(100)
    assert all(list(network.node(a).inbox.convicted) == [double] for a in (rest, AGGREGATOR))
