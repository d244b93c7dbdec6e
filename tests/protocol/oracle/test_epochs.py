"""Rotations in time: which epoch certifies, which settles, and what old keys can still do."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import GuardError, ProtocolError, QuorumError, SignatureError
from protocol.oracle.epochs import Epochs, sign_rotation
from protocol.oracle.evidence import of_certificates
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot, expiry_of
from protocol.oracle.proposal import Reason
from protocol.oracle.report import Grade
from protocol.oracle.rotation import Rotation, RotationCertificate
from tests.builders.epochs import (
    EPOCHS,
    NEW_KEYS,
    NEW_ROUND,
    NEXT,
    ROTATION,
    certificate,
    history,
    rotation,
    signed,
)
from tests.builders.oracles import (
    AUX,
    CONFIG,
    FEED_ID,
    KEYS,
    PRICE,
    ROUND,
    MemoryGuard,
    Network,
    make_config,
    reason,
)

OLD, NEW = CONFIG, NEXT


def test_before_any_rotation_there_is_one_epoch() -> None:
    epochs = Epochs(OLD)
    for round_id in (0, ROUND, 2**64 - 1):
        assert epochs.at(round_id) == OLD
        assert epochs.may_certify(round_id) == (OLD,)
    assert epochs.newest == OLD


def test_what_counts_is_what_may_be_certified() -> None:
    for round_id, counting in (
        (NEW_ROUND - 1, [OLD]),
        (NEW_ROUND, [OLD, NEW]),
        (NEW_ROUND + 1, [NEW]),
    ):
        assert [c for c in (OLD, NEW) if EPOCHS.counts(c.digest, round_id)] == counting
    assert not EPOCHS.counts(make_config(epoch=9).digest, NEW_ROUND)


def test_both_certify_in_the_round_of_the_rotation_and_the_new_one_settles_it() -> None:
    assert EPOCHS.may_certify(NEW_ROUND - 1) == (OLD,)
    assert EPOCHS.may_certify(NEW_ROUND) == (OLD, NEW)
    assert EPOCHS.may_certify(NEW_ROUND + 1) == (NEW,)
    assert [EPOCHS.at(NEW_ROUND + i) for i in (-1, 0, 1)] == [OLD, NEW, NEW]
    theirs, ours = certificate(OLD, NEW_ROUND), certificate(NEW, NEW_ROUND, keys=NEW_KEYS)
    assert EPOCHS.check(theirs) == OLD
    assert EPOCHS.check(ours) == NEW
    assert not EPOCHS.settles(theirs)
    assert EPOCHS.settles(ours)
    assert of_certificates(NEW, theirs, ours) == (), "two epochs, two slots: nobody lied"


def test_no_certificate_outside_its_epoch() -> None:
    late = certificate(OLD, NEW_ROUND + 1)
    with pytest.raises(QuorumError, match=f"epoch 1: round {NEW_ROUND + 1} is .* epoch 2 only"):
        EPOCHS.check(late)
    early = certificate(NEW, NEW_ROUND - 1, keys=NEW_KEYS)
    with pytest.raises(QuorumError, match=f"epoch 2: round {NEW_ROUND - 1} is .* epoch 1 only"):
        EPOCHS.check(early)
    with pytest.raises(QuorumError, match="unknown: another network, or a rotation"):
        Epochs(OLD).check(certificate(NEW, NEW_ROUND, keys=NEW_KEYS))


def test_a_revoked_key_signs_nothing_more() -> None:
    """Oracle 2's old key is out: with the old digest its rounds are over, under the new one it is
    no member's key."""
    for signers in ((0, 2), (1, 2)):
        with pytest.raises(QuorumError, match="epoch 2 only"):
            EPOCHS.check(certificate(OLD, NEW_ROUND + 5, signers=signers))
        with pytest.raises(SignatureError, match="oracle 2 does not verify"):
            EPOCHS.check(certificate(NEW, NEW_ROUND + 5, keys=KEYS, signers=signers))
    with pytest.raises(SignatureError, match="oracle 2 does not verify"):
        EPOCHS.add(signed(rotation(NEW, NEW_ROUND + 9, make_config(epoch=3)), (0, 2), KEYS))


