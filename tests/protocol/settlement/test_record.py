"""Facts are exactly what was kept, and nothing else is a record."""

from functools import lru_cache

import pytest

from protocol.errors import EncodingError
from protocol.settlement import record
from protocol.settlement.record import Facts
from protocol.settlement.terms import Role
from tests.builders.party_disputes import lied
from tests.builders.party_world import World

pytestmark = pytest.mark.usefixtures("short_traces")


@lru_cache(maxsize=1)
def full() -> World:
    """A claim that was challenged, played to the end."""
    world = lied("challenge")
    assert world is not None
    return world.run()


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_facts_and_records_are_each_others_inverse(role):
    side = full().sides[role]
    facts = Facts.of(side.records)
    assert facts == side.party.facts
    assert Facts.of(facts.records()) == facts
    assert len(facts.records()) <= len(side.records)


def test_every_kind_of_record_is_used():
    closed = World().begin().run()
    sides = [*full().sides.values(), *closed.sides.values()]
    kinds = {kept[1 : 1 + kept[0]].decode() for side in sides for kept in side.records}
    assert kinds == set(record._READERS) - {"declined", "reclaim"}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "a newer program"),
        (b"\x05query", "a newer program"),
        (b"\x02\xff\xff", "no text"),
        (b"\x05stage", "0 parts"),
        (b"\x05stage" + record.pack_parts([b"lost"]), "stage b'lost'"),
        (b"\x05stage" + record.pack_parts([b"draft", b""]), "2 parts"),
        (b"\x05stage\0\0\0\x09draft", "too few"),
        (b"\x05coins" + record.pack_parts([b"judge", b"\0\0\0\0"]), "holder or writer"),
        (b"\x08declined" + record.pack_parts([b"\xff"]), "no text"),
        (b"\x04seen" + record.pack_parts([b"\xff", b""]), "no text"),
        (b"\x04said" + record.pack_parts([b"x", b"\0"]), "not a Bitcoin transaction"),
        (b"\x04fund" + record.pack_parts([b"\0"]), "not a Bitcoin transaction"),
    ],
)
def test_what_is_no_record_is_refused(data, complaint):
    with pytest.raises(EncodingError, match=complaint):
        Facts.of([data])


def test_contributions_are_encoded_one_way():
    facts = full().holder.party.facts
    for given in facts.coins.values():
        data = record.encode_contribution(given)
        assert record.decode_contribution(data) == given
        for wrong in (data[:-1], data + b"\0"):
            with pytest.raises(EncodingError):
                record.decode_contribution(wrong)
