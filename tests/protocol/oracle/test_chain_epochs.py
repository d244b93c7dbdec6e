"""A chain of certificates that goes through a rotation, and what else a rotation signs."""

from dataclasses import replace
from hashlib import sha256

import pytest

from protocol.errors import QuorumError
from protocol.oracle.chain import Chain
from protocol.oracle.epochs import Epochs
from protocol.oracle.inbox import Inbox
from protocol.oracle.member import AggregatorMember
from protocol.oracle.messages import HistoryAnswer, Store
from protocol.oracle.proposal import Reason
from protocol.oracle.roster import roster_digest
from protocol.oracle.round import AggregatorNode
from protocol.oracle.schedule import Schedule
from tests.builders.epochs import EPOCHS, NEW_KEYS, NEW_ROUND, NEXT, certificate, history
from tests.builders.oracles import CONFIG, FEED_ID, KEYS, PRICE

OLD = certificate(CONFIG, NEW_ROUND)
NEW = certificate(NEXT, NEW_ROUND, keys=NEW_KEYS)


def chain(config=NEXT, epochs=EPOCHS, last=None):
    return Chain(config, FEED_ID, last, epochs)


def test_a_new_epoch_goes_on_from_the_last_certificate_of_the_old_one() -> None:
    last = certificate(CONFIG, NEW_ROUND - 1)
    node = AggregatorNode(NEXT, FEED_ID, last, epochs=EPOCHS)
    assert node.chain.head_hash == last.hash
    with pytest.raises(QuorumError, match="unknown: another network, or a rotation that has not"):
        AggregatorNode(NEXT, FEED_ID, last)


def test_missed_certificates_of_both_epochs_are_accepted() -> None:
    found, inbox = chain(), Inbox(NEXT, FEED_ID)
    missed = history({8: PRICE, 9: PRICE, 10: PRICE, 11: PRICE})
    for one in missed:
        assert found.adopt(one, inbox) is None
    assert found.last == missed[-1]
    assert all(found.knows(one.hash) for one in missed)


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)])
def test_of_two_for_the_round_the_new_epoch_s_counts_and_nobody_is_convicted(first, second) -> None:
    found, inbox = chain(), Inbox(NEXT, FEED_ID)
    assert found.adopt(first, inbox) is None
    assert found.adopt(second, inbox) is None
    assert found.last == NEW
    assert not inbox.convicted


def test_an_epoch_that_is_over_certifies_nothing_more() -> None:
    found, inbox = chain(last=NEW), Inbox(NEXT, FEED_ID)
    refusal = found.adopt(certificate(CONFIG, NEW_ROUND + 1), inbox)
    assert refusal is not None
    assert refusal.reason is Reason.QUORUM
    assert "is certified by epoch 2 only" in refusal.detail
    assert found.last == NEW


def test_an_epoch_that_has_not_begun_certifies_nothing_yet() -> None:
    found, inbox = chain(), Inbox(NEXT, FEED_ID)
    refusal = found.adopt(certificate(NEXT, NEW_ROUND - 1, keys=NEW_KEYS), inbox)
    assert refusal is not None
    assert refusal.reason is Reason.QUORUM


def test_who_signed_two_reports_of_the_old_epoch_is_convicted_under_it() -> None:
    both = [certificate(CONFIG, NEW_ROUND - 1, price=PRICE + i) for i in range(2)]
    inbox = Inbox(NEXT, FEED_ID)
    found = chain(last=both[0])
    refusal = found.adopt(both[1], inbox)
    assert refusal is not None
    assert refusal.reason is Reason.EQUIVOCATION
    assert refusal.proof.check(CONFIG) in (0, 1)
    # It is excluded where it lied: the new epoch has judged its roster by itself.
    assert not inbox.convicted


def test_what_an_epoch_certified_after_its_end_does_not_end_an_answer() -> None:
    """The peer stored it before it knew of the rotation."""
    first, missed, head = history({8: PRICE, 12: PRICE, 13: PRICE})
    node = AggregatorNode(NEXT, FEED_ID, None, epochs=EPOCHS)
    member = AggregatorMember(node, Schedule(interval_ms=1000))
    now_ms = NEXT.starts_ms(head.round)
    member.receive(1, head, now_ms)
    late = certificate(CONFIG, NEW_ROUND + 1, first.hash)
    answer = HistoryAnswer(tuple(c.encode() for c in (first, late, missed)))
    effects = member.receive(1, answer, now_ms)
    assert [e.certificate for e in effects if isinstance(e, Store)] == [first, missed]


def test_a_chain_without_rotations_is_that_of_its_configuration() -> None:
    assert Chain(CONFIG, FEED_ID, None).epochs == Epochs(CONFIG)


ROSTER = {
    "members": [("alpha", KEYS[0].public), ("bravo", KEYS[1].public)],
    "aggregator": KEYS[2].public,
    "symbols": ["BTC/USD"],
    "schedule": Schedule(interval_ms=1000),
}


def test_the_digest_of_a_roster_is_what_the_page_says() -> None:
    tag = sha256(b"btcfi/network/roster/v1").digest()
    body = b"".join(
        (
            b"\x02\x05alpha" + KEYS[0].public + b"\x05bravo" + KEYS[1].public,
            KEYS[2].public,
            b"\x00\x01\x07BTC/USD",
            *(value.to_bytes(4) for value in (30_000, 20, 500, 50)),
        )
    )
    assert roster_digest(**ROSTER) == sha256(tag + tag + body).digest()


CHANGED = {
    "a name": {"members": [("alpha", KEYS[0].public), ("bravO", KEYS[1].public)]},
    "an identity": {"members": [("alpha", KEYS[0].public), ("bravo", KEYS[3].public)]},
    "the order": {"members": ROSTER["members"][::-1]},
    "the aggregator": {"aggregator": KEYS[3].public},
    "a feed": {"symbols": ["BTC/USD", "ETH/USD"]},
    "the schedule": {"schedule": replace(ROSTER["schedule"], schedule_ms=60_000)},
    "its turns": {"schedule": replace(ROSTER["schedule"], takeover_ms=501)},
}


@pytest.mark.parametrize("what", CHANGED)
def test_the_digest_of_a_roster_tells_every_change(what: str) -> None:
    assert roster_digest(**(ROSTER | CHANGED[what])) != roster_digest(**ROSTER)
