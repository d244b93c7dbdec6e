"""What peers remember of an oracle: a proof of a rollback stops it, nothing else does."""

from dataclasses import replace

import pytest

from protocol.errors import EncodingError, GuardError, SignatureError
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.messages import SeenAnswer
from protocol.oracle.observation import SignedObservation
from protocol.oracle.recollection import MARGIN_MS, Recollection
from tests.builders.batches import BatchNetwork, flat
from tests.builders.oracles import ROUND, T0, Network, make_config, observed

NOTHING = SeenAnswer(b"")


class GuardAt:
    """A sign guard that has come to ``seq``, or was restored there."""

    def __init__(self, seq, is_restored=False):
        self.seq, self.is_restored, self.floor = seq, is_restored, -1

    def require_seq(self, peers_seq, round_id):
        if self.seq < peers_seq and not self.is_restored:
            raise GuardError(f"peers have seen {peers_seq}: an old copy")

    def resume(self, peers_seq, floor):
        self.seq, self.is_restored, self.floor = max(self.seq, peers_seq), False, floor


class Heard(Recollection):
    """Every answer comes at T0."""

    def receive(self, sender, answer, now_ms=T0):
        super().receive(sender, answer, now_ms)


def recollection(n=3, seq=10, kind=SignedObservation, guard=None, retired=(), **changes):
    """That of oracle 0 after a restart, its guard at ``seq``."""
    return Heard(make_config(n, **changes), 0, kind, guard or GuardAt(seq), retired)


def seen(seq, oracle=0):
    return SeenAnswer(observed(oracle, seq=seq).encode())


@pytest.mark.parametrize(("n", "quorum", "needed"), [(1, 1, 0), (3, 2, 1), (3, 3, 2), (7, 5, 4)])
def test_a_quorum_with_this_oracle_is_enough_and_everybody_is_asked(n, quorum, needed):
    peers = recollection(n, quorum=quorum)
    assert peers.missing == set(range(1, n))
    for answered, sender in enumerate(range(1, n)):
        assert peers.is_enough == (answered >= needed)
        peers.receive(sender, NOTHING)
        assert peers.missing == set(range(sender + 1, n))
    assert peers.is_enough
    assert not peers.missing


def test_peers_that_have_seen_no_more_than_the_guard_stop_nobody():
    peers = recollection(seq=10)
    peers.receive(1, seen(seq=10))
    peers.receive(2, seen(seq=1))
    assert not peers.missing


def test_an_answer_that_proves_a_rollback_is_raised_however_late_it_comes():
    peers = recollection(seq=10)
    peers.receive(1, NOTHING)
    assert peers.is_enough
    with pytest.raises(GuardError, match="peers have seen 11: an old copy"):
        peers.receive(2, seen(seq=11))
    assert peers.missing == {2}


def test_nobody_answers_twice_or_for_this_oracle_or_from_outside():
    """Of a peer that has answered, and of all others, nothing is read any more."""
    peers = recollection(seq=10)
    peers.receive(1, NOTHING)
    for sender in (1, 0, 3, 255):
        peers.receive(sender, seen(seq=11))
    assert peers.missing == {2}


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(observed(1, seq=99), id="another oracle's observation"),
        pytest.param(SignedObservation(0, observed(1, seq=99).observation, bytes(64)), id="forged"),
        pytest.param(replace(observed(1, seq=99), oracle=0), id="another's under our index"),
        pytest.param(
            SignedObservation(0, observed(0, seq=99).observation, observed(0, seq=9).signature),
            id="a higher seq under an old signature",
        ),
    ],
)
def test_a_lie_about_this_oracle_stops_nobody_and_is_no_answer(lie):
    peers = recollection(seq=10)
    with pytest.raises(SignatureError, match="oracle 2 shows an observation that is not ours"):
        peers.receive(2, SeenAnswer(lie.encode()))
    assert peers.missing == {1, 2}
    peers.receive(2, NOTHING)
    assert peers.missing == {1}


@pytest.mark.parametrize("size", [1, 4, 216, 218, 1000])
def test_malformed_bytes_are_no_answer(size):
    encoded = observed(0, seq=99).encode()
    assert len(encoded) == 217
    peers = recollection(seq=10)
    with pytest.raises(EncodingError):
        peers.receive(2, SeenAnswer((encoded + bytes(1000))[:size]))
    assert peers.missing == {1, 2}


def test_an_observation_of_an_earlier_configuration_counts_too():
    """A key has one guard for life, across rotations of everybody else's keys."""
    earlier = make_config(epoch=7)
    peers = recollection(seq=10)
    with pytest.raises(GuardError):
        peers.receive(1, SeenAnswer(observed(0, config=earlier, seq=11).encode()))