def test_a_lost_key_leaves_n_minus_1() -> None:
    """Two of three hand over to the two that are left; a later rotation brings a third one back."""
    two = make_config(2, epoch=2, quorum=2, faults=0)
    epochs = Epochs(OLD).add(signed(rotation(new=two), (0, 1)))
    epochs.check(certificate(two, NEW_ROUND + 1))
    back = make_config(epoch=3, oracles=tuple(key.public for key in NEW_KEYS))
    epochs = epochs.add(signed(rotation(two, NEW_ROUND + 100, back)))
    assert epochs.at(NEW_ROUND + 100) == back
    epochs.check(certificate(back, NEW_ROUND + 200, keys=NEW_KEYS, signers=(1, 2)))


def test_one_oracle_that_lags_costs_a_grade_and_no_round() -> None:
    """Oracle 2 hears of the rotation one round late."""
    first, second = ROUND, ROUND + 1
    old, new = Network(), Network(epoch=2, delta_ppm=4_000)
    epochs = Epochs(old.config).add(signed(rotation(old.config, first, new.config)))
    behind = Epochs(old.config)

    stale = old.observe({2: PRICE}, first)[0]
    now = new.config.starts_ms(first) + 20
    assert reason(new.aggregator.receive_observation(stale, now)) is Reason.CONFIG
    degraded = new.run({0: PRICE, 1: PRICE + 2}, first)
    assert degraded is not None
    assert degraded.report.grade is Grade.DEGRADED
    assert epochs.check(degraded) == new.config
    with pytest.raises(QuorumError, match="fetch the rotations"):
        behind.check(degraded)

    behind = behind.add(epochs.rotations[0])
    assert behind.check(degraded) == new.config
    full = new.run({0: PRICE, 1: PRICE, 2: PRICE}, second)
    assert full is not None
    assert full.report.grade is Grade.FULL
    assert full.report.prev_report_hash == degraded.report.hash
    assert behind.check(full) == new.config


def test_the_old_epoch_saves_the_round_if_two_oracles_lag() -> None:
    old = Network()
    epochs = Epochs(old.config).add(signed(rotation(old.config, ROUND)))
    saved = old.run({1: PRICE, 2: PRICE}, ROUND)
    assert saved is not None
    assert epochs.check(saved) == old.config
    after = old.run({1: PRICE, 2: PRICE}, ROUND + 1)
    assert after is not None
    with pytest.raises(QuorumError, match="epoch 2 only"):
        epochs.check(after)


def test_a_feeds_chain_goes_on_and_an_expiry_reaches_over_the_rotation() -> None:
    chain = history({0: PRICE, 4: PRICE + 4, 9: PRICE + 8, 10: PRICE - 6, 15: PRICE})
    assert [EPOCHS.check(c).epoch for c in chain] == [1, 1, 1, 2, 2]
    assert all(b.report.prev_report_hash == a.report.hash for a, b in pairwise(chain))
    slot = ExpirySlot(
        config_digest=OLD.digest,
        feed_id=FEED_ID,
        start_round=ROUND + 4,
        target_round=ROUND + 12,
    )
    expiry = expiry_of(slot, 600, [c.report for c in chain])
    assert (expiry.end_round, expiry.high_e8, expiry.low_e8) == (ROUND + 15, PRICE + 8, PRICE - 6)
    by_old_keys = ExpiryCertificate(
        expiry, tuple((i, KEYS[i].sign(expiry.hash, AUX)) for i in (0, 2))
    )
    assert EPOCHS.check_expiry(by_old_keys) == OLD, "a retired key still signs its own expiries"
    with pytest.raises(QuorumError, match="needed are 3"):
        EPOCHS.check_expiry(by_old_keys, 3)
    of_new = replace(expiry, slot=replace(slot, config_digest=NEW.digest))
    with pytest.raises(SignatureError):
        EPOCHS.check_expiry(replace(by_old_keys, expiry=of_new))


def test_a_second_rotation_of_an_epoch_is_refused_and_convicts() -> None:
    other = signed(rotation(round_id=NEW_ROUND + 1), (0, 2))
    assert EPOCHS.add(ROTATION) is EPOCHS
    assert EPOCHS.add(signed(rotation(), (1, 2))) is EPOCHS, "the same rotation, other witnesses"
    with pytest.raises(QuorumError, match="another one is known, the first counts"):
        EPOCHS.add(other)
    proofs = of_certificates(OLD, ROTATION, other)
    assert [proof.check(OLD) for proof in proofs] == [0]


def test_epochs_do_not_go_backwards() -> None:
    third = make_config(epoch=3)
    for round_id in (NEW_ROUND - 1, NEW_ROUND):
        again = signed(rotation(NEW, round_id, third), keys=NEW_KEYS)
        with pytest.raises(QuorumError, match=f"epoch 2 begins in round {NEW_ROUND}, name a later"):
            EPOCHS.add(again)
    back = signed(rotation(NEW, NEW_ROUND + 1, OLD), keys=NEW_KEYS)
    with pytest.raises(QuorumError, match="epoch: 1, expected 3"):
        EPOCHS.add(back)


