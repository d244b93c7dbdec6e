"""Members in virtual time: schedule, take-over, catch-up, clocks, floods."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from protocol.errors import ConfigError, GuardError
from protocol.oracle.certificate import Certificate
from protocol.oracle.evidence import Evidence
from protocol.oracle.heartbeat import SignedHeartbeat, Status
from protocol.oracle.messages import (
    AGGREGATOR,
    Refused,
    Send,
    Store,
)
from protocol.oracle.observation import SignedObservation
from protocol.oracle.outliers import ROUNDS, Outliers
from protocol.oracle.peer import MESSAGES
from protocol.oracle.proposal import Proposal, Reason, Vote
from protocol.oracle.report import Grade
from protocol.oracle.schedule import Schedule
from tests.builders.members import Members
from tests.builders.oracles import (
    AUX,
    KEYS,
    PRICE,
    ROUND,
    T0,
    observed,
    proposal_of,
)

FAST = Schedule(interval_ms=1_000, schedule_ms=1_000)


def grades(network: Members, address: int = 0) -> list[str]:
    return [c.report.grade.name for c in network.stored[address]]


# When


def test_one_certificate_a_period_at_its_boundary() -> None:
    network = Members()
    network.run(95_000)
    assert network.rounds() == [0, 30, 60, 90]
    for address in network.members:
        assert network.stored[address] == network.stored[0]
    assert all(c.report.time - T0 - 30_000 * i < 20 for i, c in enumerate(network.stored[0]))
    assert not any(m.node.inbox.refused for m in network.members.values())


def test_a_moved_price_opens_the_next_round_at_once() -> None:
    network = Members()
    network.run(400)
    moved = PRICE + PRICE * 20 // 10_000 + 2
    network.prices = dict.fromkeys(range(3), moved)
    network.stir()
    network.run(20)
    assert network.rounds() == [0, 1], "round 0 is used: the next one, not at its boundary"
    assert network.stored[0][-1].report.time < T0 + 450
    network.run(20_000)
    assert network.rounds() == [0, 1], "certified, so it deviates no longer"


def test_a_move_below_the_deviation_waits_for_the_schedule() -> None:
    network = Members()
    network.run(400)
    network.prices = dict.fromkeys(range(3), PRICE + PRICE * 19 // 10_000)
    network.stir()
    network.run(25_000)
    assert network.rounds() == [0]


def test_one_oracle_that_sees_a_move_takes_the_others_along() -> None:
    network = Members()
    network.run(5_500)
    network.prices[1] = PRICE + PRICE * 30 // 10_000
    network.stir()
    network.run(100)
    assert network.rounds() == [0, 5]
    assert grades(network)[-1] == "FULL"


def test_an_oracle_that_always_differs_opens_no_round_a_second() -> None:
    network = Members()
    network.prices[1] = PRICE + PRICE * 30 // 10_000
    for _ in range(25):
        network.run(1_000)
        network.stir()
    assert network.rounds() == [0]


def test_a_round_that_fails_is_repeated_every_interval_until_certified() -> None:
    network = Members()
    network.run(29_000)
    network.drop = lambda *_: True
    network.run(3_500)
    network.drop = lambda *_: False
    network.run(1_000)
    assert network.rounds() == [0, 33]
    signed = [m for a, _, m in network.said if a == 0 and isinstance(m, SignedObservation)]
    assert sorted({m.round - ROUND for m in signed}) == [0, 30, 31, 32, 33]


@pytest.mark.parametrize("interval_ms", [1, 2, 5])
def test_a_network_that_cannot_keep_up_leaves_rounds_out(interval_ms: int) -> None:
    """Every round is due, and one takes longer than its interval (four hops of 3 ms)."""
    fast = Schedule(interval_ms=interval_ms, schedule_ms=interval_ms, collect_ms=20)
    network = Members(schedule=fast, interval_ms=interval_ms)
    network.run(600)
    stored = network.stored[0]
    assert len(stored) > 30
    behind = [network.config.round_at(c.time) - c.round for c in stored]
    assert max(behind) * interval_ms <= 30
    assert all(b.previous_hash == a.hash for a, b in pairwise(stored))


def test_a_round_under_way_is_not_followed_by_another_until_the_price_moves_on() -> None:
    fast = Schedule(interval_ms=5, schedule_ms=30_000)
    network = Members(schedule=fast, interval_ms=5)
    network.run(1_000)
    certified = len(network.stored[0])
    network.prices = dict.fromkeys(range(3), PRICE + PRICE // 100)
    network.dead = {2}  # so that the round waits for a third observation
    network.stir()
    network.run(1_000)
    assert len(network.stored[0]) == certified + 1


def test_nothing_is_signed_without_data_and_the_others_are_told_once_a_round() -> None:
    network = Members()
    network.prices[2] = None
    network.run(900)
    beats = [(to, m) for a, to, m in network.said if isinstance(m, SignedHeartbeat)]
    assert [to for to, _ in beats] == [0, 1, AGGREGATOR]
    assert {m.heartbeat.status for _, m in beats} == {Status.NO_DATA}
    assert grades(network) == ["DEGRADED"]
    assert network.members[AGGREGATOR].heartbeats.keys() == {2}
    network.prices[2] = PRICE
    network.run(30_000)
    assert grades(network) == ["DEGRADED", "FULL"]


def test_an_oracle_that_did_not_look_at_its_data_says_nothing_of_it() -> None:
    network = Members()
    network.prices[2] = None
    network._heartbeat = lambda *_: None
    network.run(3_000)
    assert network.stored[0]
    assert not [m for _, _, m in network.said if isinstance(m, SignedHeartbeat)]


def test_data_that_comes_back_in_the_round_is_used_in_it() -> None:
    network = Members(schedule=Schedule(interval_ms=1_000, collect_ms=400))
    network.prices[2] = None
    network.run(100)
    network.prices[2] = PRICE
    network.stir()
    network.run(100)
    assert grades(network) == ["FULL"]


def test_a_guard_that_refuses_is_told_and_the_round_is_left() -> None:
    network = Members()

    def full(*_: object) -> None:
        raise GuardError("disk full")

    network.guards[1].record = full  # type: ignore[method-assign]
    network.run(900)
    beats = [m for a, _, m in network.said if a == 1 and isinstance(m, SignedHeartbeat)]
    assert {m.heartbeat.status for m in beats} == {Status.GUARD}
    assert network.node(1).inbox.refused[Reason.GUARD] == 1
    assert grades(network) == ["DEGRADED"]


def test_a_schedule_of_other_rounds_is_refused() -> None:
    with pytest.raises(ConfigError, match="interval_ms: 500 in the schedule"):
        Members(schedule=Schedule(interval_ms=500))


# Who proposes


def test_the_first_oracle_in_rank_takes_over() -> None:
    network = Members()
    network.dead = {AGGREGATOR}
    network.run(600)
    assert network.rounds() == [0]
    assert {a for a, _, m in network.said if isinstance(m, Proposal)} == {ROUND % 3}


def test_the_next_round_has_another_rank() -> None:
    """The aggregator and the oracle that would take over are dead: the second in rank proposes the
    round, and takes over the one that was opened in the meantime."""
    network = Members()
    network.dead = {AGGREGATOR, ROUND % 3}
    network.run(1_600)
    alive = (ROUND + 1) % 3
    assert network.rounds(alive) == [0, 1]
    assert {a for a, _, m in network.said if isinstance(m, Proposal)} == {alive}


def test_the_second_in_rank_follows_if_no_other_round_is_due() -> None:
    network = Members(schedule=Schedule(interval_ms=5_000, schedule_ms=30_000), interval_ms=5_000)
    network.dead = {AGGREGATOR, (T0 // 5_000) % 3}
    network.run(1_100)
    alive = (T0 // 5_000 + 1) % 3
    assert len(network.stored[alive]) == 1
    assert {a for a, _, m in network.said if isinstance(m, Proposal)} == {alive}


@pytest.mark.parametrize("takeover_ms", [500, 1_000, 1_500])
def test_oracles_take_over_however_short_the_interval_is(takeover_ms: int) -> None:
    every = Schedule(interval_ms=1_000, schedule_ms=1_000, takeover_ms=takeover_ms)
    network = Members(schedule=every)
    network.run(5_000)
    before = len(network.stored[0])
    network.dead = {AGGREGATOR}
    network.run(30_000)
    assert len(network.stored[0]) >= before + 25


def test_a_killed_aggregator_costs_one_take_over_and_no_round() -> None:
    network = Members(schedule=FAST)
    network.run(10_000)
    network.dead = {AGGREGATOR}
    network.run(10_000)
    assert network.rounds() == list(range(20))
    late = [c.report.time - T0 - 1_000 * i for i, c in enumerate(network.stored[0])]
    assert max(late[:10]) < 20 and 500 <= min(late[11:]) <= max(late[11:]) < 600


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_killed_oracle_costs_no_round(victim: int) -> None:
    network = Members(schedule=FAST)
    network.run(3_500)
    network.dead = {victim}
    network.run(4_000)
    alive = (victim + 1) % 3
    assert network.rounds(alive) == list(range(8))
    assert grades(network, alive) == ["FULL"] * 4 + ["DEGRADED"] * 4


def test_after_a_burnt_round_the_oracles_propose_first() -> None:
    """The aggregator asks for votes and makes nothing of them."""
    network = Members(schedule=FAST)
    network.drop = lambda _, to, message: to == AGGREGATOR and isinstance(message, Vote)
    network.run(20_500)
    assert network.rounds() == list(range(1, 21, 2)), "every second round, never none"


def test_a_proposal_before_its_senders_turn_waits() -> None:
    network = Members()
    network.run(2)  # the observations are on their way
    first, *_ = [a for a in range(3) if a != ROUND % 3]
    early = (first + 1) % 3
    network.run(4)
    seen = [network.node(first).inbox.held(ROUND)[i] for i in range(3)]
    proposal = proposal_of(*seen, config=network.config, time=T0 + 50)
    assert network.tell(early, first, proposal) == []
    network.run(100)
    assert network.rounds(first) == [0]
    votes = [to for a, to, m in network.said if a == first and isinstance(m, Vote)]
    assert votes == [AGGREGATOR]


@pytest.mark.parametrize("answers", [True, False])
def test_the_next_proposal_waits_for_the_certificate_it_links_to(answers: bool) -> None:
    """Two rounds are open at once: the second is proposed when the first is certified; if that
    takes as long as a turn, the next in rank has the second."""
    network = Members()
    network.now_ms = now = T0 + 990
    for round_id in (ROUND, ROUND + 1):
        for i in range(3):
            signed = observed(i, round=round_id, seq=round_id - ROUND + 1, obs_time=now)
            network.tell(i, AGGREGATOR, signed)

    def shown() -> list[Proposal]:
        return [m for _, to, m in network.said if to == 0 and isinstance(m, Proposal)]

    (first,) = shown()
    network.now_ms += 400 if answers else 500
    for i in (0, 1):
        signature = KEYS[i].sign(first.report.hash, AUX)
        network.tell(i, AGGREGATOR, Vote(i, ROUND, first.report.hash, signature))
    proposals = shown()
    assert [p.round - ROUND for p in proposals] == ([0, 1] if answers else [0])
    assert proposals[-1].report.prev_report_hash == (first.report.hash if answers else bytes(32))


def test_the_aggregator_gives_a_round_up_and_says_who_was_missing() -> None:
    network = Members()
    network.dead = {1, 2}
    network.run(3_200)
    first, *_ = network.given_up
    assert first.round == ROUND
    assert "oracle 0 observed; oracle 1 sent no observation" in str(first.why)
    assert [g.round - ROUND for g in network.given_up] == [0, 1], "each once"


# Store, then tell


def test_a_certificate_is_stored_before_anybody_hears_of_it() -> None:
    network = Members()
    network.dead = {AGGREGATOR, 0, 1, 2}
    network.run(0)
    stored: dict[int, set[bytes]] = {a: set() for a in network.members}
    network.dead = set()
    told = 0

    def carry_out(address: int, effects: list[Any]) -> None:
        nonlocal told
        for effect in effects:
            if isinstance(effect, Store):
                stored[address].add(effect.certificate.hash)
            if isinstance(effect, Send) and isinstance(effect.message, Certificate):
                told += 1
                assert effect.message.hash in stored[address]
            if isinstance(effect, Send) and isinstance(effect.message, Proposal):
                for certificate in effect.message.certificates:
                    assert certificate.hash in stored[address]
        Members._carry_out(network, address, effects)

    network._carry_out = carry_out  # type: ignore[method-assign]
    network.stir()
    network.run(65_000)
    assert told == 3
    assert [len(stored[a]) for a in network.members] == [3] * 4


# Evidence


def two_observations() -> tuple[SignedObservation, SignedObservation]:
    first = observed(2, obs_time=T0 + 5)
    return first, observed(2, PRICE + 7, obs_time=T0 + 5)


def test_evidence_is_stored_then_told_to_everybody_once() -> None:
    network = Members()
    network.dead = {2}
    network.run(4)
    network.dead = {0, 1, 2, AGGREGATOR}
    first, second = (s for s in two_observations())
    network.tell(2, 0, first)
    effects = network.tell(2, 0, second)
    kinds = [type(e).__name__ for e in effects[:2]]
    assert kinds == ["Convict", "Send"]
    proof = network.evidence[0][0]
    assert proof.check(network.config) == 2
    assert network.tell(1, 0, proof) == [], "known"
    network.dead = {2}
    network.run(1_000)
    for address in (0, 1, AGGREGATOR):
        assert network.evidence[address] == [proof]
        assert list(network.node(address).inbox.convicted) == [2]
    told = [a for a, _, m in network.said if isinstance(m, Evidence)]
    assert sorted(set(told)) == [0, 1, AGGREGATOR] and len(told) == 9


def test_an_exclusion_survives_a_restart() -> None:
    network = Members()
    for signed in two_observations():
        network.tell(2, 0, signed)
    network.start(0)
    assert list(network.node(0).inbox.convicted) == [2]
    network.run(100)
    assert 2 not in network.node(0).inbox.held(ROUND)
    assert grades(network) == ["DEGRADED"]


def test_false_evidence_is_counted_and_not_passed_on() -> None:
    network = Members()
    a, b = observed(1), observed(1, round=ROUND + 1)
    false = Evidence(
        KEYS[1].public, a.observation.encode(), a.signature, b.observation.encode(), b.signature
    )
    assert not any(isinstance(e, Send) for e in network.tell(2, 0, false)[:1])
    assert network.node(0).inbox.refused[Reason.SIGNATURE] == 1
    assert not network.evidence[0]


# Clocks


@pytest.mark.parametrize("step_ms", [-60_000, -2_000, -300, 300, 2_000, 60_000])
def test_one_clock_that_steps_and_comes_back_stops_nobody(step_ms: int) -> None:
    network = Members(schedule=FAST)
    network.run(3_500)
    network.offset_ms[1] = step_ms
    network.stir()
    network.run(5_000)
    network.offset_ms[1] = 0
    network.stir()
    network.run(70_000)
    assert network.rounds(0) == list(range(79)), "no round was lost by the others"
    assert grades(network)[-5:] == ["FULL"] * 5, "and the third is back"
    assert not network.evidence[0]


def test_all_clocks_stepping_back_sign_no_round_twice() -> None:
    network = Members(schedule=FAST)
    network.run(10_500)
    before = [list(guard.log) for guard in network.guards]
    network.offset_ms = dict.fromkeys(network.members, -5_000)
    network.stir()
    network.run(3_000)
    assert [guard.log for guard in network.guards] == before, "those rounds are signed"
    network.run(7_000)
    assert network.rounds()[-1] > 10
    slots = [m[:76] for guard in network.guards for m in guard.log]
    assert all(slots.count(slot) == 3 for slot in set(slots) if slot[:4] == b"OBS1")


# Floods and strangers


def test_more_messages_than_an_interval_allows_are_dropped_unread() -> None:
    network = Members()
    network.run(100)
    for _ in range(MESSAGES * 3):
        network.tell(1, 0, Vote(1, ROUND + 5, bytes(32), bytes(64)))
    refused = network.node(0).inbox.refused
    assert refused[Reason.FLOOD] > MESSAGES
    assert refused[Reason.ROUND] <= MESSAGES
    network.now_ms += 1_000
    network.tell(1, 0, observed(1, seq=9, round=ROUND + 1, obs_time=T0 + 1_000))
    assert 1 in network.node(0).inbox.held(ROUND + 1), "the next interval is a new one"


def test_a_flood_of_one_sender_does_not_silence_another() -> None:
    network = Members()
    for _ in range(MESSAGES * 2):
        network.tell(1, 0, "noise")
    network.run(100)
    assert network.rounds() == [0]


def test_a_sender_proposes_a_few_times_a_round_at_most() -> None:
    network = Members()
    network.dead = {AGGREGATOR}
    network.run(10)
    seen = [network.node(0).inbox.held(ROUND)[i] for i in range(3)]
    for extra in range(20):
        proposal = proposal_of(*seen, config=network.config, time=T0 + 20 + extra)
        network.tell(AGGREGATOR, 0, proposal)
    refused = network.node(0).inbox.refused
    assert (refused[Reason.GUARD], refused[Reason.FLOOD]) == (3, 16)


def test_state_stays_bounded_under_rounds_and_senders() -> None:
    network = Members()
    network.dead = {0, 1, 2, AGGREGATOR}
    for second in range(0, 120, 2):
        network.now_ms = T0 + 1_000 * second
        for shift in range(-5, 6):
            signed = observed(
                1, round=ROUND + second + shift, seq=1_000 + second + shift, obs_time=network.now_ms
            )
            network.tell(1, 0, signed)
            network.tell(1, AGGREGATOR, signed)
        network.tell(1, 0, proposal_of(signed, observed(2, round=signed.round)))
    member = network.members[0]
    assert len(member._rounds) <= 16
    assert len(member.node.inbox._rounds) <= 16
    assert len(member.proposing._ballots) <= 16
    assert len(network.members[AGGREGATOR]._opened) <= 16


@pytest.mark.parametrize("stranger", [0, 3, 254, -1])
def test_strangers_and_itself_are_not_heard(stranger: int) -> None:
    network = Members()
    assert network.tell(stranger, 0, observed(1)) == []
    assert network.node(0).inbox.refused == {Reason.SIGNER: 1}
    assert not network.node(0).inbox.held(ROUND)


@pytest.mark.parametrize("junk", [None, 7, "text", b"bytes", object()])
def test_what_is_no_message_has_no_effect(junk: object) -> None:
    network = Members()
    network.run(100)
    for to in (0, AGGREGATOR):
        assert network.tell(1, to, junk) == []


def test_a_refusal_in_anothers_name_counts_for_its_sender() -> None:
    network = Members()
    network.dead = {0, 2}
    network.run(60)
    member = network.members[AGGREGATOR]
    refusal = member.node.inbox.refuse(member.node.inbox.receive(observed(2, venues=4), T0 + 60))
    network.tell(1, AGGREGATOR, Refused(2, ROUND, refusal))
    assert list(member.node._ballots[ROUND].refusals) == [1]


# Late


def test_a_zombies_vote_for_a_certified_round_changes_nothing() -> None:
    network = Members()
    late: list[tuple[int, Any]] = []

    def hold(sender: int, to: int, message: Any) -> bool:
        if sender == 2 and isinstance(message, Vote):
            late.append((to, message))
            return True
        return False

    network.drop = hold
    network.run(60_500)
    certified = list(network.stored[AGGREGATOR])
    for to, vote in late:
        assert network.tell(2, to, vote) == []
    assert network.stored[AGGREGATOR] == certified
    assert all(2 not in c.signers for c in certified)


def test_a_stopped_oracle_signs_no_old_round_when_it_continues() -> None:
    network = Members(schedule=FAST)
    network.run(3_200)
    waiting: list[tuple[int, Any]] = []

    def hold(sender: int, to: int, message: Any) -> bool:
        if to == 2:
            waiting.append((sender, message))
        return to == 2

    network.drop, network.dead = hold, {2}
    network.run(60_000)
    signed = len(network.guards[2].log)
    network.drop, network.dead = (lambda *_: False), set()
    for sender, message in waiting[:200]:
        network.tell(sender, 2, message)
    rounds = {int.from_bytes(m[68:76]) for m in network.guards[2].log[signed:]}
    assert all(r >= ROUND + 62 for r in rounds)


def test_a_late_observation_is_kept_as_evidence_against_its_signer() -> None:
    network = Members()
    network.dead = {2}
    network.run(500)
    assert grades(network) == ["DEGRADED"]
    network.tell(2, 0, observed(2, config=network.config))
    assert 2 in network.node(0).inbox.held(ROUND)
    network.tell(2, 0, observed(2, PRICE + 1, config=network.config))
    assert list(network.node(0).inbox.convicted) == [2]


# Outliers


def test_five_rounds_beyond_delta_in_a_row_flag_an_oracle_and_exclude_nobody() -> None:
    network = Members(schedule=FAST)
    network.prices[2] = PRICE * 102 // 100
    network.run(1_000 * (ROUNDS - 1) - 500)
    assert network.members[0].outliers.flagged == frozenset()
    network.run(1_000)
    for address in (0, 1, AGGREGATOR):
        assert network.members[address].outliers.flagged == {2}
    assert not network.node(0).inbox.convicted
    network.prices[2] = PRICE
    network.run(1_000)
    assert network.members[0].outliers.flagged == frozenset()


def test_a_forged_certificate_flags_nobody() -> None:
    network = Members(schedule=FAST)
    network.run(500)
    real = network.stored[0][0]
    for extra in range(ROUNDS + 1):
        forged = replace(real.report, price_e8=PRICE * 2, time=real.report.time + extra)
        network.tell(2, 0, replace(real, report=forged))
    assert network.node(0).inbox.refused[Reason.SIGNATURE] == ROUNDS + 1
    assert network.members[0].outliers.flagged == frozenset()


def test_a_missing_observation_neither_counts_nor_clears() -> None:
    outliers = Outliers(5_000)
    for distances in ({0: 1_000_000}, {}, {0: 5_001}, {}, {0: 6_000}):
        outliers.receive(distances)
    assert outliers.flagged == frozenset()
    outliers.receive({0: 10_000})
    outliers.receive({0: 10_000, 1: 5_000})
    assert outliers.flagged == {0}
    assert outliers.distances == {0: 10_000, 1: 5_000}


# Numbers


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_any_number_of_oracles(n: int) -> None:
    network = Members(n)
    network.run(31_000)
    assert network.rounds() == [0, 30]
    assert all(c.report.grade is Grade.FULL for c in network.stored[0])