def test_a_batch_is_remembered_like_an_observation():
    net = BatchNetwork()
    batch = net.observe({0: flat()})[0]
    assert batch.observation.seq == 1
    fresh = recollection(seq=0, kind=SignedObservationBatch)
    with pytest.raises(GuardError):
        fresh.receive(1, SeenAnswer(batch.encode()))
    with pytest.raises(EncodingError):
        fresh.receive(1, seen(seq=1))
    assert net.nodes[1].inbox.newest(0) == batch


def test_an_inbox_remembers_the_newest_valid_observation_for_ever():
    net = Network()
    inbox = net.nodes[1].inbox
    assert inbox.newest(0) is None
    newest = observed(0, seq=5)
    assert inbox.receive(newest, T0 + 50) is None
    late = observed(0, round=ROUND - 1, seq=4, obs_time=T0 - 900)
    assert inbox.receive(late, T0 + 60) is None
    unsigned = observed(0, round=ROUND + 1, seq=6, obs_time=T0 + 1_010).observation
    forged = SignedObservation(0, unsigned, bytes(64))
    assert inbox.receive(forged, T0 + 1_020) is not None
    assert inbox.newest(0) == newest
    much_later = observed(1, round=ROUND + 600, seq=4, obs_time=T0 + 600_010)
    assert inbox.receive(much_later, T0 + 600_020) is None
    assert not inbox.held(ROUND)
    assert inbox.newest(0) == newest


# A guard that was restored from a backup

AHEAD = ROUND + MARGIN_MS // 1000 + 1
"""The last round that can be signed by a clock that is off by the margin: the one after its own."""


def test_a_restored_guard_goes_on_behind_now_and_behind_what_peers_have_seen():
    guard = GuardAt(10, is_restored=True)
    peers = recollection(guard=guard)
    assert "0 of 2 needed; its sign guard was restored from a backup" in peers.fault
    peers.receive(1, seen(seq=37))
    assert guard.is_restored, "oracle 1 may be the liar"
    assert not peers.is_enough
    peers.receive(2, NOTHING)
    assert (guard.is_restored, guard.seq, guard.floor) == (False, 37, AHEAD)
    assert peers.is_enough
    assert peers.fault is None


def test_an_own_observation_from_the_future_raises_the_floor():
    """This oracle's clock was far ahead when it signed what is lost."""
    guard = GuardAt(10, is_restored=True)
    peers = recollection(guard=guard)
    ahead = observed(0, seq=12, round=ROUND + 600, obs_time=T0 + 600_010)
    peers.receive(1, SeenAnswer(ahead.encode()))
    peers.receive(2, NOTHING)
    assert (guard.seq, guard.floor) == (12, ROUND + 600)


@pytest.mark.parametrize(
    ("n", "quorum", "faults", "needed"),
    [(1, 1, 0, 0), (2, 2, 0, 1), (3, 2, 1, 2), (4, 3, 1, 2), (7, 4, 3, 4), (7, 7, 3, 6)],
)
def test_one_of_those_who_answer_a_restored_guard_is_honest(n, quorum, faults, needed):
    guard = GuardAt(10, is_restored=True)
    peers = recollection(n, quorum=quorum, faults=faults, guard=guard)
    assert peers.needed == needed
    assert needed > faults or needed == n - 1
    peers.resume(T0)
    for sender in range(1, n):
        assert guard.is_restored == (sender <= needed)
        peers.receive(sender, NOTHING)
    assert (guard.is_restored, guard.floor) == (False, AHEAD)


def test_the_guard_of_a_retired_key_goes_on_at_the_same_floor():
    retired, guard = GuardAt(4, is_restored=True), GuardAt(10)
    peers = recollection(guard=guard, retired=[retired])
    peers.receive(1, NOTHING)
    assert retired.is_restored, "it signs expiries: a liar alone says nothing of the clock"
    peers.receive(2, seen(seq=7))
    assert (retired.is_restored, retired.seq, retired.floor) == (False, 4, AHEAD)
    assert (guard.seq, guard.floor) == (10, -1)


def test_the_latest_time_of_an_answer_counts_if_the_clock_is_set_back():
    """Oracle 1 is honest and has met the clock before; oracle 2 may speak to any."""
    guard = GuardAt(10, is_restored=True)
    peers = recollection(guard=guard)
    peers.receive(1, NOTHING)
    peers.receive(2, NOTHING, T0 - 3_600_000)
    assert (guard.is_restored, guard.floor) == (False, AHEAD)


def test_lies_do_not_let_a_restored_guard_go_on():
    guard = GuardAt(10, is_restored=True)
    peers = recollection(guard=guard)
    for _ in range(3):
        with pytest.raises(SignatureError):
            peers.receive(1, SeenAnswer(observed(1, seq=99).encode()))
    peers.receive(2, NOTHING)
    assert guard.is_restored