def test_rotations_in_consecutive_rounds() -> None:
    third = make_config(epoch=3)
    epochs = EPOCHS.add(signed(rotation(NEW, NEW_ROUND + 1, third), keys=NEW_KEYS))
    assert epochs.may_certify(NEW_ROUND) == (OLD, NEW)
    assert epochs.may_certify(NEW_ROUND + 1) == (NEW, third)
    assert epochs.may_certify(NEW_ROUND + 2) == (third,)


FORGED = {
    "too few": signed(rotation(), (0,)),
    "another configuration's": signed(rotation(old=make_config(max_age_ms=1))),
    "strangers'": signed(rotation(), (0, 1), KEYS[5:]),
    "two epochs ahead": signed(rotation(NEW, NEW_ROUND, make_config(epoch=3)), keys=NEW_KEYS),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_rotation_that_proves_nothing_is_not_added(name: str) -> None:
    with pytest.raises(ProtocolError):
        Epochs(OLD).add(FORGED[name])
    with pytest.raises(ProtocolError):
        Epochs(OLD, (FORGED[name],))


def test_a_pinned_later_epoch_needs_no_older_keys() -> None:
    """Who pins epoch 2 cannot be led astray by keys of epoch 1, leaked since."""
    pinned = Epochs(NEW)
    assert pinned.check(certificate(NEW, ROUND, keys=NEW_KEYS)) == NEW
    with pytest.raises(QuorumError, match="does not follow epoch 2"):
        pinned.add(signed(rotation(new=make_config(epoch=2, max_age_ms=1))))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=5), st.integers(0, 40))
def test_every_round_is_settled_by_one_epoch_that_may_certify_it(
    gaps: list[int], offset: int
) -> None:
    epochs, start = Epochs(OLD), ROUND
    starts = [0]
    for number, gap in enumerate(gaps, 2):
        start += gap
        starts.append(start)
        epochs = epochs.add(signed(rotation(epochs.newest, start, make_config(epoch=number))))
    round_id = ROUND + offset
    active = max(i for i, begin in enumerate(starts) if begin <= round_id)
    assert epochs.at(round_id) == epochs.configs[active]
    expected = epochs.configs[max(0, active - (round_id in starts)) : active + 1]
    assert epochs.may_certify(round_id) == expected
    assert epochs.may_certify(round_id)[-1] == epochs.at(round_id)
    assert Epochs(OLD, epochs.rotations) == epochs


def handed_over(
    proposed: Rotation, guard: MemoryGuard, index: int = 0, epochs: Epochs | None = None
) -> tuple[int, bytes]:
    return sign_rotation(
        epochs or Epochs(OLD),
        proposed,
        KEYS[index].public,
        lambda message: KEYS[index].sign(message, AUX),
        guard,
        OLD.starts_ms(ROUND),
    )


def test_the_oracles_sign_a_rotation_together() -> None:
    guards = [MemoryGuard() for _ in range(3)]
    votes = tuple(handed_over(rotation(), guards[i], i) for i in (0, 2))
    assert Epochs(OLD).add(RotationCertificate(rotation(), votes)).newest == NEW
    assert guards[0].log == [rotation().encode()]
    assert handed_over(rotation(), guards[0]) == votes[0], "again, and nothing new"


def test_an_honest_oracle_hands_over_once_and_never_in_the_past() -> None:
    guard = MemoryGuard()
    for round_id in (0, ROUND - 1, ROUND):
        with pytest.raises(QuorumError, match=f"has begun: name one after {ROUND}"):
            handed_over(rotation(round_id=round_id), guard)
    with pytest.raises(QuorumError, match="epoch: 3"):
        handed_over(rotation(new=make_config(epoch=3)), guard)
    with pytest.raises(SignatureError, match="is not one of epoch 1's oracles"):
        handed_over(rotation(), guard, 5)
    with pytest.raises(QuorumError, match="name a later"):
        third = rotation(NEW, NEW_ROUND, make_config(epoch=3))
        handed_over(third, guard, epochs=EPOCHS)
    assert not guard.log
    handed_over(rotation(), guard)
    with pytest.raises(GuardError, match="rotation from epoch 1"):
        handed_over(rotation(round_id=NEW_ROUND + 1), guard)
